"""Effects of searched fields: what is compared, paired estimates, sentences, what is not comparable."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from made_curves import NO_PHASE, VOLUMES, curve, exact, noisy, phase

from likra_ray.analysis import near_miss
from likra_ray.analysis.estimates import mean_of
from likra_ray.analysis.near_miss import Case
from likra_ray.errors import InputError
from likra_ray.records import CriticalPhase

LOW, HIGH = [0.25, 0.2, 0.4, 0.5, 0.55, 0.5], [0.25, 0.2, 0.4, 0.6, 0.65, 0.7]


def case(
    accuracies: list[float], located: CriticalPhase = NO_PHASE, *, seeds: tuple[int, ...] = (0, 1), **settings: Any
) -> Case:
    return Case(settings, seeds, curve(exact(accuracies, seeds=len(seeds))), located)


def test_effect_is_the_paired_difference_at_the_last_shared_volume() -> None:
    low = case(LOW, near_miss_share=0.0, learning_rate=0.001)
    high = case(HIGH, near_miss_share=1.0, learning_rate=0.001)
    found = near_miss.factor_effect("near_miss_share", low, high, arm="likra")
    assert (found.low, found.high, found.volume, found.context) == (0.0, 1.0, 256, {"learning_rate": 0.001})
    assert found.accuracy == mean_of(high.curve.outcomes[:, 5] - low.curve.outcomes[:, 5])
    assert found.accuracy.value == pytest.approx(0.2) and found.accuracy.excludes_zero
    assert found.sentence.startswith(
        "Changing the share of near-misses among the negatives from 0 to 1 changes Likra's accuracy at 256 examples by "
        "+0.200 (95 % +0."
    )
    assert found.sentence.endswith("(100 questions, 2 seeds).")


def test_pairing_by_question_narrows_the_interval() -> None:
    rng = np.random.default_rng(0)
    outcomes = noisy(LOW, questions=300, seeds=2, rng=rng)
    better = np.maximum(outcomes, noisy([0.1] * 6, questions=300, seeds=2, rng=rng))
    apart = noisy([0.55] * 6, questions=300, seeds=2, rng=rng)
    widths = []
    for other in (better, apart):
        cases = [Case({"seed_of": i}, (0, 1), curve(one), NO_PHASE) for i, one in enumerate((outcomes, other))]
        low, high = near_miss.factor_effect("seed_of", cases[0], cases[1], arm="likra").accuracy.interval
        widths.append(high - low)
    assert widths[0] < 0.6 * widths[1]


def test_only_shared_seeds_and_volumes_are_compared() -> None:
    low = case(LOW, seeds=(0, 1, 2), near_miss_share=0.0)
    high = Case({"near_miss_share": 1.0}, (2, 5), curve(exact(HIGH[:4], seeds=2), VOLUMES[:4]), NO_PHASE)
    found = near_miss.factor_effect("near_miss_share", low, high, arm="likra")
    assert found.volume == 64 and found.accuracy.seeds == 1 and found.accuracy.value == pytest.approx(0.1)


def test_a_volume_one_seed_lacks_is_passed_over() -> None:
    outcomes = exact(HIGH, seeds=2)
    outcomes[1, 5] = math.nan
    high = Case({"near_miss_share": 1.0}, (0, 1), curve(outcomes), NO_PHASE)
    found = near_miss.factor_effect("near_miss_share", case(LOW, near_miss_share=0.0), high, arm="likra")
    assert found.volume == 128


@pytest.mark.parametrize(
    ("high", "reason"),
    [
        (case(HIGH, seeds=(7,), near_miss_share=1.0), "no seed that reaches as far as others was run with both"),
        (Case({"near_miss_share": 1.0}, (0,), curve(exact([0.2, 0.3]), (0, 48)), NO_PHASE), "no volume"),
    ],
)
def test_not_comparable_says_why(high: Case, reason: str) -> None:
    found = near_miss.factor_effect("near_miss_share", case(LOW, near_miss_share=0.0), high, arm="likra")
    assert found.volume is None and reason in found.accuracy.reason and reason in found.sentence


def test_equal_answers_are_said_to_be_equal() -> None:
    low, high = case(LOW, far_from="own"), case(LOW, far_from="other_question")
    assert "answers every question alike" in near_miss.factor_effect("far_from", low, high, arm="likra").sentence


def test_midpoints_differ_in_doublings_with_the_movers_interval() -> None:
    low = case(LOW, phase(128.0, 0.3, spread=2.0), near_miss_share=0.0)
    high = case(HIGH, phase(64.0, 0.5, spread=2.0), near_miss_share=1.0)
    found = near_miss.factor_effect("near_miss_share", low, high, arm="likra")
    assert found.midpoint.value == pytest.approx(-1.0)
    assert found.midpoint.interval == pytest.approx((-1.0 - math.sqrt(2), -1.0 + math.sqrt(2)))
    assert found.gain.value == pytest.approx(0.2)
    assert found.gain.interval == pytest.approx((0.2 - 0.05 * math.sqrt(2), 0.2 + 0.05 * math.sqrt(2)))
    assert not found.midpoint.reason


@pytest.mark.parametrize(
    ("phases", "words"),
    [
        ((NO_PHASE, phase()), "no critical phase was located with 0"),
        ((phase(), NO_PHASE), "no critical phase was located with 1"),
        ((NO_PHASE, NO_PHASE), "no critical phase was located with 0 nor with 1"),
    ],
)
def test_no_phase_no_difference(phases: tuple[CriticalPhase, CriticalPhase], words: str) -> None:
    low, high = (case(LOW, one, near_miss_share=share) for one, share in zip(phases, (0.0, 1.0), strict=True))
    found = near_miss.factor_effect("near_miss_share", low, high, arm="likra")
    for estimate in (found.midpoint, found.gain):
        assert math.isnan(estimate.value) and estimate.reason == f"not comparable: {words}"


def test_slope_is_least_squares_per_unit() -> None:
    cases = [case([0.25, 0.3, 0.3, 0.3, 0.3, y], near_miss_share=x) for x, y in ((0.0, 0.5), (0.5, 0.65), (1.0, 0.7))]
    found = near_miss.factor_slope("near_miss_share", cases, arm="likra")
    assert found.slope.value == pytest.approx(np.polyfit([0.0, 0.5, 1.0], [0.5, 0.65, 0.7], 1)[0])
    assert found.levels == (0.0, 0.5, 1.0) and found.accuracies == pytest.approx((0.5, 0.65, 0.7))
    two = near_miss.factor_slope("near_miss_share", [cases[0], cases[2]], arm="likra")
    assert two.slope.value == pytest.approx(0.2)


def test_effects_compare_within_equal_settings_near_misses_first() -> None:
    cases = [
        case(LOW, learning_rate=rate, near_miss_share=share) for rate in (0.001, 0.0005) for share in (1.0, 0.0, 0.5)
    ]
    found = near_miss.factor_effects({"likra": cases, "base_likra": cases[:1]})
    pairs = [(one.field, one.context, one.low, one.high) for one in found.pairs]
    assert pairs[:4] == [
        ("near_miss_share", {"learning_rate": 0.001}, 0.0, 0.5),
        ("near_miss_share", {"learning_rate": 0.001}, 0.0, 1.0),
        ("near_miss_share", {"learning_rate": 0.0005}, 0.0, 0.5),
        ("near_miss_share", {"learning_rate": 0.0005}, 0.0, 1.0),
    ]
    assert [pair[0] for pair in pairs[4:]] == ["learning_rate"] * 3 and pairs[4][2:] == (0.0005, 0.001)
    assert [one.field for one in found.slopes] == ["near_miss_share"] * 2 + ["learning_rate"] * 3
    assert not found.not_compared and all(one.arm == "likra" for one in found.pairs)


def test_words_are_compared_with_own() -> None:
    names = ("most_plausible", "own", "least_plausible")
    field = "negative_source.near_miss_from"
    found = near_miss.factor_effects({"likra": [case(LOW, **{field: name}) for name in names]})
    assert [(one.low, one.high) for one in found.pairs] == [("own", "least_plausible"), ("own", "most_plausible")]
    assert not found.slopes


def test_fields_without_a_partner_are_named() -> None:
    cases = [case(LOW, learning_rate=0.1 * i, near_miss_share=float(i)) for i in range(3)]
    found = near_miss.factor_effects({"likra": cases})
    assert not found.pairs and set(found.not_compared) == {"learning_rate", "near_miss_share"}


def test_wrong_input_is_refused() -> None:
    other = Case({"near_miss_share": 1.0}, (0, 1), curve(exact(HIGH, questions=90, seeds=2)), NO_PHASE)
    with pytest.raises(InputError, match="configurations that answer the same questions"):
        near_miss.factor_effect("near_miss_share", case(LOW, near_miss_share=0.0), other, arm="likra")
    with pytest.raises(InputError, match="two values or more"):
        near_miss.factor_slope("near_miss_share", [case(LOW, near_miss_share=0.0)] * 2, arm="likra")
