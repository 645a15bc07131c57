"""What a driver makes of the study, the records and the sweep.json that a dead one left, whatever the moment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from finished import finished_trial
from mlflow.tracking import MlflowClient
from optuna.trial import TrialState
from rich.console import Console

from likra_ray import plan as plans
from likra_ray import results, settings, study
from likra_ray.driver import Driver, ToCome
from likra_ray.ledger import open_ledger
from likra_ray.records import CurvePoint, TrialResult
from likra_ray.storage import Storage
from likra_ray.sweep import run_sweep

SMOKE = str(Path(__file__).parents[1] / "search_spaces/smoke.yaml")
GIVEN = ("search={near_miss_share: {choices: [0.0, 0.5, 1.0]}}", "objective={accuracy: max}",
         "start_from=[{near_miss_share: 0.5}, {near_miss_share: 1.0}]")  # fmt: skip
POINT = {"near_miss_share": 0.5}


class Left:
    """A sweep's folder at one moment of one trial's life, and a driver that opens its study."""

    def __init__(self, folder: Path) -> None:
        self.sweep = settings.load(SMOKE, GIVEN).sweep
        self.material = plans.gather(self.sweep)
        self.storage = Storage(str(folder))
        (folder / self.sweep.name).mkdir()
        self.study, _ = study.open_study(self.sweep, self.book().study_url())

    def book(self) -> Any:
        return open_ledger(self.storage, self.sweep, self.material, resume=True)

    def result(self, status: str) -> TrialResult:
        trial = self.sweep.trial_spec(POINT)
        plan = plans.trial_plan(self.material, trial)
        found = results.failed(trial, plan, POINT, "lost")
        if status == "failed":
            return found
        curve = [CurvePoint(volume=v, accuracy=0.5, interval=(0.5, 0.5), questions=9, seeds=1) for v in (0, 32)]
        metrics = {f"likra/{name}": {0: 0.2, 32: 0.5} for name in ("accuracy", "accuracy_norm")}
        return replace(found, status="done", reason=None, curves={"likra": curve}, metrics=metrics)

    def opened(self, again: Sequence[dict[str, Any]] = ()) -> Driver:
        driver = Driver(self.sweep, self.material, self.book(), Console(quiet=True))
        driver.open_study(list(again))
        return driver


MOMENTS: dict[str, tuple[Sequence[str], list[str], list[str], list[float]]] = {
    # What happened before the driver died; then: trials in sweep.json, finished in the study, and in its queue.
    "nothing was asked": ([], [], [], [0.5, 1.0]),
    "half of start_from was queued": (["queue"], [], [], [0.5, 1.0]),
    "the study asked": (["ask"], [], [], [0.5, 1.0]),
    "the trial left its record": (["ask", "done"], ["k"], ["COMPLETE"], [1.0]),
    "the study heard": (["ask", "done", "heard"], ["k"], ["COMPLETE"], [1.0]),
    "sweep.json has it": (["ask", "done", "heard", "book"], ["k"], ["COMPLETE"], [1.0]),
    "sweep.json has it, the study does not": (["ask", "done", "book"], ["k"], ["COMPLETE"], [1.0]),
    "the trial left a failed record": (["ask", "failed"], [], [], [0.5, 1.0]),
    "the study heard that it failed": (["ask", "failed", "heard"], [], [], [0.5, 1.0]),
    "it failed and left nothing": (["ask", "heard"], [], [], [0.5, 1.0]),
    "sweep.json has the failure": (["ask", "failed", "heard", "book"], ["k"], [], [1.0]),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_driver_may_die_at_any_moment(moment: str, tmp_path: Path) -> None:
    steps, booked, complete, queued = MOMENTS[moment]
    left = Left(tmp_path)
    status = "done" if "done" in steps else "failed"
    if "queue" in steps:
        left.study.enqueue_trial(POINT)
    if "ask" in steps:
        left.study.enqueue_trial(POINT)
        asked = left.study.ask(study.distributions(left.sweep))
        if status in steps:
            results.write(left.storage, left.sweep.name, left.result(status))
        if "heard" in steps:
            left.study.tell(asked, 0.5) if status == "done" else left.study.tell(asked, state=TrialState.FAIL)
        if "book" in steps:
            left.book().end_trial(left.result(status))

    left.opened()  # the next driver dies too, before it runs anything
    driver = left.opened()
    assert len(driver.book.trials) == len(booked)
    trials = driver.study.get_trials(deepcopy=False)
    assert [trial.state.name for trial in trials if trial.state == TrialState.COMPLETE] == complete
    assert TrialState.RUNNING not in {trial.state for trial in trials}
    waiting = [trial for trial in trials if trial.state == TrialState.WAITING]
    assert sorted({trial.system_attrs["fixed_params"]["near_miss_share"] for trial in waiting}) == queued
    given = []
    while (new := study.ask_new(driver.study, left.sweep)) is not None:
        given.append(study.point(new)["near_miss_share"])
    assert sorted(given) == ([0.0, 1.0] if complete else [0.0, 0.5, 1.0]), "each point once, none twice"


def test_a_driver_that_died_between_the_last_round_and_the_end_is_ended_by_the_next(tmp_path: Path) -> None:
    """All is measured, sweep.json says running: --resume says done, here and in MLflow, and starts no Ray."""
    book = finished_trial(tmp_path / "out")
    book._record |= {"status": "running", "refinement_ended": "none is finer", "provenance": {"git": "unknown"}}
    book._write()
    ended = run_sweep(book.sweep, output=book.storage.root, tracking_uri=f"sqlite:///{tmp_path}/mlflow.db", resume=True)
    assert ended.finished and json.loads((tmp_path / "out/smoke/sweep.json").read_text())["status"] == "done"
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("smoke")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.status for run in runs) == ["FINISHED", "FINISHED"]


CALLS: dict[str, tuple[int, str, int, int]] = {
    # Trials at most; what happens (+ a point is chosen, - none is new, a letter: that trial began, a capital: it has
    # workers, or ended); how many are left to start, and without workers.
    "none began": (3, "", 3, 3),
    "some began": (3, "ab", 1, 3),
    "some have workers": (3, "aAb", 1, 2),
    "all began": (2, "ab", 0, 2),
    "all have workers": (2, "aAbB", 0, 0),
    "one ended that had begun, or never did": (2, "aAaA", 1, 1),
    "the search has more": (6, "++aAb", 4, 5),
    "it found two and no third": (6, "++abA-", 0, 1),
    "it found two and no third before they began": (6, "++-a", 1, 2),
    "it found none": (6, "-", 0, 0),
    "one failed that was to pass more": (6, "+a-+", 1, 2),
    "trials of a list are not chosen": (2, "aA", 1, 1),
}


def test_points_that_are_given_stay_where_the_search_finds_none() -> None:
    counted = ToCome(3, given=2)
    counted.began("a")
    counted.chosen(False)
    assert (counted.to_start, counted.without_workers) == (1, 2)


@pytest.mark.parametrize("call", CALLS)
def test_trials_that_are_still_to_come_are_counted(call: str) -> None:
    most, happened, to_start, without_workers = CALLS[call]
    counted = ToCome(most)
    for one in happened:
        if one in "+-":
            counted.chosen(one == "+")
        elif one.islower():
            counted.began(one)
        else:
            counted.got_workers(one)
    assert (counted.to_start, counted.without_workers) == (to_start, without_workers)


def test_a_trial_gets_its_workers_once() -> None:
    counted = ToCome(2)
    assert [counted.got_workers(key) for key in ("a", "b", "a")] == [True, True, False]
