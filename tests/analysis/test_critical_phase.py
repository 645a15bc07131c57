"""The critical phase: planted phases are found where they are, smooth curves are not called phases."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from likra_ray.analysis.critical_phase import agreement, checkpoint_covariance, locate, locate_margin
from likra_ray.analysis.planted import NULL_FAMILIES, Family, Plant, planted_curve, planted_margins
from likra_ray.analysis.resampling import means
from likra_ray.errors import InputError
from likra_ray.records import CriticalPhase

VOLUMES = Plant().volumes
WITHIN_A_GRID_STEP = 2.0 ** (1 / 64)


def located(plant: Plant, seed: int, *, seeds: int = 1, questions: int = 300) -> CriticalPhase:
    rng = np.random.default_rng([seed, seeds])
    return locate(plant.volumes, planted_curve(plant, questions=questions, seeds=seeds, rng=rng), rng=rng)


def number(phase: CriticalPhase, name: str) -> float:
    """A field of a phase that was found."""
    value = getattr(phase, name)
    assert isinstance(value, float)
    return value


def ends(phase: CriticalPhase, name: str) -> tuple[float, float]:
    """The interval of a field of a phase that was found."""
    low, high = getattr(phase, f"{name}_interval")
    return low, high


def doublings(first: float, second: float) -> float:
    return float(np.log2(first / second))


@functools.cache
def planted_phases() -> tuple[tuple[Plant, CriticalPhase], ...]:
    """16 phases over the range that matters: gain 0.15 to 0.35, 0.5 to 2 doublings wide, two seeds."""
    rng = np.random.default_rng(2503)
    plants = [
        Plant(
            start=0.4, gain=rng.uniform(0.15, 0.35), width=rng.uniform(0.5, 2.0), midpoint=2.0 ** rng.uniform(5.2, 8.3)
        )
        for _ in range(16)
    ]
    return tuple((plant, located(plant, seed, seeds=2)) for seed, plant in enumerate(plants))


def test_planted_phases_are_found_where_they_are() -> None:
    errors = [
        abs(doublings(number(phase, "midpoint"), plant.midpoint)) for plant, phase in planted_phases() if phase.found
    ]
    assert len(errors) >= 14
    assert np.median(errors) <= 0.25
    assert np.quantile(errors, 0.9) <= 0.5


def test_a_found_phase_is_a_whole_record() -> None:
    for _, phase in planted_phases():
        if not phase.found:
            continue
        assert number(phase, "onset") < number(phase, "midpoint") < number(phase, "end")
        for name in ("onset", "midpoint", "end", "gain"):
            low, high = ends(phase, name)
            assert low <= high
        low, high = ends(phase, "midpoint")
        assert doublings(high, low) < 2.0
        assert ends(phase, "gain")[0] > 0.0
        assert (phase.questions, phase.seeds) == (300, 2)


@pytest.mark.parametrize("gain", [0.25, 0.35])
def test_one_seed_is_enough_for_a_sharp_jump_and_the_reason_says_what_that_means(gain: float) -> None:
    phases = [located(Plant(gain=gain), seed) for seed in range(8)]
    assert sum(phase.found for phase in phases) >= 7
    assert all("conditional on this one training run" in phase.reason for phase in phases if phase.found)


@pytest.mark.parametrize("family", NULL_FAMILIES)
def test_smooth_curves_are_not_called_phases(family: Family) -> None:
    phases = [located(Plant(family=family, gain=0.1 + 0.02 * seed), seed, seeds=1 + seed % 2) for seed in range(12)]
    assert sum(phase.found for phase in phases) <= int(family == "saturating")
    for phase in phases:
        if not phase.found:
            assert phase.reason.endswith(".") and phase.reason.count(". ") == 0
            assert (phase.midpoint, phase.gain, phase.onset_interval) == (None, None, None)


def test_a_likra_curve_from_chance_is_found_between_32_and_128() -> None:
    volumes = (0, 16, 32, 64, 128, 256, 512)
    accuracy = np.array([0.25, 0.29, 0.32, 0.46, 0.56, 0.59, 0.57])
    midpoints = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        latent = rng.random((1, 1, 300)) + 0.5 * rng.standard_normal((2, 7, 300))
        thresholds = np.array([[np.quantile(row, p) for row, p in zip(rows, accuracy, strict=True)] for rows in latent])
        correct = (latent < thresholds[:, :, None]).astype(float)
        correct[:, 0] = 0.25  # both heads are the base: four options tie
        phase = locate(volumes, correct, rng=rng)
        midpoints += [number(phase, "midpoint")] if phase.found else []
    assert len(midpoints) >= 9
    assert all(32 < midpoint < 128 for midpoint in midpoints)


@pytest.mark.parametrize(
    ("accuracy", "found"),
    [
        ((0.2, 0.05, 0.044, 0.075, 0.175, 0.338, 0.30), True),  # Base-Likra on the atlas, near-misses alone
        ((0.2, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05), False),  # it falls, and stays
        ((0.2, 0.05, 0.09, 0.13, 0.17, 0.21, 0.25), False),  # it falls, and recovers steadily
        ((0.2, 0.08, 0.087, 0.053, 0.06, 0.197, 0.127), False),  # Likra on the atlas, its training labels shuffled
        ((0.2, 0.05, 0.05, 0.05, 0.19, 0.2, 0.2), False),  # it falls, and jumps back to chance
    ],
)
def test_a_rise_from_below_chance_is_a_phase_and_a_fall_is_none(accuracy: tuple[float, ...], found: bool) -> None:
    verdicts, midpoints = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        latent = rng.standard_normal((1, 1, 300)) + 0.5 * rng.standard_normal((1, 7, 300))
        correct = (np.argsort(np.argsort(latent, axis=-1), axis=-1) < 300 * np.array(accuracy)[:, None]).astype(float)
        correct[:, 0] = 0.2  # both heads are the base: five options tie
        phase = locate((0, 16, 32, 64, 128, 256, 512), correct, rng=rng)
        verdicts.append(phase.found)
        midpoints += [number(phase, "midpoint")] if phase.found else []
    assert sum(verdicts) >= 9 if found else sum(verdicts) <= 1
    assert all(90 < midpoint < 256 for midpoint in midpoints)


def test_a_jump_back_to_where_the_curve_stood_is_refused_with_its_interval() -> None:
    plant = Plant(start=0.06, gain=0.14, tied_at_zero=0.2, midpoint=100.0)
    for seeds in (1, 3):
        phases = [located(plant, seed, seeds=seeds) for seed in range(8)]
        assert sum(phase.found for phase in phases) <= 1
        assert any("only makes up for a dip" in phase.reason for phase in phases)


def test_a_steady_recovery_after_a_fall_that_goes_on_is_no_phase() -> None:
    plant = Plant(family="recovery", start=0.1, dip=0.06, gain=0.25, tied_at_zero=0.2, midpoint=40.0)
    phases = [located(plant, seed) for seed in range(10)]
    assert sum(phase.found for phase in phases) <= 1
    assert any("steady recovery from a dip" in phase.reason for phase in phases)


def test_an_early_dip_does_not_hide_the_phase() -> None:
    plant = Plant(start=0.45, gain=0.3, dip=0.08, midpoint=128.0, tied_at_zero=0.25)
    phases = [located(plant, seed, seeds=2) for seed in range(8)]
    assert sum(phase.found for phase in phases) >= 7


def test_intervals_cover_the_planted_midpoint() -> None:
    plant = Plant(gain=0.3, width=1.0)
    covered = 0
    for seed in range(24):
        midpoint = 2.0 ** (5.5 + 2.5 * seed / 24)
        phase = located(replace(plant, midpoint=midpoint), seed)
        if phase.found:
            low, high = ends(phase, "midpoint")
            covered += low / WITHIN_A_GRID_STEP <= midpoint <= high * WITHIN_A_GRID_STEP
    assert covered >= 20


def test_the_order_of_questions_and_seeds_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    correct = planted_curve(Plant(), questions=200, seeds=3, rng=rng)
    first = locate(VOLUMES, correct, rng=np.random.default_rng(1))
    second = locate(VOLUMES, correct[::-1][:, :, rng.permutation(200)], rng=np.random.default_rng(1))
    assert (first.found, first.midpoint, first.onset, first.end) == (
        second.found,
        second.midpoint,
        second.onset,
        second.end,
    )
    assert first.gain == pytest.approx(second.gain)
    for end in (0, 1):
        assert abs(doublings(ends(first, "midpoint")[end], ends(second, "midpoint")[end])) < 0.1


def test_doubling_all_volumes_moves_the_phase_by_one_doubling() -> None:
    correct = planted_curve(Plant(), questions=300, seeds=1, rng=np.random.default_rng(0))
    once = locate(VOLUMES, correct, rng=np.random.default_rng(1))
    twice = locate([2 * volume for volume in VOLUMES], correct, rng=np.random.default_rng(1))
    assert once.found and twice.found
    for name in ("onset", "midpoint", "end"):
        assert getattr(twice, name) == pytest.approx(2.0 * getattr(once, name))
    assert ends(twice, "midpoint") == pytest.approx(tuple(2.0 * end for end in ends(once, "midpoint")))


def test_a_two_dimensional_array_is_one_seed_and_the_same_draws_give_the_same_answer() -> None:
    correct = planted_curve(Plant(), questions=120, seeds=1, rng=np.random.default_rng(0))
    flat = locate(np.array(VOLUMES), correct[0], rng=np.random.default_rng(1))
    assert flat == locate(VOLUMES, correct, rng=np.random.default_rng(1))
    assert flat.seeds == 1


def step_at(volumes: Sequence[int], volume: int, *, low: float = 0.3, high: float = 0.7) -> np.ndarray:
    """(V, 200) outcomes that step from low to high at `volume`: no noise between volumes but the step."""
    latent = (np.arange(200) + 0.5) / 200
    accuracy = np.where(np.array(volumes) >= volume, high, low)
    return (latent < accuracy[:, None]).astype(float)


@pytest.mark.parametrize(
    ("volumes", "correct", "reason"),
    [
        (VOLUMES, step_at(VOLUMES, 2048), "than by a constant"),
        (VOLUMES, step_at(VOLUMES, 128, low=0.7, high=0.3), "than by a constant"),
        (VOLUMES, step_at(VOLUMES, 16), "smooth diminishing returns"),
        (VOLUMES[:4], step_at(VOLUMES[:4], 32), "4 volumes cannot test a logistic"),
        (VOLUMES, step_at(VOLUMES, 128)[:, 90:105], "15 questions are too few"),
    ],
)
def test_abstentions_say_why(volumes: tuple[int, ...], correct: np.ndarray, reason: str) -> None:
    phase = locate(volumes, correct, rng=np.random.default_rng(0))
    assert not phase.found
    assert reason in phase.reason


def test_a_clean_step_is_found_between_its_two_volumes() -> None:
    phase = locate(VOLUMES, step_at(VOLUMES, 128), rng=np.random.default_rng(0))
    assert phase.found
    assert 64 < number(phase, "midpoint") < 128
    assert phase.gain == pytest.approx(0.4, abs=0.02)


def test_missing_outcomes_leave_the_phase_where_it_is() -> None:
    rng = np.random.default_rng(4)
    correct = planted_curve(Plant(gain=0.35), questions=400, seeds=2, rng=rng)
    holes = correct.copy()
    holes[rng.random(correct.shape) < 0.2] = np.nan
    holes[1, -1] = np.nan
    whole, partial = (locate(VOLUMES, given, rng=np.random.default_rng(0)) for given in (correct, holes))
    assert whole.found and partial.found
    assert abs(doublings(number(partial, "midpoint"), number(whole, "midpoint"))) < 0.25


@pytest.mark.parametrize(
    ("volumes", "correct", "message"),
    [
        ((16, 8, 32), np.zeros((3, 4)), "increasing"),
        ((8, 8, 32), np.zeros((3, 4)), "increasing"),
        ((-8, 8, 32), np.zeros((3, 4)), "none below 0"),
        ((8.5, 16, 32), np.zeros((3, 4)), "whole numbers"),
        ((), np.zeros((0, 4)), "two or more"),
        ((8,), np.zeros((1, 4)), "two or more"),
        ((8, 16), np.zeros((3, 4)), "one row per volume"),
        ((8, 16), np.zeros(4), "one row per volume"),
        ((8, 16), np.zeros((2, 0)), "none empty"),
        ((8, 16), np.full((2, 4), 1.5), r"got 1.5; allowed: values in \[0, 1\]"),
        ((8, 16), np.full((2, 4), -np.inf), r"values in \[0, 1\]"),
        ((8, 16), np.array([[0.0, np.nan], [1.0, np.nan]]), "question 1"),
        ((8, 16), np.array([[0.0, 1.0], [np.nan, np.nan]]), "volume 1"),
        ((8, 16), np.stack([np.zeros((2, 3)), np.full((2, 3), np.nan)]), "seed 1"),
    ],
)
def test_wrong_input_is_refused(volumes: tuple[int, ...], correct: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        locate(volumes, correct, rng=np.random.default_rng(0))


def located_margin(plant: Plant, seed: int) -> CriticalPhase:
    rng = np.random.default_rng(seed)
    margins = planted_margins(plant, questions=300, seeds=1, spread=2.0, tails=3.0, rng=rng)
    return locate_margin(plant.volumes, margins, rng=rng)


def test_a_margin_jumps_in_nats_and_may_fall_below_zero() -> None:
    plant = Plant(start=-2.0, gain=3.0)
    phases = [located_margin(plant, seed) for seed in range(6)]
    assert all(phase.found for phase in phases)
    assert np.median([abs(doublings(number(phase, "midpoint"), 100.0)) for phase in phases]) < 0.25
    assert np.median([number(phase, "gain") for phase in phases]) == pytest.approx(3.0, abs=0.3)


def test_a_margin_that_rises_smoothly_does_not_jump() -> None:
    assert sum(located_margin(Plant(family="log_linear", start=-2.0, gain=3.0), seed).found for seed in range(8)) <= 1


def test_a_few_questions_with_huge_margins_do_not_make_a_jump_and_the_reason_counts_them() -> None:
    rng = np.random.default_rng(0)
    margins = planted_margins(
        Plant(family="constant", start=0.0), questions=300, seeds=1, spread=1.0, tails=30.0, rng=rng
    )
    margins[0, 4:, :6] += 200.0
    phase = locate_margin(VOLUMES, margins, rng=rng)
    assert not phase.found
    assert "Of 2400 margins, 24 far out were drawn in." in phase.reason


@pytest.mark.parametrize(
    ("margins", "message"),
    [
        (np.full((2, 4), np.inf), "locate_margin: margins: got inf; allowed: finite values"),
        (np.array([[0.0, np.nan], [1.0, np.nan]]), "locate_margin: question 1"),
    ],
)
def test_wrong_margins_are_refused(margins: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        locate_margin((8, 16), margins, rng=np.random.default_rng(0))


def phase_at(low: float, midpoint: float, high: float) -> CriticalPhase:
    return CriticalPhase(found=True, reason="", midpoint=midpoint, midpoint_interval=(low, high), gain=0.25)


NO_PHASE = CriticalPhase(found=False, reason="Flat.")


@pytest.mark.parametrize(
    ("accuracy", "margin", "sentence"),
    [
        (NO_PHASE, NO_PHASE, "Neither accuracy nor the margin jumps."),
        (
            phase_at(50, 60, 70),
            NO_PHASE,
            "Accuracy jumps at 60 examples but the margin does not: the jump may be an artefact",
        ),
        (NO_PHASE, phase_at(50, 60, 70), "The margin jumps at 60 examples, by 0.25 nats, but accuracy does not."),
        (phase_at(50, 60, 70), phase_at(65, 80, 90), "Both jump, and at the same place as far as can be told"),
        (phase_at(50, 60, 70), phase_at(75, 80, 90), "Both jump, but not together: accuracy at 60 [50, 70] examples"),
    ],
)
def test_agreement_is_one_plain_sentence(accuracy: CriticalPhase, margin: CriticalPhase, sentence: str) -> None:
    said = agreement(accuracy, margin)
    assert said.startswith(sentence)
    assert said.endswith(".") and ". " not in said.replace("arXiv 2304.15004", "")


def test_accuracy_that_jumps_because_margins_cross_zero_together_is_called_a_possible_artefact() -> None:
    """Every question's margin rises steadily by one nat per doubling, and nearly all cross 0 at about 128 examples."""
    rng = np.random.default_rng(1)
    steps = np.arange(-4.0, 4.0)[:, None]
    margins = steps + 0.3 * rng.standard_normal(400) + 0.3 * rng.standard_normal((8, 400))
    accuracy = locate(VOLUMES, (margins > 0).astype(float), rng=rng)
    margin = locate_margin(VOLUMES, margins, rng=rng)
    assert accuracy.found and not margin.found
    assert "artefact" in agreement(accuracy, margin)


