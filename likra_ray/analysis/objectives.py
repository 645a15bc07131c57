"""Takes trial results, returns the numbers a sweep optimises and the trials no other trial beats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from likra_ray.errors import InputError
from likra_ray.records import TrialResult

OBJECTIVES = ("accuracy", "accuracy_norm", "gain_over_sft", "negatives")
"""What a sweep may optimise; the names of spec.Objective."""


def objective_value(result: TrialResult, metric: str, volume: int | None = None) -> float:
    """One objective of a trial at one volume; NaN where the trial failed or did not measure it there.

    metric: accuracy and accuracy_norm are Likra's, in [0, 1]; gain_over_sft is Likra's accuracy less SFT's;
        negatives is the volume itself, in examples.
    volume: examples both heads have seen; None: the largest at which Likra was scored.
    Raises InputError on an unknown metric.
    """
    if metric not in OBJECTIVES:
        raise InputError(where="objective", field="metric", value=metric, allowed=f"one of {OBJECTIVES}")
    likra = result.metrics.get("likra/accuracy", {})
    if result.status == "failed" or not likra:
        return math.nan
    at = max(likra) if volume is None else volume
    accuracy = likra.get(at, math.nan)
    if metric == "accuracy":
        return accuracy
    if metric == "accuracy_norm":
        return result.metrics.get("likra/accuracy_norm", {}).get(at, math.nan)
    if metric == "gain_over_sft":
        return accuracy - result.metrics.get("sft/accuracy", {}).get(at, math.nan)
    return math.nan if math.isnan(accuracy) else float(at)


def best(results: Sequence[TrialResult], objective: Mapping[str, str]) -> list[TrialResult]:
    """The trials that no other beats: with one metric the best and all that equal it, with several the Pareto front.

    objective: metric -> max or min. A trial beats another if it is nowhere worse and somewhere better. Failed trials
    and trials with a NaN among their objectives are left out. Ordered by the first metric, the better first; trials
    that are equal there keep their order.
    """
    signs = {metric: -1.0 if mode == "min" else 1.0 for metric, mode in objective.items()}
    scored = []
    for result in results:
        values = tuple(sign * objective_value(result, metric) for metric, sign in signs.items())
        if not any(math.isnan(value) for value in values):
            scored.append((values, result))
    front = [(values, result) for values, result in scored if not any(_beats(other, values) for other, _ in scored)]
    return [result for _, result in sorted(front, key=lambda one: -one[0][0])]


def _beats(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    return first != second and all(a >= b for a, b in zip(first, second, strict=True))
