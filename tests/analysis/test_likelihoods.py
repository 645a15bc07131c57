"""Probes of near-misses: hand-made tables, and the fast pair count against the double loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
from score_tables import lopsided, table, with_scores

from likra_ray.analysis import likelihoods

PAIRS = table(
    [
        [("correct", -1.0), ("near_miss", -2.0), ("near_miss", -1.0), ("far", 0.0)],  # right, tied
        [("near_miss", -1.0), ("correct", -4.0)],  # wrong
        [("correct", -4.0), ("far", -1.0)],  # no pair
    ]
)


def test_auroc_counts_pairs_within_questions() -> None:
    assert likelihoods.near_miss_auroc(PAIRS.logprob, PAIRS) == pytest.approx(1.5 / 3)


@pytest.mark.parametrize("seed", range(8))
def test_auroc_equals_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = lopsided(rng)
    scores = np.where(rng.random(len(made.logprob)) < 0.05, np.nan, made.logprob)
    expected = likelihoods.near_miss_auroc_by_pair(scores, made)
    assert likelihoods.near_miss_auroc(scores, made) == pytest.approx(expected, abs=1e-12)


def test_near_miss_on_top_shares_ties_and_leaves_out_missing() -> None:
    assert likelihoods.near_miss_on_top(PAIRS.logprob, PAIRS) == pytest.approx(1 / 3)
    tied = table([[("correct", 0.0), ("near_miss", 0.0)], [("correct", math.nan), ("near_miss", 0.0)]])
    assert likelihoods.near_miss_on_top(tied.logprob, tied) == 0.5


def test_nothing_to_compare_is_nan() -> None:
    made = table([[("correct", math.nan), ("far", -1.0)]])
    assert math.isnan(likelihoods.near_miss_auroc(made.logprob, made))
    assert math.isnan(likelihoods.near_miss_on_top(made.logprob, made))


def test_curve_is_in_order_of_volume_and_takes_an_arms_scores() -> None:
    tables = {64: PAIRS, 0: with_scores(PAIRS, PAIRS.logprob - 1.0, head="base")}
    own = likelihoods.likelihood_curve(tables)
    assert [point.volume for point in own] == [0, 64]
    assert own[0].means.per_option["correct"] == pytest.approx(own[1].means.per_option["correct"] - 1.0)
    turned = likelihoods.likelihood_curve(tables, {0: PAIRS.logprob, 64: -PAIRS.logprob})
    assert turned[1].near_miss_auroc == pytest.approx(1.0 - turned[0].near_miss_auroc)
