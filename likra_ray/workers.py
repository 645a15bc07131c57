"""What runs in a trial's Ray Train workers, one process per worker: make the heads, score them, in step.

Only plain values and paths come in and go out; trial.py starts it. A worker asks the job's leases before it makes a
head, says when it moves, and ends its own process where it stands still.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

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

ENDED = "ended"
"""In a report: what a worker did for a trial that ended well; it then waits for the next."""

LOOK = 0.1
"""Seconds between two looks for the next trial."""


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


def _watched(task: dict[str, Any], base: LoadedBase | None) -> tuple[dict[str, Any], LoadedBase]:
    """Do a trial; the process ends where it stands still for trial.resources.stall_minutes.

    base: as the trial before left it. Returns what was done, and the base as it is left for the next.
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
) -> tuple[dict[str, Any], LoadedBase]:
    """beat: to be called at every pass through the model, and while others make what this trial needs."""
    import ray
    import ray.train

    from likra_ray.heads import counts
    from likra_ray.heads.produce import Producer
    from likra_ray.heads.training import Diverged

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
    base = base or _load(material, trial)
    # Whatever trains or scores goes through the model, so nothing else has to say that it moves.
    watch = base.model.register_forward_pre_hook(lambda *_: moving())
    moving()
    producer = Producer(base, HeadStore(storage), plans.manner(trial), seed=trial.seed, roles=tuple(plan.heads))

    def leased(key: str) -> contextlib.AbstractContextManager[bool]:
        beat()
        return lease(producer, task["key"], key)

    asked = [plans.evaluation_order(plan, material), plans.prior_order(plan, material)]
    evaluations = [one for one in asked if one is not None]
    _score_base(producer, leased, plan.base_key, *evaluations)
    pending = _orders(producer, leased, trial, plan, material)
    producer.done.seconds["start"] = time.monotonic() - began

    news = News(ray.train.report, producer.agreed)

    def report(order: HeadOrder, step: Any) -> None:
        if rank == 0 and producer.store.damaged:
            ray.get_actor(LEASES).note_damaged.remote(task["key"], producer.store.damaged)
        at_volume = step.examples in order.volumes
        if rank == 0 and at_volume:
            print(f"[rank 0] {order.role} head: {step.examples} of {order.volumes[-1]} examples, loss {step.loss:.4f}")
        event = {"role": order.role, "examples": step.examples, "of": order.volumes[-1], "loss": step.loss}
        news.tell(event, passing=not at_volume)
        if step.examples == order.volumes[-1]:
            news.flush()  # scoring is next, and may take minutes

    def scored(order: HeadOrder, volume: int) -> None:
        found = results.accuracy_so_far(producer.store, plan, volume, weight=trial.weight) if rank == 0 else {}
        news.tell({"role": order.role, "scored": volume, "arms": found})

    while pending:
        with contextlib.ExitStack() as held:
            mine: list[HeadOrder] = []
            for order in pending:
                if (trial.resources.heads_at_once or not mine) and held.enter_context(leased(order.key)):
                    mine.append(order)
            if rank == 0:
                for order in mine:
                    counts.keep(producer.store, producer.tokenizer, order)
            with news.told(Diverged):
                _make(producer, mine, evaluations, report, scored)
            pending = [order for order in pending if order not in mine]
        if not mine:
            # Another trial makes every head still missing here; its workers run already, so this ends.
            time.sleep(1.0)
    done = {name: dict(getattr(producer.done, name)) for name in ("trained", "scored", "seconds")}
    watch.remove()
    return {**done, "repaired": list(producer.store.damaged)}, producer.detach()


def _make(
    producer: Any,
    orders: Sequence[HeadOrder],
    evaluations: Sequence[EvaluationOrder],
    report: Callable[[HeadOrder, Any], None],
    scored: Callable[[HeadOrder, int], None],
) -> None:
    """Train and score heads; evaluations: the trial's, then, for the positive head, the prior's where there is one."""
    if orders:
        producer.heads(orders, evaluations[0], report, scored)
    for order in orders:
        for prior in evaluations[1:]:
            if order.role == "positive":
                producer.head(order, prior, functools.partial(report, order))


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


def _orders(
    producer: Any, leased: Callable[[str], Any], trial: TrialSpec, plan: plans.TrialPlan, material: materials.Material
) -> list[HeadOrder]:
    """The heads of a trial, once the base is asked what they rest on: likely wrong answers, pairs' references."""
    plausibility = None
    if plans.needs_plausibility(trial):
        asked = plans.plausibility_order(material)
        _score_base(producer, leased, plan.base_key, asked)
        table = producer.store.table(plan.base_key, asked.key, 0)
        assert table is not None
        plausibility = table.logprob
    orders = plans.head_orders(plan, trial, material, plausibility)
    for order in orders:
        _score_base(producer, leased, plan.base_key, *producer.references(order))
    return orders


def _score_base(producer: Any, leased: Callable[[str], Any], base_key: str, *evaluations: Any) -> None:
    while evaluations:
        with leased(base_key) as mine:
            if mine:
                producer.base_table(base_key, *evaluations)
                return
        time.sleep(1.0)


@contextlib.contextmanager
def lease(producer: Any, holder: str, key: str) -> Iterator[bool]:
    """Whether this trial may make a head now, the same answer on every rank; given back at the end of the block."""
    import ray

    actor = ray.get_actor(LEASES)
    mine: bool = producer.agreed(producer.rank == 0 and ray.get(actor.acquire.remote(key, holder)))
    try:
        yield mine
    finally:
        if mine and producer.rank == 0:
            ray.get(actor.release.remote(key, holder))
