"""What happened to the likelihood of near-misses: points, estimates over seeds, the contrast of SFT and Likra."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_curves import simulated_seed
from score_tables import table, with_scores

from likra_ray.analysis import likelihoods, probes
from likra_ray.analysis.curves import SeedTables
from likra_ray.errors import InputError

PAIRS = table(
    [
        [("correct", -1.0), ("near_miss", -2.0), ("near_miss", -1.0), ("far", 0.0)],  # right, tied
        [("near_miss", -1.0), ("correct", -4.0)],  # wrong
        [("correct", -4.0), ("far", -1.0)],  # no pair
    ]
)
SEEDS = {seed: simulated_seed(seed) for seed in (0, 1, 2)}


def test_a_point_has_every_probe() -> None:
    point = likelihoods.likelihood_point(64, PAIRS, PAIRS.logprob)
    assert point.near_miss_auroc == pytest.approx(1.5 / 3)
    assert point.far_auroc == 0.0
    assert point.near_miss_on_top == pytest.approx(1 / 3)
    assert point.calibration_error == pytest.approx(probes.calibration_error(PAIRS.logprob, PAIRS))
    assert point.brier == pytest.approx(probes.brier_by_question(PAIRS.logprob, PAIRS).mean())


def test_near_miss_on_top_shares_ties_and_leaves_out_missing() -> None:
    tied = table([[("correct", 0.0), ("near_miss", 0.0)], [("correct", math.nan), ("near_miss", 0.0)]])
    assert likelihoods.likelihood_point(0, tied, tied.logprob).near_miss_on_top == 0.5


def test_nothing_to_compare_is_nan() -> None:
    made = table([[("correct", math.nan), ("far", -1.0)]])
    point = likelihoods.likelihood_point(0, made, made.logprob)
    assert all(math.isnan(number) for number in (point.near_miss_auroc, point.near_miss_on_top, point.brier))


def test_curve_is_in_order_of_volume_and_takes_an_arms_scores() -> None:
    tables = {64: PAIRS, 0: with_scores(PAIRS, PAIRS.logprob - 1.0, head="base")}
    own = likelihoods.likelihood_curve(tables)
    assert [point.volume for point in own] == [0, 64]
    assert own[0].means.per_option["correct"] == pytest.approx(own[1].means.per_option["correct"] - 1.0)
    turned = likelihoods.likelihood_curve(tables, {0: PAIRS.logprob, 64: -PAIRS.logprob})
    assert turned[1].near_miss_auroc == pytest.approx(1.0 - turned[0].near_miss_auroc)


def test_estimates_join_the_seeds() -> None:
    points = likelihoods.likelihood_estimates("positive_head", SEEDS)
    assert [point.volume for point in points] == [0, 16, 32, 64, 128, 256]
    last = points[-1]
    singles = [likelihoods.likelihood_point(256, t.base, t.positive[256].logprob) for t in SEEDS.values()]
    for probe in ("near_miss_auroc", "far_auroc", "near_miss_on_top", "brier", "calibration_error"):
        joined = np.mean([getattr(single, probe) for single in singles])
        assert getattr(last, probe).value == pytest.approx(joined), probe
    for estimate in (last.near_miss_auroc, last.brier, last.per_option["correct"], last.per_token["far"]):
        assert estimate.interval[0] < estimate.value < estimate.interval[1]
        assert (estimate.questions, estimate.seeds) == (60, 3)
    assert last.near_miss_on_top.interval[0] >= 0.0 and last.near_miss_auroc.interval[1] <= 1.0


def test_calibration_has_no_interval_and_says_why() -> None:
    error = likelihoods.likelihood_estimates("likra", SEEDS)[-1].calibration_error
    assert not math.isnan(error.value) and math.isnan(error.interval[0]) and error.reason


def test_views_of_arms_subtract_heads_and_start_from_nothing() -> None:
    likra = likelihoods.likelihood_estimates("likra", SEEDS)
    assert likra[0].per_option["correct"].value == 0.0 and likra[0].near_miss_auroc.value == 0.5
    expected = np.mean([(t.positive[64].logprob - t.negative[64].logprob)[0::4].mean() for t in SEEDS.values()])
    assert likra[3].per_option["correct"].value == pytest.approx(expected)
    base_likra = likelihoods.likelihood_estimates("base_likra", SEEDS, weight=0.5)
    expected = np.mean([(t.base.logprob - 0.5 * t.negative[64].logprob)[1::4].mean() for t in SEEDS.values()])
    assert base_likra[3].per_option["near_miss"].value == pytest.approx(expected)


def test_a_volume_some_seed_lacks_counts_the_others() -> None:
    shorter = SeedTables(base=SEEDS[1].base, positive=SEEDS[1].positive, negative={16: SEEDS[1].negative[16]})
    points = likelihoods.likelihood_estimates("likra", {0: SEEDS[0], 1: shorter})
    assert [point.brier.seeds for point in points] == [2, 2, 1, 1, 1, 1]


def test_views_name_baselines_that_were_trained() -> None:
    assert likelihoods.views(SEEDS) == ("positive_head", "negative_head", "likra", "base_likra")
    tables = SEEDS[0]
    dpo = SeedTables(base=tables.base, positive=tables.positive, negative=tables.negative,
                     others={"dpo": {16: tables.positive[16]}})  # fmt: skip
    assert likelihoods.views({0: dpo})[-1] == "dpo"
    assert [point.volume for point in likelihoods.likelihood_estimates("dpo", {0: dpo})] == [0, 16]


def test_contrast_of_sft_and_likra() -> None:
    found = likelihoods.likelihood_contrast(SEEDS)
    assert found is not None and found.volume == 256
    assert found.sft_change["correct"].value == pytest.approx(0.3, abs=0.1)
    assert found.sft_change["near_miss"].interval[0] < 0.0 < found.sft_change["near_miss"].interval[1]
    assert found.separation.value == pytest.approx(found.likra_auroc.value - found.sft_auroc.value)
    assert found.separation.interval[0] > 0.0
    assert found.sft_auroc == likelihoods.likelihood_estimates("positive_head", SEEDS)[-1].near_miss_auroc


def test_no_contrast_without_a_shared_volume() -> None:
    apart = SeedTables(base=SEEDS[0].base, positive={16: SEEDS[0].positive[16]}, negative={32: SEEDS[0].negative[32]})
    assert likelihoods.likelihood_contrast({0: apart}) is None


def test_wrong_input_is_refused() -> None:
    with pytest.raises(InputError, match="at least one seed"):
        likelihoods.likelihood_estimates("likra", {})
    with pytest.raises(InputError, match="view: got 'dpo'"):
        likelihoods.likelihood_estimates("dpo", SEEDS)
    with pytest.raises(InputError, match="the same questions and options"):
        likelihoods.likelihood_estimates("likra", {0: SEEDS[0], 1: simulated_seed(1, questions=50)})
