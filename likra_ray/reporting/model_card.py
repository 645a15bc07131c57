"""Takes what is known of a trial, returns the model card of its exported heads, as the Hugging Face hub shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from likra_ray.records import CriticalPhase, CurvePoint


class CardFacts(NamedTuple):
    """What a card says."""

    base: str
    """Hub id, or the base's name where it is on no hub."""
    identity: str
    """Of the weights heads were trained on: file or folder with its digest, or hub id and commit."""
    on_hub: bool
    licence: str | None
    """Of the base, as the hub abbreviates it; None where it is not known here."""
    sweep: str
    trial: str
    """Key of the trial."""
    name: str
    """Of the trial, as people read it."""
    heads: Mapping[str, int]
    """By role: examples the head has seen."""
    training: str
    """Where the training questions come from, in words."""
    evaluation: str
    settings: Mapping[str, object]
    """Fields of the trial that shape a head."""
    curves: Mapping[str, Sequence[CurvePoint]]
    """By arm, metric acc."""
    phase: Mapping[str, CriticalPhase]
    weight: float
    version: str
    """Of likra_ray."""


def model_card(facts: CardFacts) -> str:
    """Markdown with the hub's front matter."""
    lines = ["---", "library_name: peft", "tags: [likra, lora]"]
    lines += [f"base_model: {facts.base}"] if facts.on_hub else []
    lines += [f"license: {facts.licence}"] if facts.licence else []
    heads = ", ".join(f"`{role}/` ({volume} examples)" for role, volume in facts.heads.items())
    lines += [
        "---",
        "",
        f"# Likra heads on {facts.base}",
        "",
        f"LoRA adapters of one base: {heads}. Trial `{facts.trial}` ({facts.name}) of the sweep *{facts.sweep}*, "
        f"trained with likra_ray {facts.version}.",
        "",
        "The positive head learnt correct answers, the negative head wrong ones, both by maximum likelihood "
        "(arXiv 2503.14391). Options of a question are ranked by log p under the positive head less "
        f"{facts.weight:g} times log p under the negative one. Neither head is meant to be used as a chat model.",
        "",
        "## Data",
        "",
        f"- Trained on: {facts.training}.",
        f"- Evaluated on: {facts.evaluation}.",
        *(f"- `{field}`: {value}" for field, value in facts.settings.items()),
        "",
        "## Accuracy by examples",
        "",
        "With 95 % intervals over questions; one seed.",
        "",
        *_table(facts.curves),
        "",
        "## Critical phase",
        "",
        *(f"- {arm}: {'found' if phase.found else 'none found'}. {phase.reason}" for arm, phase in facts.phase.items()),
        "",
        "## Use",
        "",
        "```python",
        *_use(facts),
        "```",
        "",
        f"Heads were trained, and the accuracies above measured, on the base with the identity `{facts.identity}`"
        + (
            ": weights de-quantised from a file of four bits. The hub's are close to those, not equal. "
            if "Q4" in facts.identity
            else ". "
        )
        + "The base was not changed; its licence holds for it"
        + (f" ({facts.licence})." if facts.licence else ": see its own model card."),
    ]
    return "\n".join(lines) + "\n"


def _table(curves: Mapping[str, Sequence[CurvePoint]]) -> list[str]:
    volumes = sorted({point.volume for points in curves.values() for point in points})
    rows = ["| arm | " + " | ".join(map(str, volumes)) + " |", "|---" * (len(volumes) + 1) + "|"]
    for arm, points in curves.items():
        by_volume = {point.volume: point for point in points}
        cells = [_cell(by_volume.get(volume)) for volume in volumes]
        rows.append(f"| {arm} | " + " | ".join(cells) + " |")
    return rows


def _cell(point: CurvePoint | None) -> str:
    if point is None:
        return "-"
    return f"{point.accuracy:.3f} [{point.interval[0]:.2f}, {point.interval[1]:.2f}]"


def _use(facts: CardFacts) -> list[str]:
    alone = [
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM",
        "",
        f'base = AutoModelForCausalLM.from_pretrained("{facts.base}")',
        'model = PeftModel.from_pretrained(base, "positive", adapter_name="positive")',
        'model.load_adapter("negative", adapter_name="negative")',
        "",
    ]
    together = [
        "from likra_ray.likra_model import LikraModel",
        "",
        'model = LikraModel.from_folder(".")',
        'model.rank("Question: What is the capital of France?\\nAnswer:", ["Paris", "Lyon"])',
    ]
    return [*(alone if facts.on_hub else []), *together]
