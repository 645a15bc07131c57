"""The order of a curriculum, its exact shares and whom it leaves out: .venv/bin/python -m pytest tests/questions."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from likra_ray.errors import InputError
from likra_ray.questions.curriculum import Curriculum, Example, NegativeRecipe, digest, negatives, positives
from likra_ray.records import Kind, Option, Question

SHARES = ("0", "0.1", "0.25", "0.333", "0.5", "0.75", "0.9", "1")


def question(identifier: str, *options: tuple[str, Kind]) -> Question:
    made = tuple(Option(text=text, kind=kind) for text, kind in options)
    return Question(id=identifier, prompt=f"Question: {identifier}?\nAnswer:", options=made)


def plain(count: int, near: int = 3, far: int = 2) -> list[Question]:
    """Questions whose texts are all different: the first word is the kind, the second the question."""
    return [
        question(
            f"q{i}",
            (f"right {i}", "correct"),
            *[(f"near {i} {j}", "near_miss") for j in range(near)],
            *[(f"far {i} {j}", "far") for j in range(far)],
        )
        for i in range(count)
    ]


PLAIN = plain(120)


def exact(share: str | float, count: int) -> int:
    return math.floor(Fraction(str(share)) * count + Fraction(1, 2))


def taught(result: Curriculum) -> list[tuple[str, str]]:
    return [(example.question_id, example.answer) for example in result.examples]


@pytest.mark.parametrize("far_from", ["own", "other_question"])
@pytest.mark.parametrize("share", SHARES)
def test_near_miss_share_is_exact_at_every_volume(share: str, far_from: Any) -> None:
    for per_question in (1, 2):
        recipe = NegativeRecipe(near_miss_share=float(share), far_from=far_from, per_question=per_question)
        result = negatives(PLAIN, recipe=recipe, seed=5)
        count = 0
        for volume, example in enumerate(result.examples, start=1):
            count += example.kind == "near_miss"
            assert count == exact(share, volume)
        assert len(result.examples) >= 120 * per_question - 2


def test_the_decimal_is_meant_and_not_the_double_beside_it() -> None:
    assert math.floor(Fraction(0.35) * 10 + Fraction(1, 2)) == 3  # the double is a little under 0.35
    kinds = [e.kind for e in negatives(PLAIN, recipe=NegativeRecipe(near_miss_share=0.35), seed=0).examples]
    assert kinds[:10].count("near_miss") == 4


@pytest.mark.parametrize("share", SHARES)
def test_positives_and_negatives_meet_the_questions_in_one_order(share: str) -> None:
    order = [example.question_id for example in positives(PLAIN, seed=3)]
    assert sorted(order) == sorted(one.id for one in PLAIN) and order != [one.id for one in PLAIN]
    result = negatives(PLAIN, recipe=NegativeRecipe(near_miss_share=float(share), per_question=2), seed=3)
    assert [example.question_id for example in result.examples[:120]] == order
    assert [example.question_id for example in result.examples[120:]] == order
    assert result.left_out == ()


def test_positives_teach_the_first_correct_option() -> None:
    asked = question("q", ("wrong", "near_miss"), ("first", "correct"), ("second", "correct"))
    assert positives([asked], seed=0) == (
        Example(question_id="q", prompt="Question: q?\nAnswer:", answer="first", kind="correct"),
    )


def test_reproducible_by_seed_and_different_across_seeds() -> None:
    recipe = NegativeRecipe(near_miss_share=0.5, contamination_share=0.25)
    digests = [digest(negatives(PLAIN, recipe=recipe, seed=seed).examples) for seed in range(8)]
    assert len(set(digests)) == 8
    assert digests == [digest(negatives(PLAIN, recipe=recipe, seed=seed).examples) for seed in range(8)]
    assert len({digest(positives(PLAIN, seed=seed)) for seed in range(8)}) == 8


def test_the_order_of_the_file_does_not_matter_for_own_options_and_a_new_question_leaves_the_rest() -> None:
    recipe = NegativeRecipe(near_miss_share=0.5, far_from="own")
    whole = negatives(PLAIN, recipe=recipe, seed=0)
    assert negatives(PLAIN[::-1], recipe=recipe, seed=0) == whole
    near = NegativeRecipe()
    fewer = taught(negatives(PLAIN[:-1], recipe=near, seed=0))
    assert [pair for pair in taught(negatives(PLAIN, recipe=near, seed=0)) if pair[0] != PLAIN[-1].id] == fewer


def first_in_turn(order: list[str], stock: dict[str, Counter[str]], share: float, per_question: int) -> list[Any]:
    """The definition, quadratic: every slot scans all turns not yet taken from the first one."""
    turns = order * per_question
    slots: list[Any] = []
    while True:
        near = exact(share, len(slots) + 1) > exact(share, len(slots))
        kind = "near_miss" if near else "far"
        place = next((place for place, identifier in enumerate(turns) if stock[identifier][kind]), None)
        if place is None:
            return slots
        stock[turns[place]][kind] -= 1
        slots.append((turns.pop(place), kind))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=15),
    st.sampled_from([float(share) for share in SHARES]),
    st.integers(1, 3),
)
@settings(deadline=None, max_examples=150)
def test_waiting_turns_are_served_as_the_definition_says(
    sizes: list[tuple[int, int]], share: float, per_question: int
) -> None:
    asked = []
    for index, (near, far) in enumerate(sizes):
        wrong: list[tuple[str, Kind]] = [(f"near {j}", "near_miss") for j in range(near)]
        wrong += [(f"far {j}", "far") for j in range(far)]
        asked.append(question(str(index), ("right", "correct"), *wrong))
    stock = {str(index): Counter(near_miss=near, far=far) for index, (near, far) in enumerate(sizes)}
    lacking = (share > 0 and not any(near for near, _ in sizes)) or (share < 1 and not any(far for _, far in sizes))
    assume(not lacking)
    expected = first_in_turn([e.question_id for e in positives(asked, seed=0)], stock, share, per_question)
    recipe = NegativeRecipe(near_miss_share=share, far_from="own", per_question=per_question)
    result = negatives(asked, recipe=recipe, seed=0)
    assert [(example.question_id, example.kind) for example in result.examples] == expected


def test_a_question_without_the_kind_waits_for_the_next_slot_of_the_other() -> None:
    order = [example.question_id for example in positives(plain(6), seed=0)]
    asked = {one.id: one for one in plain(6)}
    asked[order[0]] = question(order[0], ("2", "correct"), ("-2", "near_miss"), ("far", "far"))
    recipe = NegativeRecipe(near_miss_share=0.5, far_from="own")
    result = negatives(list(asked.values()), recipe=recipe, seed=0)
    assert [example.question_id for example in result.examples] == [order[i] for i in (1, 0, 2, 3, 4, 5)]
    assert [example.kind for example in result.examples] == ["near_miss", "far"] * 3


def test_left_out_questions_are_named_with_the_reason() -> None:
    bare = question("bare", ("yes", "correct"), ("YES!", "near_miss"))
    single = question("single", ("yes", "correct"), ("no", "near_miss"))
    result = negatives([*plain(3, far=0), bare, single], recipe=NegativeRecipe(per_question=2), seed=0)
    assert len(result.examples) == 7
    assert dict(result.left_out) == {
        "bare": "0 of 2 negatives: it has no more candidates of the kinds asked for",
        "single": "1 of 2 negatives: it has no more candidates of the kinds asked for",
    }
    ended = negatives(plain(4, near=1), recipe=NegativeRecipe(near_miss_share=0.9, per_question=3), seed=0)
    assert len(ended.examples) == 4 and len(ended.left_out) == 4
    assert ended.left_out[0].reason == "1 of 3 negatives: the curriculum ends at 4 examples, no near_miss is left"


@pytest.mark.parametrize("contamination", ["0.1", "0.25", "0.5", "0.9", "1"])
@pytest.mark.parametrize("share", SHARES)
def test_contamination_is_exact_within_one_and_hits_both_kinds_alike(share: str, contamination: str) -> None:
    clean = negatives(PLAIN, recipe=NegativeRecipe(near_miss_share=float(share)), seed=4).examples
    recipe = NegativeRecipe(near_miss_share=float(share), contamination_share=float(contamination))
    mixed = negatives(PLAIN, recipe=recipe, seed=4).examples
    hits: Counter[str] = Counter()
    met: Counter[str] = Counter()
    for volume, (before, after) in enumerate(zip(clean, mixed, strict=True), start=1):
        met[before.kind] += 1
        if after != before:
            hits[before.kind] += 1
            assert after.kind == "correct" and after.question_id == before.question_id
            assert after.answer == after.question_id.replace("q", "right ")
        assert all(hits[kind] == exact(contamination, met[kind]) for kind in met)
        assert abs(hits.total() - Fraction(contamination) * volume) <= 1
        if share in ("0", "1"):
            assert hits.total() == exact(contamination, volume)


def test_digest_knows_where_a_field_ends() -> None:
    def one(prompt: str, answer: str, identifier: str = "q") -> Example:
        return Example(question_id=identifier, prompt=prompt, answer=answer, kind="far")

    listings = [[], [one("ab", "c")], [one("a", "bc")], [one("ab", "c"), one("", "")], [one("é", "c")]]
    assert len({digest(listing) for listing in listings}) == len(listings)
    assert digest([one("ab", "c")]) == digest([one("ab", "c", "another id")])
    assert digest([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"near_miss_share": -0.1}, "near_miss_share"),
        ({"near_miss_share": float("nan")}, "near_miss_share"),
        ({"near_miss_share": True}, "near_miss_share"),
        ({"near_miss_share": "0.5"}, "near_miss_share"),
        ({"contamination_share": 1.5}, "contamination_share"),
        ({"near_miss_from": "hardest"}, "negative_source.near_miss_from"),
        ({"far_from": "nowhere"}, "negative_source.far_from"),
        ({"per_question": 0}, "negative_source.per_question"),
        ({"per_question": 1.0}, "negative_source.per_question"),
    ],
)
def test_recipe_refuses(values: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as error:
        NegativeRecipe(**values)
    assert (error.value.where, error.value.field) == ("search space", field)


NEAR_ONLY, FAR_ONLY = plain(3, far=0), plain(3, near=0)


@pytest.mark.parametrize(
    ("asked", "values", "plausibility", "field"),
    [
        ([], {}, None, "questions.train"),
        ([PLAIN[0], PLAIN[0]], {}, None, "questions.train"),
        (FAR_ONLY, {"near_miss_share": 0.1}, None, "near_miss_share"),
        (NEAR_ONLY, {"near_miss_share": 0.9, "far_from": "own"}, None, "negative_source.far_from"),
        (NEAR_ONLY, {"near_miss_share": 0.9, "far_from": "other_dataset"}, None, "negative_source.far_from"),
        (NEAR_ONLY[:1], {"near_miss_share": 0.9}, None, "negative_source.far_from"),
        (NEAR_ONLY, {"near_miss_from": "most_plausible"}, None, "negative_source.near_miss_from"),
        (NEAR_ONLY, {"near_miss_from": "least_plausible"}, np.zeros(11), "plausibility"),
        (NEAR_ONLY, {"near_miss_from": "least_plausible"}, np.full(12, np.nan), "plausibility"),
    ],
)
def test_negatives_refuse(asked: list[Question], values: dict[str, Any], plausibility: Any, field: str) -> None:
    with pytest.raises(InputError) as error:
        negatives(asked, recipe=NegativeRecipe(**values), seed=0, plausibility=plausibility)
    assert (error.value.where, error.value.field) == ("search space", field)


def test_what_the_share_does_not_ask_for_is_not_missed() -> None:
    assert negatives(
        FAR_ONLY, recipe=NegativeRecipe(near_miss_share=0, near_miss_from="most_plausible"), seed=0
    ).examples
    assert negatives(NEAR_ONLY, recipe=NegativeRecipe(far_from="other_dataset"), seed=0).examples
