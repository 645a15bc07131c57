"""Takes a trial's result, returns all of it that is a number, as MLflow shows it."""

from __future__ import annotations

import math
from typing import NamedTuple

from likra_ray.records import TrialResult


class Point(NamedTuple):
    """One value of one metric."""

    name: str
    value: float
    step: int
    """Volume, in examples; 0 for what has no volume."""


def trial_points(result: TrialResult) -> list[Point]:
    """All of a trial that is a number: metrics by volume, then what a table of runs compares.

    best/<arm>/accuracy and .../volume: the highest point of a curve; phase/<arm>/...: the critical phase, in examples
    and accuracy; trained/<role>: examples; seconds/<part>.
    """
    points = [Point(name, value, volume) for name, by in result.metrics.items() for volume, value in by.items()]
    for arm, curve in result.curves.items():
        measured = [point for point in curve if not math.isnan(point.accuracy)]
        if measured:
            top = max(measured, key=lambda point: point.accuracy)
            points += [Point(f"best/{arm}/accuracy", top.accuracy, 0), Point(f"best/{arm}/volume", top.volume, 0)]
    for arm, phase in result.phase.items():
        found = {"onset": phase.onset, "midpoint": phase.midpoint, "end": phase.end, "gain": phase.gain}
        points += [Point(f"phase/{arm}/{name}", value, 0) for name, value in found.items() if value is not None]
    points += [Point(f"trained/{role}", examples, 0) for role, examples in result.trained.items()]
    return points + [Point(f"seconds/{part}", value, 0) for part, value in result.seconds.items()]
