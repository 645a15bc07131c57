"""Takes an engine and a curriculum, trains one head through every volume. Read it top to bottom.

One epoch at a constant rate: the head at volume n has seen the first n examples, whatever the largest volume. So
one run to the largest passes through every smaller one exactly as if each had been trained alone (paper's code:
checkpoints of one constant-rate run). Likra's heads and every baseline go through the same loop; they differ in what
an example is (one answer, or a pair's two) and in the objective.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from likra_ray.heads.engines import Engine
from likra_ray.heads.objectives import Answers, Batch, Objective, share
from likra_ray.heads.packing import Row, Tree, grow, pack, token_logprobs
from likra_ray.heads.tokens import Encoded


class Diverged(RuntimeError):
    """The loss is no longer a number; the trial fails with this as its reason, the sweep goes on."""


class Batches(NamedTuple):
    """How examples become optimizer steps."""

    size: int
    """Examples per step, over all ranks."""
    parts: int
    """Micro-batches a rank's share of a step is split into."""


class Step(NamedTuple):
    """What is reported after each optimizer step, equally often on every rank."""

    examples: int
    """Examples seen so far."""
    loss: float
    """Of the whole batch; nats per answer token, or what the objective makes of pairs."""


class Lessons(NamedTuple):
    """A curriculum as the loop reads it."""

    objective: Objective
    trees: tuple[Tree, ...]
    """One per example: a prompt with its answer, or with a pair's two, the correct one first."""
    beta: float = 0.0
    """Of the objective; not read by likelihood."""
    reference: torch.Tensor | None = None
    """(n, 2) nats: the base's log p of both answers of every pair; None where the objective does not ask."""
    mismatched: tuple[Tree, ...] = ()
    """kto: every prompt with the two answers of another pair of its batch."""
    mismatched_reference: torch.Tensor | None = None
    """(n, 2) nats: the base's log p of those."""


def one_answer(examples: Sequence[Encoded]) -> Lessons:
    """Plain likelihood of the one answer of every example: the lessons of Likra's heads."""
    return Lessons("likelihood", tuple(grow([example]) for example in examples))


def train(
    engine: Engine,
    lessons: Lessons,
    *,
    start: int,
    volumes: Sequence[int],
    batches: Batches,
    on_volume: Callable[[int], None],
    on_step: Callable[[Step], None],
    autocast: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
) -> int:
    """Train from volume `start` to the last of `volumes`; returns the examples trained now.

    lessons: the curriculum, at least as long as the last volume; start and volumes are multiples of batches.size;
    on_volume(n) is called at every volume from start on, start and the last included.
    Raises Diverged at the first loss that is not finite.
    """
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    device = next(iter(engine.model.parameters())).device
    last = volumes[-1]
    seen = start
    while True:
        # Once at every volume, 0 and the last included: the same code for all of them.
        if seen in volumes:
            on_volume(seen)
        if seen >= last:
            return seen - start

        # ---------------------------------------------------------------------------------------------------
        # One optimizer step. Every rank knows the whole batch, so the loss is divided by the answer tokens or pairs
        # of the whole batch and no rank count, split or padding can change the head.
        whole = range(seen, seen + batches.size)
        mine = whole[rank::world]
        parts = [mine[part :: batches.parts] for part in range(batches.parts)]
        batch = _measured(lessons, whole)
        if lessons.mismatched:
            batch = batch._replace(divergence=_divergence(engine, lessons, parts, batches.size, autocast))
        batch_loss = torch.zeros((), dtype=torch.float64, device=device)
        for part in parts:
            row = pack([lessons.trees[i] for i in part])
            with autocast():
                logprobs = token_logprobs(engine.model, row, device=device)
            loss = share(lessons.objective, _answers(lessons, part, row, logprobs), batch, beta=lessons.beta)
            engine.backward(loss)
            batch_loss += loss.detach()
        engine.step()
        # ---------------------------------------------------------------------------------------------------

        if world > 1:
            dist.all_reduce(batch_loss)
        seen += batches.size
        if not math.isfinite(float(batch_loss)):
            raise Diverged(f"loss is {float(batch_loss)} after {seen} examples: lower the learning rate")
        on_step(Step(seen, float(batch_loss)))


def _measured(lessons: Lessons, whole: Sequence[int]) -> Batch:
    """The counts of one global batch."""
    tokens = [0, 0]
    for i in whole:
        tree = lessons.trees[i]
        for place, (branch, first) in enumerate(zip(tree.branches, tree.scored_from, strict=True)):
            tokens[place] += len(tree.trunk) + len(branch) - first
    return Batch(len(whole), *tokens)


def _answers(lessons: Lessons, part: Sequence[int], row: Row, logprobs: torch.Tensor) -> Answers:
    """The log-probabilities of a row, answer by answer. logprobs: (A,), those of an answer behind one another."""
    answers = logprobs.split(torch.bincount(row.path).tolist())
    if lessons.objective == "likelihood":
        return Answers(answers)
    reference = None if lessons.reference is None else lessons.reference[list(part)].to(logprobs)
    return Answers(answers[0::2], answers[1::2], reference)


@torch.no_grad()
def _divergence(
    engine: Engine,
    lessons: Lessons,
    parts: Sequence[Sequence[int]],
    size: int,
    autocast: Callable[[], contextlib.AbstractContextManager[Any]],
) -> float:
    """How far the head is from the base on answers to other prompts: kto's z, the same on every rank.

    trl's estimate, max(0, mean of log pi - log ref), over the mismatched answers of the whole global batch.
    """
    assert lessons.mismatched_reference is not None
    device = next(iter(engine.model.parameters())).device
    total = torch.zeros((), dtype=torch.float64, device=device)
    for part in parts:
        with autocast():
            row = pack([lessons.mismatched[i] for i in part])
            logprobs = token_logprobs(engine.model, row, device=device)
        total += logprobs.double().sum() - lessons.mismatched_reference[list(part)].sum().to(device)
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(total)
    mean = float(total) / (2 * size)
    return mean if math.isnan(mean) else max(0.0, mean)
