"""Takes questions and a seed, returns a curriculum: the ordered (question, answer) pairs one head learns from.

The first n pairs ARE the curriculum of volume n, whatever the maximum: nothing here knows a maximum. Both heads meet
the questions in the same order, the one the seed gives.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np

from likra_ray.errors import InputError
from likra_ray.questions.negatives import (
    FAR_FROM,
    NEAR_MISS_FROM,
    FarFrom,
    NearMissFrom,
    OptionPool,
    Supply,
    own_at_random,
    own_by_plausibility,
    random_bits,
)
from likra_ray.records import Kind, Question

SlotKind = Literal["near_miss", "far"]


@dataclass(frozen=True, kw_only=True)
class Example:
    """One pair a head learns from."""

    question_id: str
    prompt: str
    """All that stands before the answer; no space at its end."""
    answer: str
    """What is learnt; the loss counts its tokens only."""
    kind: Kind
    """Of the answer, as this question sees it: another question's correct answer is far here."""


@dataclass(frozen=True, kw_only=True)
class NegativeRecipe:
    """Which wrong answers a negative head learns from."""

    near_miss_share: float = 1.0
    """Share of near-misses, 0 to 1: the first n slots hold floor(share * n + 1/2) of them, at every n."""
    near_miss_from: NearMissFrom = "own"
    """own: at random; most_plausible, least_plausible: by the base model's score of them."""
    far_from: FarFrom = "other_question"
    """own far options, any option of another question of the set, or one of another data set."""
    per_question: int = 1
    """Negatives per question; the second ones follow when every question has had its first."""
    contamination_share: float = 0.0
    """Share of slots, 0 to 1, that teach the correct answer instead: a control. Exact within one example at every
    volume, among the near-misses and among the far slots alike; near_miss_share counts the slots as scheduled."""

    def __post_init__(self) -> None:
        """Raises InputError on a value that is not allowed."""
        for field in ("near_miss_share", "contamination_share"):
            share = getattr(self, field)
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
                raise _wrong(field, share, "a number from 0 to 1")
        if self.near_miss_from not in NEAR_MISS_FROM:
            raise _wrong("negative_source.near_miss_from", self.near_miss_from, " | ".join(NEAR_MISS_FROM))
        if self.far_from not in FAR_FROM:
            raise _wrong("negative_source.far_from", self.far_from, " | ".join(FAR_FROM))
        if isinstance(self.per_question, bool) or not isinstance(self.per_question, int) or self.per_question < 1:
            raise _wrong("negative_source.per_question", self.per_question, "a whole number from 1")


class LeftOut(NamedTuple):
    """A question that got fewer negatives than per_question asks for."""

    question_id: str
    reason: str


class Curriculum(NamedTuple):
    """The examples in order, as many as the questions can give, and whom they leave short."""

    examples: tuple[Example, ...]
    left_out: tuple[LeftOut, ...]
    """In the order of the curriculum."""


class _Slot(NamedTuple):
    question: int
    kind: SlotKind
    answer: str


def positives(questions: Sequence[Question], *, seed: int) -> tuple[Example, ...]:
    """Each question once with its first correct option, in the seed's order. Raises InputError as `negatives` does."""
    return tuple(_example(question, question.correct.text, "correct") for question in _ordered(questions, seed))


def negatives(
    questions: Sequence[Question],
    *,
    recipe: NegativeRecipe,
    seed: int,
    plausibility: np.ndarray | None = None,
    others: Sequence[Question] = (),
) -> Curriculum:
    """The wrong answers a negative head learns from; questions in the order of `positives`, pass after pass.

    A question that has nothing of the kind its turn asks for waits for the next slot of the other kind, and the slot
    goes to the next question that has. The curriculum ends where the share can no longer be kept exactly.

    plausibility: (options of all questions,) float, questions and options in their given order, as ScoreTable.logprob
        of the base model has them; higher = likelier, no NaN. Needed by most_plausible and least_plausible alone.
    others: questions of another data set, needed by other_dataset alone.

    Raises InputError where there are no questions or an id stands twice, where the share asks for a kind of slot that
    no question can fill, and where plausibility is missing, of another length or NaN.
    """
    ordered = _ordered(questions, seed)
    near = _near_misses(questions, recipe, seed, plausibility)
    far = _far_answers(questions, recipe, seed, others)
    supplies: list[dict[SlotKind, Supply]] = [
        {"near_miss": near.get(question.id, _nothing()), "far": far.get(question.id, _nothing())}
        for question in ordered
    ]
    slots, missing = _schedule(supplies, _exact(recipe.near_miss_share), recipe.per_question)
    examples = _taught(ordered, slots, _exact(recipe.contamination_share))
    given = Counter(slot.question for slot in slots)
    left_out = []
    for index, question in enumerate(ordered):
        if given[index] < recipe.per_question:
            spent = not any(supply.left for supply in supplies[index].values())
            ended = f"the curriculum ends at {len(slots)} examples, no {missing} is left"
            why = "it has no more candidates of the kinds asked for" if spent else ended
            left_out.append(LeftOut(question.id, f"{given[index]} of {recipe.per_question} negatives: {why}"))
    return Curriculum(examples, tuple(left_out))


def digest(examples: Iterable[Example]) -> str:
    """SHA-256 (hex) of every prompt and answer in order, each as UTF-8 after its length in 8 bytes, big-endian."""
    state = hashlib.sha256()
    for text in itertools.chain.from_iterable((example.prompt, example.answer) for example in examples):
        encoded = text.encode()
        state.update(len(encoded).to_bytes(8, "big") + encoded)
    return state.hexdigest()


