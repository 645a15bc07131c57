"""Takes a loaded base and orders for heads, leaves every missing volume and score table in the store.

This is what a trial's workers run, on every rank alike; it knows torch and the store, and no Ray: under torchrun or
in one bare process it does the same. Rank 0 alone writes.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.distributed as dist

from likra_ray.heads import adapters, counts, pairs, recomputing, together
from likra_ray.heads.base import LoadedBase
from likra_ray.heads.engines import DeepSpeedEngine, Engine, PlainEngine
from likra_ray.heads.orders import ROLES, EvaluationOrder, HeadOrder, Manner, Role
from likra_ray.heads.scoring import Forest, plant, score_forest
from likra_ray.heads.store import DamagedHead, HeadStore
from likra_ray.heads.training import Batches, HeadRun, Step, train

log = logging.getLogger(__name__)


@dataclass
class Produced:
    """What was done here and now."""

    trained: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Examples trained, by head key; 0 where the store had it."""
    scored: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Score tables made, by head key."""
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Wall clock by part: train, score, wait."""


class Producer:
    """One process's base, adapters and store. Every rank makes one and calls the same methods in the same order."""

    def __init__(
        self, base: LoadedBase, store: HeadStore, manner: Manner, *, seed: int, roles: Sequence[Role] = ROLES
    ) -> None:
        """roles: of the heads that will be asked for; each has an adapter in memory, trained or not."""
        self.manner, self.store, self.roles = manner, store, tuple(roles)
        self.tokenizer = base.tokenizer
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        if manner.activation_checkpointing:
            recomputing.enable(base.model)
        # A base loaded in bf16 (GPUs) computes in it; one loaded in fp32 (CPUs) does under autocast. DeepSpeed switches
        # a CUDA autocast off inside its engine, so it must not be what makes the difference there.
        weight = next(iter(base.model.parameters()))
        self._casts = manner.precision == "bf16" and weight.dtype == torch.float32
        self.autocast = functools.partial(torch.autocast, weight.device.type, dtype=torch.bfloat16, enabled=self._casts)
        self.model = adapters.attach(
            base.model, rank=manner.rank, alpha=manner.alpha, targets=manner.targets, seed=seed, roles=self.roles
        )
        if self._casts:
            adapters.cast_base(self.model)
        self.done = Produced()
        self._fresh = {role: adapters.read(self.model, role) for role in self.roles}
        self._forests: dict[str, Forest] = {}

    def detach(self) -> LoadedBase | None:
        """The base as it was given, without adapters, for another producer; this one is over.

        None where more than adapters was put on it: a cast to bf16, activation checkpointing.
        """
        if self._casts or self.manner.activation_checkpointing:
            return None
        return LoadedBase(self.model.unload(), self.tokenizer)

    def base_table(self, base_key: str, *evaluations: EvaluationOrder) -> None:
        """Score the base itself: its table also stands for every head at volume 0, which is the base bit for bit."""
        missing = self.without_base_table(base_key, *evaluations)
        if missing:
            with self._engine(self.roles[0], 1e-4) as engine, self.model.disable_adapter():
                for evaluation in evaluations:
                    if evaluation.key in missing:
                        self._score(engine, base_key, evaluation, 0)

    def without_base_table(self, base_key: str, *evaluations: EvaluationOrder) -> list[str]:
        """Keys of those evaluations for which the store has no table of the base."""
        missing: list[str] = self.agreed(
            [one.key for one in evaluations if self.store.table(base_key, one.key, 0) is None]
        )
        return missing

    def references(self, order: HeadOrder) -> list[EvaluationOrder]:
        """What the base must be asked before a head can be made; [] where the store has the head already."""
        stretches = self.agreed(self.store.stretches(order.key, order.volumes))
        return pairs.reference_orders(order, stretches[-1][1], self.manner.batch_size) if stretches else []

    def head(self, order: HeadOrder, evaluation: EvaluationOrder, report: Callable[[Step], None]) -> None:
        """Train what is missing of one head, then score what is missing."""
        self.train([order], lambda _: [evaluation], lambda _, step: report(step))
        self.score(order, evaluation)

    def train(
        self,
        orders: Sequence[HeadOrder],
        asked: Callable[[HeadOrder], Sequence[EvaluationOrder]],
        report: Callable[[HeadOrder, Step], None],
    ) -> None:
        """Train what is missing of heads of different roles; where there are several, at once.

        What is there and will be read is checked first: where training begins, and the volumes that are still to be
        asked something. asked: what a head is asked when it is trained (`score`).
        """
        if self.rank == 0:
            for order in orders:
                self.store.describe(order.key, order.fields)
                read = [volume for one in asked(order) for volume in self._unscored(order, one)]
                self.store.check(order.key, order.volumes, read=read)
        self.barrier()
        to_train = self.agreed([self.store.stretches(order.key, order.volumes) for order in orders])
        if not any(to_train):
            return
        for order, stretches in zip(orders, to_train, strict=True):
            if stretches:
                self.base_table(order.base_key, *self.references(order))
        with self._others_unmoved(orders):
            for turn in itertools.zip_longest(*to_train):
                self._train([(order, *ends) for order, ends in zip(orders, turn, strict=True) if ends], report)

    def score(
        self, order: HeadOrder, evaluation: EvaluationOrder, scored: Callable[[HeadOrder, int], None] = lambda *_: None
    ) -> None:
        """Ask a head that is trained, at every volume of which the store has no table.

        scored: told of every volume whose table was made, on every rank, once it is in the store.
        """
        volumes: list[int] = self.agreed(self._unscored(order, evaluation))
        if not volumes:
            return
        with self._others_unmoved([order]), self._engine(order.role, order.learning_rate) as engine:
            for volume in volumes:
                adapters.write(self.model, order.role, self._load(order, volume))
                self._score(engine, order.key, evaluation, volume)
                scored(order, volume)

    def is_trained(self, order: HeadOrder) -> bool:
        """Whether another process left every volume of the head, and its counts. Rank 0 looks, and reads no volume."""
        there = self.rank == 0 and not self.store.stretches(order.key, order.volumes)
        found: bool = self.agreed(there and set(order.volumes) <= set(counts.kept(self.store, order.key)))
        return found

    def is_scored(self, order: HeadOrder, evaluation: EvaluationOrder) -> bool:
        """Whether another process left every table, none of them damaged. Rank 0 looks, and reads none before all are
        there."""
        asked = {volume for volume in order.volumes if volume > 0}
        there = self.rank == 0 and asked <= self.store.scored(order.key, evaluation.key)
        found: bool = self.agreed(there and not self._unscored(order, evaluation))
        return found

    @contextlib.contextmanager
    def _others_unmoved(self, orders: Sequence[HeadOrder]) -> Iterator[None]:
        """Raises RuntimeError where the block changed an adapter of a role that none of these heads has."""
        others = [role for role in self.roles if role not in {order.role for order in orders}]
        untouched = {role: adapters.fingerprint(adapters.read(self.model, role)) for role in others}
        yield
        for role in others:
            if adapters.fingerprint(adapters.read(self.model, role)) != untouched[role]:
                raise RuntimeError(f"making {', '.join(order.key for order in orders)} moved the {role} adapter")

    def _unscored(self, order: HeadOrder, evaluation: EvaluationOrder) -> list[int]:
        return [n for n in order.volumes if n > 0 and self.store.table(order.key, evaluation.key, n) is None]

    def _train(
        self, stretches: Sequence[tuple[HeadOrder, int, int]], report: Callable[[HeadOrder, Step], None]
    ) -> None:
        """Train stretches of different heads, each (order, from, to), in one loop."""
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            runs = [self._begun(stack, *stretch, report) for stretch in stretches]
            divide = None
            if len(runs) > 1:
                roles = [order.role for order, *_ in stretches]
                divide = stack.enter_context(together.side_by_side(self.model, roles))
            stack.enter_context(recomputing.active(self.model))
            trained = train(
                runs,
                batches=Batches(self.manner.batch_size, self.manner.accumulation),
                autocast=self.autocast,
                divide=divide,
            )
        for (order, *_), examples in zip(stretches, trained, strict=True):
            self.done.trained[order.key] += examples
        self.done.seconds["train"] += time.monotonic() - began

    def _begun(
        self,
        stack: contextlib.ExitStack,
        order: HeadOrder,
        start: int,
        last: int,
        report: Callable[[HeadOrder, Step], None],
    ) -> HeadRun:
        """A head as it stands at the start of a stretch, with an engine that `stack` closes."""
        moments = self.store.load_optimizer(order.key, start) if start else None
        if not self.agreed(moments is not None):
            start = 0
        # The weights come before the engine: ZeRO copies them into partitions of its own when it is made.
        adapters.write(self.model, order.role, self._load(order, start) if start else self._fresh[order.role])
        taught = pairs.lessons(
            order,
            last,
            tokenizer=self.tokenizer,
            batch_size=self.manner.batch_size,
            table=lambda block: self.store.table(order.base_key, block.key, 0),
        )
        engine = stack.enter_context(self._engine(order.role, order.learning_rate))
        if start and moments is not None:
            engine.load_state(moments, start // self.manner.batch_size)
        return HeadRun(
            name=order.role,
            engine=engine,
            lessons=taught,
            start=start,
            volumes=[n for n in order.volumes if start <= n <= last],
            on_volume=functools.partial(self._keep, engine, order, start),
            on_step=functools.partial(report, order),
        )

    def _keep(self, engine: Engine, order: HeadOrder, start: int, seen: int) -> None:
        """Store the head as it is now, unless the store has this volume."""
        tensors = adapters.read(self.model, order.role)
        moments = engine.state() if seen > start else None
        if seen > 0:
            adapters.check_trained(tensors)
        if self.rank == 0 and seen not in self.store.volumes(order.key):
            # The state comes first: a volume that exists can be gone on from.
            if moments is not None:
                self.store.save_optimizer(order.key, seen, moments)
            self.store.save(order.key, seen, tensors, adapters.peft_config(self.model, order.role))
        self.barrier()

    def _load(self, order: HeadOrder, volume: int) -> dict[str, torch.Tensor]:
        """A stored adapter; a damaged one is set aside on the way out, so that the next attempt makes it again."""
        try:
            return self.store.load(order.key, volume)
        except DamagedHead:
            if self.rank == 0:
                self.store.discard(order.key, volume)
            raise

    def _score(self, engine: Engine, key: str, evaluation: EvaluationOrder, volume: int) -> None:
        began = time.monotonic()
        forest = self._forests.get(evaluation.key)
        if forest is None:
            forest = self._forests[evaluation.key] = plant(self.tokenizer, evaluation.questions, evaluation.shots)
        with self.autocast():
            table = score_forest(engine.model, forest, evaluation.questions)
        if self.rank == 0:
            meta = {"head": key, "volume": str(volume), "evaluation": evaluation.key}
            self.store.save_table(key, evaluation.key, volume, replace(table, meta=meta))
        self.done.scored[key] += 1
        self.done.seconds["score"] += time.monotonic() - began
        self.barrier()

    @contextlib.contextmanager
    def _engine(self, role: Role, learning_rate: float) -> Any:
        chosen = adapters.choose(self.model, role)
        named = dict(zip(adapters.parameters(self.model, role), chosen, strict=True))
        engine: Engine
        if self.manner.zero_stage is None:
            engine = PlainEngine(self.model, named, learning_rate)
        else:
            engine = DeepSpeedEngine(
                self.model,
                named,
                learning_rate,
                stage=self.manner.zero_stage,
                accumulation=self.manner.accumulation,
                batch_size=self.manner.batch_size,
            )
        try:
            yield engine
        finally:
            engine.close()

    def agreed(self, value: Any) -> Any:
        """Rank 0's value on every rank: files may appear between two ranks' looks."""
        if dist.is_initialized() and dist.get_world_size() > 1:
            box = [value]
            dist.broadcast_object_list(box, src=0)
            return box[0]
        return value

    def barrier(self) -> None:
        if dist.is_initialized() and dist.get_world_size() > 1:
            dist.barrier()
