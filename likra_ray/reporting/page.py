"""What a report is made of: sections of pictures, tables and sentences, plain text until report.py sets it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from likra_ray.records import TrialResult
from likra_ray.reporting.data import Row
from likra_ray.reporting.drawing import HEIGHT, Drawing


class Setting(NamedTuple):
    """One value of the sweep's spec."""

    field: str
    """Dotted."""
    value: Any
    origin: str
    """``default``, ``given`` or ``searched``."""


@dataclass(frozen=True, kw_only=True)
class SweepFacts:
    """What a report says of a sweep besides its findings: the ledger's."""

    name: str
    status: str
    began: str
    ended: str
    """ISO times, empty where it has not ended."""
    base: str
    train: int
    evaluate: int
    shots: int
    """Questions to train on, to evaluate on, and solved before each."""
    objective: Mapping[str, str]
    """Metric -> max or min."""
    results: tuple[TrialResult, ...]
    settings: tuple[Setting, ...]
    provenance: Mapping[str, str]
    """What ran: versions, platform, revision."""
    left_out: tuple[tuple[str, str], ...]
    """(id, reason) of every question not used."""
    refinement: tuple[str, ...]
    """A sentence for each round of finer volumes, and why there was no further one."""


class Cell(NamedTuple):
    """What stands in a table."""

    text: str
    why: str = ""
    """Why the text is a dash, or what it rests on; shown small below it."""


class Caption(NamedTuple):
    """What a reader must know to trust a picture or a table."""

    shows: str
    """One or two sentences: what it shows, in which unit, and how to read it."""
    rests_on: str
    """Questions and seeds."""
    intervals: str
    """Of which kind; empty where it has none."""
    recompute: tuple[str, ...]
    """Dotted names of the public functions that give its numbers, from score tables or from records on disk."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture and its data."""

    name: str
    """Of its files: figures/NAME.png, data/NAME.csv."""
    title: str
    caption: Caption
    drawing: Drawing | None
    """None where there is nothing to draw: `why` says so."""
    why: str = ""
    height: float = HEIGHT
    """Inches."""
    data: Sequence[Row] = ()


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells, the first of each a heading; and the data behind it, in full precision."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: Caption | None = None
    why: str = ""
    """Why there are no rows."""
    name: str = ""
    """Of its file data/NAME.csv; empty: another panel has the data, or the table is all there is."""
    data: Sequence[Row] = ()
    folded: bool = False
    """Whether a reader has to open it."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One heading and what stands below it, in order: sentences, pictures, tables."""

    name: str
    """Its anchor."""
    title: str
    sentences: tuple[str, ...] = ()
    panels: tuple[Panel, ...] = ()
    tables: tuple[Table, ...] = ()


def cells(*texts: str | Cell) -> tuple[Cell, ...]:
    """A row."""
    return tuple(text if isinstance(text, Cell) else Cell(text) for text in texts)
