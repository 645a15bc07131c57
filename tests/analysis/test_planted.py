"""The simulator plants what it says: the tests of the critical phase rest on it."""

from __future__ import annotations

import numpy as np
import pytest

from likra_ray.analysis.planted import (
    FAMILIES,
    NULL_FAMILIES,
    Family,
    Plant,
    planted_curve,
    planted_margins,
    planted_mean,
)
from likra_ray.errors import InputError


@pytest.mark.parametrize("family", FAMILIES)
def test_outcomes_have_the_planted_accuracy(family: Family) -> None:
    plant = Plant(family=family)
    outcomes = planted_curve(plant, questions=20_000, seeds=2, rng=np.random.default_rng(0))
    np.testing.assert_allclose(outcomes.mean(axis=(0, 2)), planted_mean(plant), atol=0.012)


def test_a_phase_has_its_midpoint_width_and_gain() -> None:
    plant = Plant(volumes=(0, 50, 100, 200, 100_000), start=0.3, gain=0.4, midpoint=100.0, width=2.0)
    np.testing.assert_allclose(planted_mean(plant), [0.3, 0.34, 0.5, 0.66, 0.7], atol=1e-4)


@pytest.mark.parametrize("family", NULL_FAMILIES)
def test_null_families_never_speed_up(family: Family) -> None:
    mean = planted_mean(Plant(family=family, volumes=tuple(range(16, 1025, 16))))
    assert np.all(np.diff(mean, 2) <= 1e-12)


def test_checkpoints_are_correlated_as_stated() -> None:
    plant = Plant(family="constant", start=0.5, shared=0.5, run=0.3)
    outcomes = planted_curve(plant, questions=40_000, seeds=2, rng=np.random.default_rng(1))
    within = np.corrcoef(outcomes[0, 1], outcomes[0, 5])[0, 1]
    between = np.corrcoef(outcomes[0, 1], outcomes[1, 1])[0, 1]
    assert within == pytest.approx(2 / np.pi * np.arcsin(0.8), abs=0.02)  # orthants of a bivariate Gaussian
    assert between == pytest.approx(2 / np.pi * np.arcsin(0.5), abs=0.02)


def test_dip_tie_and_seed_spread() -> None:
    plant = Plant(dip=0.1, tied_at_zero=0.25, seed_spread=0.5)
    mean = planted_mean(plant)
    assert mean.min() < plant.start == mean[0]
    outcomes = planted_curve(plant, questions=4000, seeds=3, rng=np.random.default_rng(0))
    assert np.all(outcomes[:, 0] == 0.25)
    assert outcomes[:, 3].mean(axis=1).std() > 0.02


def test_impossible_plants_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=r"within \[0, 1\]"):
        planted_curve(Plant(start=0.9, gain=0.3), questions=10, seeds=1, rng=rng)
    with pytest.raises(InputError, match="shared"):
        planted_curve(Plant(shared=0.8, run=0.4), questions=10, seeds=1, rng=rng)


def test_drift_is_after_the_midpoint_and_levels_differ_between_runs() -> None:
    plant = Plant(drift=-0.1)
    drifted, still = planted_mean(plant), planted_mean(Plant())
    assert np.all(drifted[:4] == still[:4])  # up to 64 of a midpoint at 100
    assert drifted[-1] - still[-1] == pytest.approx(-0.1)
    outcomes = planted_curve(Plant(level_spread=0.1), questions=4000, seeds=4, rng=np.random.default_rng(1))
    heights = outcomes.mean(axis=2)
    assert heights.mean(axis=1).std(ddof=1) > 0.04
    np.testing.assert_allclose(
        heights - heights.mean(axis=1, keepdims=True), still - still.mean() + 0 * heights, atol=0.05
    )


def test_margins_have_the_planted_mean_and_heavy_tails() -> None:
    plant = Plant(start=-2.0, gain=3.0, tied_at_zero=0.0)
    margins = planted_margins(plant, questions=40_000, seeds=2, spread=2.0, tails=3.0, rng=np.random.default_rng(2))
    assert np.all(margins[:, 0] == 0.0)
    np.testing.assert_allclose(np.median(margins, axis=(0, 2))[1:], planted_mean(plant)[1:], atol=0.05)
    far = np.abs(margins[:, 1] - np.median(margins[:, 1])) > 5.0 * 2.0
    assert 0.0005 < far.mean() < 0.02  # of a Gaussian: one in two million
