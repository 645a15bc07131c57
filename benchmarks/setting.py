"""What all sections of the page share: the model, the questions, the machine's own rate, and how much is measured."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks import workloads
from likra_ray.heads import scoring
from likra_ray.heads.base import LoadedBase
from likra_ray.records import Question, ScoreTable

PEER_BATCHES = {0: (1, 8, 32), 5: (1, 8), 25: (1,)}
"""Batch sizes lm-eval is tried with at each number of shots; its best is what counts."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of everything is measured."""

    repeats: int
    questions: dict[int, int]
    """By shots: questions both score."""
    ours_alone: int
    """Questions the platform scores for its own rate, so that a prefix of 25 shots is shared as it would be."""
    top: int
    """Questions on which bf16 is compared with fp32: some 5 s of a table for each hundred."""
    examples: dict[int, int]
    """By batch size: examples both learn."""
    growth: bool


FULL = Sizes(
    repeats=3, questions={0: 48, 5: 16, 25: 5}, ours_alone=100, top=1000, examples={8: 32, 32: 64}, growth=True
)
QUICK = Sizes(repeats=1, questions={0: 6, 5: 3, 25: 1}, ours_alone=8, top=8, examples={8: 8, 32: 32}, growth=False)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all sections share."""

    loaded: LoadedBase
    coarse: LoadedBase
    """The same base for bf16."""
    asked: workloads.Questions
    arc: Path | None
    """Folder of ai2_arc, where it is at hand."""
    cost: workloads.Cost
    rates: dict[torch.dtype, float]
    """FLOP per second of matrix products, by dtype, in this run."""
    sizes: Sizes
    peer: ProcessPoolExecutor
    """The peers' process."""


def ours(
    loaded: LoadedBase, questions: list[Question], shots: tuple[Question, ...] = (), *, bf16: bool = False
) -> ScoreTable:
    """The platform's scores, tokenising included."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        return scoring.score(loaded.model, loaded.tokenizer, questions, shots=shots)


def peer_head(peer: str, unit: str) -> list[str]:
    """Head of a table whose rows `peer_row` makes."""
    return [f"| what | {peer}, {unit} | likra_ray, {unit} | ratio | target | share of matrix rate | weights alone |",
            "|---|---|---|---|---|---|---|"]  # fmt: skip


def peer_row(
    what: str, peer: tuple[float, str], rate: float, target: float | None, shares: tuple[float, float] | None
) -> str:
    """peer: its rate and how it was set; rates in the unit of the head; shares: None where they are not counted."""
    shown = "- | -" if shares is None else " | ".join(f"{share:.0%}" for share in shares)
    return f"| {what} | {peer[0]:.2f} ({peer[1]}) | {rate:.2f} | {met(rate / peer[0], target)} | {shown} |"


def options_in(questions: list[Question]) -> int:
    return sum(len(question.options) for question in questions)


def met(ratio: float, target: float | None) -> str:
    """Two cells: the ratio, and the target with whether it is reached."""
    if target is None:
        return f"{ratio:.1f}x | -"
    return f"{ratio:.1f}x | {target:g}x: {'reached' if ratio >= target else 'missed'}"
