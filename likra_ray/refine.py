"""After the grid: the phase that was located is measured again at finer volumes, round after round.

Knows the ledger, not Ray: `measure` runs the points. A point of a round is one of the sweep's own with more `volumes`;
its heads have the same keys, so they go on from what the store keeps and only what is new is trained and scored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from likra_ray.analysis.findings import Finding
from likra_ray.analysis.refinement import finer_volumes
from likra_ray.records import TrialResult

if TYPE_CHECKING:
    from likra_ray.ledger import Ledger

ARMS = ("likra", "base_likra")
"""Whose phase is refined: the first of these that has one not yet narrow enough."""


class Round(NamedTuple):
    """What one round measures."""

    configuration: str
    arm: str
    added: tuple[int, ...]
    """Volumes not measured before: examples."""
    points: list[dict[str, Any]]
    """One for each seed of the configuration, with all `volumes`, old and new."""
    before: tuple[float, float]
    """The midpoint's 95 % interval so far, examples."""


def next_round(best: Finding, results: Mapping[str, TrialResult], *, batch_size: int) -> Round | str:
    """The round that narrows the phase of the configuration the report opens with, or why there is none.

    results: by key.
    """
    trials = [results[key] for key in best.trials]
    measured = sorted({int(volume) for trial in trials for volume in trial.spec["volumes"]})
    reasons = []
    for arm in ARMS:
        phase = best.phase[arm]
        finer = finer_volumes(phase, measured, batch_size=batch_size)
        if finer.volumes and phase.midpoint_interval is not None:
            volumes = sorted({*measured, *finer.volumes})
            points = [{**trial.sampled, "volumes": volumes} for trial in trials]
            return Round(best.name, arm, finer.volumes, points, phase.midpoint_interval)
        reasons.append(f"{arm}: {finer.reason}")
    return "; ".join(reasons)


def refine(book: Ledger, measure: Callable[[list[dict[str, Any]]], None], *, left: Callable[[], float]) -> bool:
    """Rounds until the midpoint's interval is narrow enough, none is finer, or the budget ends; False if cut short.

    measure: runs points and tells the ledger of each that ended; left: seconds of the budget. What a round cost and
    gained stands in the ledger's `refinements`, why it ended in `refinement_ended`.
    """
    while True:
        by_key = {result.key: result for result in book.results}
        found = book.sweep_findings()
        if found is None:
            book.end_refinement("no trial ended well")
            return True
        step = next_round(found.findings[found.headline], by_key, batch_size=book.sweep.trial.batch_size)
        if isinstance(step, str):
            book.end_refinement(step)
            return True
        if len(book.refinements) >= book.sweep.budget.refinements:
            book.end_refinement(f"{book.sweep.budget.refinements} rounds, as budget.refinements allows")
            return True
        if left() <= 0:
            book.end_refinement("budget.minutes are used up")
            return True
        began = time.monotonic()
        measure(step.points)
        mine = [result for result in book.results if result.key not in by_key]
        if len(mine) < len(step.points) and left() > 0:
            return False
        after = next((f for f in book.findings() if f.name == step.configuration), None)
        book.add_refinement(_record(step, mine, after, time.monotonic() - began))


def _record(step: Round, mine: Sequence[TrialResult], after: Finding | None, seconds: float) -> dict[str, Any]:
    phase = after.phase[step.arm] if after is not None else None
    return {
        "configuration": step.configuration,
        "arm": step.arm,
        "added_volumes": step.added,
        "trials": [result.key for result in mine],
        "failed": sum(result.status == "failed" for result in mine),
        "examples_trained": sum(sum(result.trained.values()) for result in mine),
        "seconds": seconds,
        "midpoint_interval_before": step.before,
        "midpoint_interval_after": phase.midpoint_interval if phase is not None else None,
        "reason_after": phase.reason if phase is not None else None,
    }
