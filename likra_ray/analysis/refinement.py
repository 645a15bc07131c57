"""Takes a located phase and the volumes measured, returns the volumes to measure next, or why none.

Design section 4: measure inside the phase until its midpoint is known to a quarter of a doubling.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from likra_ray.records import CriticalPhase

NARROW_ENOUGH = 0.25
"""Doublings the midpoint's 95 % interval may span: design section 4."""


class Finer(NamedTuple):
    """What a round of refinement measures."""

    volumes: tuple[int, ...]
    """Examples, increasing, none of them measured before; empty where there is nothing to do."""
    reason: str
    """Why there is nothing to do; empty where there is."""


def finer_volumes(phase: CriticalPhase, measured: Sequence[int], *, batch_size: int) -> Finer:
    """One volume into every gap between measured volumes that the phase, or its midpoint's interval, meets.

    A gap is halved on the log axis and rounded to a multiple of batch_size; the gap from 0 has no middle there and is
    halved in examples. measured: increasing, with 0. A narrow interval counts only where a measured volume lies inside
    the phase: a jump between two volumes is placed by the logistic's shape, not by what was seen.
    """
    if not phase.found or phase.onset is None or phase.end is None or phase.midpoint_interval is None:
        return Finer((), "no critical phase was located")
    low, high = phase.midpoint_interval
    seen_inside = any(phase.onset < volume < phase.end for volume in measured)
    if seen_inside and math.log2(high / low) <= NARROW_ENOUGH:
        return Finer((), f"the midpoint is known to {math.log2(high / low):.2f} doublings")
    start, end = min(phase.onset, low), max(phase.end, high)
    found = []
    for before, after in zip(measured, measured[1:], strict=False):
        if after <= start or before >= end:
            continue
        middle = math.sqrt(before * after) if before else after / 2
        volume = batch_size * round(middle / batch_size)
        if before < volume < after:
            found.append(volume)
    if not found:
        return Finer((), f"inside the phase the volumes are as fine as batches of {batch_size} allow")
    return Finer(tuple(found), "")


def rounds_in_words(rounds: Sequence[Mapping[str, Any]], ended: str | None) -> list[str]:
    """A sentence for each round, and one for why there was no further; ended: None while there may be."""
    return [*map(in_words, rounds), *([f"ended, {ended}"] if ended else [])]


def in_words(record: Mapping[str, Any]) -> str:
    """One round in a sentence: what it measured, what it cost, how far it narrowed the midpoint."""
    volumes = " ".join(map(str, record["added_volumes"]))
    cost = f"{len(record['trials'])} trials, {record['examples_trained']} examples, {record['seconds']:.0f} s"
    failed = f", {record['failed']} of them failed" if record.get("failed") else ""
    short = ", cut short" if record.get("cut_short") else ""
    before, after = (_span(record[f"midpoint_interval_{when}"]) for when in ("before", "after"))
    return f"{record['arm']} at {volumes} ({cost}{failed}{short}): midpoint's interval from {before} to {after}"


def _span(interval: Sequence[float] | None) -> str:
    return f"{math.log2(interval[1] / interval[0]):.2f} doublings" if interval else "none, no phase"
