"""dpo, kto and orpo are trl's, loss and gradient: its own trainers on the same adapters, pairs and tokens.

trl is in the dev extra; where it is not installed these tests are skipped, and test_objectives.py alone holds the
losses to their formulas.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig
from small import BETA, MANNER, baseline, fresh

from likra_ray.heads.engines import PlainEngine
from likra_ray.heads.objectives import odds_ratio
from likra_ray.heads.pairs import Pair, lessons, mismatched, pairs_of
from likra_ray.heads.scoring import score
from likra_ray.heads.tokens import encode
from likra_ray.heads.training import Batches, HeadRun, Lessons, Step, train

pytest.importorskip("trl", reason="trl is not installed: pip install -e '.[dev]'")
pytestmark = pytest.mark.slow

PAIRS = 6
"""One batch; trl sees it as 6 preferences, or as 12 judged answers."""


class Gradient:
    """An engine that keeps the gradient of one batch and takes no step."""

    every_row = True

    def __init__(self, model: Any) -> None:
        self.model = model

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()

    def step(self) -> None:
        """Nothing: the gradient is what is asked for."""

    state = load_state = close = step


def trainer_of(name: str, folder: Path) -> Any:
    """trl's trainer of that name around the random base with a LoRA adapter that has moved."""
    from datasets import Dataset

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import trl

        row: dict[str, Any] = {"prompt": "Q?", "completion": " a", "label": True}
        if name == "DPO":
            row = {"prompt": "Q?", "chosen": " a", "rejected": " b"}
        base = fresh()
        made = getattr(trl, f"{name}Trainer")(
            model=base.model,
            args=getattr(trl, f"{name}Config")(
                output_dir=str(folder), beta=BETA, per_device_train_batch_size=2 * PAIRS, use_cpu=True, bf16=False,
                report_to=[], gradient_checkpointing=False,
            ),
            train_dataset=Dataset.from_list([row] * 2 * PAIRS),
            processing_class=base.tokenizer,
            peft_config=LoraConfig(r=MANNER.rank, target_modules=list(MANNER.targets), lora_dropout=0.0,
                                   task_type="CAUSAL_LM"),
        )  # fmt: skip
    made.model.eval()
    learn_likelihood(made)
    return made


def learn_likelihood(made: Any) -> None:
    """A few steps towards all answers, so that answers to other prompts are likelier too and kto's z is above 0."""
    order = baseline("mixture", 0, PAIRS, count=PAIRS)
    taught = lessons(order, PAIRS, tokenizer=made.processing_class, batch_size=PAIRS, table=lambda _: None)
    engine = PlainEngine(made.model, adapter(made.model), 1e-2)
    for _ in range(5):
        train([run(engine, taught, lambda _: None)], batches=Batches(PAIRS, 1))
    engine.close()


def run(engine: Any, taught: Lessons, on_step: Callable[[Step], None]) -> HeadRun:
    """One batch."""
    return HeadRun("small", engine, taught, 0, (PAIRS,), lambda _: None, on_step)


def adapter(model: Any) -> dict[str, torch.nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if ".lora_" in name}


def gradient(model: Any) -> torch.Tensor:
    """All of the adapter's, in one row; cleared afterwards."""
    found = torch.cat([parameter.grad.reshape(-1).double() for parameter in adapter(model).values()])
    model.zero_grad(set_to_none=True)
    return found


def ours(role: Any, made: Any) -> tuple[float, torch.Tensor]:
    """Loss and gradient of one batch by the training loop, references by the scorer under the base alone."""
    order = baseline(role, 0, PAIRS, count=PAIRS)
    tokenizer = made.processing_class

    def table(block: Any) -> Any:
        with made.model.disable_adapter():
            return score(made.model, tokenizer, block.questions)

    taught = lessons(order, PAIRS, tokenizer=tokenizer, batch_size=PAIRS, table=table)
    losses: list[float] = []
    train([run(Gradient(made.model), taught, lambda step: losses.append(step.loss))], batches=Batches(PAIRS, 2))
    return losses[0], gradient(made.model)


def split(tokenizer: Any, prompt: str, answer: str) -> tuple[list[int], list[int]]:
    [(tokens, start)] = encode(tokenizer, [(prompt, answer)])
    return list(tokens[:start]), list(tokens[start:])


def judged(tokenizer: Any, batch: list[Pair]) -> list[dict[str, Any]]:
    """The batch as trl's kto reads it: every correct answer, then every wrong one, each with a mismatched one."""
    strange = mismatched(batch, len(batch))
    rows = []
    for answer in ("correct", "wrong"):
        for pair, other in zip(batch, strange, strict=True):
            prompt, completion = split(tokenizer, pair.prompt, getattr(pair, answer))
            _, elsewhere = split(tokenizer, other.prompt, getattr(other, answer))
            rows.append({"prompt_ids": prompt, "completion_ids": completion, "KL_completion_ids": elsewhere,
                         "label": answer == "correct"})  # fmt: skip
    return rows


def preferences(tokenizer: Any, batch: list[Pair]) -> list[dict[str, Any]]:
    rows = []
    for pair in batch:
        prompt, chosen = split(tokenizer, pair.prompt, pair.correct)
        _, rejected = split(tokenizer, pair.prompt, pair.wrong)
        rows.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected})
    return rows


@pytest.mark.parametrize(("role", "name"), [("dpo", "DPO"), ("kto", "KTO")])
def test_loss_and_gradient_are_trls(tmp_path: Path, role: str, name: str) -> None:
    made = trainer_of(name, tmp_path)
    loss, slope = ours(role, made)
    batch = pairs_of(baseline(role, 0, PAIRS, count=PAIRS))  # type: ignore[arg-type]
    rows = (judged if role == "kto" else preferences)(made.processing_class, batch)
    theirs = made._compute_loss(made.model, made.data_collator(rows), False)
    theirs.backward()
    assert loss == pytest.approx(float(theirs.detach()), abs=1e-5)
    expected = gradient(made.model)
    assert float(expected.norm()) > 1e-3
    assert float((slope - expected).norm() / expected.norm()) < 1e-4
    if role == "kto":
        assert made._metrics["eval"]["kl"][-1] > 0, "a divergence of 0 would prove nothing"


def test_the_odds_ratio_is_trls() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trl.experimental.orpo import ORPOTrainer

    generator = torch.Generator().manual_seed(0)
    correct, wrong = (-torch.rand(20, generator=generator) * scale for scale in (8, 2))
    trainer = SimpleNamespace(beta=BETA, accelerator=SimpleNamespace(device="cpu"))
    theirs, *_ = ORPOTrainer.odds_ratio_loss(trainer, correct, wrong)
    torch.testing.assert_close(odds_ratio(correct, wrong, beta=BETA), -theirs)
