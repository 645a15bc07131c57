"""Many trials: Ray Tune runs them, Optuna chooses them, one driver writes what they found.

    python -m likra_ray.sweep                                                  search_spaces/quickstart.yaml
    python -m likra_ray.sweep search_spaces/quickstart.yaml --dry-run          every value, what would be trained
    python -m likra_ray.sweep search_spaces/smoke.yaml                         CPU, about a minute
    python -m likra_ray.sweep SPACE.yaml --resume                              finish what was stopped

This process is the driver: it holds Optuna, Tune and the only hand that writes to MLflow and sweep.json. Each point
is a light Tune actor (`attempt`) that starts its own Ray Train workers (trial.py).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from likra_ray import console, ledger, results, settings
from likra_ray import material as materials
from likra_ray import plan as plans
from likra_ray import study as studies
from likra_ray.records import TrialResult
from likra_ray.spec import SweepSpec, TrialSpec
from likra_ray.storage import Storage, absolute

TRACKING_URI = "sqlite:///mlflow.db"
"""Default MLflow store: a file where the command runs, as `mlflow ui` finds it."""

ATTEMPT_MEMORY = 400 * 2**20
"""Bytes a Tune actor reserves (measured: 420 MB resident, most of it shared). No CPU: even 0.01 of one would keep
the last of N one-CPU trials from fitting on N cores."""


def run_sweep(
    sweep: SweepSpec,
    *,
    output: str = console.OUTPUT,
    tracking_uri: str = TRACKING_URI,
    resume: bool = False,
    screen: Console | None = None,
) -> ledger.Ledger:
    """Run, resume or, where it is finished, just read a sweep; returns its ledger, closed.

    Raises InputError before any resource is used; KeyboardInterrupt after Ctrl-C, with all that finished kept.
    """
    screen = screen or Console(quiet=True)
    storage = Storage(absolute(output))
    storage.check_writable()
    material = plans.gather(sweep)
    book = ledger.open_ledger(storage, sweep, material, resume=resume)
    from likra_ray.reporting.tracking import Mirror

    mirror = Mirror(tracking_uri, sweep.name)
    again = book.retried() if resume else []
    if book.remaining == 0 or (book.finished and not resume):
        screen.print(f"{sweep.name}: {len(book.trials)} trials are there already; nothing is trained", soft_wrap=True)
        book.replay(mirror, tracking_uri)
        return book
    materials.write(material, storage)
    with console.ray_session(show_workers=False):
        from likra_ray import trial as trials

        concurrent = trials.places(sweep.trial)
        keep = trials.leases()
        book.begin(mirror, tracking_uri)
        driver = Driver(sweep, material, book, screen)
        driver.open_study(again)
        began = time.monotonic()
        try:
            _tune(driver, concurrent)
        except BaseException:
            book.close(interrupted=True)
            raise
        del keep
    out_of_time = time.monotonic() - began >= sweep.budget.minutes * 60
    interrupted = book.remaining > 0 and not out_of_time and not driver.exhausted
    book.close(interrupted=interrupted)
    if interrupted:
        raise KeyboardInterrupt
    return book


def _tune(driver: Driver, concurrent: int) -> None:
    """Let Tune run the trials that remain."""
    from ray import tune

    sweep, book = driver.sweep, driver.book
    search = None if driver.study is None else _search(driver)
    context = {"sweep": sweep.model_dump(mode="json"), "root": book.storage.root, "material": driver.material.name}
    tuner = tune.Tuner(
        tune.with_resources(functools.partial(attempt, context=context), {"CPU": 0, "memory": ATTEMPT_MEMORY}),
        tune_config=tune.TuneConfig(
            search_alg=search,
            num_samples=book.remaining,
            max_concurrent_trials=concurrent,
            time_budget_s=sweep.budget.minutes * 60,
        ),
        run_config=tune.RunConfig(
            name="tune", storage_path=f"{book.storage.root}/{sweep.name}/ray", callbacks=[_callback(driver)], verbose=0
        ),
    )
    tuner.fit()


def _search(driver: Driver) -> Any:
    """Optuna's search, which asks for no point twice: one already measured, or being measured, costs a trial and
    teaches nothing. It ends early where nothing new is left."""
    from ray.tune.search import Searcher
    from ray.tune.search.optuna import OptunaSearch

    class Search(OptunaSearch):
        hears: Driver | None = None

        def suggest(self, trial_id: str) -> Any:
            assert self.hears is not None
            chosen = studies.ask_new(self.hears.study, self.hears.sweep)
            if chosen is None:
                self.hears.nothing_new = True
                return Searcher.FINISHED
            self._ot_trials[trial_id] = chosen
            return chosen.params

        def __getstate__(self) -> dict[str, Any]:
            return {}  # as the callback's: Tune's own restore is not used

        def save(self, checkpoint_path: str) -> None:
            """The study lies in Optuna's storage; nothing else is to be kept."""

    sweep = driver.sweep
    search = Search(
        studies.distributions(sweep),
        metric=list(sweep.objective),
        mode=list(sweep.objective.values()),
        sampler=studies.sampler(sweep),
        study_name=sweep.name,
        storage=studies.storage(driver.book.study_url()),
    )
    search.hears = driver
    return search


