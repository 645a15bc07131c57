"""One trial: a positive and a negative head and its baselines', trained where the store lacks them, scored and read.

    python -m likra_ray.trial search_spaces/quickstart.yaml --set trial.near_miss_share=0.5
    python -m likra_ray.trial search_spaces/smoke.yaml                       CPU, under a minute

`perform` reads like a sequential program, but what it waits for, `workers.work`, runs in the trial's Ray Train
workers, one process per worker, and only plain values and paths go between them.
"""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from likra_ray import cluster, console, faults, holdings, placement, results, settings
from likra_ray import material as materials
from likra_ray import plan as plans
from likra_ray.heads.store import HeadStore
from likra_ray.records import TrialResult
from likra_ray.spec import ResourcesSpec, SweepSpec, TrialSpec
from likra_ray.storage import Storage, absolute, scratch
from likra_ray.workers import work

log = logging.getLogger(__name__)


def run_trial(
    sweep: SweepSpec,
    point: Mapping[str, Any] | None = None,
    *,
    output: str = console.OUTPUT,
    show_workers: bool = True,
) -> TrialResult:
    """Run one trial of a sweep on the running Ray cluster, or on this machine; a finished one is read.

    point: values of searched fields; those it lacks keep the trial's own; show_workers: print what workers
    print. Raises InputError before anything is used.
    """
    point = dict(point or {})
    storage = Storage(absolute(output))
    storage.check_writable()
    try:
        trial = sweep.trial_spec(point)
    except ValidationError as error:
        raise settings.input_error(error, lambda field: "point") from None
    material = plans.gather(sweep)
    with console.ray_session(show_workers=show_workers):
        keep = holdings.leases()
        holdings.allow(cluster.cpus_each(trial.resources, 1))
        written = materials.write(material, storage)
        try:
            result = perform(trial, storage=storage, sweep=sweep.name, material=written, sampled=point)
        finally:
            holdings.release(plans.trial_plan(material, trial).key)
        del keep
    return result


def perform(
    trial: TrialSpec,
    *,
    storage: Storage,
    sweep: str,
    material: str,
    sampled: Mapping[str, Any],
    in_tune: bool = False,
) -> TrialResult:
    """Train and score what is missing, analyse, write ``<sweep>/trials/<key>/result.json``; returns what stands there.

    storage: the output folder; material: name of the questions in it; in_tune: this is a Tune actor, which keeps the
    workers for its next trial and hands Tune what they report. A finished trial is read, not run. Raises what its
    workers raise; whoever called gives back what the trial holds (`holdings.release`).
    """
    began = time.monotonic()
    questions = materials.read(storage, material)
    plan = plans.trial_plan(questions, trial)
    stored = results.read(storage, sweep, plan.key)
    if stored is not None and stored.status == "done" and results.whole(storage, stored):
        return stored
    done: dict[str, Any] = {"trained": {}, "seconds": {}, "retried": [], "repaired": []}
    store = HeadStore(storage)
    if results.stored_tables(store, plan) is None or results.answer_tokens(store, plan) is None:
        task = {"root": storage.root, "material": material, "trial": trial.model_dump(mode="json"), "key": plan.key}
        done = _workers(trial, plan.key, functools.partial(_fit, trial, task, scratch(storage, sweep), in_tune))
    tables, tokens = results.stored_tables(store, plan), results.answer_tokens(store, plan)
    if tables is None or tokens is None:
        raise RuntimeError(f"trial {plan.key}: the workers ended, but not every score table is there")
    stored = results.read(storage, sweep, plan.key)
    if stored is not None and stored.status == "done":
        return stored  # another trial at the same point was faster
    seconds = {**done["seconds"], "all": time.monotonic() - began}
    trained: dict[str, int] = {role: int(done["trained"].get(head.key, 0)) for role, head in plan.heads.items()}
    result = results.done(trial, plan, tables, sampled=sampled, trained=trained, seconds=seconds, tokens=tokens)
    repaired = list(dict.fromkeys([*store.damaged, *holdings.noted_damaged(plan.key), *done["repaired"]]))
    result = replace(result, retried=done["retried"], repaired=repaired)
    results.write(storage, sweep, result)
    return result


