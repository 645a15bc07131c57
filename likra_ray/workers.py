"""What runs in a trial's Ray Train workers, one process per worker: make the heads, score them, in step.

Only plain values and paths come in and go out; trial.py starts it. A worker asks the job's leases before it makes a
head, says when it moves, and ends its own process where it stands still.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from likra_ray import idle, results, stall
from likra_ray import material as materials
from likra_ray import plan as plans
from likra_ray.heads.base import LoadedBase
from likra_ray.heads.orders import EvaluationOrder, HeadOrder
from likra_ray.heads.store import HeadStore
from likra_ray.holdings import LEASES
from likra_ray.news import NEWS, News
from likra_ray.spec import TrialSpec
from likra_ray.storage import Storage

if TYPE_CHECKING:
    from likra_ray.heads.produce import Producer
    from likra_ray.heads.training import Step

ENDED = "ended"
"""In a report: what a worker did for a trial that ended well; it then waits for the next."""

LOOK = 0.2
"""Seconds between two looks for the next trial; half of the controller's own (console.ray_session) or less."""


def work(config: dict[str, Any]) -> dict[str, Any]:
    """What every worker of a trial does; returns, or reports, what it did: examples trained, tables scored, seconds.

    config: `task`, the trial's root, material, trial and key; `group`, the name by which its workers are handed another
    task when this one ended (group.py), until their process is ended; None where there is only this one.
    """
    import ray
    import ray.train
    import ray.train.v2._internal.execution.context as reports

    for name in ("ray.train", reports.__file__):  # it logs every report under the name of that file
        logging.getLogger(name).setLevel(logging.ERROR)
    task, before = config["task"], 0
    base: LoadedBase | None = None
    while True:
        done, base = _watched(task, base)
        if config["group"] is None:
            return done
        ray.train.report({ENDED: done})
        before += 1
        task = _next(config["group"], before)


def _next(group: str, before: int) -> dict[str, Any]:
    """The trial after `before` others, once there is one; the memory that those held is given back first."""
    import ray
    import torch

    gc.collect()
    torch.cuda.empty_cache()  # does nothing where no GPU is used
    leases: Any = ray.get_actor(LEASES)
    while True:
        task: dict[str, Any] | None = ray.get(leases.given.remote(group, before))
        if task is not None:
            return task
        time.sleep(LOOK)


def _watched(task: dict[str, Any], base: LoadedBase | None) -> tuple[dict[str, Any], LoadedBase | None]:
    """Do a trial; the process ends where it stands still for trial.resources.stall_minutes.

    base: as the trial before left it. Returns what was done, and the base as it is left.
    """
    import ray
    import ray.train

    rank = ray.train.get_context().get_world_rank()
    trial = TrialSpec.model_validate(task["trial"])

    def last_words(said: str) -> None:
        ray.get(ray.get_actor(LEASES).say.remote(task["key"], f"worker {rank} hung and was killed: {said}"))

    with stall.watched(trial.resources.stall_minutes * 60, last_words) as beat:
        return _work(task, trial, base, rank, beat)


def _work(
    task: dict[str, Any], trial: TrialSpec, base: LoadedBase | None, rank: int, beat: Callable[[], None]
) -> tuple[dict[str, Any], LoadedBase | None]:
    """base, and what is returned: as of `_watched`; beat: to be called at every pass through the model, and while
    others make what this trial needs."""
    import ray
    import ray.train

    from likra_ray.heads.produce import Producer

    began = time.monotonic()
    ray.train.report({NEWS: []})  # the trial has its workers
    storage = Storage(task["root"])
    material = materials.read(storage, task["material"])
    plan = plans.trial_plan(material, trial)
    cpus = idle.Cpus(ray.get_actor(LEASES), task["key"], trial.resources.cpus)

    def moving() -> None:
        beat()
        cpus.look()

    moving()
    if base is None:
        base = _load(material, trial)
    # Whatever trains or scores goes through the model, so nothing else has to say that it moves.
    watch = base.model.register_forward_pre_hook(lambda *_: moving())
    moving()
    producer = Producer(base, HeadStore(storage), plans.manner(trial), seed=trial.seed, roles=tuple(plan.heads))
    producer.done.seconds["start"] = time.monotonic() - began
    _AtWork(producer, task["key"], trial, plan, material, beat).make_all()
    watch.remove()
    done = {name: dict(getattr(producer.done, name)) for name in ("trained", "scored", "seconds")}
    return {**done, "repaired": list(producer.store.damaged)}, producer.detach()


def _load(material: materials.Material, trial: TrialSpec) -> LoadedBase:
    """The base, where it computes. Raises RuntimeError where the base here is another."""
    import torch

    from likra_ray.heads import allocation
    from likra_ray.heads import base as bases
    from likra_ray.heads.tokens import chat

    on_gpu = trial.resources.gpus > 0
    found = bases.resolve(material.base)
    if found.identity != material.identity:
        raise RuntimeError(f"base here is {found.identity}, the sweep's is {material.identity}")
    base = bases.load(found, dtype="bfloat16" if on_gpu and trial.precision == "bf16" else "float32")
    if material.chat:
        base = base._replace(tokenizer=chat(base.tokenizer))
    if on_gpu:
        base.model.to(f"cuda:{torch.cuda.current_device()}")
    else:
        allocation.keep_freed()
    bases.check(found, base.model)
    return base