def attempt(params: dict[str, Any], *, context: Mapping[str, Any]) -> None:
    """One trial as Tune sees it: runs in a Tune actor, waits for its workers, reports the objectives once.

    A trial that fails leaves a record with its reason, then fails in Tune and in Optuna too.
    """
    from ray import tune
    from ray.tune.integration.ray_train import TuneReportCallback

    from likra_ray.analysis.objectives import objective_value
    from likra_ray.trial import perform

    sweep = SweepSpec.model_validate(context["sweep"])
    storage = Storage(context["root"])
    point = studies.point(params)
    trial = sweep.trial_spec(point)
    try:
        result = perform(
            trial,
            storage=storage,
            sweep=sweep.name,
            material=context["material"],
            sampled=point,
            callbacks=(TuneReportCallback(),),
        )
    except Exception as error:
        plan = plans.trial_plan(materials.read(storage, context["material"]), trial)
        results.write(storage, sweep.name, results.failed(trial, plan, point, results.reason(error)))
        raise
    tune.report({metric: objective_value(result, metric) for metric in sweep.objective})


class Driver:
    """Hears of every trial, in the driver's process, and hands it to the ledger, the study and the screen."""

    def __init__(self, sweep: SweepSpec, material: materials.Material, book: ledger.Ledger, screen: Console) -> None:
        self.sweep, self.material, self.book, self.screen = sweep, material, book, screen
        self.study: Any = None
        self.nothing_new = False
        """Whether Optuna was asked and every point was measured or being measured."""
        self._running: dict[str, float] = {}

    @property
    def exhausted(self) -> bool:
        """Whether every point of the space is measured: fewer trials than the budget allows were enough."""
        return self.nothing_new and not self._running

    def open_study(self, again: list[dict[str, Any]]) -> None:
        """Open the study; what a dead driver left running, and the points of `again`, come first."""
        if not self.sweep.search:
            return
        self.study, left = studies.open_study(self.sweep, self.book.study_url())
        for point in left:
            key, _ = self._identify(point)
            result = results.read(self.book.storage, self.sweep.name, key)
            if result is None or result.status != "done":
                again.append(point)
            elif key not in self.book.trials:
                # It finished in the moment in which the driver died.
                self.book.end_trial(result)
                studies.tell(self.study, self.sweep, result)
        if not self.study.trials:
            again += [dict(point) for point in self.sweep.start_from]
        for point in again:
            self.study.enqueue_trial(studies.params(self.sweep, point))

    def started(self, point: dict[str, Any]) -> None:
        """A trial began."""
        key, trial = self._identify(point)
        self._running[key] = time.monotonic()
        self.book.start_trial(key, results.named(point), trial)
        self._say(f"[driver] trial {key} starts: {results.named(point)}")

    def progressed(self, point: dict[str, Any], report: Mapping[str, Any]) -> None:
        """A trial's workers made a step; volumes are shown, what lies between them is not."""
        if report.get("examples") in self.sweep.trial.volumes:
            key, _ = self._identify(point)
            seen, of, loss = report["examples"], report["of"], report["loss"]
            self._say(f"[rank 0] trial {key}: {report['role']} head {seen} of {of} examples, loss {loss:.3f}")

    def ended(self, point: dict[str, Any], *, failed: bool) -> None:
        """A trial ended. One that failed without a record died with its process; one that did not was stopped."""
        from likra_ray import trial as trials

        key, trial = self._identify(point)
        trials.release(key)
        seconds = time.monotonic() - self._running[key]
        result = results.read(self.book.storage, self.sweep.name, key)
        if result is None:
            if not failed:
                return
            plan = plans.trial_plan(self.material, trial)
            result = results.failed(trial, plan, point, "its process died before it could say why")
            results.write(self.book.storage, self.sweep.name, result)
        del self._running[key]
        self.book.end_trial(result)
        if self.study is not None and result.status == "done":
            studies.observe(self.study, self.sweep, result)
        self._say(self._line(result, seconds))

    def _say(self, line: str) -> None:
        self.screen.print(line, highlight=False, markup=False, soft_wrap=True)

    def _line(self, result: TrialResult, seconds: float) -> str:
        done = f"{len(self.book.trials)} of {self.sweep.budget.trials}"
        if result.status == "failed":
            return f"[driver] {done}: trial {result.key} FAILED after {seconds:.0f} s: {result.reason}"
        curve = " ".join(f"{point.volume}:{point.accuracy:.3f}" for point in result.curves["likra"])
        return f"[driver] {done}: trial {result.key} done in {seconds:.0f} s; likra accuracy by negatives {curve}"

    def _identify(self, point: dict[str, Any]) -> tuple[str, TrialSpec]:
        trial = self.sweep.trial_spec(point)
        return plans.trial_plan(self.material, trial).key, trial