def _workers(trial: TrialSpec, key: str, fit: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run the trial's workers until they end well; returns what rank 0's `work` returns, and why any were restarted.

    fit: starts them once and waits.
    What is in the store is kept: workers started again go on from the last volume. Ray Train's own
    FailureConfig(max_failures) would also repeat what is bound to fail again, a diverged loss, and not say how often.
    Raises the last failure, with the earlier ones as its notes.
    """
    retried: list[str] = []
    while True:
        try:
            return {**fit(), "retried": retried}
        except Exception as error:
            if cluster.not_placed(error):
                # `places` is asked anew: machines are starting, or those that had room are gone or busy.
                holdings.release(key)
                holdings.dismiss()
                holdings.allow(trial.resources.cpus)
                log.warning("trial %s waits for room for its workers", key)
                continue
            words = holdings.last_words(key)
            failure = error if words is None else faults.Hung(words)
            if len(retried) == trial.resources.retries or not faults.worth_retrying(failure):
                for earlier in retried:
                    failure.add_note(earlier)
                if failure is error:
                    raise
                raise failure from error
            retried.append(faults.reason(failure))
            holdings.release(key)


def _fit(trial: TrialSpec, task: dict[str, Any], folder: str, in_tune: bool) -> dict[str, Any]:
    """Let Ray Train workers do the trial and wait; returns what rank 0's `work` returns.

    task: as of `work`; folder: for what Ray Train writes.
    """
    cluster.places(trial.resources)
    if in_tune:
        from likra_ray import group

        return group.run(task, functools.partial(_train, trial.resources, task, folder))
    returned: dict[str, Any] = _train(trial.resources, task, folder).return_value
    return returned


def _train(resources: ResourcesSpec, task: dict[str, Any], folder: str, group: Any = None) -> Any:
    """Start workers with a trial and wait for as long as there are any; returns Ray Train's result or raises its error.

    group: who follows them where they are to do other trials too (group.py).
    """
    from ray.train.v2.api.config import FailureConfig, LoggingConfig, RunConfig, ScalingConfig

    from likra_ray.controller import Trainer
    from likra_ray.rendezvous import Rendezvous

    holdings.leases()
    # A process that is stopped, or holds its interpreter, cannot find out itself that it stands still.
    os.environ["RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S"] = f"{resources.stall_minutes * 60:g}"
    # A process more to every trial, for warnings that nobody here reads: volumes are stored as they are reached.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    trainer = Trainer(
        work,
        train_loop_config={"task": task, "group": group.name if group else None},
        scaling_config=ScalingConfig(
            num_workers=resources.workers, use_gpu=resources.gpus > 0, resources_per_worker=placement.needs(resources)
        ),
        torch_config=Rendezvous(backend="nccl" if resources.gpus else "gloo"),
        note_room=functools.partial(holdings.note_room, group.name if group else task["key"]),
        run_config=RunConfig(
            name=f"train-{task['key']}",
            storage_path=folder,
            callbacks=[group] if group else [],
            # Otherwise it would wait for room for ever.
            failure_config=FailureConfig(controller_failure_limit=0),
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )
    result = trainer.fit()
    if result.error is not None:
        raise result.error
    return result


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog=console.examples(__doc__))
def main(
    space: Annotated[
        Path, typer.Argument(help="As of sweep; what it searches takes its first start_from point.")
    ] = Path("quickstart"),
    set_: Annotated[list[str], typer.Option("--set", help="a.b=value, stronger than the file.")] = [],  # noqa: B006
    output: Annotated[str, typer.Option(help="Folder or URI for heads, tables and results.")] = console.OUTPUT,
    as_json: console.Json = False,
) -> None:
    """Run one trial, here and now, and print what it found."""
    with console.exit_codes("the same command goes on from there"):
        sweep = settings.load(space, set_).sweep
        point = sweep.start_from[0] if sweep.start_from else {}
        with console.apart(as_json):
            result = run_trial(sweep, point, output=output, show_workers=not as_json)
        if as_json:
            print(result.to_json())
            return
        storage = Storage(absolute(output))
        finding = results.finding(storage, [result])
        from likra_ray.reporting import summary

        screen = console.screen()
        for part in summary.finding_tables(finding):
            screen.print(part)
        screen.print(f"result: {storage.root}/{sweep.name}/trials/{result.key}/result.json", soft_wrap=True)


if __name__ == "__main__":
    console.run(app)
