"""The bootstrap against its draw-by-draw definition, the widening against the analysis of variance cell by cell."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from likra_ray.analysis import resampling


def lopsided_outcomes(rng: np.random.Generator) -> np.ndarray:
    """(3, 4, 17) outcomes with holes: single questions, one volume of one seed, one volume of all but a seed."""
    outcomes = rng.random((3, 4, 17)).round(1)
    outcomes[rng.random(outcomes.shape) < 0.1] = np.nan
    outcomes[0, 2, :] = np.nan
    outcomes[:2, 3, :] = np.nan
    outcomes[2, 3] = np.where(np.arange(17) < 2, 0.5 * np.arange(17), np.nan)
    return outcomes


def test_resampled_means_equal_their_definition() -> None:
    rng = np.random.default_rng(0)
    outcomes = lopsided_outcomes(rng)
    draws = resampling.draw(questions=17, resamples=60, rng=rng)
    fast = resampling.resampled_means(outcomes, draws)
    np.testing.assert_allclose(fast, resampling.resampled_means_by_draw(outcomes, draws), atol=1e-12)
    assert np.isnan(fast[:, 3]).any()  # draws without one of the two questions measured at volume 3
    assert not np.isnan(fast[:, 0]).any()


def test_draws_are_counts_with_replacement() -> None:
    draws = resampling.draw(questions=30, resamples=500, rng=np.random.default_rng(1))
    assert np.all(draws.sum(axis=1) == 30)
    assert draws.var() == pytest.approx(1.0 - 1.0 / 30.0, rel=0.05)  # multinomial


def test_interval_leaves_out_missing_and_stretches_about_the_estimate() -> None:
    values = np.append(np.linspace(0.0, 1.0, 101), np.nan)
    assert resampling.interval(values) == pytest.approx((0.025, 0.975))
    assert resampling.interval(values, estimate=0.4, widened=2.0) == pytest.approx((-0.35, 1.55))
    assert np.isnan(resampling.interval(np.array([np.nan]))).all()


def test_gradient_of_a_linear_statistic_is_exact_and_missing_draws_are_left_out() -> None:
    rng = np.random.default_rng(2)
    curves = rng.random((50, 4))
    statistic = curves @ np.array([1.0, -2.0, 0.0, 0.5])
    statistic[3], curves[7, 1] = np.nan, np.nan
    np.testing.assert_allclose(resampling.gradient(curves, statistic), [1.0, -2.0, 0.0, 0.5], atol=1e-12)
    assert np.all(resampling.gradient(np.full((5, 3), np.nan), np.zeros(5)) == 0.0)


def test_influences_are_what_leaving_a_little_of_a_cell_out_does() -> None:
    outcomes = lopsided_outcomes(np.random.default_rng(3))
    slope = np.array([1.0, -0.5, 2.0, 0.0])
    weights = np.ones((3, 17))

    def statistic() -> float:
        shares = np.where(np.isnan(outcomes), 0.0, weights[:, None, :])
        weighted = (shares * np.nan_to_num(outcomes)).sum(axis=(0, 2)) / shares.sum(axis=(0, 2))
        return float(slope @ weighted)

    found = resampling.influences(outcomes, slope)
    for seed, question in ((0, 0), (1, 5), (2, 16)):
        weights[seed, question] = 1.0 + 1e-6
        more = statistic()
        weights[seed, question] = 1.0 - 1e-6
        assert found[seed, question] == pytest.approx((more - statistic()) / 2e-6 * 3 * 17, rel=1e-4, abs=1e-6)
        weights[seed, question] = 1.0


def test_seeds_that_measured_nothing_of_a_statistic_are_left_out() -> None:
    outcomes = lopsided_outcomes(np.random.default_rng(4))
    assert resampling.influences(outcomes, np.array([0.0, 0.0, 1.0, 0.0])).shape == (2, 17)
    assert resampling.influences(outcomes, np.array([0.0, 0.0, 0.0, 1.0])).shape == (1, 17)


def widening_by_the_book(influence: np.ndarray) -> float:
    """`widening` for three seeds or more, sums of squares cell by cell."""
    seeds, questions = influence.shape
    grand = influence.mean()
    of_seed = sum(questions * (influence[s].mean() - grand) ** 2 for s in range(seeds)) / (seeds - 1)
    of_question = sum(seeds * (influence[:, q].mean() - grand) ** 2 for q in range(questions)) / (questions - 1)
    rest = 0.0
    for s in range(seeds):
        for q in range(questions):
            rest += (influence[s, q] - influence[s].mean() - influence[:, q].mean() + grand) ** 2
    rest /= (seeds - 1) * (questions - 1)
    variance = max(of_seed + of_question - rest, of_question)
    freedom = variance**2 / (
        of_seed**2 / (seeds - 1) + of_question**2 / (questions - 1) + rest**2 / ((seeds - 1) * (questions - 1))
    )
    return float(stats.t.ppf(0.975, freedom) / 1.959964 * np.sqrt(variance / of_question))


@pytest.mark.parametrize("apart", [0.0, 0.5, 2.0])
def test_widening_equals_its_definition(apart: float) -> None:
    rng = np.random.default_rng(5)
    influence = rng.standard_normal((4, 23)) + rng.standard_normal(23) + apart * rng.standard_normal((4, 1))
    assert resampling.widening(influence) == pytest.approx(widening_by_the_book(influence))


def test_widening_without_a_second_seed_or_any_scatter_is_none() -> None:
    rng = np.random.default_rng(6)
    assert resampling.widening(rng.random((1, 30))) == 1.0
    assert resampling.widening(rng.random((3, 1))) == 1.0
    assert resampling.widening(np.ones((3, 30))) == 1.0


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("spread", [0.0, 1.0, 2.0])
def test_widened_intervals_cover_over_runs_and_questions(seeds: int, spread: float) -> None:
    """Spread: between seeds, in standard errors over questions of one seed. 3 standard errors of 400 draws: .033."""
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(400):
        influence = rng.standard_normal((seeds, 40)) + 0.5 * rng.standard_normal(40)
        influence = influence + spread / np.sqrt(40) * rng.standard_normal((seeds, 1))
        error = influence.mean(axis=0).std(ddof=1) / np.sqrt(40)
        covered += abs(influence.mean()) < resampling.widening(influence - influence.mean()) * 1.96 * error
    assert 0.91 - 0.033 <= covered / 400 <= 0.99 + 0.01
