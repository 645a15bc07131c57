"""A base and its trained heads, ready to use: rank options, score texts, write. torch and PEFT, no Ray.

    model = LikraModel.from_folder("exported")                          what `python -m likra_ray.export` wrote
    model.rank("Question: What is the capital of France?\\nAnswer:", ["Paris", "Lyon"])
    model.write("Question: What is the capital of France?\\nAnswer:", tokens=8)

Heads that were taught in turns of a chat (questions.chat) are asked in turns by `rank` and `write`; `score` takes texts
as they are. Arms are those of analysis/arms.py; here they are taken token by token, since a text is written token by
token. The sum over an option's tokens is the arm's score of that option.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from likra_ray.analysis.arms import ARMS, Arm, find_arm
from likra_ray.errors import InputError
from likra_ray.exported import ABOUT
from likra_ray.heads import base as bases
from likra_ray.heads import tokens as head_tokens
from likra_ray.heads.packing import pack, token_logits
from likra_ray.heads.scoring import longest_first, plant_encoded, prefix_cache
from likra_ray.heads.tokens import Encoded, encode, encode_texts, leading_tokens

PLAUSIBILITY = 0.1
"""alpha of contrastive decoding (arXiv 2210.15097, section 3.2): tokens the base finds less likely than this share of
its likeliest one are never written."""


class Scored(NamedTuple):
    """One continuation under an arm."""

    score: float
    """Nats: sum over the continuation's tokens of the arm's plus - weight * minus log p; larger = more plausible."""
    greedy: bool
    """Whether every token of it is the arm's first choice at its place."""


