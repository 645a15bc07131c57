"""Why a trial's workers failed, and whether starting them again can help.

What Ray Train raises holds the failure of every rank that had one (`worker_failures`, by rank). A rank whose neighbour
was killed fails too, of a broken connection; so one failure that would come again speaks for all of them.
"""

from __future__ import annotations

import errno

from likra_ray.heads.training import Diverged

COMES_AGAIN = (Diverged, ValueError, TypeError, LookupError, AttributeError, AssertionError, MemoryError)
"""Raised by the same inputs each time: a loss that is no number, wrong input (a ValueError), a mistake in the code."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
"""Of an OSError: nobody makes room, or gives leave to write, within the seconds in which workers start again."""


def of_ranks(error: BaseException) -> list[BaseException]:
    """The failures behind what Ray raised, those of the lowest ranks first, without Ray's wrapping."""
    failures = getattr(error, "worker_failures", None) or {}
    causes = [failures[rank] for rank in sorted(failures)] or [error]
    return [getattr(cause, "cause", None) or cause for cause in causes]


def worth_retrying(error: BaseException) -> bool:
    """Whether the same work may end well if it is started again: a process died or hung, a file was damaged."""
    for cause in of_ranks(error):
        no_room = isinstance(cause, OSError) and cause.errno in NO_ROOM
        if no_room or isinstance(cause, COMES_AGAIN) or type(cause).__name__ == "OutOfMemoryError":
            return False
    return True


def reason(error: BaseException) -> str:
    """Why a trial failed, in one line: what its first worker raised; where one of them would come again, that."""
    causes = of_ranks(error)
    cause = next((one for one in causes if not worth_retrying(one)), causes[0])
    return " ".join(f"{type(cause).__name__}: {cause}".split())[:500]


def earlier(error: BaseException) -> list[str]:
    """Why the workers were started again before this failure: the notes that `trial` left on it."""
    return list(getattr(error, "__notes__", []))
