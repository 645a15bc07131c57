"""The bootstrap: the fast products against the draw-by-draw definition, missing outcomes included."""

from __future__ import annotations

import numpy as np
import pytest

from likra_ray.analysis import resampling


def lopsided_outcomes(rng: np.random.Generator) -> np.ndarray:
    """(3, 4, 17) outcomes with holes: single questions, one volume of one seed, one volume of all but a seed."""
    outcomes = rng.random((3, 4, 17)).round(1)
    outcomes[rng.random(outcomes.shape) < 0.1] = np.nan
    outcomes[0, 2, :] = np.nan
    outcomes[:2, 3, :] = np.nan
    return outcomes


def test_resampled_means_equal_their_definition() -> None:
    rng = np.random.default_rng(0)
    outcomes = lopsided_outcomes(rng)
    draws = resampling.draw(questions=17, seeds=3, resamples=40, rng=rng)
    fast = resampling.resampled_means(outcomes, draws)
    np.testing.assert_allclose(fast, resampling.resampled_means_by_draw(outcomes, draws), atol=1e-12)
    assert np.isnan(fast[:, 3]).any()  # draws without the one seed that measured volume 3
    assert not np.isnan(fast[:, 0]).any()


def test_draws_are_counts_with_replacement() -> None:
    draws = resampling.draw(questions=30, seeds=1, resamples=500, rng=np.random.default_rng(1))
    assert np.all(draws.questions.sum(axis=1) == 30)
    assert np.all(draws.seeds == 1)
    assert draws.questions.var() == pytest.approx(1.0 - 1.0 / 30.0, rel=0.05)  # multinomial


def test_interval_leaves_out_missing() -> None:
    values = np.append(np.linspace(0.0, 1.0, 101), np.nan)
    assert resampling.interval(values) == pytest.approx((0.025, 0.975))
    assert np.isnan(resampling.interval(np.array([np.nan]))).all()
