"""Takes configurations of a sweep that differ in one field, returns the effect of that field: of near-misses first.

Pairs share questions and seeds, so their difference in accuracy is a mean of paired contrasts. Where a phase lies is
fitted, not averaged: differences of midpoints and gains combine the two phases' own intervals as if independent
(Zou & Donner 2008, the MOVER). They share their questions and move together, so that is too wide: measured on planted
phases with equal noise (120 draws, 1 to 3 seeds), 99 to 100 % of the intervals hold the truth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from likra_ray.analysis.estimates import Estimate, mean_of, missing
from likra_ray.analysis.phrases import ARM_NAMES, estimated, rests_on
from likra_ray.errors import InputError
from likra_ray.records import CriticalPhase, LearningCurve

FIELD_WORDS = {
    "near_miss_share": "the share of near-misses among the negatives",
    "contamination_share": "the share of negatives that are correct answers",
    "negative_source.near_miss_from": "which near-misses are taken (by the base's own score)",
    "negative_source.far_from": "where far answers come from",
    "learning_rate": "the learning rate",
    "labels": "shuffling the labels",
}
"""How a sentence calls a field; others by their name."""
FIRST_WORDS = ("own", "given")
"""Values of a field of words that the others are compared with, where they are among them; else the first by name."""


class Case(NamedTuple):
    """One arm of one configuration."""

    settings: Mapping[str, Any]
    """Searched fields, seed and volumes left out."""
    seeds: tuple[int, ...]
    """Of the rows of the curve."""
    curve: LearningCurve
    phase: CriticalPhase


@dataclass(frozen=True, kw_only=True)
class FactorEffect:
    """What changing one field did to one arm, all else equal. Recomputed by near_miss.factor_effect."""

    field: str
    """As searched: near_miss_share, negative_source.near_miss_from, contamination_share, ..."""
    arm: str
    """likra or base_likra."""
    context: Mapping[str, Any]
    """The settings both configurations share."""
    low: Any
    """The field's value that is compared with: the lowest number, or own, or the first word."""
    high: Any
    """The field's value that is compared."""
    volume: int | None
    """The largest volume both measured with the same seeds, where accuracy is compared; None: there is none."""
    accuracy: Estimate
    """Accuracy with `high` less that with `low`, at `volume`, paired by question and seed."""
    midpoint: Estimate
    """Doublings by which the critical phase comes later with `high` (negative: earlier)."""
    gain: Estimate
    """Gain of the critical phase with `high` less that with `low`, accuracy."""
    sentence: str
    """The effect on accuracy in plain words, with its interval, questions and seeds."""


@dataclass(frozen=True, kw_only=True)
class FactorSlope:
    """Accuracy gained per unit of a field that is a number: a straight line through all its values.

    Recomputed by near_miss.factor_slope.
    """

    field: str
    arm: str
    context: Mapping[str, Any]
    levels: tuple[float, ...]
    """The field's values, increasing; two make the slope a difference."""
    accuracies: tuple[float, ...]
    """At the shared volume, one per level."""
    volume: int | None
    slope: Estimate
    """Accuracy per unit of the field (near_miss_share: from none to all), least squares."""


@dataclass(frozen=True, kw_only=True)
class Effects:
    """All effects of a sweep's searched fields. Recomputed by near_miss.factor_effects."""

    pairs: tuple[FactorEffect, ...]
    """By field, context and level, arm by arm."""
    slopes: tuple[FactorSlope, ...]
    not_compared: Mapping[str, str]
    """Searched field -> why no two configurations can be compared on it."""


def factor_effects(cases: Mapping[str, Sequence[Case]]) -> Effects:
    """Every searched field's effect, near_miss_share first: each level against the lowest, within equal settings.

    cases: by arm, one per configuration. Raises InputError where configurations answer different questions.
    """
    fields = sorted({field for found in cases.values() for case in found for field in case.settings})
    fields.sort(key=lambda field: field != "near_miss_share")
    pairs: list[FactorEffect] = []
    slopes: list[FactorSlope] = []
    not_compared: dict[str, str] = {}
    for field in fields:
        groups = [(arm, group) for arm, found in cases.items() for group in comparable(field, found)]
        for arm, group in groups:
            pairs += [factor_effect(field, group[0], other, arm=arm) for other in group[1:]]
            if all(is_number(case.settings[field]) for case in group):
                slopes.append(factor_slope(field, group, arm=arm))
        if not groups:
            not_compared[field] = f"No two configurations differ in {field} alone."
    return Effects(pairs=tuple(pairs), slopes=tuple(slopes), not_compared=not_compared)


def comparable(field: str, cases: Sequence[Case]) -> list[list[Case]]:
    """Groups of two or more cases that differ in this field alone, each in order of the field's values."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        if field in case.settings:
            rest = {name: value for name, value in sorted(case.settings.items()) if name != field}
            groups.setdefault(repr(rest), []).append(case)
    ordered = [sorted(group, key=lambda case: _rank(case.settings[field])) for group in groups.values()]
    return [group for group in ordered if len(group) > 1]


def is_number(value: Any) -> bool:
    """Whether a field's value has an order and a distance; booleans have none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rank(value: Any) -> tuple[bool, float, bool, str]:
    return (not is_number(value), float(value) if is_number(value) else 0.0, value not in FIRST_WORDS, str(value))


