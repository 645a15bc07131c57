"""Arms are arithmetic, ties share the credit, missing is never zero."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from score_tables import lopsided, table, with_scores

from likra_ray.analysis import arms
from likra_ray.errors import InputError
from likra_ray.records import KINDS, METRICS, Kind

THREE = table([[("correct", -1.0), ("near_miss", -2.0), ("far", -3.0)]])
POSITIVE = with_scores(THREE, np.array([-0.5, -1.5, -4.0]), head="positive")
NEGATIVE = with_scores(THREE, np.array([-2.0, -1.0, -3.5]), head="negative")


@pytest.mark.parametrize(
    ("arm", "weight", "expected"),
    [
        ("base", 1.0, [-1.0, -2.0, -3.0]),
        ("sft", 1.0, [-0.5, -1.5, -4.0]),
        ("likra", 1.0, [1.5, -0.5, -0.5]),
        ("likra", 0.5, [0.5, -1.0, -2.25]),
        ("base_likra", 1.0, [1.0, -1.0, 0.5]),
        ("positive_over_base", 1.0, [0.5, 0.5, -1.0]),
        ("dpo", 1.0, [-2.0, -1.0, -3.5]),
        ("pmi_base", 1.0, [1.0, -1.0, 0.5]),
        ("pmi_base", 0.5, [1.0, -1.0, 0.5]),
        ("pmi_sft", 0.5, [1.5, -0.5, -0.5]),
    ],
)
def test_arm_scores(arm: str, weight: float, expected: list[float]) -> None:
    scores = arms.arm_scores(
        arm,
        {"base": THREE, "positive": POSITIVE, "negative": NEGATIVE, "dpo": NEGATIVE}
        | {"base_prior": NEGATIVE, "positive_prior": NEGATIVE},
        weight=weight,
    )
    assert scores.tolist() == expected


def test_unknown_arm_and_missing_table_are_refused() -> None:
    with pytest.raises(InputError, match="likra, base_likra"):
        arms.arm_scores("ppo", {"base": THREE})
    with pytest.raises(InputError, match="the score table of the negative head"):
        arms.arm_scores("likra", {"base": THREE, "positive": POSITIVE, "negative": None})
    with pytest.raises(InputError, match="the score table of the kto head"):
        arms.arm_scores("kto", {"base": THREE})
    with pytest.raises(InputError, match="weight"):
        arms.arm_scores("likra", {"positive": POSITIVE, "negative": NEGATIVE}, weight=math.inf)


def test_every_arm_says_how_it_counts() -> None:
    assert arms.COUNTS.keys() == arms.ARMS.keys()
    assert set(arms.BASELINES) < arms.ARMS.keys()


def test_tables_of_different_questions_are_refused_by_name() -> None:
    others = {
        "question_ids": replace(NEGATIVE, question_ids=("other",)),
        "kind": replace(NEGATIVE, kind=NEGATIVE.kind[::-1]),
        "characters": replace(NEGATIVE, characters=NEGATIVE.characters + 1),
    }
    for field, other in others.items():
        with pytest.raises(InputError, match=f"{field}.*positive.*negative"):
            arms.arm_scores("likra", {"positive": POSITIVE, "negative": other})


def test_normalised_divides_by_characters_or_bytes() -> None:
    scores = np.array([-6.0, -6.0, -6.0])
    assert arms.normalised(scores, THREE, "acc").tolist() == [-6.0, -6.0, -6.0]
    assert arms.normalised(scores, THREE, "acc_norm").tolist() == [-6.0, -3.0, -2.0]
    assert arms.normalised(scores, THREE, "acc_bytes").tolist() == [-3.0, -1.5, -1.0]
    with pytest.raises(InputError, match="a length above zero"):
        arms.normalised(scores, replace(THREE, characters=np.array([1, 0, 2])), "acc_norm")
    with pytest.raises(InputError, match="acc_norm"):
        arms.normalised(scores, THREE, "accuracy")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([("correct", -1.0), ("near_miss", -2.0)], 1.0),
        ([("correct", -2.0), ("near_miss", -1.0)], 0.0),
        ([("correct", 0.0), ("near_miss", 0.0), ("far", 0.0), ("far", 0.0)], 0.25),
        ([("correct", 0.0), ("correct", 0.0), ("far", 0.0)], 2 / 3),
        ([("correct", -1.0), ("near_miss", -1.0), ("far", -5.0)], 0.5),
        ([("correct", math.nan), ("near_miss", -1.0)], math.nan),
        ([("correct", -1.0), ("near_miss", -math.inf)], 1.0),
    ],
)
def test_credit(options: list[tuple[Kind, float]], expected: float) -> None:
    made = table([options])
    np.testing.assert_equal(arms.credit(made.logprob, made), np.array([expected]))


@pytest.mark.parametrize("seed", range(10))
def test_credit_equals_its_definition_on_lopsided_questions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = lopsided(rng)
    scores = np.where(rng.random(len(made.logprob)) < 0.02, np.nan, made.logprob)
    np.testing.assert_array_equal(arms.credit(scores, made), arms.credit_by_question(scores, made))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.integers(-5, 5))
def test_credit_is_a_share_and_blind_to_a_shift_of_all_scores(seed: int, shift: int) -> None:
    made = lopsided(np.random.default_rng(seed), questions=8)
    shares = arms.credit(made.logprob, made)
    assert np.all((shares >= 0.0) & (shares <= 1.0))
    np.testing.assert_array_equal(shares, arms.credit(made.logprob + shift, made))
    by_kind = [arms.tied_share(made.logprob, made, kind) for kind in range(len(KINDS))]
    np.testing.assert_allclose(np.sum(by_kind, axis=0), 1.0)


def test_likra_of_two_untrained_heads_is_chance() -> None:
    made = lopsided(np.random.default_rng(3))
    made = with_scores(made, np.random.default_rng(4).normal(-7.0, 3.0, len(made.logprob)), head="base")
    scores = arms.arm_scores("likra", {"base": made, "positive": made, "negative": made})
    correct_share = [np.mean(made.kind[made.question == q] == arms.CORRECT) for q in range(len(made.question_ids))]
    for metric in METRICS:
        np.testing.assert_allclose(arms.credit(arms.normalised(scores, made, metric), made), correct_share)


def test_margin_is_best_correct_less_best_wrong() -> None:
    made = table(
        [
            [("correct", -3.0), ("correct", -1.0), ("near_miss", -2.0), ("far", -9.0)],
            [("correct", -3.0), ("far", -1.0)],
            [("correct", math.nan), ("far", -1.0)],
            [("correct", -1.0)],
            [("far", -1.0), ("near_miss", -2.0)],
        ]
    )
    expected = [1.0, -2.0, math.nan, math.nan, math.nan]
    np.testing.assert_array_equal(arms.margin(made.logprob, made), expected)


def test_mean_logprob_by_kind() -> None:
    made = table([[("correct", -1.0), ("near_miss", -2.0)], [("correct", -3.0), ("near_miss", -6.0)]])
    found = arms.mean_logprob(made)
    assert found.per_option["correct"] == -2.0
    assert found.per_token == pytest.approx({"correct": -1.0, "near_miss": -2.0, "far": math.nan}, nan_ok=True)
    assert math.isnan(found.per_option["far"])


def test_scores_of_another_shape_and_empty_questions_are_refused() -> None:
    with pytest.raises(InputError, match="one score per option"):
        arms.credit(np.zeros(2), THREE)
    with pytest.raises(InputError, match="questions with options"):
        arms.credit(THREE.logprob, replace(THREE, question_ids=("q0", "q1")))
