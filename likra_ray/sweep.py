"""Many trials: Ray Tune runs them, Optuna chooses them, one driver writes what they found.

    python -m likra_ray.sweep                                                  search_spaces/quickstart.yaml
    python -m likra_ray.sweep search_spaces/quickstart.yaml --dry-run          every value, what would be trained
    python -m likra_ray.sweep search_spaces/smoke.yaml                         CPU, about a minute
    python -m likra_ray.sweep SPACE.yaml --resume                              finish what was stopped

This process is the driver: it holds Optuna, Tune and the only hand that writes to MLflow and sweep.json. Each point
runs in a light Tune actor (`attempt`) that has Ray Train workers of its own (trial.py), one point after another.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from likra_ray import cluster, console, faults, holdings, ledger, lock, refine, results, settings
from likra_ray import material as materials
from likra_ray import plan as plans
from likra_ray.driver import Driver
from likra_ray.errors import Failed
from likra_ray.records import strict_json
from likra_ray.spec import SweepSpec
from likra_ray.storage import Storage, absolute, scratch

TRACKING_URI = "sqlite:///mlflow.db"
"""Default MLflow store: a file where the command runs, as `mlflow ui` finds it."""


def run_sweep(
    sweep: SweepSpec,
    *,
    output: str = console.OUTPUT,
    tracking_uri: str = TRACKING_URI,
    resume: bool = False,
    screen: Console | None = None,
) -> ledger.Ledger:
    """Run, resume or, where it is finished, just read a sweep; returns its ledger, closed.

    Raises InputError before any resource is used; KeyboardInterrupt after Ctrl-C, OSError on a full disk, with all that
    finished kept.
    """
    storage = Storage(absolute(output))
    storage.check_writable()
    material = plans.gather(sweep)
    with lock.held(storage, sweep.name):
        return _driven(sweep, material, storage, tracking_uri, resume=resume, screen=screen or Console(quiet=True))


def _driven(
    sweep: SweepSpec, material: materials.Material, storage: Storage, tracking_uri: str, *, resume: bool,
    screen: Console,
) -> ledger.Ledger:  # fmt: skip
    """The sweep's one driver at work."""
    book = ledger.open_ledger(storage, sweep, material, resume=resume)
    from likra_ray.reporting.tracking import Mirror

    mirror = Mirror(tracking_uri, sweep.name)
    again = book.retried() if resume else []
    materials.write(material, storage)
    if book.complete or (book.finished and not resume):
        screen.print(f"{sweep.name}: {len(book.trials)} trials are there already; nothing is trained", soft_wrap=True)
        book.replay(mirror, tracking_uri)
        return book
    with contextlib.ExitStack() as stack:
        stack.enter_context(console.ray_session(show_workers=False))
        at_once = min(cluster.places(sweep.trial.resources), cluster.attempts())
        keep = holdings.leases()
        book.begin(mirror, tracking_uri)
        driver = Driver(sweep, material, book, screen)
        driver.open_study(again)
        stack.enter_context(driver.live(at_once))
        began = time.monotonic()

        def left() -> float:
            return began + sweep.budget.minutes * 60 - time.monotonic()

        rounds = refine.rounds(book, left=left)
        try:
            _run(driver, at_once, left(), rounds)
            interrupted = left() > 0 and not driver.searched
            if not interrupted:
                # Where Tune was stopped within a round, or before one, that is still to be said.
                next(rounds, None)
                interrupted = book.refinement_ended is None
        except BaseException as error:
            # A report that finds no room must not hide what stopped the sweep.
            with contextlib.suppress(*([OSError] if faults.no_room(error) else [])):
                book.close(interrupted=True)
            raise
        del keep
    book.close(interrupted=interrupted)
    if interrupted:
        raise KeyboardInterrupt
    return book