def factor_effect(field: str, low: Case, high: Case, *, arm: str) -> FactorEffect:
    """The effect of one field between two cases that differ in it alone. Raises InputError on different questions."""
    context = {name: value for name, value in high.settings.items() if name != field}
    volume, (before, after) = shared_outcomes([low, high])
    nothing = missing(f"not comparable: {_no_shared([low, high])}")
    accuracy = nothing if volume is None else mean_of(after - before)
    levels = (low.settings[field], high.settings[field])
    return FactorEffect(
        field=field,
        arm=arm,
        context=context,
        low=levels[0],
        high=levels[1],
        volume=volume,
        accuracy=accuracy,
        midpoint=_phase_difference(low.phase, high.phase, levels, "midpoint"),
        gain=_phase_difference(low.phase, high.phase, levels, "gain"),
        sentence=_sentence(field, levels, arm, volume, accuracy),
    )


def factor_slope(field: str, cases: Sequence[Case], *, arm: str) -> FactorSlope:
    """Least-squares slope of accuracy on a field's values, at the largest volume all cases share.

    Raises InputError: different questions, or values of which all are equal.
    """
    levels = np.array([float(case.settings[field]) for case in cases])
    centred = levels - levels.mean()
    if not np.any(centred):
        raise InputError(where="factor_slope", field=field, value=levels.tolist(), allowed="two values or more")
    volume, outcomes = shared_outcomes(cases)
    slope = missing(f"not comparable: {_no_shared(cases)}")
    if volume is not None:
        weights = centred / float(centred @ centred)
        slope = mean_of(np.einsum("k,ksq->sq", weights, np.array(outcomes)))
    return FactorSlope(
        field=field,
        arm=arm,
        context={name: value for name, value in cases[0].settings.items() if name != field},
        levels=tuple(levels.tolist()),
        accuracies=tuple(mean_of(one).value for one in outcomes) if volume is not None else (),
        volume=volume,
        slope=slope,
    )


def shared_outcomes(cases: Sequence[Case]) -> tuple[int | None, list[np.ndarray]]:
    """The largest volume that all cases measured with all seeds they share, and their (S, Q) outcomes there.

    (None, an empty array for each) without a shared seed or volume above 0. Raises InputError on different questions.
    """
    first = cases[0].curve
    for case in cases[1:]:
        if case.curve.question_ids != first.question_ids:
            raise InputError(where="factor_effect", field="question_ids", value=dict(case.settings),
                             allowed="configurations that answer the same questions")  # fmt: skip
    seeds = sorted(set.intersection(*[set(case.seeds) for case in cases]))
    rows = [[case.seeds.index(seed) for seed in seeds] for case in cases]
    volumes = sorted(set.intersection(*[set(case.curve.volumes.tolist()) for case in cases]) - {0}, reverse=True)
    for volume in volumes if seeds else []:
        found = [
            case.curve.outcomes[own, int(np.flatnonzero(case.curve.volumes == volume)[0])]
            for case, own in zip(cases, rows, strict=True)
        ]
        if all(not np.isnan(one).all(axis=1).any() for one in found):
            return int(volume), found
    return None, [np.empty((0, 0))] * len(cases)


def _no_shared(cases: Sequence[Case]) -> str:
    shared = set.intersection(*[set(case.seeds) for case in cases])
    return "no volume was measured by both" if shared else "no seed that reaches as far as others was run with both"


def _phase_difference(low: CriticalPhase, high: CriticalPhase, levels: tuple[Any, Any], what: str) -> Estimate:
    """Of the midpoints, in doublings, or of the gains, with the MOVER interval."""
    questions, seeds = min(low.questions, high.questions), min(low.seeds, high.seeds)
    without = [_show(level) for phase, level in zip((low, high), levels, strict=True) if not phase.found]
    if without:
        reason = f"not comparable: no critical phase was located with {' nor with '.join(without)}"
        return missing(reason, questions=questions, seeds=seeds)
    ends = [_three(phase, what) for phase in (low, high)]
    (a, a_low, a_high), (b, b_low, b_high) = ends
    value = b - a
    interval = (value - math.hypot(b - b_low, a_high - a), value + math.hypot(b_high - b, a - a_low))
    return Estimate(value=value, interval=interval, questions=questions, seeds=seeds)


def _three(phase: CriticalPhase, what: str) -> tuple[float, float, float]:
    """Estimate and both ends of its interval; a midpoint in log2 examples."""
    if what == "midpoint":
        assert phase.midpoint is not None and phase.midpoint_interval is not None
        low, high = phase.midpoint_interval
        return math.log2(phase.midpoint), math.log2(low), math.log2(high)
    assert phase.gain is not None and phase.gain_interval is not None
    return phase.gain, *phase.gain_interval


def _sentence(field: str, levels: tuple[Any, Any], arm: str, volume: int | None, accuracy: Estimate) -> str:
    low, high = (_show(level) for level in levels)
    words, name = FIELD_WORDS.get(field, field), ARM_NAMES.get(arm, arm)
    if volume is None:
        return f"The effect of {words} on {name}, {low} to {high}, is {accuracy.reason}."
    if accuracy.value == 0.0 and accuracy.interval == (0.0, 0.0):
        return f"{name} answers every question alike with {words} at {low} and at {high}, {volume} examples each."
    clear = "" if accuracy.excludes_zero else ", no effect that stands out from noise"
    return (
        f"Changing {words} from {low} to {high} changes {name}'s accuracy at {volume} examples by "
        f"{estimated(accuracy, 3)}{clear} ({rests_on(accuracy.questions, accuracy.seeds)})."
    )


def _show(level: Any) -> str:
    return f"{level:g}" if isinstance(level, float) else str(level)
