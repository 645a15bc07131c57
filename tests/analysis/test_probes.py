"""Probes of score tables: hand-made ones, and every fast form against its definition on lopsided tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
from score_tables import lopsided, table

from likra_ray.analysis import probes
from likra_ray.analysis.arms import mean_logprob
from likra_ray.errors import InputError
from likra_ray.records import KINDS, Kind

NAN = math.nan

PAIRS = table(
    [
        [("correct", -1.0), ("near_miss", -2.0), ("near_miss", -1.0), ("far", 0.0)],  # right, tied; far above
        [("near_miss", -1.0), ("correct", -4.0)],  # wrong
        [("correct", -4.0), ("far", -1.0)],  # no near-miss
    ]
)


def with_gaps(seed: int) -> tuple[np.ndarray, object]:
    rng = np.random.default_rng(seed)
    made = lopsided(rng)
    return np.where(rng.random(len(made.logprob)) < 0.05, NAN, made.logprob), made


def value(parts: probes.Parts) -> float:
    used = ~np.isnan(parts.numerator)
    return float(parts.numerator[used].sum() / parts.denominator[used].sum())


def test_pairs_are_counted_within_questions() -> None:
    near, far = (probes.pairs(PAIRS.logprob, PAIRS, kind) for kind in ("near_miss", "far"))
    assert near.numerator.tolist() == [1.5, 0.0, 0.0] and near.denominator.tolist() == [2.0, 1.0, 0.0]
    assert far.numerator.tolist() == [0.0, 0.0, 0.0] and far.denominator.tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("kind", ["near_miss", "far"])
@pytest.mark.parametrize("seed", range(6))
def test_pairs_equal_their_definition(seed: int, kind: Kind) -> None:
    scores, made = with_gaps(seed)
    assert value(probes.pairs(scores, made, kind)) == pytest.approx(probes.pairs_by_pair(scores, made, kind))


@pytest.mark.parametrize("seed", range(6))
def test_brier_and_calibration_equal_their_definitions(seed: int) -> None:
    scores, made = with_gaps(seed)
    assert probes.brier(scores, made).numerator == pytest.approx(probes.brier_by_question(scores, made), nan_ok=True)
    assert probes.calibration_error(scores, made) == pytest.approx(probes.calibration_error_by_bin(scores, made))


def test_score_sums_are_the_means_by_kind() -> None:
    made = lopsided(np.random.default_rng(3))
    means = mean_logprob(made)
    for kind in KINDS:
        assert value(probes.score_sum(made.logprob, made, kind)) == pytest.approx(means.per_option[kind])
        per_token = probes.score_sum(made.logprob, made, kind, per_token=True)
        assert value(per_token) == pytest.approx(means.per_token[kind])


def test_brier_by_hand() -> None:
    sure = table([[("correct", 0.0), ("far", -800.0)], [("correct", -800.0), ("far", 0.0)]])
    assert probes.brier(sure.logprob, sure).numerator == pytest.approx([0.0, 2.0])
    even = table([[("correct", 0.0), ("correct", 0.0), ("far", 0.0), ("far", 0.0)]])
    assert probes.brier(even.logprob, even).numerator == pytest.approx([4 * 0.25**2])  # the truth is .5, .5, 0, 0


def test_calibration_by_hand() -> None:
    # Confidence .8 on ten questions of which six are right: the only bin is off by .2.
    scores = math.log(4.0)
    right, wrong = [("correct", scores), ("far", 0.0)], [("correct", 0.0), ("far", scores)]
    made = table([right] * 6 + [wrong] * 4)
    assert probes.calibration_error(made.logprob, made) == pytest.approx(0.2)
    certain = table([[("correct", 0.0), ("far", -800.0)]] * 3)
    assert probes.calibration_error(certain.logprob, certain) == 0.0


def test_softmax_survives_large_scores_and_adds_to_one() -> None:
    made = table([[("correct", -5000.0), ("far", -5001.0)], [("correct", 4000.0), ("far", NAN)]])
    chance = probes.softmax(made.logprob, made)
    assert chance[:2].sum() == pytest.approx(1.0) and np.isnan(chance[2:]).all()


def test_nothing_to_say_is_nan() -> None:
    made = table([[("correct", NAN), ("far", -1.0)]])
    assert math.isnan(probes.calibration_error(made.logprob, made))
    assert np.isnan(probes.brier(made.logprob, made).numerator).all()
    assert probes.pairs(made.logprob, made, "far").denominator.tolist() == [0.0]


@pytest.mark.parametrize("probe", [probes.brier, probes.calibration_error, probes.softmax])
def test_a_wrong_shape_is_refused(probe: object) -> None:
    with pytest.raises(InputError, match="one score per option"):
        probe(PAIRS.logprob[:-1], PAIRS)  # type: ignore[operator]
