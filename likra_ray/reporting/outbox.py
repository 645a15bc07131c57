"""What MLflow is still to be told, kept in order: tried at every event of a sweep, and for longer at its end.

A store that is down, or that takes a connection and never answers, costs the driver seconds. The truth lies on disk
(sweep.json, result.json), so nothing here needs to survive the driver. No MLflow in here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from likra_ray.reporting import stores

log = logging.getLogger(__name__)

EVENT_SECONDS = 5.0
"""No further write begins when an event of a sweep has spent this on MLflow: arrears never stop a driver."""
PAUSE = 9.0
"""After a failure, the next try waits this many times as long as the failure took: at most a tenth of a driver's time
goes to a store that never answers; one that refuses at once is asked at every event."""
END_SECONDS = 90.0
"""How long the end of a sweep waits for a store from which nothing is heard: an `mlflow server` that is started anew
answers within about 20 s (measured on 2 busy cores), a machine that is started anew within about a minute."""
AGAIN_SECONDS = 2.0
"""Between two tries at the end of a sweep."""


class Outbox:
    """Writes that are owed to a store, each under a name; a newer one of the same name takes the older one's place."""

    def __init__(
        self,
        uri: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """uri: the store's address, whose secret no reason shows. clock and sleep: in seconds."""
        self._uri, self._clock, self._sleep = uri, clock, sleep
        self._owed: dict[str, Callable[[], object]] = {}
        self._not_before = -float("inf")
        self._failing = False
        self.reason: str | None = None
        """Why the last write that failed did, in one line."""

    @property
    def owed(self) -> list[str]:
        """Names of what the store lacks."""
        return list(self._owed)

    def put(self, name: str, write: Callable[[], object]) -> None:
        """Owe this. write: may be called again after it failed half way."""
        self._owed.pop(name, None)
        self._owed[name] = write

    def deliver(self) -> None:
        """Write what is owed, the oldest first, for a few seconds at most and not at all soon after a slow failure."""
        began = self._clock()
        if began < self._not_before:
            return
        with stores.environment(stores.BRIEF):
            while self._owed and self._clock() - began < EVENT_SECONDS:
                tried = self._clock()
                if not self._try():
                    self._not_before = self._clock() + PAUSE * (self._clock() - tried)
                    return

    def flush(self, seconds: float) -> bool:
        """Write all that is owed; False where nothing was heard from the store for so many seconds. Tries once at 0."""
        heard = self._clock()
        with stores.environment(stores.PATIENT if seconds else stores.BRIEF):
            while self._owed:
                if self._try():
                    heard = self._clock()
                elif self._clock() - heard + AGAIN_SECONDS > seconds:
                    return False
                else:
                    self._sleep(AGAIN_SECONDS)
        return True

    def _try(self) -> bool:
        """Write the oldest; one that fails is the youngest afterwards, so that none stands in the others' way."""
        name, write = next(iter(self._owed.items()))
        try:
            write()
        except Exception as error:
            self.reason = stores.reason(error, self._uri)
            if not self._failing:
                log.warning("MLflow did not take it and will be told later: %s", self.reason)
            self._failing = True
            self.put(name, write)
            return False
        self._failing = False
        del self._owed[name]
        return True
