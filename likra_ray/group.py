"""Workers that outlive a trial: a Tune actor hands its Ray Train workers one trial after another.

Processes, imports and a rendezvous take as long as a small head's training (docs/LOG.md, 2026-11-28). Ray Train starts
them anew for every run and has no second run for workers that are there already. So one run lasts as long as its
actor: at the end of a trial the workers say in a report what they did and ask the leases for the next (workers.py).
Only those whose trial ended well are kept; after a failure its workers are started anew.
"""

from __future__ import annotations

import logging
import queue
import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from ray.train import UserCallback

from likra_ray import faults, holdings
from likra_ray.workers import ENDED

log = logging.getLogger(__name__)

Start = Callable[["Group"], object]
"""Starts workers with their first trial and follows them for as long as there are any; raises why they ended."""


class Group(UserCallback):
    """The workers of one Ray Train run, which a thread of this process follows; hands what rank 0 reports to Tune."""

    def __init__(self) -> None:
        self.name = uuid.uuid4().hex
        self._ended: queue.SimpleQueue[dict[str, Any] | BaseException] = queue.SimpleQueue()
        self._heard = False

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray Train copies its callbacks to the workers, where none is called

    def begin(self, task: Mapping[str, Any], start: Start) -> dict[str, Any]:
        """Start workers with a trial; returns what rank 0 did once it ended. Raises what the workers raise."""
        import ray

        ray.get(holdings.leases().begin_group.remote(self.name, task["key"]))
        threading.Thread(target=self._follow, args=(start,), name="workers", daemon=True).start()
        return self._done()

    def go_on(self, task: Mapping[str, Any]) -> dict[str, Any] | None:
        """Hand the trial to these workers; returns and raises as `begin`; None where they were gone before it."""
        import ray

        self._heard = False
        if not ray.get(holdings.leases().give.remote(self.name, task["key"], dict(task))):
            return None
        try:
            return self._done()
        except Exception as error:
            if self._heard:
                raise
            log.warning("workers that waited for a trial are gone: %s", faults.reason(error))
            holdings.release(task["key"])
            return None

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        """metrics: one report of each rank. Returns once Tune's driver has it, and ends the thread where Tune
        stops the trial."""
        from ray import tune

        self._heard = True
        if ENDED in metrics[0]:
            self._ended.put(metrics[0][ENDED])
        else:
            tune.report(dict(metrics[0]))

    def _follow(self, start: Start) -> None:
        try:
            start(self)
        except BaseException as error:
            self._ended.put(error)
        else:
            self._ended.put(RuntimeError("Ray Train ended while its workers waited for a trial"))

    def _done(self) -> dict[str, Any]:
        ended = self._ended.get()
        if isinstance(ended, BaseException):
            raise ended
        return ended


_kept: Group | None = None
"""Of this process, which Tune gives one trial after another."""


def run(task: Mapping[str, Any], start: Start) -> dict[str, Any]:
    """Let the workers that this process kept do a trial, or new ones; they are kept if it ends well.

    task: plain values (workers.work); its `key` is the trial's. No search varies what workers and their base depend
    on (search.SEARCHABLE: not resources, precision or ZeRO stage), so those kept fit every trial of their actor.
    Returns what rank 0 did; raises what the workers raise.
    """
    global _kept
    group, _kept = _kept, None
    done = group.go_on(task) if group is not None else None
    if done is None:
        group = Group()
        done = group.begin(task, start)
    _kept = group
    return done
