"""What the trials of a job share: who is making which head or its tables, so that no two do; rooms; CPUs allowed.

A trial asks while its workers already run and never waits while it holds a lease (of one head, or of all that it
trains at once), so the holder always goes on by itself and nobody waits for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class _Group:
    """Workers that take one trial after another (group.py)."""

    holder: str | None
    """Whose trial they run; None while they wait for the next."""
    given: int = 0
    """Trials after the first."""
    task: Any = None
    """The last of those."""


class Leases:
    """One place all trials of a cluster ask; not thread-safe (an actor runs one call at a time)."""

    def __init__(self) -> None:
        self._holders: dict[str, str] = {}
        self._words: dict[str, str] = {}
        self._damaged: dict[str, list[str]] = {}
        self._rooms: dict[str, list[Any]] = {}
        self._groups: dict[str, _Group] = {}
        self._allowed: float | None = None

    def acquire(self, key: str, holder: str) -> bool:
        """Whether the holder now has the lease; asking again for one's own is granted."""
        return self._holders.setdefault(key, holder) == holder

    def release(self, key: str, holder: str) -> None:
        """Give one lease back; nothing happens to another's."""
        if self._holders.get(key) == holder:
            del self._holders[key]

    def note_room(self, holder: str, room: Any) -> None:
        """A trial, or a group of workers, has room on the cluster that outlives it should its own process die."""
        self._rooms.setdefault(holder, []).append(room)

    def release_all(self, holder: str, keep_group: bool = False) -> list[Any]:
        """Give back whatever a trial still holds: it ended, or died. Returns the rooms it had, told once.

        keep_group: the workers that ran it keep their room and wait for another trial.
        """
        self._holders = {key: other for key, other in self._holders.items() if other != holder}
        rooms = self._rooms.pop(holder, [])
        for name, group in list(self._groups.items()):
            if group.holder == holder and keep_group:
                group.holder = None
            elif group.holder == holder:
                rooms += self._forget(name)
        return rooms

    def begin_group(self, group: str, holder: str) -> None:
        """Workers start, with a trial to run."""
        self._groups[group] = _Group(holder)

    def give(self, group: str, holder: str, task: Any) -> bool:
        """Hand workers that wait the next trial; False where they were dismissed."""
        if group not in self._groups:
            return False
        there = self._groups[group]
        there.holder, there.given, there.task = holder, there.given + 1, task
        return True

    def given(self, group: str, number: int) -> Any:
        """The trial that a group was handed as its `number`-th after the first; None where it is to wait."""
        there = self._groups.get(group)
        return there.task if there is not None and there.given == number else None

    def dismiss(self) -> list[Any]:
        """No group waits for another trial from now on. Returns the rooms of those that did, told once."""
        waiting = [name for name, group in self._groups.items() if group.holder is None]
        return [room for name in waiting for room in self._forget(name)]

    def end(self) -> list[Any]:
        """No trial runs. Returns all rooms, told once."""
        rooms = [room for noted in self._rooms.values() for room in noted]
        self._holders, self._groups, self._rooms, self._words, self._damaged = {}, {}, {}, {}, {}
        return rooms

    def _forget(self, group: str) -> list[Any]:
        del self._groups[group]
        return self._rooms.pop(group, [])

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
