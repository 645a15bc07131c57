"""CPUs that no trial of this job asks for any more: workers that still run take those that are free, as threads.

The driver allows it once it has no trial left to start (driver.py), and less again where a trial waits for room
(trial.py). What a worker took is noted as room of its trial, so it is given back with all else that the trial holds
(holdings.release), also where the worker dies.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

from likra_ray import cluster

log = logging.getLogger(__name__)

EVERY = 2.0
"""Seconds between two looks."""
PATIENCE = 2.0
"""Seconds a place is waited for that looked free: another worker may have been faster."""


class Cpus:
    """One worker's CPUs, and as many threads of torch's; making one sets the threads."""

    def __init__(self, leases: Any, holder: str, placed: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """leases: handle of the job's actor (heads/leases.py); holder: the trial; placed: CPUs; clock: seconds."""
        self._leases, self._holder, self._placed, self._clock = leases, holder, placed, clock
        self._taken: list[tuple[float, Any]] = []
        self._looked = -math.inf
        self._compute()

    @property
    def count(self) -> float:
        """CPUs: those it was placed with, and those it took since."""
        return self._placed + sum(cpus for cpus, _ in self._taken)

    def look(self) -> None:
        """Double its CPUs as far as is allowed and free, or give back what is not allowed, unless it just looked.

        One, two and four threads make the same bits where products are oneDNN's, three do not (tests, docs/LOG.md).
        Elsewhere a head keeps the number it began with, so that it does not tell when its neighbour ended.
        """
        import ray

        from likra_ray.heads import products

        first = self._looked == -math.inf
        if self._clock() - self._looked < EVERY:
            return
        try:
            allowed: float | None = ray.get(self._leases.allowed.remote())
            if allowed is not None and allowed < self.count:
                self._give_back(allowed)
            elif allowed is not None and allowed > self.count and (first or products.available()):
                self._take(allowed)
        except (ray.exceptions.RayError, RuntimeError) as error:
            log.warning("%g CPUs are kept, as Ray did not answer: %s", self.count, error)
        self._looked = self._clock()
        self._compute()

    def _compute(self) -> None:
        import torch

        if torch.get_num_threads() != (threads := max(1, int(self.count))):
            torch.set_num_threads(threads)

    def _take(self, allowed: float) -> None:
        import ray
        from ray.util import placement_group

        more = doubled(self.count, most=min(allowed, self.count + cluster.free_here())) - self.count
        if not more:
            return
        room = placement_group([{"CPU": more}], bundle_label_selector=[cluster.here()])
        ray.get(self._leases.note_room.remote(self._holder, room))  # first: this worker may die while it waits
        self._taken.append((more, room))
        if not room.wait(timeout_seconds=PATIENCE):
            self._give_back(self.count - more)

    def _give_back(self, allowed: float) -> None:
        from ray.util import remove_placement_group

        while self._taken and self.count > allowed:
            remove_placement_group(self._taken.pop()[1])


def doubled(cpus: float, *, most: float) -> float:
    """The largest of cpus, 2 cpus, 4 cpus, ... that is no more than `most`, or cpus."""
    while 2 * cpus <= most:
        cpus *= 2
    return cpus
