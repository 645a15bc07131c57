"""Where a learning curve jumps: of a finished sweep, or of answers in a CSV file, from whatever training they come.

    python -m likra_ray.locate quickstart                       every configuration and arm of a sweep
    python -m likra_ray.locate answers.csv                      columns: volume, question, correct; and seed, if several
    python -m likra_ray.locate answers.csv --json

`correct` is 1 or 0, or a share between them where a question has part of the credit. A row that is not there, or an
empty `correct`, was not measured. docs/locate.md says how it decides and how often it is right.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from likra_ray import console, ledger
from likra_ray.analysis.critical_phase import locate
from likra_ray.errors import InputError
from likra_ray.records import CriticalPhase, strict_json
from likra_ray.reporting.words import phase_in_words

NEEDED = ("volume", "question", "correct")
"""Columns a file must have."""


def read_answers(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(V,) volumes and (S, V, Q) credit of a CSV file, NaN where no row says. Raises InputError by line and column."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or no path at all, as one with a NUL
        raise InputError(where=str(path), field="file", value=str(error), allowed="a readable CSV file") from None
    answers: dict[tuple[str, int, str], float] = {}
    for where, row in _rows(path, text):
        place = (row.get("seed") or "0", _whole(row, where), row["question"] or "")
        if not place[2]:
            raise InputError(where=where, field="question", value="", allowed="the name of a question")
        if place in answers:
            raise InputError(where=where, field="question", value=place[2],
                             allowed="each question once at a volume and seed")  # fmt: skip
        answers[place] = _credit(row, where)
    if not answers:
        raise InputError(where=str(path), field="rows", value=0, allowed="one answer or more")
    seeds, volumes, questions = (sorted({place[axis] for place in answers}) for axis in range(3))
    credit = np.full((len(seeds), len(volumes), len(questions)), np.nan)
    for (seed, volume, question), value in answers.items():
        credit[seeds.index(seed), volumes.index(volume), questions.index(question)] = value
    return np.array(volumes), credit


def _rows(path: Path, text: str) -> Iterator[tuple[str, dict[str, str | None]]]:
    """(``file:LINE``, row) of a CSV file with the columns that are needed, each once."""
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True, restkey="")
    try:
        there = list(rows.fieldnames or [])
        missing = [name for name in NEEDED if name not in there]
        if missing or len(set(there)) < len(there):
            allowed = f"each once, among them {missing or list(NEEDED)}"
            raise InputError(where=f"{path}:1", field="columns", value=there, allowed=allowed)
        for row in rows:
            where = f"{path}:{rows.line_num}"
            if "" in row and "" not in there:
                raise InputError(where=where, field="values", value=len(there) + len(row[""] or ""),
                                 allowed=f"{len(there)}, as there are columns")  # fmt: skip
            yield where, row
    except csv.Error as error:
        raise InputError(where=f"{path}:{rows.line_num}", field="row", value=str(error), allowed="CSV") from None


def _whole(row: Mapping[str, str | None], where: str) -> int:
    text = (row["volume"] or "").strip()
    if not text.isdecimal() or len(text) > 15:
        raise InputError(where=where, field="volume", value=text, allowed="a number of examples, 0 to 10^15")
    return int(text)


def _credit(row: Mapping[str, str | None], where: str) -> float:
    text = (row["correct"] or "").strip()
    try:
        value = float(text) if text else np.nan
    except ValueError:
        value = np.inf
    if not (np.isnan(value) or 0 <= value <= 1) or text.lower() == "nan":
        raise InputError(where=where, field="correct", value=text, allowed="a number from 0 to 1, or nothing")
    return float(value)


def of_file(path: Path, *, seed: int) -> dict[str, dict[str, CriticalPhase]]:
    """The phase of the answers in a file, by its name and "answers". seed: of the resampling."""
    volumes, credit = read_answers(path)
    return {path.name: {"answers": locate(volumes, credit, rng=np.random.default_rng(seed))}}


def of_sweep(name: str, output: str) -> dict[str, dict[str, CriticalPhase]]:
    """The phases of a finished sweep, by configuration, then arm."""
    found = {finding.name: dict(finding.phase) for finding in ledger.load_sweep(name, output).findings()}
    if not found:
        raise InputError(where=output, field="sweep", value=name, allowed="one with a trial that ended well")
    return found


def lines(found: Mapping[str, Mapping[str, CriticalPhase]]) -> Sequence[str]:
    """One line a phase, in words."""
    return [f"{name}: {arm}: {phase_in_words(phase)}" for name, arms in found.items() for arm, phase in arms.items()]


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog=console.examples(__doc__))
def main(
    what: Annotated[
        str, typer.Argument(help="Name of a sweep, or a .csv file of answers.", autocompletion=console.sweeps)
    ],
    output: Annotated[str, typer.Option(help="Folder or URI the sweep was written to.")] = console.OUTPUT,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the resampling, for a file; a sweep's comes from its trials.")
    ] = 0,
    as_json: console.Json = False,
) -> None:
    """Say where a learning curve has its critical phase, with 95 % intervals, or why none was found."""
    screen = console.screen(as_json)
    with console.exit_codes("the same command again"):
        found = of_file(Path(what), seed=seed) if what.endswith(".csv") else of_sweep(what, output)
        if as_json:
            print(strict_json(found))  # by configuration, then arm
            return
        for line in lines(found):
            screen.print(line, highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    console.run(app)
