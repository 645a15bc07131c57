"""What the trials of a job share: who is making which head, so that no two train the same; rooms; CPUs allowed.

A trial asks while its workers already run and never waits while it holds a lease (of one head, or of all that it
trains at once), so the holder always goes on by itself and nobody waits for ever.
"""

from __future__ import annotations

from typing import Any


class Leases:
    """One place all trials of a cluster ask; not thread-safe (an actor runs one call at a time)."""

    def __init__(self) -> None:
        self._holders: dict[str, str] = {}
        self._words: dict[str, str] = {}
        self._damaged: dict[str, list[str]] = {}
        self._rooms: dict[str, list[Any]] = {}
        self._allowed: float | None = None

    def acquire(self, key: str, holder: str) -> bool:
        """Whether the holder now has the lease; asking again for one's own is granted."""
        return self._holders.setdefault(key, holder) == holder

    def release(self, key: str, holder: str) -> None:
        """Give one lease back; nothing happens to another's."""
        if self._holders.get(key) == holder:
            del self._holders[key]

    def note_room(self, holder: str, room: Any) -> None:
        """A trial's workers have room on the cluster, which outlives them should the trial's own process die."""
        self._rooms.setdefault(holder, []).append(room)

    def release_all(self, holder: str) -> list[Any]:
        """Give back whatever a trial still holds: it ended, or died. Returns the rooms it had, told once."""
        self._holders = {key: other for key, other in self._holders.items() if other != holder}
        return self._rooms.pop(holder, [])

    def say(self, holder: str, words: str) -> None:
        """The last words of a worker that ends itself; of several, the first to speak is heard."""
        self._words.setdefault(holder, words)

    def note_damaged(self, holder: str, names: list[str]) -> None:
        """Files a trial found damaged: kept here, since the worker that found them may die before the trial ends."""
        self._damaged[holder] = list(dict.fromkeys([*self._damaged.get(holder, []), *names]))

    def damaged(self, holder: str) -> list[str]:
        """Files this trial found damaged, told once."""
        return self._damaged.pop(holder, [])

    def last_words(self, holder: str) -> str | None:
        """What a worker of this trial said before it ended itself, told once; None where none did."""
        return self._words.pop(holder, None)

    def allow(self, cpus: float) -> None:
        """From here on a worker may have so many CPUs, where they are free."""
        self._allowed = cpus

    def allowed(self) -> float | None:
        """CPUs a worker may have; None where nobody said."""
        return self._allowed
