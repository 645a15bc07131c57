"""What runs now and how far it is: the lines a sweep prints, and the table that stands below them in a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from rich import box
from rich.table import Table
from rich.text import Text

from likra_ray.news import Event
from likra_ray.reporting.words import NOTHING, share

SHOWN = ("sft", "base_likra", "likra")
"""Arms of the current curve, in the order their heads come; the others stand in the report."""


@dataclass
class Running:
    """A trial that runs."""

    name: str
    began: float
    """On the clock that `Progress.elapsed` is asked with, seconds."""
    at: str = "starting"
    """The last thing heard of it, in words."""
    curves: dict[str, dict[int, float]] = field(default_factory=dict)
    """Accuracy by arm, then volume, as far as it is scored."""


class Progress:
    """The trials of a sweep that run, by key; told by the driver."""

    def __init__(self, of: int) -> None:
        """of: trials that the sweep may run."""
        self.of, self.ended = of, 0
        self.running: dict[str, Running] = {}
        self._seconds: list[float] = []

    def start(self, key: str, name: str, now: float) -> None:
        """A trial began."""
        self.running[key] = Running(name, now)

    def hear(self, key: str, event: Event) -> None:
        """What a trial's workers did: a training step, or a volume that is scored."""
        trial, role = self.running[key], event["role"]
        if "scored" in event:
            trial.at = f"{role} head scored at {event['scored']}"
            for arm, accuracy in event["arms"].items():
                trial.curves.setdefault(arm, {})[event["scored"]] = accuracy
        else:
            trial.at = f"{role} head {event['examples']} of {event['of']}, loss {event['loss']:.3f}"

    def end(self, key: str, now: float, *, counts: bool) -> float:
        """A trial ended; returns its seconds, 0 where it never began. counts: among the `of`, as no refinement is."""
        self.ended += counts
        if key not in self.running:
            return 0.0
        seconds = now - self.running.pop(key).began
        self._seconds.append(seconds)
        return seconds

    def left(self, now: float, at_once: int) -> float:
        """Seconds until all have ended if they go on as those before, `at_once` at a time; NaN before the first."""
        if not self._seconds:
            return math.nan
        mean = sum(self._seconds) / len(self._seconds)
        here = sum(max(0.0, mean - (now - trial.began)) for trial in list(self.running.values()))
        waiting = max(0, self.of - self.ended - len(self.running))
        return (here + waiting * mean) / max(1, at_once)

    def table(self, now: float, at_once: int) -> Table:
        """A row for each running trial, its current curve included, and how far the sweep is."""
        left = self.left(now, at_once)
        ahead = f", about {duration(left)} left" if self.running and not math.isnan(left) else ""
        title = f"{self.ended} of {self.of} trials ended, {len(self.running)} running{ahead}"
        table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("trial")
        table.add_column("for", justify="right")
        table.add_column("now")
        table.add_column("accuracy by volume")
        for trial in list(self.running.values()):  # the driver changes it while another thread draws
            cells = (trial.name, duration(now - trial.began), trial.at, curve(trial.curves))
            table.add_row(*[Text(cell) for cell in cells])
        return table


def curve(curves: Mapping[str, Mapping[int, float]]) -> str:
    """``likra 8:.412 16:.455``: of Likra as far as both its heads are scored, else of the arm that is furthest."""
    there = [arm for arm in SHOWN if curves.get(arm)]
    if not there:
        return NOTHING
    arm = max(there, key=lambda name: (name == "likra", len(curves[name])))
    return f"{arm} " + " ".join(f"{volume}:{share(value)}" for volume, value in sorted(curves[arm].items()))


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
