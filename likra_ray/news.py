"""What a trial's workers say of their progress, in reports so far apart that no worker waits with one.

Ray Train holds one report of a worker until its controller asks, twice a second here, and lets the worker wait with the
next. Told of every optimizer step, a trial made two of them a second at most, however small its base or fast its GPU
(docs/LOG.md, 2026-11-28). So what happens is collected and sent once a second, and at the end of every head.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

EVERY = 1.0
"""Seconds between two reports while a head is made: two looks of the controller (console.ray_session)."""

NEWS = "news"
"""In a report: the events, in order."""

Event = Mapping[str, Any]
"""A step (role, examples, of, loss) or a volume that was scored (role, scored, arms)."""


class News:
    """One rank's; every rank is told the same events and sends equally often, as Ray Train asks."""

    def __init__(
        self,
        send: Callable[[dict[str, Any]], None],
        agreed: Callable[[bool], bool],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """send: takes a report; agreed: rank 0's answer on every rank; clock: seconds."""
        self._send, self._agreed, self._clock = send, agreed, clock
        self._sent = clock()
        self._events: list[Event] = []
        self._passing = False

    def tell(self, event: Event, *, passing: bool = False) -> None:
        """Something happened; passing: the next event makes it old, so it is sent only if it is the last."""
        if self._passing:
            self._events.pop()
        self._events.append(event)
        self._passing = passing
        if self._agreed(self._clock() - self._sent >= EVERY):
            self.flush()

    @contextlib.contextmanager
    def told(self, failure: type[Exception]) -> Iterator[None]:
        """At the end of the block nothing is left to be sent, also where it ends in a failure that every rank has."""
        try:
            yield
        except failure:
            self.flush()
            raise
        self.flush()

    def flush(self) -> None:
        """Send what is not sent yet, however short a time ago the last report was."""
        if self._events:
            self._send({NEWS: self._events})
            self._events, self._passing = [], False
            self._sent = self._clock()


def events(report: Mapping[str, Any]) -> list[Event]:
    """What a report tells; [] of one that is no worker's (Tune's last, with the objective)."""
    return list(report.get(NEWS, []))