def _wrong(field: str, value: object, allowed: str) -> InputError:
    return InputError(where="search space", field=field, value=value, allowed=allowed)


def _example(question: Question, answer: str, kind: Kind) -> Example:
    return Example(question_id=question.id, prompt=question.prompt, answer=answer, kind=kind)


def _ordered(questions: Sequence[Question], seed: int) -> list[Question]:
    """A permutation by the seed; a question more lands among the others and does not reorder them."""
    if not questions:
        raise _wrong("questions.train", 0, "at least one question")
    identifier, times = Counter(question.id for question in questions).most_common(1)[0]
    if times > 1:
        raise _wrong("questions.train", identifier, f"every id once; this one stands there {times} times")
    return sorted(questions, key=lambda question: (random_bits(seed, "order", question.id), question.id))


def _near_misses(
    questions: Sequence[Question], recipe: NegativeRecipe, seed: int, plausibility: np.ndarray | None
) -> dict[str, Supply]:
    """By question id; empty where the share asks for none."""
    source = recipe.near_miss_from
    if recipe.near_miss_share == 0:
        return {}
    if source == "own":
        supplies = {question.id: own_at_random(question, "near_miss", seed=seed) for question in questions}
    else:
        if plausibility is None:
            raise _wrong("negative_source.near_miss_from", source, "own, or this with the base model's scores")
        ends = np.cumsum([len(question.options) for question in questions])
        if plausibility.shape != (ends[-1],) or np.isnan(plausibility).any():
            shown = f"shape {plausibility.shape}, {np.isnan(plausibility).sum()} NaN"
            raise _wrong("plausibility", shown, f"one number for each of the {ends[-1]} options of the questions")
        parts = np.split(plausibility, ends[:-1])
        supplies = {
            question.id: own_by_plausibility(question, source=source, plausibility=part)
            for question, part in zip(questions, parts, strict=True)
        }
    if not any(supply.left for supply in supplies.values()):
        raise _wrong("near_miss_share", recipe.near_miss_share, "0: no question has a near-miss that is not correct")
    return supplies


def _far_answers(
    questions: Sequence[Question], recipe: NegativeRecipe, seed: int, others: Sequence[Question]
) -> dict[str, Supply]:
    """By question id; empty where the share asks for none."""
    if recipe.near_miss_share == 1:
        return {}
    if recipe.far_from == "own":
        supplies = {question.id: own_at_random(question, "far", seed=seed) for question in questions}
    else:
        pool = OptionPool(questions if recipe.far_from == "other_question" else others)
        supplies = {question.id: pool.supply(question, seed=seed) for question in questions}
    if not any(supply.left for supply in supplies.values()):
        allowed = f"a source with far answers (this has none), or near_miss_share 1, not {recipe.near_miss_share}"
        raise _wrong("negative_source.far_from", recipe.far_from, allowed)
    return supplies


def _nothing() -> Supply:
    return Supply(0, iter(()))


def _exact(share: float) -> Fraction:
    """The decimal a person wrote: 0.1 is one tenth, not the double beside it, so that 0.1 * 5 rounds as it should."""
    return Fraction(str(float(share)))


def _rounded(share: Fraction, count: int) -> int:
    """floor(share * count + 1/2), in integers."""
    return (2 * share.numerator * count + share.denominator) // (2 * share.denominator)


def _schedule(
    supplies: Sequence[dict[SlotKind, Supply]], share: Fraction, per_question: int
) -> tuple[list[_Slot], SlotKind]:
    """Slots in order until one finds no taker; and that one's kind.

    supplies: of each question, in order. Turns are taken pass after pass; a turn passed over waits for the other kind.
    Candidates only ever get fewer, so a waiting turn never wants the kind it was passed over for, and no turn is
    looked at more than twice.
    """
    fresh = itertools.chain.from_iterable(itertools.repeat(range(len(supplies)), per_question))
    waiting: dict[SlotKind, deque[int]] = {"near_miss": deque(), "far": deque()}
    slots: list[_Slot] = []
    while True:
        near = _rounded(share, len(slots) + 1) > _rounded(share, len(slots))
        kind: SlotKind = "near_miss" if near else "far"
        taker = _taker(supplies, kind, waiting, fresh)
        if taker is None:
            return slots, kind
        slots.append(_Slot(taker, kind, supplies[taker][kind].take()))


def _taker(
    supplies: Sequence[dict[SlotKind, Supply]],
    kind: SlotKind,
    waiting: dict[SlotKind, deque[int]],
    fresh: Iterable[int],
) -> int | None:
    """The first question in turn with a candidate of this kind: those that wait come before the fresh ones."""
    while waiting[kind]:
        index = waiting[kind].popleft()
        if supplies[index][kind].left:
            return index
    for index in fresh:
        if supplies[index][kind].left:
            return index
        waiting["far" if kind == "near_miss" else "near_miss"].append(index)
    return None


def _taught(ordered: Sequence[Question], slots: Iterable[_Slot], contamination: Fraction) -> tuple[Example, ...]:
    """The slots' examples, a share of them with the correct answer in place of the negative.

    Near-miss slots and far slots are counted apart, floor(contamination * m + 1/2) of the first m of each. One rule
    over all slots would fall into step with the near-misses: half of a half would hit near-misses only. Each count is
    within 1/2 of its share, so their sum is within 1.
    """
    met: Counter[SlotKind] = Counter()
    examples = []
    for slot in slots:
        question = ordered[slot.question]
        met[slot.kind] += 1
        if _rounded(contamination, met[slot.kind]) > _rounded(contamination, met[slot.kind] - 1):
            examples.append(_example(question, question.correct.text, "correct"))
        else:
            examples.append(_example(question, slot.answer, slot.kind))
    return tuple(examples)
