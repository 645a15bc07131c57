"""The grid of volumes and weights is what the arms say, cell by cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from score_tables import lopsided, with_scores

from likra_ray.analysis.arms import arm_scores, credit, normalised
from likra_ray.analysis.grids import weight_grid
from likra_ray.errors import InputError
from likra_ray.records import METRICS, Metric, ScoreTable

BASE = lopsided(np.random.default_rng(0))


def heads(seed: int, *volumes: int) -> dict[int, ScoreTable]:
    rng = np.random.default_rng(seed)
    return {n: with_scores(BASE, rng.integers(-9, 0, BASE.logprob.size) / 2.0, head="head") for n in volumes}


@pytest.mark.parametrize("metric", METRICS)
def test_every_cell_is_its_arm(metric: Metric) -> None:
    positive, negative, weights = heads(1, 64, 16), heads(2, 32, 8, 128), (0.0, 0.5, 1.0)
    grid = weight_grid(positive, negative, weights=weights, metric=metric)
    assert grid.accuracy.shape == (2, 3, 3)
    assert grid.positives.tolist() == [16, 64] and grid.negatives.tolist() == [8, 32, 128]
    for i, n in enumerate(grid.positives.tolist()):
        for j, m in enumerate(grid.negatives.tolist()):
            for k, weight in enumerate(weights):
                scores = arm_scores("likra", {"positive": positive[n], "negative": negative[m]}, weight=weight)
                assert grid.accuracy[i, j, k] == credit(normalised(scores, BASE, metric), BASE).mean()
    assert np.ptp(grid.accuracy[:, :, 0], axis=1).max() == 0.0  # weight 0 is SFT


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"positive": {}}, "positive"),
        ({"negative": {}}, "negative"),
        ({"weights": ()}, "weights"),
        ({"weights": (float("nan"),)}, "weights"),
        ({"negative": {8: lopsided(np.random.default_rng(3), questions=9)}}, "question_ids"),
    ],
)
def test_what_is_no_grid_is_refused(changed: dict[str, Any], named: str) -> None:
    given: dict[str, Any] = {"positive": heads(1, 16), "negative": heads(2, 16), "weights": (1.0,)} | changed
    with pytest.raises(InputError, match=named):
        weight_grid(given.pop("positive"), given.pop("negative"), **given)
