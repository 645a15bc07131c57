"""The driver's ears: told of every trial of a sweep, it tells the ledger, the study and the screen."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from likra_ray import faults, ledger, results
from likra_ray import material as materials
from likra_ray import plan as plans
from likra_ray import study as studies
from likra_ray import trial as trials
from likra_ray.records import TrialResult
from likra_ray.spec import SweepSpec, TrialSpec


class Driver:
    """Lives in the sweep's own process; the only one that writes."""

    def __init__(self, sweep: SweepSpec, material: materials.Material, book: ledger.Ledger, screen: Console) -> None:
        self.sweep, self.material, self.book, self.screen = sweep, material, book, screen
        self.study: Any = None
        self.measured = studies.Measured()
        self.nothing_new = False
        """Whether Optuna was asked and every point was measured or being measured."""
        self._running: dict[str, float] = {}

    @property
    def exhausted(self) -> bool:
        """Whether every point of the space is measured: fewer trials than the budget allows were enough."""
        return self.nothing_new and not self._running

    def open_study(self, again: list[dict[str, Any]]) -> None:
        """Open the study; what a dead driver left unfinished, and the points of `again`, come first.

        Study, trial records and sweep.json are written one after the other, so a driver may die between any two: a
        trial counts that has its record, the study is told where it did not hear, and any other point is run again.
        """
        if not self.sweep.search:
            return
        self.study, asked = studies.open_study(self.sweep, self.book.study_url())
        queue = [dict(point) for point in again]
        unasked = self.sweep.start_from[len(self.study.trials) :]  # they were the first it was given
        for point, heard in asked:
            key, _ = self._identify(point)
            result = results.read(self.book.storage, self.sweep.name, key)
            if result is None or result.status != "done":
                if key not in self.book.trials and point not in queue:
                    queue.append(point)
                continue
            if key in self.book.trials and heard:
                continue
            if key not in self.book.trials:
                self.book.end_trial(result)
            (studies.observe if heard else studies.tell)(self.study, self.sweep, result)
        queue += [dict(point) for point in unasked]
        waiting = studies.waiting(self.study)  # a driver died after it queued them
        for point in (point for point in queue if point not in waiting):
            self.study.enqueue_trial(studies.params(self.sweep, point))

    def started(self, point: dict[str, Any]) -> None:
        """A trial began."""
        key, trial = self._identify(point)
        self._running[key] = time.monotonic()
        self.book.start_trial(key, results.named(point), trial)
        self._say(f"[driver] trial {key} starts: {results.named(point)}")

    def progressed(self, point: dict[str, Any], report: Mapping[str, Any]) -> None:
        """A trial's workers made a step; volumes are shown, what lies between them is not."""
        key, trial = self._identify(point)
        if report.get("examples") in trial.volumes:
            seen, of, loss = report["examples"], report["of"], report["loss"]
            self._say(f"[rank 0] trial {key}: {report['role']} head {seen} of {of} examples, loss {loss:.3f}")

    def ended(self, point: dict[str, Any], *, failed: bool) -> None:
        """A trial ended. One that failed without a record died with its process; one that did not was stopped.

        Raises OSError where the trial, or its record, found no room on the disk: so will all that follow.
        """
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
            studies.observe(self.study, self.sweep, result, self.measured)
        for said in result.retried:
            self._say(f"[driver] trial {result.key}: workers started again: {said}")
        for name in result.repaired:
            self._say(f"[driver] trial {result.key}: {name} was damaged and is not used")
        self._say(self._line(result, seconds))
        full = faults.no_room_in(result.reason)
        if full is not None:
            raise full

    def _say(self, line: str) -> None:
        self.screen.print(line, highlight=False, markup=False, soft_wrap=True)

    def _line(self, result: TrialResult, seconds: float) -> str:
        done = f"{len(self.book.trials)} of {self.sweep.budget.trials}"
        if results.is_refined(result.sampled):
            done = "refinement"
        if result.status == "failed":
            return f"[driver] {done}: trial {result.key} FAILED after {seconds:.0f} s: {result.reason}"
        curve = " ".join(f"{point.volume}:{point.accuracy:.3f}" for point in result.curves["likra"])
        return f"[driver] {done}: trial {result.key} done in {seconds:.0f} s; likra accuracy by negatives {curve}"

    def _identify(self, point: dict[str, Any]) -> tuple[str, TrialSpec]:
        trial = self.sweep.trial_spec(point)
        return plans.trial_plan(self.material, trial).key, trial
