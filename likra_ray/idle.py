"""CPUs that no trial will ask for any more: workers that still run take those their machine has free, as more threads.

The driver allows it once it has no trial left to start (driver.py). What a worker took is noted as room of its trial,
so it is given back with the trial's own (trial.release), also where the worker dies.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

EVERY = 2.0
"""Seconds between two looks, and how long a place is waited for at most."""


class Cpus:
    """One worker's CPUs, those it was placed with and those it took since: as many threads of torch's."""

    def __init__(self, leases: Any, holder: str, placed: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """leases: handle of the job's actor (heads/leases.py); holder: the trial; placed: CPUs; clock: seconds."""
        self.count = placed
        self._leases, self._holder, self._clock = leases, holder, clock
        self._looked = -math.inf
        self._compute()

    def grow(self) -> bool:
        """Take whole CPUs that are allowed and free, unless that was tried a moment ago; whether there are more now."""
        import ray

        if self._clock() - self._looked < EVERY:
            return False
        self._looked = self._clock()
        allowed: float | None = ray.get(self._leases.allowed.remote())
        if allowed is None or allowed <= self.count:
            return False
        machine = ray.get_runtime_context().get_node_id()
        more = math.floor(min(allowed - self.count, _free(machine)))
        if more < 1 or not self._take(more, machine):
            return False
        self.count += more
        self._compute()
        return True

    def _compute(self) -> None:
        import torch

        torch.set_num_threads(max(1, int(self.count)))

    def _take(self, more: int, machine: str) -> bool:
        """Reserve so many CPUs of a machine; False where another was faster."""
        import ray
        from ray.util import placement_group, remove_placement_group

        room = placement_group([{"CPU": more}], bundle_label_selector=[{"ray.io/node-id": machine}])
        if not room.wait(timeout_seconds=EVERY):
            remove_placement_group(room)
            return False
        ray.get(self._leases.note_room.remote(self._holder, room))
        return True


def _free(machine: str) -> float:
    from ray._private.state import available_resources_per_node

    free: dict[str, dict[str, float]] = available_resources_per_node()  # type: ignore[no-untyped-call]
    return free.get(machine, {}).get("CPU", 0.0)
