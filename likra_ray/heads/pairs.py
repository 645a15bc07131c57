"""Takes the order for a baseline's head, returns its lessons and the reference tables they rest on.

A pair is a question with two options, so the base's log-probabilities of it (the reference of npo, dpo and kto) come
from the scorer of every other question and lie in the store of heads as score tables of the base. They are made in
blocks of the curriculum, keyed by what stands in them: a longer run adds blocks and finds the old ones, and pair i has
the same reference to the last bit whatever volume was asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from likra_ray.heads.objectives import REFERENCED
from likra_ray.heads.orders import ROLES, EvaluationOrder, HeadOrder
from likra_ray.heads.packing import Tree, grow
from likra_ray.heads.tokens import encode
from likra_ray.heads.training import Lessons, one_answer
from likra_ray.records import Option, Question, ScoreTable

BLOCK = 64
"""Pairs per reference table: four rows of the scorer or so; at most this many are scored beyond what is trained."""


class Pair(NamedTuple):
    """One prompt, a correct and a wrong answer."""

    prompt: str
    correct: str
    wrong: str


def pairs_of(order: HeadOrder) -> list[Pair]:
    """A baseline's curriculum. Raises ValueError unless every prompt has its wrong answer."""
    return [Pair(prompt, correct, wrong) for (prompt, correct), wrong in zip(order.pairs, order.wrong, strict=True)]


def mismatched(pairs: Sequence[Pair], batch_size: int) -> list[Pair]:
    """Every prompt with both answers of the pair before it in its batch, the first with the last's.

    trl's kto rotates a batch's completions in the same way; the same set of pairs is met here. Pairs that fill no
    batch are never trained on and left out. Raises ValueError for batches of one: a pair would meet itself.
    """
    if batch_size < 2:
        raise ValueError(f"batch_size {batch_size}: mismatched answers need at least 2 pairs")
    found = []
    for i in range(len(pairs) - len(pairs) % batch_size):
        other = pairs[i - 1 if i % batch_size else i + batch_size - 1]
        found.append(Pair(pairs[i].prompt, other.correct, other.wrong))
    return found


def reference_orders(order: HeadOrder, last: int, batch_size: int) -> list[EvaluationOrder]:
    """What the base must be asked before a head can be trained to volume `last`; [] where nothing is needed."""
    return [block for kind in _referenced(order, batch_size) for block in _blocks(kind, last)]


def lessons(
    order: HeadOrder,
    last: int,
    *,
    tokenizer: Any,
    batch_size: int,
    table: Callable[[EvaluationOrder], ScoreTable | None],
) -> Lessons:
    """What the training loop reads, up to volume `last`.

    table: the base's table of one of `reference_orders`. Raises RuntimeError where one is missing.
    """
    if order.role in ROLES:
        return one_answer(encode(tokenizer, order.pairs[:last]))
    references = [_reference(kind, last, table) for kind in _referenced(order, batch_size)]
    trees = _trees(tokenizer, pairs_of(order)[:last])
    found = Lessons(order.role, trees, beta=order.beta)  # type: ignore[arg-type]  # not one of ROLES
    if order.role == "kto":
        others = mismatched(pairs_of(order)[:last], batch_size)
        found = found._replace(mismatched=_trees(tokenizer, others), mismatched_reference=references[1])
    return found._replace(reference=references[0]) if references else found


def _referenced(order: HeadOrder, batch_size: int) -> list[list[Pair]]:
    """The lists of pairs whose reference the objective asks for: its own, and for kto the mismatched ones."""
    if order.role not in REFERENCED:
        return []
    pairs = pairs_of(order)
    return [pairs, mismatched(pairs, batch_size)] if order.role == "kto" else [pairs]


def _blocks(pairs: Sequence[Pair], last: int) -> list[EvaluationOrder]:
    """Whole blocks that cover the first `last` pairs; the curriculum's end alone cuts one short."""
    return [_block(pairs[start : start + BLOCK]) for start in range(0, last, BLOCK)]


def _block(pairs: Sequence[Pair]) -> EvaluationOrder:
    digest = hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:16]
    questions = tuple(
        Question(
            id=str(place),
            prompt=pair.prompt,
            options=(Option(text=pair.correct, kind="correct"), Option(text=pair.wrong, kind="near_miss")),
        )
        for place, pair in enumerate(pairs)
    )
    return EvaluationOrder(key=f"pairs-{digest}", questions=questions)


def _reference(pairs: Sequence[Pair], last: int, table: Callable[[EvaluationOrder], ScoreTable | None]) -> torch.Tensor:
    """(last, 2) float64, nats."""
    found = []
    for block in _blocks(pairs, last):
        scored = table(block)
        if scored is None:
            raise RuntimeError(f"the base has no table {block.key} for this head's reference")
        found.append(torch.tensor(scored.logprob).reshape(-1, 2))
    return torch.cat(found)[:last]


def _trees(tokenizer: Any, pairs: Sequence[Pair]) -> tuple[Tree, ...]:
    texts = encode(tokenizer, [(pair.prompt, answer) for pair in pairs for answer in (pair.correct, pair.wrong)])
    return tuple(grow(texts[place : place + 2]) for place in range(0, len(texts), 2))
