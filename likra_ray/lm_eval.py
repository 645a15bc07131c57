"""lm-evaluation-harness with one more model, `likra`: the arms of a finished trial on any of its tasks.

    python -m likra_ray.lm_eval --model likra --model_args sweep=quickstart,trial=best,arm=likra --tasks arc_challenge
    python -m likra_ray.lm_eval --model likra --model_args folder=exported,arm=base_likra --tasks arc_challenge

All other arguments are lm_eval's own; heads taught in turns (questions.chat) are asked in turns with
--apply_chat_template, and with --fewshot_as_multiturn where there are solved examples. It knows no plug-ins, so this
module registers the model and then is `lm_eval`; in Python, `import likra_ray.lm_eval` does as much for
`lm_eval.simple_evaluate`. Needs the extra `bench`.
"""

from __future__ import annotations

from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

from likra_ray import console, export, ledger
from likra_ray.errors import InputError
from likra_ray.heads.tokens import Encoded, before_answer, chat, encode_texts
from likra_ray.likra_model import LikraModel

LM_EVALS = ("batch_size", "max_batch_size", "device", "trust_remote_code")
"""What lm_eval's command gives every model."""


@register_model("likra")
class LikraLM(LM):  # type: ignore[misc]  # lm_eval has no types
    """An arm of a trial. A difference of two heads is no distribution: its "loglikelihood" is a score that ranks."""

    def __init__(
        self,
        sweep: str | None = None,
        trial: str = export.BEST,
        folder: str | None = None,
        arm: str = "likra",
        weight: float | None = None,
        volume: int | None = None,
        output: str = console.OUTPUT,
        **more: Any,
    ) -> None:
        """Either a sweep and its trial, or a folder of exported heads; more: of lm_eval's own, not used (LM_EVALS).

        Raises InputError for neither, both, an arm whose heads are not there, and for what nobody knows.
        """
        super().__init__()
        for name, value in more.items():
            if name not in LM_EVALS:
                own = "sweep, trial, folder, arm, weight, volume, output"
                raise InputError(where="--model_args", field=name, value=value, allowed=own)
        if weight is not None and not isinstance(weight, int | float):
            raise InputError(where="--model_args", field="weight", value=weight, allowed="a number")
        if (sweep is None) == (folder is None):
            raise InputError(where="--model_args", field="sweep", value=sweep, allowed="either sweep= or folder=")
        if sweep is not None:
            self.likra = export.load_trial(ledger.load_sweep(sweep, output), trial, volume=volume)
        else:
            self.likra = LikraModel.from_folder(str(folder))
        if arm not in self.likra.arms:
            raise InputError(where="--model_args", field="arm", value=arm, allowed=", ".join(self.likra.arms))
        self.arm, self.weight = arm, weight
        self.rendered = False

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """(nats, greedy) of every (context, continuation)."""
        groups: list[list[Encoded]] = []
        before: str | None = None
        for context, encoded in self._encoded([request.args for request in requests]):
            if context != before:
                groups.append([])
            groups[-1].append(encoded)
            before = context
        scored = self.likra.score_encoded(groups, arm=self.arm, weight=self.weight)
        for request, one in zip(requests, scored, strict=True):
            self.cache_hook.add_partial("loglikelihood", request.args, tuple(one))
        return [(one.score, one.greedy) for one in scored]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Nats of whole texts; they are not cut, and one longer than the base reads is refused."""
        texts = [Instance("loglikelihood", {}, ("", request.args[0]), 0) for request in requests]
        return [score for score, _ in self.loglikelihood(texts)]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Greedy texts up to a stop; `LikraModel.write` says what an arm of two heads writes."""
        written = []
        for request in requests:
            context, options = request.args
            text = self.likra.write_after(
                self.likra.read(context, rendered=self.rendered),
                tokens=int(options.get("max_gen_toks", 256)),
                arm=self.arm,
                weight=self.weight,
            )
            stops = options.get("until") or []
            for stop in [stops] if isinstance(stops, str) else stops:
                text = text.split(stop)[0]
            written.append(text)
        return written

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """What stands before the answer, as heads taught in turns have met it; from then on contexts are such texts.

        False: the last message is the assistant's and goes on.
        """
        self.rendered = True
        if add_generation_prompt:
            return before_answer(self.likra.tokenizer, chat_history)
        *asked, begun = chat_history
        return before_answer(self.likra.tokenizer, asked) + begun["content"]

    @property
    def tokenizer_name(self) -> str:
        """For the names of lm_eval's caches."""
        return str(self.likra.tokenizer.name_or_path).replace("/", "__")

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The template in use, for lm_eval's records. Raises InputError for another than the tokenizer's own."""
        if not chat_template:
            return ""
        if isinstance(chat_template, str):
            raise InputError(where="lm_eval", field="--apply_chat_template", value=chat_template,
                             allowed="no name: the tokenizer's own template")  # fmt: skip
        return str(chat(self.likra.tokenizer).tokenizer.chat_template)

    def _encoded(self, pairs: list[tuple[str, str]]) -> list[tuple[str, Encoded]]:
        """Each context with its text's ids; spaces at a context's end are the continuation's, as in lm_eval's hf, but
        for those that a chat template puts there."""
        tokenizer = self.likra.tokenizer
        moved = list(pairs)
        if not self.rendered:
            moved = [(context.rstrip(), context[len(context.rstrip()) :] + text) for context, text in pairs]
        with_context = iter(encode_texts(tokenizer, [pair for pair in moved if pair[0]], rendered=self.rendered))
        found = []
        for context, text in moved:
            if context:
                found.append((context, next(with_context)))
                continue
            first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            found.append((context, Encoded((first, *ids), 1)))
        return found


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    # Run as a module this file is __main__: importing it by its name too would register a second class.
    with console.exit_codes("the same command again"):
        cli_evaluate()
