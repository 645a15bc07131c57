"""Takes a file, a folder in the layout of the hub or a hub id, returns the rows of one split, each with its place."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from likra_ray.errors import InputError, Unreachable
from likra_ray.questions.files import numbered_lines

Rows = Iterator[tuple[str, str | Mapping[str, Any]]]
"""(place, row): a line of JSON still unread, or the row as a mapping."""

ENDINGS = ("jsonl", "parquet", "csv")
"""Of files that hold rows; where a folder has several of one name the first of these wins."""


def folders(folder: str, config: str, *, alone: bool) -> list[Path]:
    """Where a configuration's files may lie, best first. alone: the data set has no other configuration."""
    places = [Path(folder, config), Path(folder, "data", config)]
    return [*places, Path(folder), Path(folder, "data")] if alone else places


def find(places: Sequence[Path], names: Sequence[str]) -> list[Path]:
    """The files of one split, in the order of their shards.

    The first folder, then the first name, then the first of ENDINGS wins. Raises InputError for none or missing shards.
    """
    for place in places:
        for name in names:
            for ending in ENDINGS:
                pattern = re.compile(rf"{re.escape(name)}(-(\d+)-of-(\d+))?\.{ending}")
                found = sorted(path for path in _beginning(place, name) if pattern.fullmatch(path.name))
                if found:
                    _all_shards(found)
                    return found
    shown = (
        f"{places[0] / names[0]}.jsonl, or .parquet, or .csv, -00000-of-00001 before the dot or not, or in {places[1]}"
    )
    raise InputError(where="questions", field="folder", value=str(places[0]), allowed=shown)


def _beginning(place: Path, name: str) -> list[Path]:
    """What begins with a name in a folder; [] where there is no such folder."""
    try:
        return [path for path in place.iterdir() if path.name.startswith(name)]
    except (OSError, ValueError):  # ValueError: no path at all, as one with a NUL
        return []


def _all_shards(paths: Sequence[Path]) -> None:
    """Raise InputError unless the paths are one file, or every shard their names speak of."""
    totals = {int(match[1]) for path in paths if (match := re.search(r"-of-(\d+)\.", path.name))}
    if (len(paths), totals) != (1, set()) and totals != {len(paths)}:
        names = [path.name for path in paths]
        raise InputError(where=str(paths[0].parent), field="folder", value=names, allowed="every shard once")


def of_files(paths: Iterable[Path]) -> Rows:
    """(place, row) of each row: a line of JSONL still unread, others as mappings; parquet rows count from 0."""
    for path in paths:
        if path.suffix == ".jsonl":
            yield from numbered_lines(path)
        elif path.suffix == ".csv":
            yield from _of_csv(path)
        else:
            yield from _of_parquet(path)


def _of_parquet(path: Path) -> Rows:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise InputError(where=str(path), field="file", value=str(error), allowed="a parquet file") from None
    yield from ((f"{path} row {number}", row) for number, row in enumerate(table.to_pylist()))


def _of_csv(path: Path) -> Rows:
    """Every value as text; the first line names the columns."""
    text = "\n".join(line for _, line in numbered_lines(path)).removeprefix("\ufeff")
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        names = list(reader.fieldnames or ())
        if len(set(names)) < len(names) or not all(names):
            raise InputError(where=f"{path}:1", field="columns", value=names, allowed="each named, and once")
        for row in reader:
            where = f"{path}:{reader.line_num}"
            if None in row or None in row.values():
                raise InputError(where=where, field="line", value=list(row.values()),
                                 allowed=f"one value for each of the {len(names)} columns")  # fmt: skip
            yield where, row
    except csv.Error as error:
        raise InputError(
            where=f"{path}:{reader.reader.line_num}", field="line", value=str(error), allowed="CSV"
        ) from None


def of_hub(hub: str, config: str, split: str) -> Rows:
    """(place, row) of each row on the hub. Raises InputError for whatever keeps it from being read."""
    name = f"{hub} {config}".strip()
    allowed = "a hub that can be read; without a network: folder: FOLDER, where the data set's files lie"
    try:
        import datasets

        rows = datasets.load_dataset(hub, config or None, split=split)
    except Exception as error:  # the hub's client raises errors of many libraries, and none tells the user what to do
        reason = f"{type(error).__name__}: {error}"
        tried = f"datasets.load_dataset({name!r}, split={split!r})"
        raise Unreachable(where=tried, field="source", value=reason, allowed=allowed) from error
    yield from ((f"{name} {split} row {number}", row) for number, row in enumerate(rows))
