"""Takes engines and curricula, trains one head or several at once through every volume. Read it top to bottom.

One epoch at a constant rate: the head at volume n has seen the first n examples, whatever the largest volume. So
one run to the largest passes through every smaller one exactly as if each had been trained alone (paper's code:
checkpoints of one constant-rate run). Likra's heads and every baseline go through the same loop; they differ in what
an example is (one answer, or a pair's two) and in the objective.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from likra_ray.heads.engines import Engine
from likra_ray.heads.objectives import Answers, Batch, Objective, share
from likra_ray.heads.packing import ROW_TOKENS, Tree, alike, grow, in_rows, merged, pack, token_logprobs
from likra_ray.heads.together import Divide
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


class HeadRun(NamedTuple):
    """One head in the making, as the loop sees it."""

    name: str
    """For messages: what the head is for."""
    engine: Engine
    """Its optimizer; heads of one loop have one model, and where they are several, plain engines."""
    lessons: Lessons
    """At least as long as the last volume."""
    start: int
    """Volume it begins at; a multiple of the batch, as the volumes are."""
    volumes: Sequence[int]
    """Increasing; training ends at the last."""
    on_volume: Callable[[int], None]
    """Called at every volume from start on, start and the last included."""
    on_step: Callable[[Step], None]


def train(
    runs: Sequence[HeadRun],
    *,
    batches: Batches,
    autocast: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
    divide: Divide | None = None,
) -> list[int]:
    """Train every head from its start to its last volume; returns the examples each was trained on now.

    batches: of each head. divide: where there are several heads, that of `together.side_by_side`, whose roles are in
    the order of `runs`: a step of all of them is then one forward and one backward pass. A head that has reached its
    last volume leaves the row. Raises Diverged at the first loss that is not finite, before the step it would make.
    """
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    forward = _Forward(runs, autocast, divide, rank)
    engine = runs[0].engine  # a gradient is the model's: any of the heads' engines takes that of all
    seen = [run.start for run in runs]
    going = list(range(len(runs)))
    while True:
        # Once at every volume, 0 and the last included: the same code for all of them.
        for h in going:
            if seen[h] in runs[h].volumes:
                runs[h].on_volume(seen[h])
        going = [h for h in going if seen[h] < runs[h].volumes[-1]]
        if not going:
            return [now - run.start for now, run in zip(seen, runs, strict=True)]

        # ---------------------------------------------------------------------------------------------------
        # One optimizer step of every head. Every rank knows the whole batch, so a head's loss is divided by the answer
        # tokens or pairs of its whole batch and no rank count, split, padding or other head can change it. The sum of
        # the heads' losses has each head's own gradient: none depends on another's parameters.
        whole = {h: range(seen[h], seen[h] + batches.size) for h in going}
        parts = [
            [{h: whole[h][of_rank::world][part :: batches.parts] for h in going} for of_rank in range(world)]
            for part in range(batches.parts)
        ]
        counted = {h: _counted(forward, h, whole[h], parts) for h in going}
        losses = torch.zeros(len(going), dtype=torch.float64, device=forward.device)
        for part in parts:
            kept = []
            for shares in _shares(forward, part, counted):
                losses += shares.detach()
                if engine.every_row:
                    engine.backward(shares.sum())
                else:
                    kept.append(shares.sum())
            if kept:
                engine.backward(torch.stack(kept).sum())
        if world > 1:
            dist.all_reduce(losses)
        if not bool(losses.isfinite().all()):
            raise Diverged(_which(forward, parts, counted, {h: seen[h] + batches.size for h in going}, losses))
        for h in going:
            runs[h].engine.step()
        # ---------------------------------------------------------------------------------------------------

        for h, loss in zip(going, losses.tolist(), strict=True):
            seen[h] += batches.size
            runs[h].on_step(Step(seen[h], loss))


Part = Sequence[Mapping[int, Sequence[int]]]
"""A micro-batch: by rank, then by head, the examples."""


class _Forward(NamedTuple):
    """One micro-batch through the model, in rows that hold examples of one head or of several."""

    runs: Sequence[HeadRun]
    autocast: Callable[[], contextlib.AbstractContextManager[Any]]
    divide: Divide | None
    rank: int

    @property
    def device(self) -> torch.device:
        return next(iter(self.runs[0].engine.model.parameters())).device

    def rows(
        self, part: Part, trees: Callable[[int], Sequence[Tree]]
    ) -> Iterator[dict[int, tuple[list[int], list[torch.Tensor]]]]:
        """Row by row and by head: which examples of this rank are in it, and log p of each token of each answer, nats.

        trees: of a head, by example. Examples of a head that begin alike are merged and come in the order of that. All
        ranks make as many rows as the one that needs most: under ZeRO-3 they have to go through the model equally
        often.
        """
        lists = [[one for h, own in of_rank.items() for one in _merged(h, own, trees(h))] for of_rank in part]
        count = max(len(in_rows([one.tree.size for one in of_rank])) for of_rank in lists)
        mine = lists[self.rank]
        if len(mine) < count:  # another rank needs more rows than there are trees here; examples are as many on all
            mine = [_Merged(h, [i], trees(h)[i]) for h, own in part[self.rank].items() for i in own]
        for members in _cut(mine, count):
            if self.divide is not None:
                self.divide([sum(one.tree.size for one in members if one.head == h) for h in range(len(self.runs))])
            packed = pack([one.tree for one in members])
            with self.autocast():
                logprobs = token_logprobs(self.runs[0].engine.model, packed, device=self.device)
            answers = iter(logprobs.split(torch.bincount(packed.path).tolist()))
            found: dict[int, tuple[list[int], list[torch.Tensor]]] = {}
            for one in members:
                examples, by_answer = found.setdefault(one.head, ([], []))
                examples += one.examples
                by_answer += [next(answers) for _ in one.tree.paths]
            yield found


def _cut(trees: Sequence[_Merged], count: int) -> list[Sequence[_Merged]]:
    """`count` rows of neighbours, as many trees in each; as in_rows has them where that would make one too long."""
    evenly = [trees[len(trees) * row // count : len(trees) * (row + 1) // count] for row in range(count)]
    by_size = in_rows([one.tree.size for one in trees])
    if len(by_size) == count and max(sum(one.tree.size for one in row) for row in evenly) > ROW_TOKENS:
        return [[trees[i] for i in row] for row in by_size]
    return evenly


class _Merged(NamedTuple):
    """Examples of one head in one tree."""

    head: int
    examples: list[int]
    """In the order of the tree's paths."""
    tree: Tree


