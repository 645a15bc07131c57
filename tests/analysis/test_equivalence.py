"""Examples needed and data equivalence: hand-made curves, the fast forms against their definitions, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_curves import VOLUMES, curve, exact, noisy

from likra_ray.analysis import equivalence
from likra_ray.analysis.planted import Plant, planted_curve, planted_mean
from likra_ray.errors import InputError

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize("seed", range(5))
def test_isotonic_equals_scipys(seed: int) -> None:
    curves = np.random.default_rng(seed).random((20, 7))
    assert equivalence.isotonic(curves) == pytest.approx(equivalence.isotonic_by_curve(curves), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_reached_equals_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rising = np.sort(np.round(rng.random((50, 6)), 1), axis=1)
    levels = np.round(rng.random(50), 1)
    expected = [equivalence.reached_by_curve(VOLUMES, one, level) for one, level in zip(rising, levels, strict=True)]
    assert equivalence.reached(np.array(VOLUMES), rising, levels) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("target", "volume"),
    [
        (0.30, 0.0),
        (0.20, 0.0),
        (0.35, 8.0),  # from 0 linear in examples
        (0.50, 32.0 * 2**0.5),  # half of the way from 32 to 64, in doublings
        (0.60, 64.0),
        (0.61, None),
    ],
)
def test_volume_needed(target: float, volume: float | None) -> None:
    found = equivalence.volume_needed(
        curve(exact([0.3, 0.4, 0.4, 0.6, 0.6, 0.6])), target, rng=np.random.default_rng(0)
    )
    assert found.volume == pytest.approx(volume) if volume is not None else found.volume is None
    assert found.at_least == (None if volume is not None else 256.0)
    assert (found.questions, found.seeds) == (100, 1)
    assert ("Not reached" in found.reason) == (volume is None)
    assert found.interval[0] <= (INF if volume is None else volume + 1e-9) and found.interval[1] >= (volume or 0.0)


def test_a_dip_is_pooled_with_what_came_before_it() -> None:
    dipping = curve(exact([0.3, 0.1, 0.1, 0.5, 0.7, 0.7]))
    assert equivalence.volume_needed(dipping, 0.16, rng=np.random.default_rng(0)).volume == 0.0
    found = equivalence.volume_needed(dipping, 0.5, rng=np.random.default_rng(0))
    assert found.volume == pytest.approx(64.0)


def test_not_reached_is_censored_not_a_number() -> None:
    made = curve(noisy([0.3, 0.3, 0.35, 0.4, 0.45, 0.5], questions=200, seeds=1, rng=np.random.default_rng(3)))
    never = equivalence.volume_needed(made, 0.9, rng=np.random.default_rng(0))
    assert never.volume is None and never.interval == (256.0, INF) and never.reached_share == 0.0
    sometimes = equivalence.volume_needed(made, 0.5, rng=np.random.default_rng(0))
    assert 0.0 < sometimes.reached_share < 1.0 and sometimes.interval[1] == INF


def test_targets_are_the_bases_sfts_and_steps_as_far_as_some_arm_gets() -> None:
    sft = curve(exact([0.5, 0.5, 0.52, 0.54, 0.56, 0.55]), arm="sft")
    likra = curve(exact([0.25, 0.2, 0.4, 0.6, 0.65, 0.67]))
    top = (0.56 + 0.55) / 2
    found = equivalence.targets(sft, [likra])
    assert [meaning for _, meaning in found] == [
        "the base's accuracy", "SFT's best", "SFT's best + 0.05", "SFT's best + 0.10"
    ]  # fmt: skip
    assert [target for target, _ in found] == pytest.approx([0.5, top, top + 0.05, top + 0.1])
    flat = curve(exact([0.5] * 6), arm="sft")
    assert [meaning for _, meaning in equivalence.targets(flat, [])][0].endswith("which SFT never exceeds")


def test_data_equivalence_by_hand() -> None:
    sft = curve(exact([0.5, 0.5, 0.52, 0.54, 0.56, 0.58]), arm="sft")
    likra = curve(exact([0.25, 0.4, 0.56, 0.7, 0.54, 0.5]))
    rows = equivalence.data_equivalence(likra, sft, rng=np.random.default_rng(0))
    shown = [(row.volume, row.status, row.positives, row.worth, row.at_least) for row in rows]
    expected = [
        (16, "below the base", NAN, NAN, NAN),
        (32, "measured", 128.0, 3.0, NAN),
        (64, "at least", NAN, NAN, 3.0),
        (128, "measured", 64.0, -0.5, NAN),
        (256, "measured", 0.0, -1.0, NAN),
    ]
    for row, wanted in zip(shown, expected, strict=True):
        assert row[:2] == wanted[:2]
        assert row[2:] == pytest.approx(wanted[2:], nan_ok=True)
    assert all(row.interval[0] <= row.interval[1] for row in rows)
    assert rows[2].interval == (3.0, INF) and rows[2].reached_share < 0.025


def test_intervals_of_the_worth_pair_the_arms() -> None:
    """The same answers in both arms: the two curves move together, so a negative is worth exactly nothing more."""
    outcomes = np.sort(np.random.default_rng(5).random((1, 6, 400)), axis=1) < 0.5
    rising = np.sort(outcomes.astype(float), axis=1)
    rows = equivalence.data_equivalence(curve(rising), curve(rising, arm="sft"), rng=np.random.default_rng(0))
    assert all(row.worth <= 1e-9 for row in rows) and all(row.interval[1] <= 1e-6 for row in rows)


@pytest.mark.parametrize(("seeds", "spread", "enough"), [(1, 0.0, 36), (3, 0.2, 32)])
def test_intervals_cover_planted_truths(seeds: int, spread: float, enough: int) -> None:
    """benchmarks/equivalence_coverage.py in small, one target inside the phase: 97 % and 91 % in 200 draws."""
    plant = Plant(volumes=VOLUMES, start=0.25, gain=0.4, midpoint=60.0, tied_at_zero=0.25, seed_spread=spread)
    rng = np.random.default_rng(0)
    midpoints = plant.midpoint * 2.0 ** (plant.seed_spread * rng.standard_normal(1000))
    mean = np.mean([planted_mean(plant, midpoint=float(one)) for one in midpoints], axis=0)
    wanted = equivalence.reached_by_curve(VOLUMES, mean, 0.5)
    held = 0
    for _ in range(40):
        made = curve(planted_curve(plant, questions=200, seeds=seeds, rng=rng))
        low, high = equivalence.volume_needed(made, 0.5, rng=rng).interval
        held += low <= wanted <= high
    assert held >= enough


def _without(outcomes: np.ndarray, place: tuple[object, ...]) -> np.ndarray:
    outcomes = outcomes.copy()
    outcomes[place] = NAN
    return outcomes


WHOLE = exact([0.3, 0.4, 0.5, 0.6, 0.7, 0.8])


@pytest.mark.parametrize(
    ("outcomes", "volumes", "message"),
    [
        (WHOLE[:, :1], (0,), r"volumes: got \[0\]; allowed: two or more"),
        (WHOLE[:, :2], (16, 0), "increasing"),
        (_without(WHOLE, (slice(None), 2)), VOLUMES, "volume 32"),
        (_without(WHOLE, (slice(None), slice(None), 7)), VOLUMES, "question q7"),
    ],
)
def test_wrong_curves_are_refused(outcomes: np.ndarray, volumes: tuple[int, ...], message: str) -> None:
    made, rng = curve(outcomes, volumes), np.random.default_rng(0)
    with pytest.raises(InputError, match=message):
        equivalence.volume_needed(made, 0.5, rng=rng)
    with pytest.raises(InputError, match=message):
        equivalence.data_equivalence(made, made, rng=rng)


def test_wrong_targets_and_curves_of_different_questions_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="target: got 50; allowed: an accuracy"):
        equivalence.volume_needed(curve(WHOLE), 50, rng=rng)
    with pytest.raises(InputError, match="the same questions and seeds"):
        equivalence.data_equivalence(curve(WHOLE), curve(exact([0.5] * 6, questions=90)), rng=rng)
    with pytest.raises(InputError, match="the same questions and seeds"):
        equivalence.data_equivalence(curve(WHOLE), curve(exact([0.5] * 6, seeds=2)), rng=rng)