class _AtWork:
    """One rank that makes the heads of one trial and their tables, in step with the others."""

    def __init__(
        self,
        producer: Producer,
        key: str,
        trial: TrialSpec,
        plan: plans.TrialPlan,
        material: materials.Material,
        beat: Callable[[], None],
    ) -> None:
        """key: the trial's."""
        import ray.train

        self.producer, self.key, self.trial, self.plan, self.material = producer, key, trial, plan, material
        self.beat = beat
        self.news = News(ray.train.report, producer.agreed)
        asked = [plans.evaluation_order(plan, material), plans.prior_order(plan, material)]
        self.evaluations = [one for one in asked if one is not None]
        """The trial's own, then the prior's where there is one."""

    def make_all(self) -> None:
        """Returns when the store has all that this trial reads."""
        self._score_base(*self.evaluations, wait=False)  # where another trial is at it, heads come first
        to_train, to_score = self._orders(), list[HeadOrder]()
        while to_train or to_score:
            trained = self._train(to_train)
            to_train = [order for order in to_train if order not in trained]
            to_score += trained
            scored = self._score(to_score)
            to_score = [order for order in to_score if order not in scored]
            if not trained and not scored:
                # Other trials make all that is still missing here; their workers run already, so this ends.
                time.sleep(1.0)
        self._score_base(*self.evaluations)

    def _train(self, orders: Sequence[HeadOrder]) -> list[HeadOrder]:
        """Train the first of these heads that no other trial trains, or all such at once; returns those that the store
        now has whole."""
        from likra_ray.heads import counts
        from likra_ray.heads.training import Diverged

        producer = self.producer
        with contextlib.ExitStack() as held:
            mine: list[HeadOrder] = []
            for order in orders:
                if (self.trial.resources.heads_at_once or not mine) and held.enter_context(self._lease(order.key)):
                    mine.append(order)
            if mine:
                if producer.rank == 0:
                    for order in mine:
                        counts.keep(producer.store, producer.tokenizer, order)
                with self.news.told(Diverged):
                    producer.train(mine, self._asked, self._report)
                return mine
        return [order for order in orders if producer.is_trained(order)]

    def _score(self, orders: Sequence[HeadOrder]) -> list[HeadOrder]:
        """Score those of these heads that no other trial scores; returns those of which the store now has all tables.

        The lease is one of its own: while a head's first volumes are scored, another trial may train it further.
        """
        scored = []
        for order in orders:
            asked = self._asked(order)
            with self._lease(f"{order.key}/tables") as mine:
                for evaluation in asked if mine else []:
                    own = evaluation is self.evaluations[0]
                    self.producer.score(order, evaluation, *([self._scored] if own else []))
            if mine or all(self.producer.is_scored(order, evaluation) for evaluation in asked):
                scored.append(order)
        self.news.flush()
        return scored

    def _asked(self, order: HeadOrder) -> list[EvaluationOrder]:
        """What a head is asked: the trial's own questions, a positive head the prior's too."""
        return self.evaluations if order.role == "positive" else self.evaluations[:1]

    def _orders(self) -> list[HeadOrder]:
        """The heads of the trial, once the base is asked what they rest on: likely wrong answers, pairs' references."""
        plausibility = None
        if plans.needs_plausibility(self.trial):
            asked = plans.plausibility_order(self.material)
            self._score_base(asked)
            table = self.producer.store.table(self.plan.base_key, asked.key, 0)
            assert table is not None
            plausibility = table.logprob
        orders = plans.head_orders(self.plan, self.trial, self.material, plausibility)
        for order in orders:
            self._score_base(*self.producer.references(order))
        return orders

    def _score_base(self, *evaluations: EvaluationOrder, wait: bool = True) -> None:
        """Leave the base's tables in the store; wait: also for those that another trial makes."""
        base_key = self.plan.base_key
        while self.producer.without_base_table(base_key, *evaluations):
            with self._lease(base_key) as mine:
                if mine:
                    self.producer.base_table(base_key, *evaluations)
            if mine or not wait:
                return
            time.sleep(1.0)

    def _report(self, order: HeadOrder, step: Step) -> None:
        import ray

        if self.producer.rank == 0 and self.producer.store.damaged:
            ray.get_actor(LEASES).note_damaged.remote(self.key, self.producer.store.damaged)
        at_volume, last = step.examples in order.volumes, order.volumes[-1]
        if self.producer.rank == 0 and at_volume:
            print(f"[rank 0] {order.role} head: {step.examples} of {last} examples, loss {step.loss:.4f}")
        event = {"role": order.role, "examples": step.examples, "of": last, "loss": step.loss}
        self.news.tell(event, passing=not at_volume)
        if step.examples == last:
            self.news.flush()  # scoring is next, and may take minutes

    def _scored(self, order: HeadOrder, volume: int) -> None:
        found: dict[str, float] = {}
        if self.producer.rank == 0:
            found = results.accuracy_so_far(self.producer.store, self.plan, volume, weight=self.trial.weight)
        self.news.tell({"role": order.role, "scored": volume, "arms": found})

    @contextlib.contextmanager
    def _lease(self, key: str) -> Iterator[bool]:
        """Whether this trial may make a head, or its tables, now, the same on every rank; given back at the end of the
        block."""
        import ray

        self.beat()
        actor: Any = ray.get_actor(LEASES)
        rank = self.producer.rank
        mine: bool = self.producer.agreed(rank == 0 and ray.get(actor.acquire.remote(key, self.key)))
        try:
            yield mine
        finally:
            if mine and rank == 0:
                ray.get(actor.release.remote(key, self.key))
