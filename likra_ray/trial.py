"""One trial: a positive and a negative head and its baselines', trained where the store lacks them, scored and read.

    python -m likra_ray.trial search_spaces/quickstart.yaml --set trial.near_miss_share=0.5
    python -m likra_ray.trial search_spaces/smoke.yaml                       CPU, under a minute

`perform` reads like a sequential program, but `work`, right under it, runs in the trial's Ray Train workers, one
process per worker, and only plain values and paths go between them.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from likra_ray import console, results, settings
from likra_ray import material as materials
from likra_ray import plan as plans
from likra_ray.errors import InputError
from likra_ray.heads.orders import HeadOrder
from likra_ray.heads.store import HeadStore
from likra_ray.records import TrialResult
from likra_ray.spec import SweepSpec, TrialSpec
from likra_ray.storage import Storage, absolute, scratch

LEASES = "likra_ray-head-leases"
"""Name of the actor that knows which head is being made by whom."""


def run_trial(sweep: SweepSpec, point: Mapping[str, Any] | None = None, *, output: str = console.OUTPUT) -> TrialResult:
    """Run one trial of a sweep on the running Ray cluster, or on this machine; a finished one is read.

    point: values of searched fields; those it lacks keep the trial's own. Raises InputError before anything is used.
    """
    point = dict(point or {})
    storage = Storage(absolute(output))
    storage.check_writable()
    try:
        trial = sweep.trial_spec(point)
    except ValidationError as error:
        raise settings.input_error(error, lambda field: "point") from None
    material = plans.gather(sweep)
    with console.ray_session(show_workers=True):
        keep = leases()
        result = perform(
            trial, storage=storage, sweep=sweep.name, material=materials.write(material, storage), sampled=point
        )
        del keep
    return result


def perform(
    trial: TrialSpec,
    *,
    storage: Storage,
    sweep: str,
    material: str,
    sampled: Mapping[str, Any],
    callbacks: tuple[Any, ...] = (),
) -> TrialResult:
    """Train and score what is missing, analyse, write ``<sweep>/trials/<key>/result.json``; returns what stands there.

    storage: the output folder; material: name of the questions in it; callbacks: Ray Train's, for progress.
    A finished trial is read, not run. Raises what its workers raise.
    """
    began = time.monotonic()
    questions = materials.read(storage, material)
    plan = plans.trial_plan(questions, trial)
    stored = results.read(storage, sweep, plan.key)
    if stored is not None and stored.status == "done":
        return stored
    done: dict[str, Any] = {"trained": {}, "seconds": {}}
    store = HeadStore(storage)
    if results.stored_tables(store, plan) is None or results.answer_tokens(store, plan) is None:
        try:
            done = _workers(trial, storage, sweep, material, plan.key, callbacks)
        finally:
            release(plan.key)
    tables, tokens = results.stored_tables(store, plan), results.answer_tokens(store, plan)
    if tables is None or tokens is None:
        raise results.Unfinished(f"trial {plan.key}: the workers ended, but not every score table is there")
    stored = results.read(storage, sweep, plan.key)
    if stored is not None and stored.status == "done":
        return stored  # another trial at the same point was faster
    seconds = {**done["seconds"], "all": time.monotonic() - began}
    trained: dict[str, int] = {role: int(done["trained"].get(head.key, 0)) for role, head in plan.heads.items()}
    result = results.done(trial, plan, tables, sampled=sampled, trained=trained, seconds=seconds, tokens=tokens)
    results.write(storage, sweep, result)
    return result


def _workers(
    trial: TrialSpec, storage: Storage, sweep: str, material: str, key: str, callbacks: tuple[Any, ...]
) -> dict[str, Any]:
    """Start the trial's Ray Train workers and wait for them; returns what rank 0's `work` returns."""
    from ray.train import LoggingConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from likra_ray.rendezvous import Rendezvous

    places(trial)
    leases()
    resources = trial.resources
    per_worker = {"CPU": resources.cpus} | ({"GPU": resources.gpus} if resources.gpus else {})
    trainer = TorchTrainer(
        work,  # type: ignore[arg-type]  # Train V2 hands back what it returns
        train_loop_config={
            "root": storage.root,
            "material": material,
            "trial": trial.model_dump(mode="json"),
            "key": key,
        },
        scaling_config=ScalingConfig(
            num_workers=resources.workers, use_gpu=resources.gpus > 0, resources_per_worker=per_worker
        ),
        torch_config=Rendezvous(backend="nccl" if resources.gpus else "gloo"),
        run_config=RunConfig(
            name=f"train-{key}",
            storage_path=scratch(storage, sweep),
            callbacks=list(callbacks),
            logging_config=LoggingConfig(log_level="ERROR"),  # type: ignore[call-arg]  # of Train V2's RunConfig
        ),
    )
    result = trainer.fit()
    if result.error is not None:
        raise result.error
    returned: dict[str, Any] = result.return_value  # type: ignore[attr-defined]  # of Train V2's Result
    return returned


def work(config: dict[str, Any]) -> dict[str, Any]:
    """What every worker of a trial does, in step with the others: make the heads, score them. Runs in a worker."""
    import ray.train
    import torch

    logging.getLogger("ray.train").setLevel(logging.ERROR)
    from likra_ray.heads import base as bases
    from likra_ray.heads import counts
    from likra_ray.heads.produce import Producer

    began = time.monotonic()
    trial = TrialSpec.model_validate(config["trial"])
    rank = ray.train.get_context().get_world_rank()
    torch.set_num_threads(max(1, int(trial.resources.cpus)))
    storage = Storage(config["root"])
    material = materials.read(storage, config["material"])
    plan = plans.trial_plan(material, trial)
    on_gpu = trial.resources.gpus > 0
    found = bases.resolve(material.base)
    if found.identity != material.identity:
        raise RuntimeError(f"base here is {found.identity}, the sweep's is {material.identity}")
    base = bases.load(found, dtype="bfloat16" if on_gpu and trial.precision == "bf16" else "float32")
    if on_gpu:
        base.model.to(f"cuda:{torch.cuda.current_device()}")
    producer = Producer(base, HeadStore(storage), plans.manner(trial), seed=trial.seed, roles=tuple(plan.heads))
    leased = functools.partial(lease, producer, config["key"])
    evaluation, prior = plans.evaluation_order(plan, material), plans.prior_order(plan, material)
    _score_base(producer, leased, plan.base_key, *(one for one in (evaluation, prior) if one is not None))
    plausibility = None
    if plans.needs_plausibility(trial):
        asked = plans.plausibility_order(material)
        _score_base(producer, leased, plan.base_key, asked)
        scored = producer.store.table(plan.base_key, asked.key, 0)
        assert scored is not None
        plausibility = scored.logprob
    pending = plans.head_orders(plan, trial, material, plausibility)
    for order in pending:
        _score_base(producer, leased, plan.base_key, *producer.references(order))
    producer.done.seconds["start"] = time.monotonic() - began

    def report(order: HeadOrder, step: Any) -> None:
        if rank == 0 and step.examples in order.volumes:
            print(f"[rank 0] {order.role} head: {step.examples} of {order.volumes[-1]} examples, loss {step.loss:.4f}")
        ray.train.report({"role": order.role, "examples": step.examples, "of": order.volumes[-1], "loss": step.loss})

    while pending:
        with contextlib.ExitStack() as held:
            mine: list[HeadOrder] = []
            for order in pending:
                if (trial.resources.heads_at_once or not mine) and held.enter_context(leased(order.key)):
                    mine.append(order)
            if rank == 0:
                for order in mine:
                    counts.keep(producer.store, producer.tokenizer, order)
            if mine:
                producer.heads(mine, evaluation, report)
            for order in mine:
                if prior is not None and order.role == "positive":
                    producer.head(order, prior, functools.partial(report, order))
            pending = [order for order in pending if order not in mine]
        if not mine:
            # Another trial makes every head still missing here; its workers run already, so this ends.
            time.sleep(1.0)
    done = producer.done
    return {"trained": dict(done.trained), "scored": dict(done.scored), "seconds": dict(done.seconds)}


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


def leases() -> Any:
    """The job's one actor of leases, started by the first to ask and gone with it: the driver asks first."""
    import ray

    from likra_ray.heads.leases import Leases

    return ray.remote(num_cpus=0)(Leases).options(name=LEASES, get_if_exists=True).remote()


