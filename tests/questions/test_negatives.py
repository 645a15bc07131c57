"""What counts as the same answer, and what one question may be given: .venv/bin/python -m pytest tests/questions."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from likra_ray.errors import InputError
from likra_ray.questions.curriculum import Curriculum, NegativeRecipe, negatives
from likra_ray.questions.negatives import (
    OptionPool,
    Supply,
    _bucket,
    normalise,
    own_at_random,
    own_by_plausibility,
    own_wrong,
    random_bits,
)
from likra_ray.records import KINDS, Kind, Option, Question


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


def drain(supply: Supply) -> list[str]:
    return [supply.take() for _ in range(supply.left)]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Paris", " paris. ", True),
        ("ice cream", "Ice-Cream", True),
        ("the U.S.", "The US", True),
        ("WW or ww", "WW or Ww", True),
        ("+2", "-2", True),
        ("Straße", "STRASSE", True),
        ("ﬁsh", "fish", True),
        ("１２", "12", True),
        ("a\u00a0b\u200b", "A B", True),
        ("e\u0301tude", "étude", True),
        ("m²", "m2", True),
        ("étude", "etude", False),
        ("हिन्दी", "हन्द", False),
        ("Paris", "Pari", False),
        ("+", "-", False),
        ("+", " + ", True),
        ("< >", "<>", True),
        ("?!", "!?", False),
        ("", " ", True),
    ],
)
def test_normalise(one: str, other: str, same: bool) -> None:
    assert (normalise(one) == normalise(other)) is same


@given(st.text(max_size=8))
@settings(deadline=None, max_examples=200)
def test_normalise_is_settled_and_keeps_something(text: str) -> None:
    folded = normalise(text)
    assert normalise(folded) == folded
    assert bool(folded) == bool("".join(unicodedata.normalize("NFKC", text).split()))


@given(st.text(alphabet="aZé9ß", min_size=1, max_size=6), st.sampled_from(list(" .,-!?'\u2019()\t\u00a0+$")))
@settings(deadline=None, max_examples=100)
def test_normalise_ignores_what_stands_between_letters(text: str, mark: str) -> None:
    assert normalise(mark + mark.join(text.upper()) + mark) == normalise(text)


def test_own_options_lose_the_correct_and_the_repeated() -> None:
    asked = question(
        "q",
        ("+2", "correct"),
        ("two", "correct"),
        ("-2", "near_miss"),
        ("Two.", "far"),
        ("+3", "near_miss"),
        ("3", "near_miss"),
        ("three", "far"),
        ("(3)", "far"),
        ("4", "near_miss"),
    )
    assert [option.text for option in own_wrong(asked, "near_miss")] == ["+3", "4"]
    assert [option.text for option in own_wrong(asked, "far")] == ["three"]


LETTERS = question("letters", ("right", "correct"), *[(letter, "near_miss") for letter in "abcdef"], ("z", "far"))


def test_own_at_random_gives_each_once_in_an_order_of_the_seed() -> None:
    orders = [drain(own_at_random(LETTERS, "near_miss", seed=seed)) for seed in range(30)]
    assert all(sorted(order) == list("abcdef") for order in orders)
    assert drain(own_at_random(LETTERS, "near_miss", seed=7)) == orders[7]
    assert set(order[0] for order in orders) == set("abcdef")
    shorter = question("letters", ("right", "correct"), *[(letter, "near_miss") for letter in "abcde"])
    assert drain(own_at_random(shorter, "near_miss", seed=7)) == [text for text in orders[7] if text != "f"]


@pytest.mark.parametrize(
    ("source", "expected"), [("most_plausible", list("cbdefa")), ("least_plausible", list("adefbc"))]
)
def test_own_by_plausibility_ranks_near_misses_only_and_keeps_ties_in_order(source: str, expected: list[str]) -> None:
    scores = np.array([9.0, -np.inf, 1.0, 2.0, 0.0, 0.0, 0.0, 8.0])
    supply = own_by_plausibility(LETTERS, source=source, plausibility=scores)  # type: ignore[arg-type]
    assert drain(supply) == expected


SHARED = [
    question("0", ("Oslo", "correct"), ("Bergen", "near_miss"), ("Norway", "far")),
    question("1", ("Bergen", "correct"), ("oslo", "near_miss"), ("Rome", "near_miss")),
    question("2", ("Rome", "correct"), ("ROME.", "near_miss"), ("Lima", "near_miss"), ("Quito", "far")),
]


@pytest.mark.parametrize(("index", "expected"), [(0, "lima quito rome"), (1, "lima norway quito")])
def test_pool_gives_every_option_of_others_once_and_none_of_its_own(index: int, expected: str) -> None:
    pool = OptionPool(SHARED)
    for seed in range(20):
        assert sorted(map(normalise, drain(pool.supply(SHARED[index], seed=seed)))) == expected.split()


def test_pool_reaches_the_rare_text_behind_a_crowd_of_barred_ones() -> None:
    crowd = [question(str(i), ("yes", "correct"), ("no", "near_miss")) for i in range(500)]
    rare = question("rare", ("yes", "correct"), ("maybe", "near_miss"))
    pool = OptionPool([*crowd, rare])
    assert {tuple(drain(pool.supply(asked, seed=3))) for asked in crowd} == {("maybe",)}
    assert OptionPool(crowd).supply(crowd[0], seed=3).left == 0
    assert OptionPool([]).supply(crowd[0], seed=3).left == 0


def test_pool_draws_every_question_alike_and_a_new_question_moves_few_draws() -> None:
    asked = [question(f"q{i}", (f"right {i}", "correct"), (f"wrong {i}", "near_miss")) for i in range(40)]
    draws = [OptionPool(asked).supply(one, seed=seed).take() for one in asked for seed in range(50)]
    donors = Counter(text.split()[1] for text in draws)
    assert len(donors) == 40 and min(donors.values()) > 20 and max(donors.values()) < 85
    assert 800 < sum(text.startswith("right") for text in draws) < 1200
    more = OptionPool([*asked, question("new", ("right 40", "correct"), ("wrong 40", "near_miss"))])
    again = [more.supply(one, seed=seed).take() for one in asked for seed in range(50)]
    moved = [new for old, new in zip(draws, again, strict=True) if old != new]
    assert 20 < len(moved) < 85 and {text.split()[1] for text in moved} == {"40"}


@given(st.integers(0, 2**64 - 1), st.integers(1, 1000))
@settings(deadline=None, max_examples=100)
def test_bucket_stays_inside_and_moves_only_to_the_new_one(bits: int, buckets: int) -> None:
    before, after = _bucket(bits, buckets), _bucket(bits, buckets + 1)
    assert 0 <= before < buckets
    assert after in (before, buckets)


def test_random_bits_hang_on_every_part_and_never_change() -> None:
    assert random_bits(0, "order", "q") == 6769037758383158815
    parts = [("a", "b"), ("ab",), ("a", "b", ""), ("a', 'b",), ("é",), ("\ud800",)]
    assert len({random_bits(seed, *some) for some in parts for seed in (0, 1)}) == 2 * len(parts)


texts = st.one_of(
    st.sampled_from(
        ["+", "-", "+2", "-2", "2", "WW or ww", "ww or Ww.", "Paris", " paris", "ＰＡＲＩＳ", "?", "? ", "ß", "SS"]
    ),
    st.text(alphabet="ab .-é", max_size=3),
)
kinds: st.SearchStrategy[Kind] = st.sampled_from(KINDS)


@st.composite
def nasty_sets(draw: st.DrawFn) -> list[Question]:
    """Texts that collide after normalising, within and between questions; some questions have no negative at all."""
    made = []
    for index in range(draw(st.integers(2, 8))):
        options = draw(st.lists(st.tuples(texts, kinds), min_size=1, max_size=5))
        made.append(question(str(index), (draw(texts), "correct"), *options))
    return made


recipes = st.builds(
    NegativeRecipe,
    near_miss_share=st.sampled_from([0, 0.1, 0.333, 0.5, 0.9, 1]),
    near_miss_from=st.sampled_from(["own", "most_plausible", "least_plausible"]),
    far_from=st.sampled_from(["own", "other_question", "other_dataset"]),
    per_question=st.integers(1, 3),
)


def made_or_none(asked: list[Question], recipe: NegativeRecipe, seed: int = 0) -> Curriculum | None:
    """A curriculum with everything a recipe may need; None where it says that the set cannot give it."""
    plausibility = np.arange(sum(len(one.options) for one in asked)) % 3.0
    try:
        return negatives(asked, recipe=recipe, seed=seed, plausibility=plausibility, others=plain(2))
    except InputError:
        return None


@given(nasty_sets(), recipes, st.integers(0, 3))
@settings(deadline=None, max_examples=120)
def test_no_negative_is_right_or_repeated_and_every_question_is_accounted_for(
    asked: list[Question], recipe: NegativeRecipe, seed: int
) -> None:
    result = made_or_none(asked, recipe, seed)
    if result is None:
        return
    by_id = {one.id: one for one in asked}
    given_to: dict[str, list[str]] = defaultdict(list)
    for example in result.examples:
        options = {normalise(o.text): o.kind for o in reversed(by_id[example.question_id].options)}
        correct = {normalise(o.text) for o in by_id[example.question_id].options if o.kind == "correct"}
        folded = normalise(example.answer)
        assert folded not in correct
        assert example.kind == options.get(folded, "far")
        assert folded in options or recipe.far_from != "own"
        assert folded not in given_to[example.question_id]
        given_to[example.question_id].append(folded)
    short = {identifier for identifier in by_id if len(given_to[identifier]) < recipe.per_question}
    assert {entry.question_id for entry in result.left_out} == short
    assert all(len(answers) <= recipe.per_question for answers in given_to.values())


@given(nasty_sets(), recipes)
@settings(deadline=None, max_examples=60)
def test_fewer_per_question_is_the_beginning_of_more(asked: list[Question], recipe: NegativeRecipe) -> None:
    less, more = made_or_none(asked, recipe), made_or_none(asked, replace(recipe, per_question=recipe.per_question + 1))
    assert (less is None) == (more is None)
    if less is not None and more is not None:
        assert more.examples[: len(less.examples)] == less.examples


def test_plausibility_picks_what_it_says_by_rank_and_pass() -> None:
    asked = plain(20, near=3, far=1)
    scores = np.tile([9.0, 1.0, 3.0, 2.0, 8.0], 20)
    for source, ranks in (("most_plausible", "120"), ("least_plausible", "021")):
        recipe = NegativeRecipe(near_miss_from=source, per_question=3)  # type: ignore[arg-type]
        answers = [example.answer for example in negatives(asked, recipe=recipe, seed=1, plausibility=scores).examples]
        assert [answer.split()[2] for answer in answers] == [rank for rank in ranks for _ in range(20)]


def test_far_answers_come_from_where_the_recipe_says() -> None:
    others = plain(300)[200:]
    for far_from, donors in (("own", None), ("other_question", range(120)), ("other_dataset", range(200, 300))):
        recipe = NegativeRecipe(near_miss_share=0, far_from=far_from, per_question=2)  # type: ignore[arg-type]
        result = negatives(plain(120), recipe=recipe, seed=2, others=others)
        assert len(result.examples) == 240
        for example in result.examples:
            sort, donor, *_ = example.answer.split()
            if donors is None:
                assert (sort, f"q{donor}") == ("far", example.question_id)
            else:
                assert int(donor) in donors and f"q{donor}" != example.question_id
        if donors is not None:
            assert {example.answer.split()[0] for example in result.examples} == {"right", "near", "far"}
