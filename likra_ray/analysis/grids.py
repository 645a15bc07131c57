"""Takes score tables of a positive and a negative head at many volumes, returns accuracy at every pair and weight.

Heads are scored once; which of them are paired and how much the negative one weighs is arithmetic on their tables, so
a whole grid needs no pass through the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from likra_ray.analysis.arms import check_same_questions, credit, normalised
from likra_ray.errors import InputError
from likra_ray.records import Metric, ScoreTable


class WeightGrid(NamedTuple):
    """Accuracy of  log p under the positive head - weight * log p under the negative one."""

    positives: np.ndarray
    """(P,) int, volumes of the positive head, increasing."""
    negatives: np.ndarray
    """(N,) int, volumes of the negative head, increasing."""
    weights: np.ndarray
    """(W,) as given."""
    accuracy: np.ndarray
    """(P, N, W) mean over questions, ties shared."""


def weight_grid(
    positive: Mapping[int, ScoreTable],
    negative: Mapping[int, ScoreTable],
    *,
    weights: Sequence[float],
    metric: Metric = "acc",
) -> WeightGrid:
    """Accuracy at every pair of volumes and every weight. At weight 0 it is SFT's, whatever the negative head.

    positive, negative: score table by volume. The best cell is chosen on the questions it is shown on, so it is
    optimistic. Raises InputError: no table, no weight, a weight not finite, tables of different questions.
    """
    for field, given in (("positive", positive), ("negative", negative), ("weights", weights)):
        if not len(given):
            raise InputError(where="weight grid", field=field, value=given, allowed="at least one")
    if not np.isfinite(weights).all():
        raise InputError(where="weight grid", field="weights", value=list(weights), allowed="finite numbers")
    rows, columns = sorted(positive), sorted(negative)
    check_same_questions([*positive.values(), *negative.values()])
    table = positive[rows[0]]

    def accuracy(volume: int, other: int, weight: float) -> float:
        scores = positive[volume].logprob - weight * negative[other].logprob
        return float(credit(normalised(scores, table, metric), table).mean())

    cells = [[[accuracy(n, m, weight) for weight in weights] for m in columns] for n in rows]
    return WeightGrid(np.array(rows), np.array(columns), np.array(weights, dtype=np.float64), np.array(cells))
