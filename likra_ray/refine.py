"""After the grid: the phase that was located is measured again at finer volumes, round after round.

Knows the ledger, not Ray: whoever asks for a round runs its points. A point of a round is one of the sweep's own with
more `volumes`; its heads have the same keys, so they go on from what the store keeps and only what is new is trained
and scored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from likra_ray.analysis.findings import Finding
from likra_ray.analysis.refinement import finer_volumes
from likra_ray.records import TrialResult

if TYPE_CHECKING:
    from likra_ray.ledger import Ledger

ARMS = ("likra", "base_likra")
"""Whose phase is refined: the first of these that has one not yet narrow enough."""


NO_TIME = "budget.minutes are used up"


class Round(NamedTuple):
    """What one round measures."""

    configuration: str
    arm: str
    added: tuple[int, ...]
    """Volumes that a seed of the configuration lacks: examples."""
    points: list[dict[str, Any]]
    """One for each seed that lacks some, with all `volumes`, old and new."""
    before: tuple[float, float] | None
    """The midpoint's 95 % interval so far, examples; None where no phase was located."""


def next_round(best: Finding, results: Mapping[str, TrialResult]) -> Round | str:
    """The round that narrows the phase of the configuration the report opens with, or why there is none.

    A round that was cut short is completed first: every seed measures what another seed has. results: by key.
    """
    trials = [results[key] for key in best.trials]
    reasons = []
    for arm in ARMS:
        phase = best.phase[arm]
        measured = sorted({point.volume for trial in trials for point in trial.curves[arm]})
        lacking = sorted(set(measured) - set[int].intersection(*(_volumes(trial) for trial in trials)))
        if lacking:
            behind = [trial for trial in trials if not set(measured) <= _volumes(trial)]
            points = [_with(trial, measured) for trial in behind]
            return Round(best.name, arm, tuple(lacking), points, phase.midpoint_interval)
        finer = finer_volumes(phase, measured, batch_size=int(trials[0].spec["batch_size"]))
        if finer.volumes:
            points = [_with(trial, finer.volumes) for trial in trials]
            return Round(best.name, arm, finer.volumes, points, phase.midpoint_interval)
        reasons.append(f"{arm}: {finer.reason}")
    return "; ".join(reasons)


def _volumes(trial: TrialResult) -> set[int]:
    return {int(volume) for volume in trial.spec["volumes"]}


def _with(trial: TrialResult, more: Iterable[int]) -> dict[str, Any]:
    """The trial's point with more volumes."""
    return {**trial.sampled, "volumes": sorted({*_volumes(trial), *more})}


def rounds(book: Ledger, *, left: Callable[[], float]) -> Iterator[list[dict[str, Any]]]:
    """Points of one round after the other, until the midpoint's interval is narrow enough, none is finer, or the budget
    ends: then the ledger's `refinement_ended` says why. left: seconds of the budget.

    To be asked for a round once every point of the one before ended, or was cut short: what that cost and gained goes
    to the ledger's `refinements`. After one cut short with time left there is none, and the ledger says no reason;
    whoever goes on completes it, and both are one of budget.refinements.
    """
    while True:
        best = book.headline()
        if best is None:
            return book.end_refinement("no trial ended well")
        step = next_round(best, {result.key: result for result in book.results})
        if isinstance(step, str):
            return book.end_refinement(step)
        if sum(not one.get("cut_short") for one in book.refinements) >= book.sweep.budget.refinements:
            return book.end_refinement(f"{book.sweep.budget.refinements} rounds, as budget.refinements allows")
        if left() <= 0:
            return book.end_refinement(NO_TIME)
        began, before = time.monotonic(), len(book.refined)
        yield step.points
        ended = book.refined[before:]
        mine = [result for result in book.results if result.key in ended]
        after = next((finding for finding in book.findings() if finding.name == step.configuration), None)
        cut_short = len(ended) < len(step.points)
        book.add_refinement({**_record(step, mine, after, time.monotonic() - began), "cut_short": cut_short})
        if cut_short:
            return None if left() > 0 else book.end_refinement(NO_TIME)
        if not any(result.status == "done" for result in mine):
            return book.end_refinement("no trial of its last round ended well")


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