def _merged(h: int, examples: Sequence[int], trees: Sequence[Tree]) -> list[_Merged]:
    groups = alike([trees[i] for i in examples])
    found = [[examples[place] for place in group] for group in groups]
    return [_Merged(h, group, merged([trees[i] for i in group])) for group in found]


def _shares(forward: _Forward, part: Part, counted: Mapping[int, Batch]) -> Iterator[torch.Tensor]:
    """(heads,) what each row of a micro-batch adds to the loss of each of its heads."""
    lessons = {h: forward.runs[h].lessons for h in counted}
    for row in forward.rows(part, lambda h: lessons[h].trees):
        yield torch.stack(
            [
                share(lessons[h].objective, _answers(lessons[h], *row[h]), batch, beta=lessons[h].beta)
                if h in row
                else torch.zeros((), device=forward.device)
                for h, batch in counted.items()
            ]
        )


def _of(h: int, part: Part) -> Part:
    """One head's share of a micro-batch."""
    return [{h: of_rank[h]} for of_rank in part]


@torch.no_grad()
def _which(
    forward: _Forward,
    parts: Sequence[Part],
    counted: Mapping[int, Batch],
    after: Mapping[int, int],
    shared: torch.Tensor,
) -> str:
    """Names the heads that diverged. after: examples, by head; shared: (heads,) their losses in one row.

    One head's overflow can reach the others of its row (0 times infinity), so each is asked again in a row of its own.
    """
    losses = shared
    if len(counted) > 1:
        alone = [
            [shares.double() for part in parts for shares in _shares(forward, _of(h, part), {h: counted[h]})]
            for h in counted
        ]
        losses = torch.stack([torch.cat(own).sum() for own in alone])
        if dist.is_initialized() and dist.get_world_size() > 1:
            dist.all_reduce(losses)
    found = [
        f"loss is {loss} after {after[h]} examples: lower the learning rate of the {forward.runs[h].name} head"
        for h, loss in zip(counted, losses.tolist(), strict=True)
        if not math.isfinite(loss)
    ]
    return "; ".join(found) or f"losses of heads in one row are {shared.tolist()}, though each alone is finite"


def _counted(forward: _Forward, h: int, whole: Sequence[int], parts: Sequence[Part]) -> Batch:
    """The counts of one head's global batch."""
    lessons = forward.runs[h].lessons
    tokens = [0, 0]
    for i in whole:
        tree = lessons.trees[i]
        for place, (path, first) in enumerate(zip(tree.paths, tree.scored_from, strict=True)):
            tokens[place] += len(path) - first
    batch = Batch(len(whole), *tokens)
    if not lessons.mismatched:
        return batch
    return batch._replace(divergence=_divergence(forward, h, [_of(h, part) for part in parts], len(whole)))


def _answers(lessons: Lessons, part: Sequence[int], answers: Sequence[torch.Tensor]) -> Answers:
    """answers: log p of each token of every answer of these examples, answer by answer."""
    if lessons.objective == "likelihood":
        return Answers(answers)
    reference = None if lessons.reference is None else lessons.reference[list(part)].to(answers[0])
    return Answers(answers[0::2], answers[1::2], reference)


@torch.no_grad()
def _divergence(forward: _Forward, h: int, parts: Sequence[Part], size: int) -> float:
    """How far the head is from the base on answers to other prompts: kto's z, the same on every rank.

    trl's estimate, max(0, mean of log pi - log ref), over the mismatched answers of the whole global batch.
    """
    lessons = forward.runs[h].lessons
    assert lessons.mismatched_reference is not None
    total = torch.zeros((), dtype=torch.float64, device=forward.device)
    for part in parts:
        for row in forward.rows(part, lambda _: lessons.mismatched):
            examples, answers = row[h]
            total += torch.cat(answers).double().sum()
            total -= lessons.mismatched_reference[examples].sum().to(forward.device)
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(total)
    mean = float(total) / (2 * size)
    return mean if math.isnan(mean) else max(0.0, mean)
