"""The data behind the pictures: nothing missing becomes a number, and every row has its interval."""

from __future__ import annotations

import csv
import io
import math

import invented_sweep
import pytest

from likra_ray.analysis import pareto
from likra_ray.analysis.sweep_findings import SweepFindings
from likra_ray.reporting import data
from likra_ray.reporting.data import Row


@pytest.fixture(scope="module")
def found() -> SweepFindings:
    return invented_sweep.sweep_findings()


def read(rows: list[Row]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.to_csv(rows).decode())))


def test_what_is_missing_is_an_empty_cell() -> None:
    assert data.to_csv([{"a": math.nan, "b": None}, {"b": 0.0, "c": math.inf}]) == b"a,b,c\n,,\n,0.0,inf\n"
    assert data.to_csv([]) == b""


@pytest.mark.parametrize(
    ("text", "written"),
    [("=1+1", "'=1+1"), ("@SUM", "'@SUM"), ("-5", "-5"), ("+x", "'+x"), ("near_miss_share=0", "near_miss_share=0")],
)
def test_a_spreadsheet_runs_nothing(text: str, written: str) -> None:
    assert read([{"a": text}]) == [{"a": written}]


def test_numbers_are_written_in_full() -> None:
    assert read([{"a": 0.1 + 0.2}]) == [{"a": "0.30000000000000004"}]


def test_curves_hold_every_point_of_every_configuration(found: SweepFindings) -> None:
    rows = data.curve_rows(found.findings)
    assert len(rows) == sum(len(curve) for finding in found.findings for curve in finding.curves.values())
    point = found.findings[1].curves["likra"][3]
    row = next(row for row in rows if (row["configuration"], row["arm"], row["volume"]) ==
               (found.findings[1].name, "likra", point.volume))  # fmt: skip
    assert (row["accuracy"], row["low"], row["high"]) == (point.accuracy, *point.interval)
    assert (row["questions"], row["seeds"]) == (120, 2)


def test_every_kind_of_row_has_interval_columns(found: SweepFindings) -> None:
    offered = pareto.choices(found.findings)
    for rows in (
        data.curve_rows(found.findings),
        data.phase_rows(found.findings),
        data.efficiency_rows(found.findings),
        data.needed_rows(found.findings),
        data.equivalence_rows(found.findings),
        data.budget_rows(found.findings),
        data.likelihood_rows(found.findings),
        data.effect_rows(found.effects),
        data.ratio_rows(found.findings),
        data.pareto_rows(offered, pareto.front(offered)),
    ):
        columns = {column for row in rows for column in row}
        assert any(name.endswith("low") for name in columns) and any(name.endswith("high") for name in columns)
        assert len(read(rows)) == len(rows)


def test_reasons_stand_beside_what_is_missing(found: SweepFindings) -> None:
    rows = read(data.budget_rows(found.findings))
    assert [row["reason"] for row in rows if row["difference"] == ""] == ["SFT's run ends at 512."] * 3
    phases = read(data.phase_rows(found.findings))
    assert all(row["reason"] for row in phases if row["midpoint"] == "")


def test_trials_keep_their_reason_and_what_was_sampled() -> None:
    rows = read(data.trial_rows(invented_sweep.facts().results, ["accuracy", "negatives"]))
    assert rows[-1]["status"] == "failed" and invented_sweep.SCRIPT in rows[-1]["reason"]
    assert rows[-1]["objective_accuracy"] == ""
    assert rows[1]["near_miss_share"] == "0.5" and float(rows[1]["objective_negatives"]) == 512
