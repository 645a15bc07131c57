"""Controls keep all of a question but what they control."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from likra_ray.errors import InputError
from likra_ray.questions import controls
from likra_ray.questions.atlas import load_atlas
from likra_ray.questions.curriculum import Example, NegativeRecipe, negatives, positives
from likra_ray.records import Kind, Option, Question


def question(identifier: str, *options: tuple[str, Kind], prompt: str | None = None) -> Question:
    made = tuple(Option(text=text, kind=kind) for text, kind in options)
    return Question(id=identifier, prompt=prompt or f"Question: {identifier}?\nAnswer:", options=made)


def many(count: int) -> list[Question]:
    """The truth stands first in every one, as careless files have it."""
    kinds: list[Kind] = ["correct", "near_miss", "near_miss", "far"]
    return [question(f"q{i}", *[(f"{letter} {i}", kind) for letter, kind in zip("abcd", kinds, strict=True)])
            for i in range(count)]  # fmt: skip


MANY = many(3000)


def letters(examples: Sequence[Example]) -> list[str]:
    """The first word of every answer, by question: a is the truth."""
    return [answer.split()[0] for _, answer in sorted((example.question_id, example.answer) for example in examples)]


class TestShuffleLabels:
    def test_ids_prompts_texts_and_kinds_in_all_stay(self) -> None:
        for before, after in zip(MANY[:200], controls.shuffle_labels(MANY[:200], seed=3), strict=True):
            assert (before.id, before.prompt) == (after.id, after.prompt)
            assert [o.text for o in before.options] == [o.text for o in after.options]
            assert Counter(o.kind for o in before.options) == Counter(o.kind for o in after.options)

    def test_depends_on_seed_and_id_alone(self) -> None:
        shuffled = controls.shuffle_labels(MANY[:50], seed=3)
        assert controls.shuffle_labels(MANY[25:50], seed=3) == shuffled[25:]
        assert controls.shuffle_labels(MANY[:50], seed=4) != shuffled

    def test_is_the_same_on_every_machine(self) -> None:
        [after] = controls.shuffle_labels(many(1), seed=0)
        assert [o.kind for o in after.options] == ["near_miss", "near_miss", "far", "correct"]

    @pytest.mark.parametrize("near_miss_share", [1.0, 0.5])
    def test_the_two_heads_could_be_swapped(self, near_miss_share: float) -> None:
        """Positive and own negative are an ordered pair of distinct options, each of the 12 as likely (3,000 draws)."""
        shuffled = controls.shuffle_labels(MANY, seed=0)
        recipe = NegativeRecipe(near_miss_share=near_miss_share, far_from="own")
        taught = letters(positives(shuffled, seed=0))
        avoided = letters(negatives(shuffled, recipe=recipe, seed=0).examples)
        pairs = Counter(zip(taught, avoided, strict=True))
        assert set(pairs) == set(permutations("abcd", 2))
        expected, spread = len(MANY) / 12, np.sqrt(len(MANY) / 12)
        assert max(abs(count - expected) for count in pairs.values()) < 4 * spread

    def test_several_correct_options_become_one_wherever_they_stand(self) -> None:
        two = [question(f"q{i}", ("a", "correct"), ("b", "correct"), ("c", "far")) for i in range(2000)]
        shuffled = controls.shuffle_labels(two, seed=1)
        assert {tuple(sorted(o.kind for o in one.options)) for one in shuffled} == {("correct", "far", "near_miss")}
        found = Counter(one.correct.text for one in shuffled)
        assert all(abs(found[text] - 2000 / 3) < 4 * np.sqrt(2000 / 3) for text in "abc")

    def test_on_the_atlas_a_label_says_nothing_about_the_truth(self) -> None:
        train = load_atlas("train")
        truth = {one.id: one.correct.text for one in train}
        shuffled = controls.shuffle_labels(train, seed=0)
        hits = np.mean([one.correct.text == truth[one.id] for one in shuffled])
        chance = np.mean([1 / len(one.options) for one in train])
        assert abs(hits - chance) < 4 * np.sqrt(chance * (1 - chance) / len(train))


class TestIdenticalSets:
    """Full contamination: both heads learn the same pairs in the same order."""

    @pytest.mark.parametrize("seed", [0, 1])
    @pytest.mark.parametrize("shuffled", [False, True])
    def test_full_contamination_of_near_misses_is_the_positive_set(self, seed: int, shuffled: bool) -> None:
        train: Sequence[Question] = load_atlas("train")
        train = controls.shuffle_labels(train, seed=seed) if shuffled else train
        recipe = NegativeRecipe(near_miss_share=1.0, contamination_share=1.0)
        assert negatives(train, recipe=recipe, seed=seed).examples == positives(train, seed=seed)

    def test_half_of_it_is_half_the_same(self) -> None:
        recipe = NegativeRecipe(near_miss_share=1.0, contamination_share=0.5)
        found, taught = negatives(MANY, recipe=recipe, seed=0).examples[:512], positives(MANY, seed=0)[:512]
        assert [e.prompt for e in found] == [e.prompt for e in taught]
        assert sum(a == b for a, b in zip(found, taught, strict=True)) == 256


class TestListOptions:
    def test_options_stand_before_the_answer(self) -> None:
        [listed] = controls.list_options([question("q", ("one", "correct"), ("two", "far"), ("a b", "near_miss"))])
        head, *lines, last = listed.prompt.split("\n")
        assert (head, lines[0], last) == ("Question: q?", "Options:", "Answer:")
        assert sorted(lines[1:]) == ["- a b", "- one", "- two"]
        assert listed.options == question("q", ("one", "correct"), ("two", "far"), ("a b", "near_miss")).options

    @pytest.mark.parametrize(
        ("prompt", "start"), [("What? Answer:", "What?\nOptions:\n- "), ("Answer:", "Options:\n- ")]
    )
    def test_any_prompt_that_ends_so(self, prompt: str, start: str) -> None:
        [listed] = controls.list_options([question("q", ("x", "correct"), ("y", "far"), prompt=prompt)])
        assert listed.prompt.startswith(start) and listed.prompt.endswith("\nAnswer:")

    def test_the_order_is_fixed_by_the_id_and_tells_nothing(self) -> None:
        listed = controls.list_options(MANY)
        turned = [question(one.id, *[(o.text, o.kind) for o in reversed(one.options)]) for one in MANY]
        assert [one.prompt for one in controls.list_options(turned)] == [one.prompt for one in listed]
        places = Counter(one.prompt.split("\n").index(f"- {one.correct.text}") for one in listed)
        assert set(places) == {2, 3, 4, 5}
        assert all(abs(count - 750) < 4 * np.sqrt(750) for count in places.values())


def test_unasked_keeps_the_options_alone() -> None:
    for before, after in zip(MANY[:5], controls.unasked(MANY[:5]), strict=True):
        assert (after.id, after.prompt, after.options) == (before.id, "Answer:", before.options)


@pytest.mark.parametrize("change", [controls.list_options, controls.unasked])
@pytest.mark.parametrize("prompt", ["Roof: A man is", "Answer: ", "answer:"])
def test_another_prompt_is_refused(change: Any, prompt: str) -> None:
    with pytest.raises(InputError, match=r"got \"q7, whose prompt ends in .*; allowed: only with sources whose"):
        change([*MANY[:2], question("q7", ("x", "correct"), ("y", "far"), prompt=prompt)])


def test_the_source_and_the_field_are_named() -> None:
    with pytest.raises(InputError) as caught:
        controls.check_asked([question("h/1", ("x", "correct"), ("y", "far"), prompt="Roof: He")],
                             where="hellaswag", field="questions.options_visible")  # fmt: skip
    assert str(caught.value).startswith("hellaswag: questions.options_visible: got \"h/1, whose prompt ends in 'Roof")