def release(holder: str) -> None:
    """Give back every lease a trial holds: it ended, or its processes died."""
    import ray

    ray.get(leases().release_all.remote(holder))


def places(trial: TrialSpec) -> int:
    """Trials the cluster holds at once, by what each machine holds. Raises InputError, with both numbers, for none."""
    import ray

    resources = trial.resources
    needs = {name: each for name, each in (("CPU", resources.cpus), ("GPU", resources.gpus)) if each}
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    workers = sum(min(int(machine.get(name, 0) // each) for name, each in needs.items()) for machine in machines)
    if workers < resources.workers:
        each = " and ".join(f"{amount:g} {name}" for name, amount in needs.items())
        there = ", ".join(f"{sum(machine.get(name, 0) for machine in machines):g} {name}" for name in needs)
        raise InputError(
            where="search space",
            field=f"trial.resources.workers of {each} each",
            value=resources.workers,
            allowed=f"at most {workers}, as the cluster's {len(machines)} machines hold ({there} in all)",
        )
    return workers // resources.workers


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    space: Annotated[Path, typer.Argument(help="Search space; what it searches takes its first start_from point.")] = (
        Path("search_spaces/quickstart.yaml")
    ),
    set_: Annotated[list[str], typer.Option("--set", help="a.b=value, stronger than the file.")] = [],  # noqa: B006
    output: Annotated[str, typer.Option(help="Folder or URI for heads, tables and results.")] = console.OUTPUT,
) -> None:
    """Run one trial, here and now, and print what it found."""
    with console.exit_codes("the same command goes on from there"):
        sweep = settings.load(space, set_).sweep
        result = run_trial(sweep, sweep.start_from[0] if sweep.start_from else {}, output=output)
        storage = Storage(absolute(output))
        finding = results.finding(storage, [result])
        from likra_ray.reporting import summary

        screen = console.screen()
        for part in summary.finding_tables(finding):
            screen.print(part)
        screen.print(f"result: {storage.root}/{sweep.name}/trials/{result.key}/result.json", soft_wrap=True)


if __name__ == "__main__":
    console.run(app)