def test_runs_that_differ_widen_the_intervals() -> None:
    together, apart = (
        located(Plant(gain=0.35, seed_spread=spread), seed=3, seeds=4, questions=500) for spread in (0.0, 0.6)
    )
    assert together.found and apart.found
    assert doublings(*ends(apart, "midpoint")[::-1]) > 1.5 * doublings(*ends(together, "midpoint")[::-1])


def test_checkpoint_covariance_is_that_of_the_means() -> None:
    plant = Plant(volumes=(8, 16, 32, 64), family="log_linear")
    curves = [
        means(planted_curve(plant, questions=100, seeds=2, rng=np.random.default_rng(seed))) for seed in range(1500)
    ]
    simulated = np.cov(np.array(curves).T)
    outcomes = planted_curve(plant, questions=20_000, seeds=2, rng=np.random.default_rng(1))
    np.testing.assert_allclose(checkpoint_covariance(outcomes) * 200, simulated, rtol=0.15)


def test_locate_is_fast() -> None:
    plant = Plant(volumes=(0, 8, 16, 32, 64, 128, 256, 512, 1024, 2048))
    correct = planted_curve(plant, questions=1000, seeds=3, rng=np.random.default_rng(0))
    start = time.process_time()
    locate(plant.volumes, correct, rng=np.random.default_rng(0))
    assert time.process_time() - start < 1.5
