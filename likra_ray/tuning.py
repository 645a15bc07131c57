"""What Ray Tune asks of a sweep's driver, and tells it: which point is next, and how trials go.

All trials of a sweep are one call of Tune's, those that Optuna chooses and then each round of refinement: an actor, and
with it its workers (group.py), goes on from one to the next.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ray import tune
from ray.tune.search import ConcurrencyLimiter, Searcher
from ray.tune.search.search_generator import SearchGenerator

from likra_ray import study as studies
from likra_ray.driver import Driver

POINT = "point"
"""In what Tune hands to a trial: its point."""


def point(config: Mapping[str, Any]) -> dict[str, Any]:
    """The point of a Tune trial."""
    return dict(config[POINT])


class Search(Searcher):
    """The points of a sweep: those that Optuna chooses, or the one there is, then those of each round of refinement.

    Optuna is asked for no point twice: one already measured, or being measured, costs a trial and teaches nothing.
    """

    def __init__(
        self, driver: Driver, rounds: Iterator[list[dict[str, Any]]], *, again: Sequence[dict[str, Any]] = ()
    ) -> None:
        """rounds: of refine.rounds; again: points that come first, of which the study knows already."""
        super().__init__()
        self._driver, self._rounds = driver, rounds
        self._listed = deque(again)
        self._to_choose = max(0, driver.book.remaining - len(again))
        self._exhausted = False
        """Whether every point of the space is measured, failed, or being measured."""
        self._running: dict[str, Any] = {}
        """By Tune's name of the trial: Optuna's trial, None where it chose none."""
        driver.expect(len(again) + self._to_choose, given=len(again))

    @property
    def waits(self) -> bool:
        """Whether trials must end before it is known if there are more."""
        return bool(self._running) and not self._listed and (self._exhausted or not self._to_choose)

    def runs(self, trial_id: str) -> bool:
        """Whether this trial was begun and has not ended."""
        return trial_id in self._running

    def suggest(self, trial_id: str) -> Any:
        """A point, None for not yet, or FINISHED."""
        if self._listed:
            return self._begun(trial_id, self._listed.popleft(), None)
        if self._to_choose and not self._exhausted:
            if self._driver.study is None:
                return self._chosen(trial_id, {}, None)
            chosen = studies.ask_new(self._driver.study, self._driver.sweep, self._driver.measured)
            self._driver.chosen(chosen is not None)
            if chosen is not None:
                return self._chosen(trial_id, studies.point(chosen), chosen)
            self._exhausted = True
        if self._running:
            return None
        self._driver.searched = True
        self._listed.extend(next(self._rounds, []))
        self._driver.expect(len(self._listed))
        return self.suggest(trial_id) if self._listed else self.FINISHED

    def _chosen(self, trial_id: str, point: dict[str, Any], optuna_trial: Any) -> dict[str, Any]:
        self._to_choose -= 1
        return self._begun(trial_id, point, optuna_trial)

    def _begun(self, trial_id: str, point: dict[str, Any], optuna_trial: Any) -> dict[str, Any]:
        self._running[trial_id] = optuna_trial
        return {POINT: point}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """result: the last that the trial reported; None where it failed."""
        optuna_trial = self._running.pop(trial_id, None)
        if optuna_trial is not None:
            reported = {} if error or result is None else result
            if not studies.hear(self._driver.study, self._driver.sweep, optuna_trial, reported):
                self._exhausted = False  # what it was to pass on its way is measured by nobody now

    def on_trial_result(self, trial_id: str, result: Any) -> None:
        """Progress, which Optuna does not hear of."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles it for a restore of its own, which is not used: a sweep resumes from sweep.json

    def save(self, checkpoint_path: str) -> None:
        """The study lies in Optuna's storage; nothing else is to be kept."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing was kept."""


class Points(SearchGenerator):
    """A search as Tune's loop sees it."""

    def __init__(self, search: Search, *, at_once: int) -> None:
        """at_once: trials that may run at the same time; so many Tune starts side by side."""
        super().__init__(ConcurrencyLimiter(search, max_concurrent=at_once))
        self.search = search

    def is_finished(self) -> bool:
        """Also while the search waits, for as long: Tune keeps one actor that no trial asks for, the first that has
        none. That is to be the actor of the last trial to end, whose workers still are (Driver dismisses others)."""
        finished: bool = super().is_finished()
        return finished or self.search.waits


class Told(tune.Callback):
    """Hands the driver what Tune says of a trial, and keeps what the driver raises: Tune would say that the trial
    failed, or raise an error of its own."""

    def __init__(self, driver: Driver | None, points: Points | None) -> None:
        self._driver, self._points = driver, points
        self.failure: Exception | None = None
        """The first that the driver raised; whatever Tune says next raises it again."""

    def __getstate__(self) -> dict[str, Any]:
        return {"_driver": None, "_points": None, "failure": None}  # as of Search

    @contextlib.contextmanager
    def _hears(self) -> Iterator[Driver]:
        assert self._driver is not None
        if self.failure is not None:
            raise self.failure
        try:
            yield self._driver
        except Exception as error:
            self.failure = error
            raise

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        with self._hears() as driver:
            driver.started(point(trial.config))

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
        with self._hears() as driver:
            driver.progressed(point(trial.config), result)

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        with self._hears() as driver:
            driver.ended(point(trial.config), failed=False)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        with self._hears() as driver:
            driver.ended(point(trial.config), failed=True)

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        """Tune says nothing of a trial for which the last one's actor did not come free in time."""
        assert self._points is not None
        with self._hears() as driver:
            for trial in trials:
                if trial.status == trial.ERROR and self._points.search.runs(trial.trial_id):
                    self._points.on_trial_complete(trial.trial_id, error=True)
                    driver.ended(point(trial.config), failed=True)
