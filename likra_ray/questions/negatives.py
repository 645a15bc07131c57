"""Takes one question and the kind of a slot, returns the wrong answers it may learn there, in order.

Near-misses are a question's own; far answers are its own, another question's or another data set's. Whatever the
source, a negative never equals a correct answer of its question and no question meets the same negative twice, both
after `normalise`. Draws come from SHA-256 of the seed and the question's id and not from one stream of random
numbers, so they are the same on every machine, under every version of numpy and whichever questions are beside it.
"""

from __future__ import annotations

import hashlib
import itertools
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from likra_ray.records import Option, Question

NearMissFrom = Literal["own", "most_plausible", "least_plausible"]
NEAR_MISS_FROM: tuple[NearMissFrom, ...] = get_args(NearMissFrom)
FarFrom = Literal["own", "other_question", "other_dataset"]
FAR_FROM: tuple[FarFrom, ...] = get_args(FarFrom)

DRAWS_BEFORE_WALKING = 8
"""Random draws before the next free text is taken; where a tenth of the pool is barred 1 in 10**8 come to that."""


class _KeptCharacters(dict[int, int | None]):
    """For str.translate: letters, digits and combining marks stay, everything else goes; filled as characters come."""

    def __missing__(self, code: int) -> int | None:
        self[code] = code if unicodedata.category(chr(code))[0] in "LNM" else None
        return self[code]


_KEPT = _KeptCharacters()


def normalise(text: str) -> str:
    """Fold a text for comparison: two texts with the same result count as the same answer.

    Unicode compatibility forms (NFKC) and case are folded, then white space, punctuation and symbols are removed, so
    "Ice-cream." equals "ice cream", and "+2" equals "-2": no such pair is taught as right and wrong. Removing is
    coarser than making everything a space and costs next to nothing: of 20,748 wrong options of ARC one more is lost
    ("1.28 millimeters" beside "128 millimeters"; measured). A text with no letter or digit keeps its punctuation and
    loses its white space only: "+" and "-" differ.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = unicodedata.normalize("NFKC", folded.translate(_KEPT))
    return kept if kept.isalnum() or any(map(str.isalnum, kept)) else "".join(folded.split())


def random_bits(seed: int, *parts: str) -> int:
    """64 random bits that depend on the seed and the parts alone: the head of SHA-256 of their escaped listing."""
    listing = ascii((int(seed), *parts))
    return int.from_bytes(hashlib.sha256(listing.encode("ascii")).digest()[:8], "big")


@dataclass
class Supply:
    """What one question can still be given in slots of one kind."""

    left: int
    """Texts that `take` can still return."""
    texts: Iterator[str]
    """They come from here in order, drawn when asked for."""

    def take(self) -> str:
        """The next text. Raises StopIteration or draws beyond the pool where `left` is 0: ask first."""
        self.left -= 1
        return next(self.texts)


def own_wrong(question: Question, kind: Literal["near_miss", "far"]) -> tuple[Option, ...]:
    """The question's own options of a kind that may be negatives, in their order.

    Left out: what equals a correct option and what equals an earlier wrong option, of either kind, after normalising.
    """
    met = {normalise(option.text) for option in question.options if option.kind == "correct"}
    usable = []
    for option in question.options:
        folded = normalise(option.text)
        if folded not in met:
            usable.append(option)
            met.add(folded)
    return tuple(option for option in usable if option.kind == kind)


def own_at_random(question: Question, kind: Literal["near_miss", "far"], *, seed: int) -> Supply:
    """The question's own options of a kind, shuffled by the seed; an option more does not reorder the others."""
    texts = [option.text for option in own_wrong(question, kind)]
    texts.sort(key=lambda text: (random_bits(seed, "own", question.id, text), text))
    return Supply(len(texts), iter(texts))


def own_by_plausibility(
    question: Question, *, source: Literal["most_plausible", "least_plausible"], plausibility: np.ndarray
) -> Supply:
    """The question's own near-misses ranked by how likely the base model finds them.

    source: which end comes first; the k-th near-miss of the question is the k-th ranked. Ties keep the options' order.
    plausibility: (options of the question,) in their order, any unit, higher = likelier; must hold no NaN.
    """
    sign = -1.0 if source == "most_plausible" else 1.0
    usable = {id(option) for option in own_wrong(question, "near_miss")}
    ranked = sorted(zip(question.options, plausibility.tolist(), strict=True), key=lambda pair: sign * pair[1])
    texts = [option.text for option, _ in ranked if id(option) in usable]
    return Supply(len(texts), iter(texts))


class OptionPool:
    """All options of a list of questions, correct ones included: where far answers are drawn from."""

    def __init__(self, questions: Sequence[Question]) -> None:
        self._options = [tuple((normalise(o.text), o.text) for o in question.options) for question in questions]
        texts: dict[str, str] = {}
        for folded, text in itertools.chain.from_iterable(self._options):
            texts.setdefault(folded, text)
        self._texts = texts
        self._distinct = list(texts.items())

    def supply(self, question: Question, *, seed: int) -> Supply:
        """Every text of the pool that is no option of this question (then it would not be far), in random order.

        A draw picks one of the pool's questions, each as likely as another, then one of its options; it is repeated
        where the text is one of this question's own or was given before. With `question` among the pool's questions
        this leaves options of other questions only.
        """
        own = {normalise(option.text) for option in question.options}
        left = len(self._texts) - sum(folded in self._texts for folded in own)
        return Supply(left, self._draws(question.id, own, seed))

    def _draws(self, question_id: str, barred: set[str], seed: int) -> Iterator[str]:
        for rank in itertools.count():
            folded, text = self._draw(barred, seed, question_id, str(rank))
            barred.add(folded)
            yield text

    def _draw(self, barred: set[str], seed: int, *key: str) -> tuple[str, str]:
        for attempt in map(str, range(DRAWS_BEFORE_WALKING)):
            donor = self._options[_bucket(random_bits(seed, "donor", *key, attempt), len(self._options))]
            folded, text = donor[random_bits(seed, "option", *key, attempt) % len(donor)]
            if folded not in barred:
                return folded, text
        # Few texts make up most of the pool and are barred: walk to the first free one, len(barred) steps at most.
        start = _bucket(random_bits(seed, "walk", *key), len(self._distinct))
        walk = (self._distinct[(start + step) % len(self._distinct)] for step in range(len(self._distinct)))
        return next((folded, text) for folded, text in walk if folded not in barred)


def _bucket(bits: int, buckets: int) -> int:
    """One of 0 .. buckets - 1, each as likely; with one bucket more only 1 in buckets + 1 results changes.

    bits: 64 random bits. Jump consistent hashing, Lamping & Veach 2014 (arXiv 1406.2294), their multiplier.
    """
    chosen, candidate = 0, 0
    while candidate < buckets:
        chosen = candidate
        bits = (bits * 2862933555777941757 + 1) % 2**64
        candidate = (chosen + 1) * 2**31 // ((bits >> 33) + 1)
    return chosen