def _run(driver: Driver, at_once: int, seconds: float, rounds: Iterator[list[dict[str, Any]]]) -> None:
    """Let Tune run what remains of the sweep's trials, then rounds of refinement; raises what the driver raises.

    at_once: trials; seconds: that all of it may take.
    """
    from ray import tune

    from likra_ray import tuning

    console.keep_keys_to_ourselves()
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a trial that fails is one line, the driver's own
    sweep, book = driver.sweep, driver.book
    context = {
        "sweep": sweep.model_dump(mode="json"),
        "root": book.storage.root,
        "material": driver.material.name,
    }
    points = tuning.Points(tuning.Search(driver, rounds, again=driver.lost), at_once=at_once)
    told = tuning.Told(driver, points)
    beside = tune.PlacementGroupFactory([{"memory": cluster.ATTEMPT_MEMORY}], bundle_label_selector=[cluster.here()])
    tuner = tune.Tuner(
        tune.with_resources(functools.partial(attempt, context=context), beside),
        tune_config=tune.TuneConfig(
            search_alg=points,
            num_samples=-1,  # until the search says that it is over
            time_budget_s=seconds,
            reuse_actors=True,  # with the workers that a trial leaves (group.py)
        ),
        run_config=tune.RunConfig(
            name="tune", storage_path=scratch(book.storage, sweep.name), callbacks=[told], verbose=0
        ),
    )
    try:
        with console.interrupts_given_back():
            tuner.fit()
    except Exception:
        if told.failure is not None:
            raise told.failure from None
        raise
    finally:
        holdings.end()  # of trials that Tune stopped it says no word


def attempt(params: dict[str, Any], *, context: Mapping[str, Any]) -> None:
    """One trial as Tune sees it: runs in a Tune actor, waits for its workers, reports the objectives once.

    A trial that fails leaves a record with its reason, then fails in Tune and in Optuna too.
    """
    from ray import tune

    from likra_ray import tuning
    from likra_ray.analysis.objectives import objective_value
    from likra_ray.trial import perform

    # Before this actor gets another trial, Tune waits so many seconds for this function to end, or that trial is lost.
    os.environ.setdefault("TUNE_FUNCTION_THREAD_TIMEOUT_S", "60")
    sweep = SweepSpec.model_validate(context["sweep"])
    storage = Storage(context["root"])
    point = tuning.point(params)
    trial = sweep.trial_spec(point)
    try:
        result = perform(
            trial,
            storage=storage,
            sweep=sweep.name,
            material=context["material"],
            sampled=point,
            in_tune=True,
        )
    except Exception as error:
        plan = plans.trial_plan(materials.read(storage, context["material"]), trial)
        why, damaged = faults.reason(error), holdings.noted_damaged(plan.key)
        result = results.failed(trial, plan, point, why, faults.earlier(error), damaged)
        results.write(storage, sweep.name, result)
        raise RuntimeError(why) from None  # Tune keeps it in files of its own: no secret in it, no pickle of ours
    tune.report({metric: objective_value(result, metric) for metric in sweep.objective})


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog=console.examples(__doc__))
def main(
    space: Annotated[Path, typer.Argument(help="YAML file, or name of a bundled search space.")] = Path("quickstart"),
    set_: Annotated[list[str], typer.Option("--set", help="a.b=value, stronger than the file.")] = [],  # noqa: B006
    output: Annotated[str, typer.Option(help="Folder or URI for heads, tables and results.")] = console.OUTPUT,
    tracking_uri: Annotated[str, typer.Option(help="MLflow store.")] = TRACKING_URI,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, do nothing.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Finish a sweep that was stopped.")] = False,
    as_json: console.Json = False,
) -> None:
    """Run a sweep and say where the critical phase lies."""
    screen = console.screen(as_json)
    with console.exit_codes("the same command with --resume goes on"):
        found = settings.load(space, set_)
        if dry_run:
            from likra_ray.dry_run import describe, foresee

            outlook = foresee(found, Storage(absolute(output)))
            describe(outlook, screen)
            if as_json:
                print(strict_json(outlook))
            return
        with console.apart(as_json):
            book = run_sweep(found.sweep, output=output, tracking_uri=tracking_uri, resume=resume, screen=screen)
        screen.print(book.summary())
        if as_json:
            print(strict_json(book.as_json()))
        if not book.done:
            raise Failed(f"no trial of {found.sweep.name} ended well; reasons are in the table above")


if __name__ == "__main__":
    console.run(app)
