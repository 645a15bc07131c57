"""The driver's ears: told of every trial of a sweep, it tells the ledger, the study and the screen."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.live import Live

from likra_ray import cluster, faults, holdings, ledger, news, results
from likra_ray import material as materials
from likra_ray import plan as plans
from likra_ray import study as studies
from likra_ray.progress import Progress, curve
from likra_ray.records import TrialResult
from likra_ray.spec import SweepSpec, TrialSpec


class ToCome:
    """Trials of a search, or of a round of refinement, that have not begun, or whose workers have not."""

    def __init__(self, most: int, *, given: int = 0) -> None:
        """most: that may be started; a search may find fewer points. given: of these, those that are no search's."""
        self._most, self._chosen = most, given
        self._begun: set[str] = set()
        self._with_workers: set[str] = set()

    def chosen(self, new: bool) -> None:
        """The search was asked for a point; without a new one those it gave are all there will be, unless one fails."""
        if new:
            self._chosen += 1
            self._most = max(self._most, self._chosen)
        else:
            self._most = self._chosen

    def began(self, key: str) -> None:
        """A trial began, or ended without; the same one counts once."""
        self._begun.add(key)

    def got_workers(self, key: str) -> bool:
        """A trial has its workers, or ended; True where that is new."""
        new = key not in self._with_workers
        self._with_workers.add(key)
        return new

    @property
    def to_start(self) -> int:
        return max(0, self._most - len(self._begun))

    @property
    def without_workers(self) -> int:
        return max(0, self._most - len(self._with_workers))


