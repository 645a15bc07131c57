"""Why a trial's workers failed, and whether starting them again can help.

What Ray Train raises holds the failure of every rank that had one (`worker_failures`, by rank). A rank whose neighbour
was killed fails too, of a broken connection; so one failure that would come again speaks for all of them.
"""

from __future__ import annotations

import re

from likra_ray.errors import NO_ROOM, scrubbed
from likra_ray.heads.adapters import Untrained
from likra_ray.heads.training import Diverged

COMES_AGAIN = (Diverged, Untrained, ValueError, TypeError, LookupError, AttributeError, AssertionError, MemoryError)
"""Raised by the same inputs each time: a loss that is no number, wrong input (a ValueError), a mistake in the code."""

PROCESS = {
    "WorkerHealthCheckFailedError": "a worker's process died",
    "WorkerHealthCheckTimeoutError": "a worker's process hung: it did not answer within trial.resources.stall_minutes",
}
"""What Ray Train's names for a lost worker mean."""


class Hung(RuntimeError):
    """A worker stood still for longer than trial.resources.stall_minutes and was killed."""


def of_ranks(error: BaseException) -> list[BaseException]:
    """The failures behind what Ray raised, those of the lowest ranks first, without Ray's wrapping."""
    failures = getattr(error, "worker_failures", None) or {}
    causes = [failures[rank] for rank in sorted(failures)] or [error]
    return [getattr(cause, "cause", None) or cause for cause in causes]


def no_room(error: BaseException) -> bool:
    """Whether a write failed for want of room or leave."""
    return any(isinstance(cause, OSError) and cause.errno in NO_ROOM for cause in of_ranks(error))


def no_room_in(reason: str | None) -> OSError | None:
    """The same of a failed trial's reason, which is all that comes out of the process that ran it."""
    found = re.match(r"\w+: \[Errno (\d+)\] ([^:]+): '(.+)'$", reason or "")
    return OSError(int(found[1]), found[2], found[3]) if found and int(found[1]) in NO_ROOM else None


def worth_retrying(error: BaseException) -> bool:
    """Whether the same work may end well if it is started again: a process died or hung, a file was damaged.

    Not what comes again, nor a full disk: nobody makes room within the seconds in which workers start again.
    """
    for cause in of_ranks(error):
        if isinstance(cause, COMES_AGAIN) or no_room(cause) or type(cause).__name__ == "OutOfMemoryError":
            return False
    return True


def reason(error: BaseException) -> str:
    """Why a trial failed, in one line: what would come again, else a process that was lost, else the first failure."""
    causes = of_ranks(error)
    again = [cause for cause in causes if not worth_retrying(cause)]
    lost = [cause for cause in causes if type(cause).__name__ in PROCESS]
    cause = (again or lost or causes)[0]
    name = type(cause).__name__
    if name in PROCESS:
        return PROCESS[name]
    return scrubbed(" ".join(f"{name}: {cause}".split()))[:500]


def earlier(error: BaseException) -> list[str]:
    """Why the workers were started again before this failure: the notes that `trial` left on it."""
    return list(getattr(error, "__notes__", []))
