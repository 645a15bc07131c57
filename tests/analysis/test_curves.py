"""Learning curves from score tables, their points, and what an added example is worth."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from score_tables import lopsided, table, with_scores

from likra_ray.analysis import curves
from likra_ray.analysis.planted import Plant, planted_curve
from likra_ray.errors import InputError
from likra_ray.records import LearningCurve, ScoreTable

BASE = table([[("correct", -2.0), ("near_miss", -1.0)], [("correct", -1.0), ("near_miss", -1.0), ("far", -9.0)]])


def head(*scores: float) -> ScoreTable:
    return with_scores(BASE, np.array(scores), head="trained")


RIGHT = head(0.0, -5.0, 0.0, -5.0, -9.0)
WRONG = head(-5.0, 0.0, -5.0, 0.0, -9.0)


def curve_of(outcomes: np.ndarray, volumes: tuple[int, ...], arm: str = "likra") -> LearningCurve:
    return LearningCurve(
        arm=arm,
        metric="acc",
        question_ids=tuple(str(q) for q in range(outcomes.shape[2])),
        volumes=np.array(volumes),
        outcomes=outcomes,
        margins=np.zeros_like(outcomes),
    )


def test_volumes_are_those_with_all_tables_and_zero_is_the_base_twice() -> None:
    seed = curves.SeedTables(
        base=BASE, positive={8: RIGHT, 16: RIGHT, 32: RIGHT}, negative={16: WRONG, 8: WRONG, 0: RIGHT}
    )
    likra = curves.learning_curve("likra", "acc", {0: seed})
    assert likra.volumes.tolist() == [0, 8, 16]
    assert likra.outcomes[0].tolist() == [[0.5, pytest.approx(1 / 3)], [1.0, 1.0], [1.0, 1.0]]
    assert likra.margins[0].tolist() == [[0.0, 0.0], [10.0, 5.0], [10.0, 5.0]]
    sft = curves.learning_curve("sft", "acc", {0: seed})
    assert sft.volumes.tolist() == [0, 8, 16, 32]
    assert sft.outcomes[0, 0].tolist() == [0.0, 0.5]
    assert curves.learning_curve("base", "acc", {0: seed}).volumes.tolist() == [0]


def test_likra_at_volume_zero_is_chance_whatever_the_metric() -> None:
    base = lopsided(np.random.default_rng(0))
    base = with_scores(base, np.random.default_rng(1).normal(-9.0, 2.0, len(base.logprob)), head="base")
    seed = curves.SeedTables(base=base, positive={4: base}, negative={4: base})
    chance = np.mean([np.mean(base.kind[base.question == q] == 0) for q in range(len(base.question_ids))])
    for metric in ("acc", "acc_norm", "acc_bytes"):
        curve = curves.learning_curve("likra", metric, {0: seed})
        assert np.nanmean(curve.outcomes[0, 0]) == pytest.approx(chance)


def test_a_volume_one_seed_lacks_is_missing_there_and_seeds_are_in_order() -> None:
    first = curves.SeedTables(base=BASE, positive={8: RIGHT})
    second = curves.SeedTables(base=BASE, positive={8: WRONG, 16: RIGHT})
    curve = curves.learning_curve("sft", "acc", {7: second, 3: first})
    assert curve.volumes.tolist() == [0, 8, 16]
    assert curve.outcomes[:, 1, 0].tolist() == [1.0, 0.0]
    assert np.isnan(curve.outcomes[0, 2]).all()
    points = curves.points(curve, rng=np.random.default_rng(0))
    assert [(p.seeds, p.accuracy) for p in points] == [(2, 0.25), (2, 0.5), (1, 1.0)]


def test_the_largest_rise_does_not_depend_on_how_finely_it_is_measured() -> None:
    """Two questions in a hundred more at each of six volumes within a doubling, and at its two ends alone."""
    outcomes = np.array([[[float(q < 40 + 2 * step) for q in range(100)] for step in range(7)]])
    volumes = (0, 64, 72, 81, 92, 108, 128)
    fine = curves.largest_rise(curve_of(outcomes, volumes), rng=np.random.default_rng(0))
    coarse = curves.largest_rise(curve_of(outcomes[:, [0, 1, 6]], (0, 64, 128)), rng=np.random.default_rng(0))
    assert fine == pytest.approx(coarse, abs=1e-12) and 0.13 < fine < 0.18, "ten, and what resampling adds"


def test_a_rise_that_no_question_showed_is_excluded_by_the_rule_of_three() -> None:
    still = curve_of(np.ones((2, 3, 60)), (0, 8, 16))
    assert curves.largest_rise(still, rng=np.random.default_rng(0)) == pytest.approx(3 / 60)
    assert math.isnan(curves.largest_rise(curve_of(np.ones((1, 1, 9)), (0,)), rng=np.random.default_rng(0)))


def test_a_baseline_is_a_curve_of_its_own_head_from_the_base_on() -> None:
    seed = curves.SeedTables(base=BASE, positive={8: RIGHT}, others={"dpo": {8: WRONG, 16: RIGHT}, "kto": {}})
    assert seed.baselines == ("dpo",)
    dpo = curves.learning_curve("dpo", "acc", {0: seed})
    assert dpo.volumes.tolist() == [0, 8, 16]
    assert dpo.outcomes[0].tolist() == [[0.0, 0.5], [0.0, 0.0], [1.0, 1.0]]
    assert curves.learning_curve("kto", "acc", {0: seed}).volumes.tolist() == [0]
    assert curves.learning_curve("npo", "acc", {0: seed}).volumes.tolist() == [0]


def test_what_stands_for_a_head_at_a_volume() -> None:
    seed = curves.SeedTables(base=BASE, positive={8: RIGHT, 0: WRONG}, others={"dpo": {8: WRONG}})
    found = {(head, n): seed.at(head, n) for head in ("base", "positive", "dpo", "orpo") for n in (0, 8, 16)}
    tables = {"base": (BASE, BASE, BASE), "positive": (BASE, RIGHT, None), "dpo": (BASE, WRONG, None),
              "orpo": (BASE, None, None)}  # fmt: skip
    for head, expected in tables.items():
        assert tuple(found[head, n] for n in (0, 8, 16)) == expected


def test_tables_of_other_heads_must_be_of_the_same_questions() -> None:
    stranger = table([[("correct", -2.0), ("far", -1.0)]], head="another")
    with pytest.raises(InputError, match="another"):
        curves.learning_curve("sft", "acc", {0: curves.SeedTables(base=BASE, others={"dpo": {8: stranger}})})


def test_wrong_input_is_refused() -> None:
    with pytest.raises(InputError, match="at least one seed"):
        curves.learning_curve("likra", "acc", {})
    with pytest.raises(InputError, match="a whole number from 0"):
        curves.learning_curve("sft", "acc", {0: curves.SeedTables(base=BASE, positive={-8: RIGHT})})
    other = curves.SeedTables(base=table([[("correct", -2.0), ("far", -1.0)]], head="another"))
    with pytest.raises(InputError, match="another"):
        curves.learning_curve("base", "acc", {0: curves.SeedTables(base=BASE), 1: other})


def test_points_have_binomial_intervals_and_pair_questions_between_volumes() -> None:
    rng = np.random.default_rng(5)
    right = (rng.random(400) < 0.6).astype(float)
    curve = curve_of(np.array([[right, right]]), (0, 8))
    points = curves.points(curve, rng=rng)
    low, high = points[0].interval
    assert points[0].accuracy == pytest.approx(right.mean())
    assert (high - low) / 2 == pytest.approx(1.96 * math.sqrt(0.24 / 400), rel=0.1)
    assert points[0].interval == points[1].interval
    step = curves.efficiency(curve, rng=rng)[0]
    assert step.gain_interval == (0.0, 0.0)  # the same answers: no noise in the difference


def test_seeds_that_differ_widen_the_interval() -> None:
    rng = np.random.default_rng(6)
    seeds = np.array([[(rng.random(400) < p)] for p in (0.4, 0.5, 0.6)], dtype=float)
    together = curves.points(curve_of(seeds, (8,)), rng=rng)[0].interval
    alone = curves.points(curve_of(seeds[1:2], (8,)), rng=rng)[0].interval
    assert together[1] - together[0] > 1.5 * (alone[1] - alone[0])


def test_efficiency_per_example_and_per_doubling() -> None:
    outcomes = np.stack([np.arange(100) < n for n in (20, 40, 70)]).astype(float)[None]
    first, second = curves.efficiency(curve_of(outcomes, (0, 16, 64)), rng=np.random.default_rng(0))
    assert (first.start, first.end) == (0, 16)
    assert first.per_example == pytest.approx(0.2 / 16)
    assert math.isnan(first.per_doubling) and np.isnan(first.per_doubling_interval).all()
    assert second.per_example == pytest.approx(0.3 / 48)
    assert second.per_doubling == pytest.approx(0.15)
    low, high = second.per_example_interval
    assert 0 < low < second.per_example < high
    assert second.per_doubling_interval == pytest.approx((low * 24, high * 24))
    assert curves.efficiency(curve_of(outcomes[:, :1], (16,)), rng=np.random.default_rng(0)) == []


def test_efficiency_ratio_is_bounded_only_where_the_second_arm_surely_gains() -> None:
    rng = np.random.default_rng(8)
    latent = rng.random((1, 1, 1000))
    likra = curve_of((latent < np.array([0.25, 0.55, 0.56])[None, :, None]).astype(float), (0, 64, 128))
    fresh = rng.random((1, 3, 1000))
    sft = curve_of((fresh < np.array([0.40, 0.50, 0.50])[None, :, None]).astype(float), (0, 64, 128), arm="sft")
    sure, unsure = curves.efficiency_ratio(likra, sft, rng=rng)
    assert sure.bounded and sure.interval[0] < sure.ratio < sure.interval[1] < math.inf
    assert sure.at_least == sure.interval[0] > 0
    assert not unsure.bounded and math.isnan(unsure.ratio) and unsure.interval == (-math.inf, math.inf)
    assert "no upper bound" in unsure.reason


def test_efficiency_ratio_says_how_large_it_is_at_least() -> None:
    rng = np.random.default_rng(9)
    likra = curve_of((rng.random((1, 2, 800)) < np.array([0.25, 0.55])[None, :, None]).astype(float), (64, 128))
    flat = curve_of((rng.random((1, 2, 800)) < 0.5).astype(float), (64, 128), arm="sft")
    found = curves.efficiency_ratio(likra, flat, rng=rng)[0]
    assert not found.bounded and 2.0 < found.at_least < 20.0
    itself = curves.efficiency_ratio(likra, likra, rng=rng)[0]
    assert (itself.ratio, *itself.interval) == pytest.approx((1.0, 1.0, 1.0))
    with pytest.raises(InputError, match="the same questions"):
        curves.efficiency_ratio(likra, curve_of(np.zeros((1, 2, 3)), (64, 128)), rng=rng)


def test_fiellers_interval_covers_the_true_ratio() -> None:
    covered = 0
    for draw in range(60):
        rng = np.random.default_rng(draw)
        latent = rng.random((1, 1, 300)) + 0.1 * rng.standard_normal((1, 2, 300))
        likra = curve_of((latent < np.array([0.3, 0.6])[None, :, None]).astype(float), (32, 64))
        sft = curve_of((latent < np.array([0.4, 0.55])[None, :, None]).astype(float), (32, 64))
        found = curves.efficiency_ratio(likra, sft, rng=rng, resamples=300)[0]
        covered += found.interval[0] <= 2.0 <= found.interval[1]
    assert covered >= 52


def test_points_are_fast() -> None:
    plant = Plant(volumes=(0, 8, 16, 32, 64, 128, 256, 512, 1024, 2048))
    outcomes = planted_curve(plant, questions=1200, seeds=1, rng=np.random.default_rng(0))
    curve = curve_of(outcomes, plant.volumes)
    start = time.process_time()
    curves.points(curve, rng=np.random.default_rng(0), resamples=1000)
    assert time.process_time() - start < 1.0
