"""A jump against no jump: the chances are those of a likelihood-ratio test, and every story has its own threshold."""

from __future__ import annotations

import numpy as np
import pytest

from likra_ray.analysis import fits, simpler_stories

VOLUMES = np.array([0, 16, 32, 64, 128, 256, 512, 1024])
COVARIANCE = 0.0004 * (0.5 * np.eye(len(VOLUMES)) + 0.5)
LOGISTIC = fits.project(fits.logistic_shapes(VOLUMES), COVARIANCE, upward=True)


def chances_of(curve: np.ndarray, seed: int = 0) -> simpler_stories.Chances:
    rng = np.random.default_rng(seed)
    return simpler_stories.chances(VOLUMES, curve, COVARIANCE, LOGISTIC, dipped=False, rng=rng)


def test_a_clear_jump_leaves_no_story_a_chance_and_a_flat_curve_leaves_all_of_them_one() -> None:
    assert max(chances_of(0.4 + 0.3 * (VOLUMES > 100))[:3]) == pytest.approx(1 / (simpler_stories.SIMULATIONS + 1))
    assert min(chances_of(np.full(len(VOLUMES), 0.4))[:3]) > 0.2


def test_each_story_explains_its_own_curve() -> None:
    steady = chances_of(0.3 + 0.05 * np.arange(len(VOLUMES)))
    assert steady.constant < 0.01 < 0.2 < steady.log_linear
    saturating = chances_of(0.3 + 0.3 * -np.expm1(-VOLUMES / 40.0))
    assert saturating.log_linear < 0.01 < 0.2 < saturating.diminishing


@pytest.mark.parametrize("rise", ["log_linear", "saturating"])
def test_under_a_story_its_chance_is_below_the_level_about_as_often_as_the_level_says(rise: str) -> None:
    """40 draws at 3 %: more than five has a chance of about 0.1 %."""
    mean = 0.3 + (0.05 * np.arange(len(VOLUMES)) if rise == "log_linear" else -0.3 * np.expm1(-VOLUMES / 60.0))
    root = np.linalg.cholesky(COVARIANCE)
    rng = np.random.default_rng(1)
    called = 0
    for draw in range(40):
        curve = mean + root @ rng.standard_normal(len(VOLUMES))
        called += max(chances_of(curve, draw)[:3]) <= simpler_stories.LEVEL
    assert called <= 5


def test_what_even_the_logistic_cannot_follow_is_no_evidence() -> None:
    jagged = 0.4 + 0.12 * (VOLUMES > 100) + 0.12 * (-1.0) ** np.arange(len(VOLUMES))
    calm = 0.4 + 0.12 * (VOLUMES > 100)
    assert max(chances_of(jagged)[:3]) > simpler_stories.LEVEL > max(chances_of(calm)[:3])
