"""What the trials of a job hold, leases of heads, rooms, workers, CPUs: asked of their one actor (heads/leases.py)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from likra_ray import cluster

log = logging.getLogger(__name__)

LEASES = "likra_ray-head-leases"
"""Name of that actor."""


def leases() -> Any:
    """The job's one actor of leases, started by the first to ask and gone with it: the driver asks first."""
    import ray

    from likra_ray.heads.leases import Leases

    options = {"name": LEASES, "get_if_exists": True, "label_selector": cluster.here()}
    return ray.remote(num_cpus=0)(Leases).options(**options).remote()


def allow(cpus: float) -> None:
    """Let every worker of this job take CPUs that are free until it has so many (idle.py)."""
    import ray

    ray.get(leases().allow.remote(cpus))


def last_words(holder: str) -> str | None:
    """What a worker of the trial said before it ended itself; None where none did."""
    import ray

    said: str | None = ray.get(leases().last_words.remote(holder))
    return said


def noted_damaged(holder: str) -> list[str]:
    """Files that workers of the trial found damaged, those that died since too."""
    import ray

    noted: list[str] = ray.get(leases().damaged.remote(holder))
    return noted


def note_room(holder: str, room: Any) -> None:
    """Let whoever releases a trial, or its group of workers, know a placement group of theirs."""
    import ray

    ray.get(leases().note_room.remote(holder, room))


def release(holder: str, *, keep_group: bool = False) -> None:
    """Give back every lease a trial holds, and the room of its workers: it ended, or its processes died.

    keep_group: the workers that ran it keep theirs and wait for another trial.
    """
    import ray

    _remove(ray.get(leases().release_all.remote(holder, keep_group)))


def dismiss() -> None:
    """End the workers that wait for another trial: there is none, or one waits for their room."""
    import ray

    _remove(ray.get(leases().dismiss.remote()))


def end() -> None:
    """Give back what all trials and all workers hold: none runs. A Ray that is gone held nothing for long."""
    import ray

    try:
        _remove(ray.get(leases().end.remote()))
    except ray.exceptions.RayError as error:
        log.warning("Ray did not answer when all was to be given back: %s", error)


def _remove(rooms: Iterable[Any]) -> None:
    from ray.util import remove_placement_group

    for room in rooms:
        remove_placement_group(room)  # nothing happens to one that is gone, as it is where the trial ended by itself