def _callback(driver: Driver) -> Any:
    """The driver as a Tune callback."""
    from ray import tune

    class Callback(tune.Callback):
        def __init__(self, hears: Driver | None) -> None:
            self.hears = hears

        def __getstate__(self) -> dict[str, Any]:
            # Tune pickles its callbacks for a restore of its own, which is not used: a sweep resumes from sweep.json.
            return {"hears": None}

        def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            assert self.hears is not None
            self.hears.started(studies.point(trial.config))

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
            assert self.hears is not None
            self.hears.progressed(studies.point(trial.config), result)

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            assert self.hears is not None
            self.hears.ended(studies.point(trial.config), failed=False)

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            assert self.hears is not None
            self.hears.ended(studies.point(trial.config), failed=True)

    return Callback(driver)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    space: Annotated[Path, typer.Argument(help="Search space.")] = Path("search_spaces/quickstart.yaml"),
    set_: Annotated[list[str], typer.Option("--set", help="a.b=value, stronger than the file.")] = [],  # noqa: B006
    output: Annotated[str, typer.Option(help="Folder or URI for heads, tables and results.")] = console.OUTPUT,
    tracking_uri: Annotated[str, typer.Option(help="MLflow store.")] = TRACKING_URI,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, do nothing.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Finish a sweep that was stopped.")] = False,
) -> None:
    """Run a sweep and say where the critical phase lies."""
    screen = console.screen()
    with console.exit_codes("the same command with --resume goes on"):
        found = settings.load(space, set_)
        if dry_run:
            from likra_ray.dry_run import describe

            describe(found, Storage(absolute(output)), screen)
            return
        book = run_sweep(found.sweep, output=output, tracking_uri=tracking_uri, resume=resume, screen=screen)
        screen.print(book.summary())
        if not book.done:
            raise RuntimeError(f"no trial of {found.sweep.name} ended well; reasons are in the table above")


if __name__ == "__main__":
    app()
