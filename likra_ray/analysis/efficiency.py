"""Takes two arms' curves and a located phase, returns how much more per example the first gains inside it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from likra_ray.analysis.curves import EfficiencyRatio, efficiency_ratio
from likra_ray.records import CriticalPhase, LearningCurve


@dataclass(frozen=True, kw_only=True)
class PhaseRatio:
    """An arm's gain per example over SFT's inside the arm's critical phase. Recomputed by efficiency.phase_ratio."""

    arm: str
    start: int | None
    """Onset rounded down to a measured volume; None: no phase."""
    end: int | None
    """End rounded up to a measured volume."""
    ratio: EfficiencyRatio | None
    """Over that stretch as one step, with Fieller's interval; None: no phase."""
    questions: int
    seeds: int
    reason: str
    """One sentence: what it rests on, or why there is none."""


def phase_ratio(
    arm: LearningCurve, sft: LearningCurve, phase: CriticalPhase, *, rng: np.random.Generator
) -> PhaseRatio:
    """One ratio over the whole phase: (gain of the arm) / (gain of SFT) between the same two volumes.

    Both arms share every draw of questions. The volumes are those both arms measured; where the phase runs beyond the
    last of them, that one ends it. Raises InputError as curves.efficiency_ratio does.
    """
    seeds, _, questions = arm.outcomes.shape
    nothing = PhaseRatio(arm=arm.arm, start=None, end=None, ratio=None, questions=questions, seeds=seeds, reason="")
    if not phase.found or phase.onset is None or phase.end is None:
        return replace(nothing, reason="No critical phase was located, so there is no stretch to compare.")
    shared = np.intersect1d(arm.volumes, sft.volumes)
    if len(shared) < 2 or not (shared < phase.end).any() or not (shared > phase.onset).any():
        return replace(nothing, reason="SFT was not measured on both sides of the phase.")
    start, end = rounded_outward(phase.onset, phase.end, shared)
    ratio = efficiency_ratio(at_volumes(arm, [start, end]), at_volumes(sft, [start, end]), rng=rng)[0]
    reason = f"From {start} to {end} examples, one step that holds the phase. {ratio.reason}"
    return replace(nothing, start=start, end=end, ratio=ratio, reason=reason)


def rounded_outward(onset: float, end: float, volumes: np.ndarray) -> tuple[int, int]:
    """The measured volumes around a phase: the largest up to its onset (or the first) and the smallest from its end (or
    the last)."""
    before, after = volumes[volumes <= onset], volumes[volumes >= end]
    return int(before[-1] if len(before) else volumes[0]), int(after[0] if len(after) else volumes[-1])


def at_volumes(curve: LearningCurve, volumes: list[int]) -> LearningCurve:
    """The curve cut to some of its volumes."""
    kept = np.isin(curve.volumes, volumes)
    return replace(curve, volumes=curve.volumes[kept], outcomes=curve.outcomes[:, kept], margins=curve.margins[:, kept])