class LikraModel:
    """One base with the adapters of a trial; not thread-safe (heads are switched in place)."""

    def __init__(self, model: Any, tokenizer: Any, *, weight: float = 1.0, chat: bool = False) -> None:
        """model: under PEFT, one adapter per head, named by its role; weight: w of L+ - w L-; chat: whether prompts
        are turns of the tokenizer's chat template. Raises InputError where it has none."""
        self.model, self.tokenizer, self.weight = model.eval(), tokenizer, weight
        self.reader = head_tokens.chat(tokenizer) if chat else tokenizer
        self.device = next(iter(model.parameters())).device

    @classmethod
    def from_folder(cls, folder: str | Path, *, base: str | None = None) -> LikraModel:
        """Load exported heads. base: a name, folder or .gguf to use in place of the one they name.

        Raises InputError where the folder holds no heads, or the base is not the one they were trained on.
        """
        from peft import PeftModel

        folder = Path(folder)
        if not (folder / ABOUT).is_file():
            raise InputError(where=str(folder), field=ABOUT, value="nothing",
                             allowed="a folder written by likra_ray.export")  # fmt: skip
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        found = bases.resolve(base or about["base"])
        if found.identity != about["base_identity"]:
            raise InputError(where=str(folder / ABOUT), field="base", value=found.identity,
                             allowed=f"the base these heads were trained on, {about['base_identity']}")  # fmt: skip
        loaded = bases.load(found)
        bases.check(found, loaded.model)
        first, *others = about["heads"]
        model = PeftModel.from_pretrained(loaded.model, str(folder / first), adapter_name=first)
        for role in others:
            model.load_adapter(str(folder / role), adapter_name=role)
        return cls(model, loaded.tokenizer, weight=float(about["weight"]), chat=about.get("chat", False))

    @property
    def arms(self) -> list[str]:
        """Arms whose heads are here."""
        there = {"base", *self.model.peft_config}
        return [name for name, arm in ARMS.items() if set(arm.heads) <= there]

    def rank(
        self, prompt: str, options: Sequence[str], *, arm: str = "likra", weight: float | None = None
    ) -> np.ndarray:
        """(O,) nats: the arm's score of every option after ``prompt + " "``, or as the answer to it in a chat; the
        largest is its answer."""
        encoded = encode(self.reader, [(prompt, option) for option in options])
        return np.array([one.score for one in self.score_encoded([encoded], arm=arm, weight=weight)])

    @torch.no_grad()
    def score(
        self, texts: Sequence[tuple[str, str]], *, arm: str = "likra", weight: float | None = None
    ) -> list[Scored]:
        """(prompt, continuation) texts under an arm; neighbours with the same prompt share its computation.

        Raises InputError for an arm whose heads are not here.
        """
        return self.score_encoded(_by_prompt(texts, encode_texts(self.tokenizer, texts)), arm=arm, weight=weight)

    @torch.no_grad()
    def score_encoded(
        self, by_prompt: Sequence[Sequence[Encoded]], *, arm: str = "likra", weight: float | None = None
    ) -> list[Scored]:
        """The same of texts tokenised before, those of one prompt together."""
        voices = self._voices(arm, weight)
        forest = plant_encoded(by_prompt)
        caches = {}
        for head in voices:
            with self._speaking(head):
                caches[head] = prefix_cache(self.model, forest.prefix, self.device)
        found: dict[int, Scored] = {}
        for members in longest_first([tree.size for tree in forest.trees]):
            row = pack([forest.trees[i] for i in members], prefix=len(forest.prefix))
            places = torch.zeros(())
            for head, sign in voices.items():
                with self._speaking(head):
                    logits = token_logits(self.model, row, device=self.device, cache=caches[head])
                if caches[head] is not None:
                    caches[head].crop(-row.tokens.shape[1])
                places = places + sign * torch.log_softmax(logits, dim=-1)
            source, target, path = (part.to(self.device) for part in (row.source, row.target, row.path))
            sums = torch.zeros(row.paths, dtype=torch.float64, device=self.device)
            sums.index_add_(0, path, places[source, target].double())
            missed = torch.zeros(row.paths, device=self.device)
            missed.index_add_(0, path, (places.argmax(-1)[source] != target).float())
            options = np.concatenate([forest.options[i] for i in members]).tolist()
            for option, score, misses in zip(options, sums.tolist(), missed.tolist(), strict=True):
                found[option] = Scored(score, misses == 0)
        return [found[option] for option in range(len(found))]

    def write(self, prompt: str, **how: Any) -> str:
        """Continue a prompt, or answer it in a chat; `how` as in `write_after`."""
        text, rendered = prompt, isinstance(self.reader, head_tokens.Chat)
        if rendered:
            text = head_tokens.before_answer(self.tokenizer, [{"role": "user", "content": prompt}])
        return self.write_after(self.read(text, rendered=rendered), **how)

    def read(self, text: str, *, rendered: bool = False) -> list[int]:
        """A text's ids; rendered: a chat template made it, and it brings BOS itself where there is one."""
        ids = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return ids if rendered else [*leading_tokens(self.tokenizer), *ids]

    @torch.no_grad()
    def write_after(
        self,
        ids: Sequence[int],
        *,
        tokens: int = 32,
        arm: str = "likra",
        weight: float | None = None,
        plausibility: float = PLAUSIBILITY,
        generator: torch.Generator | None = None,
    ) -> str:
        """Continue ids by at most `tokens` tokens. generator: samples; None takes the likeliest token each time.

        An arm of one head writes by itself. One of two is an opinion, not a language model (a difference of log p):
        it moves the base's log p, among the tokens the base itself finds plausible (`guided`).
        """
        voices = self._voices(arm, weight)
        heads = list(voices) if len(voices) == 1 else list(dict.fromkeys(["base", *voices]))
        from transformers import DynamicCache

        caches = {head: DynamicCache() for head in heads}
        feed = list(ids) or [self.tokenizer.eos_token_id]
        written: list[int] = []
        while len(written) < tokens:
            logprobs = {}
            for head in heads:
                with self._speaking(head):
                    output = self.model(
                        input_ids=torch.tensor([feed], device=self.device), past_key_values=caches[head], use_cache=True
                    )
                logprobs[head] = torch.log_softmax(output.logits[0, -1].float(), dim=-1)
            if len(voices) == 1:
                scores = logprobs[heads[0]]
            else:
                opinion = torch.stack([sign * logprobs[head] for head, sign in voices.items()]).sum(0)
                scores = guided(logprobs["base"], opinion, plausibility=plausibility)
            if generator is None:
                token = int(scores.argmax())
            else:
                token = int(torch.multinomial(scores.softmax(-1), 1, generator=generator))
            if token == self.tokenizer.eos_token_id:
                break
            written.append(token)
            feed = [token]
        text: str = self.tokenizer.decode(written)
        return text

    def _voices(self, arm: str, weight: float | None) -> dict[str, float]:
        """The arm's heads, each with what its log p is multiplied by."""
        if arm not in self.arms:
            find_arm(arm)
            raise InputError(where="arms", field="arm", value=arm, allowed=", ".join(self.arms))
        return signs(ARMS[arm], self.weight if weight is None else weight)

    @contextlib.contextmanager
    def _speaking(self, head: str) -> Iterator[None]:
        """The model as one of its heads, or as the base, inside the block."""
        if head == "base":
            with self.model.disable_adapter():
                yield
        else:
            self.model.set_adapter(head)
            yield


def signs(arm: Arm, weight: float) -> dict[str, float]:
    """What an arm multiplies each of its heads' log p by."""
    if arm.minus is None:
        return {arm.plus: 1.0}
    return {arm.plus: 1.0, arm.minus: -weight if arm.weighted else -1.0}


def guided(base: torch.Tensor, opinion: torch.Tensor, *, plausibility: float) -> torch.Tensor:
    """(V,) nats: base + opinion where the base gives at least `plausibility` times its largest p, -inf elsewhere.

    base: (V,) log p; opinion: (V,) a difference of log p. DExperts' sum (arXiv 2105.03023, equation 2) under
    contrastive decoding's mask (arXiv 2210.15097, equation 2). Raises ValueError for a plausibility outside (0, 1].
    """
    if not 0 < plausibility <= 1:
        raise ValueError(f"plausibility: {plausibility}; allowed: above 0, at most 1")
    plausible = base >= base.max() + np.log(plausibility)
    return torch.where(plausible, base + opinion, torch.full_like(base, -torch.inf))


def _by_prompt(texts: Sequence[tuple[str, str]], encoded: Sequence[Encoded]) -> list[list[Encoded]]:
    """Neighbours with the same prompt together."""
    groups: list[list[Encoded]] = []
    before = None
    for (prompt, _), one in zip(texts, encoded, strict=True):
        if prompt != before:
            groups.append([])
        groups[-1].append(one)
        before = prompt
    return groups
