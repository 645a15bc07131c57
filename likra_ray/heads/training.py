"""Takes an engine and a curriculum, trains one head through every volume. Read it top to bottom.

One epoch at a constant rate: the head at volume n has seen the first n examples, whatever the largest volume. So
one run to the largest passes through every smaller one exactly as if each had been trained alone (paper's code:
checkpoints of one constant-rate run).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from likra_ray.heads.engines import Engine
from likra_ray.heads.packing import Tree, pack, token_logprobs
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
    """Mean over the answer tokens of the whole batch, nats."""


def train(
    engine: Engine,
    examples: Sequence[Encoded],
    *,
    start: int,
    volumes: Sequence[int],
    batches: Batches,
    on_volume: Callable[[int], None],
    on_step: Callable[[Step], None],
    autocast: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
) -> int:
    """Train from volume `start` to the last of `volumes`; returns the examples trained now.

    examples: the curriculum, tokenised, at least as long as the last volume; start and volumes are multiples of
    batches.size; on_volume(n) is called at every volume from start on, start and the last included.
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
        # One optimizer step. Every rank knows the whole batch, so the loss is divided by the answer tokens of the
        # whole batch and no rank count, split or padding can change the head.
        batch = examples[seen : seen + batches.size]
        answer_tokens = sum(len(example.tokens) - example.answer_start for example in batch)
        mine = batch[rank::world]
        batch_loss = torch.zeros((), dtype=torch.float64, device=device)
        for part in range(batches.parts):
            row = pack([_tree(example) for example in mine[part :: batches.parts]])
            with autocast():
                loss = -token_logprobs(engine.model, row, device=device).sum() / answer_tokens
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


def _tree(example: Encoded) -> Tree:
    """An example as a trunk with one branch, loss on the answer's tokens only."""
    start = example.answer_start
    return Tree(example.tokens[:start], (example.tokens[start:],), (start,))
