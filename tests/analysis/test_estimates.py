"""Estimates of contrasts: against the definitions, coverage over seeds and questions, what is missing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from likra_ray.analysis.estimates import Estimate, curve_draws, mean_of, missing, ordered_interval, ratio_of
from likra_ray.analysis.resampling import NORMAL_95, means

NAN, INF = math.nan, math.inf


def test_one_seed_is_the_textbook_interval() -> None:
    contrasts = np.random.default_rng(0).normal(0.2, 1.0, size=(1, 50))
    found = mean_of(contrasts)
    half = NORMAL_95 * contrasts.std(ddof=1) / np.sqrt(50)
    assert found.value == pytest.approx(contrasts.mean())
    assert found.interval == pytest.approx((contrasts.mean() - half, contrasts.mean() + half))
    assert (found.questions, found.seeds, found.reason) == (50, 1, "")


@pytest.mark.parametrize("runs", [0.0, 0.1])
@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_interval_covers(seeds: int, runs: float) -> None:
    """Questions and seeds that scatter: 90 of 100 intervals or more hold the truth; of the run, where there is one."""
    rng = np.random.default_rng([seeds, int(10 * runs)])
    covered = 0
    for _ in range(300):
        of_runs = runs * rng.standard_normal((seeds, 1))
        contrasts = 0.1 + of_runs + 0.3 * rng.standard_normal(80) + 0.5 * rng.standard_normal((seeds, 80))
        low, high = mean_of(contrasts).interval
        covered += low <= (0.1 + of_runs[0, 0] if seeds == 1 else 0.1) <= high
    assert covered >= 270


def test_a_ratio_is_all_over_all_and_lopsided_parts_count() -> None:
    numerator, denominator = np.array([[1.0, 6.0, 0.0]]), np.array([[2.0, 6.0, 0.0]])
    found = ratio_of(numerator, denominator)
    assert found.value == pytest.approx(7.0 / 8.0)
    assert found.questions == 2  # the third has nothing to say


def test_ratio_interval_agrees_with_resampling() -> None:
    rng = np.random.default_rng(1)
    denominator = rng.integers(1, 6, size=(1, 200)).astype(float)
    numerator = rng.binomial(denominator.astype(int), 0.7).astype(float)
    picked = rng.integers(200, size=(2000, 200))
    draws = numerator[0][picked].sum(axis=1) / denominator[0][picked].sum(axis=1)
    assert ratio_of(numerator, denominator).interval == pytest.approx(np.percentile(draws, (2.5, 97.5)), abs=0.01)


def test_what_is_not_measured_is_left_out_and_counted() -> None:
    contrasts = np.array([[1.0, NAN, 0.0, NAN], [1.0, 0.0, NAN, NAN], [NAN, NAN, NAN, NAN]])
    found = mean_of(contrasts)
    assert found.value == pytest.approx(0.5)
    assert (found.questions, found.seeds) == (3, 2)
    nothing = mean_of(np.full((2, 3), NAN))
    assert math.isnan(nothing.value) and nothing.reason == "Nothing was measured."
    single = mean_of(np.array([[0.5], [0.7]]))
    assert single.value == pytest.approx(0.6) and math.isnan(single.interval[0]) and single.reason


@pytest.mark.parametrize(
    ("interval", "excludes"),
    [((0.1, 0.2), True), ((-0.2, -0.1), True), ((-0.1, 0.1), False), ((0.0, 0.1), False), ((NAN, NAN), False)],
)
def test_excludes_zero(interval: tuple[float, float], excludes: bool) -> None:
    assert Estimate(value=0.0, interval=interval, questions=1, seeds=1).excludes_zero is excludes


def test_missing_says_why() -> None:
    assert missing("no seed", questions=3).reason == "no seed" and math.isnan(missing("x").value)


def test_curve_draws_spread_with_the_seeds_and_keep_their_centre() -> None:
    rng = np.random.default_rng(2)
    agree = np.repeat((rng.random((1, 3, 200)) < 0.5).astype(float), 3, axis=0)
    differ = agree.copy()
    differ[0], differ[1] = 0.0, 1.0
    drawn, spread = (curve_draws(one, rng=np.random.default_rng(0), resamples=500) for one in (agree, differ))
    assert drawn.mean(axis=0) == pytest.approx(means(agree), abs=0.01)
    assert np.all(spread.std(axis=0) > 3 * drawn.std(axis=0))


@pytest.mark.parametrize(
    ("draws", "interval"),
    [
        (np.arange(1.0, 1001.0), (25.0, 975.0)),
        (np.array([1.0] * 500 + [INF] * 500), (1.0, INF)),
        (np.array([INF] * 10), (INF, INF)),
        (np.array([]), (NAN, NAN)),
    ],
)
def test_ordered_interval(draws: np.ndarray, interval: tuple[float, float]) -> None:
    assert ordered_interval(draws) == pytest.approx(interval, nan_ok=True)
