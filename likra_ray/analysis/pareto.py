"""Takes a sweep's findings, returns what could be had for how many negatives: every choice, and those none beats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from likra_ray.analysis.findings import Finding
from likra_ray.records import CurvePoint


class Choice(NamedTuple):
    """One configuration, stopped at one volume."""

    configuration: str
    """Name of the finding."""
    point: CurvePoint
    """Likra's, seeds joined; its volume is the number of negatives."""


def choices(findings: Sequence[Finding]) -> list[Choice]:
    """Likra at every volume above 0 of every configuration, in order; points without an accuracy are left out."""
    return [
        Choice(finding.name, point)
        for finding in findings
        for point in finding.curves["likra"]
        if point.volume > 0 and not math.isnan(point.accuracy)
    ]


def front(offered: Sequence[Choice]) -> list[Choice]:
    """The choices that no other beats, by negatives: each is more accurate than all with as few or fewer.

    Chosen on the questions it is shown on, so its accuracies are optimistic. Of equals the first is kept.
    """
    kept: list[Choice] = []
    for choice in sorted(offered, key=lambda one: (one.point.volume, -one.point.accuracy)):
        if not kept or choice.point.accuracy > kept[-1].point.accuracy:
            kept.append(choice)
    return kept


def front_by_definition(offered: Sequence[Choice]) -> list[Choice]:
    """`front` as the word is defined, pair by pair: the reference it is tested against. Without equals."""

    def beats(one: Choice, other: Choice) -> bool:
        fewer, better = one.point.volume <= other.point.volume, one.point.accuracy >= other.point.accuracy
        same = (one.point.volume, one.point.accuracy) == (other.point.volume, other.point.accuracy)
        return fewer and better and not same

    kept = [choice for choice in offered if not any(beats(other, choice) for other in offered)]
    return sorted(kept, key=lambda one: one.point.volume)