class Driver:
    """Lives in the sweep's own process; the only one that writes."""

    def __init__(self, sweep: SweepSpec, material: materials.Material, book: ledger.Ledger, screen: Console) -> None:
        self.sweep, self.material, self.book, self.screen = sweep, material, book, screen
        self.study: Any = None
        self.measured = studies.Measured()
        self.searched = False
        """Whether all trials but a refinement's ended: as many as the budget has, or as the space has points."""
        self.lost: list[dict[str, Any]] = []
        """Points that the study has and of which a table or the record is gone: to be run again, without the study."""
        self._planned = sweep.budget.trials if sweep.search else 1
        self.progress = Progress(self._planned)
        self._to_come = ToCome(0)

    def expect(self, count: int, *, given: int = 0) -> None:
        """So many trials are to be started, at most: until all are, no worker takes more CPUs than it asks for. given:
        of these, those whose points need not be chosen."""
        self._to_come = ToCome(count, given=given)
        holdings.allow(self.sweep.trial.resources.cpus)

    def chosen(self, new: bool) -> None:
        """Optuna was asked for a point. new: it had one that is not measured, nor being measured."""
        self._to_come.chosen(new)
        self._free_cpus()

    def _free_cpus(self) -> None:
        """End workers that no trial will take; let those that run take CPUs that no trial will ask for.

        The workers of the last trial to end stay: a round of refinement may follow.
        """
        running = len(self.progress.running)
        if running and not self._to_come.without_workers:
            holdings.dismiss()
        if running and not self._to_come.to_start:
            holdings.allow(cluster.cpus_each(self.sweep.trial.resources, running))

    def open_study(self, again: list[dict[str, Any]]) -> None:
        """Open the study; what a dead driver left unfinished, and the points of `again`, come first.

        Study, trial records and sweep.json are written one after the other, so a driver may die between any two: a
        trial counts that has its record, the study is told where it did not hear, and any other point is run again.
        """
        if not self.sweep.search:
            return
        self.study, asked = studies.open_study(self.sweep, self.book.study_url())
        heard_of = [point for point, heard in asked if heard]
        queue = [dict(point) for point in again if point not in heard_of]
        unasked = self.sweep.start_from[len(self.study.trials) :]  # they were the first it was given
        for point, heard in asked:
            key, _ = self._identify(point)
            result = results.read(self.book.storage, self.sweep.name, key)
            if result is None or result.status != "done":
                if key not in self.book.trials and point not in queue:
                    (self.lost if heard else queue).append(point)
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
        self.progress.start(key, results.named(point), time.monotonic())
        self.book.start_trial(key, results.named(point), trial)
        self._say(f"[driver] trial {key} starts: {results.named(point)}")
        self._to_come.began(key)
        self._free_cpus()

    def progressed(self, point: dict[str, Any], report: Mapping[str, Any]) -> None:
        """A trial's workers made steps or scored volumes; steps between two volumes are not printed."""
        key, trial = self._identify(point)
        if self._to_come.got_workers(key):
            self._free_cpus()
        for event in news.events(report):
            self.progress.hear(key, event)
            running = self.progress.running[key]
            if event.get("examples") in trial.volumes:
                self._say(f"[rank 0] trial {key}: {running.at}")
            if "scored" in event:
                self._say(f"[rank 0] trial {key}: accuracy {curve(running.curves)}")

    def ended(self, point: dict[str, Any], *, failed: bool) -> None:
        """A trial ended. One that failed without a record died with its process; one that did not was stopped.

        Raises OSError where the trial, or its record, found no room on the disk: so will all that follow.
        """
        key, trial = self._identify(point)
        holdings.release(key, keep_group=not failed)
        if failed:
            holdings.dismiss()  # its actor is gone, and so are workers that waited there without the trial
        result = results.read(self.book.storage, self.sweep.name, key)
        if result is None:
            if not failed:
                return
            plan = plans.trial_plan(self.material, trial)
            result = results.failed(trial, plan, point, "its process died before it could say why")
            results.write(self.book.storage, self.sweep.name, result)
        seconds = self.progress.end(key, time.monotonic(), counts=not results.is_refined(point))
        self.book.end_trial(result)
        if self.study is not None and result.status == "done":
            studies.observe(self.study, self.sweep, result, self.measured)
        for said in result.retried:
            self._say(f"[driver] trial {result.key}: workers started again: {said}")
        for name in result.repaired:
            self._say(f"[driver] trial {result.key}: {name} was damaged and is not used")
        self._say(self._line(result, seconds))
        self._to_come.began(key)  # or it never did, and will not
        self._to_come.got_workers(key)
        self._free_cpus()
        full = faults.no_room_in(result.reason)
        if full is not None:
            raise full

    def live(self, at_once: int) -> contextlib.AbstractContextManager[Any]:
        """The trials that run, in a table below the lines for the length of the block; in a terminal alone.

        What others print on standard error meanwhile stands above it too.

        at_once: trials that may run at the same time.
        """
        if not self.screen.is_terminal or self.screen.quiet:
            return contextlib.nullcontext()
        self.progress.ended = len(self.book.trials)
        return Live(
            get_renderable=lambda: self.progress.table(time.monotonic(), at_once),
            console=self.screen, refresh_per_second=2, transient=True, redirect_stdout=False, redirect_stderr=True,
        )  # fmt: skip

    def _say(self, line: str) -> None:
        self.screen.print(line, highlight=False, markup=False, soft_wrap=True)

    def _line(self, result: TrialResult, seconds: float) -> str:
        done = f"{len(self.book.trials)} of {self._planned}"
        if results.is_refined(result.sampled):
            done = "refinement"
        if result.status == "failed":
            return f"[driver] {done}: trial {result.key} FAILED after {seconds:.0f} s: {result.reason}"
        by_volume = {point.volume: point.accuracy for point in result.curves["likra"]}
        return f"[driver] {done}: trial {result.key} done in {seconds:.0f} s; accuracy {curve({'likra': by_volume})}"

    def _identify(self, point: dict[str, Any]) -> tuple[str, TrialSpec]:
        trial = self.sweep.trial_spec(point)
        return plans.trial_plan(self.material, trial).key, trial
