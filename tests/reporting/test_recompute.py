"""The report's data comes out of the functions its captions name, given the score tables.

Not here: importances and parallel coordinates, which are Optuna's and the records' own numbers.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from typing import Any

import invented
import invented_sweep
import numpy as np
import pytest

from likra_ray.analysis import (
    budgets,
    controls,
    critical_phase,
    curves,
    efficiency,
    equivalence,
    likelihoods,
    near_miss,
    pareto,
    verdicts,
)
from likra_ray.analysis.findings import find
from likra_ray.analysis.sweep_findings import Configuration, SweepFindings, sweep_findings
from likra_ray.reporting.report import PAGE, report

RESAMPLED = 0.1
"""By which an end of an interval may differ, relative to its interval's width, under another random generator."""
JUMPS = {0.0: 0.0, 1.0: 3.0}
"""near_miss_share of each configuration, and its jump in nats."""


def tables(share: float) -> dict[int, curves.SeedTables]:
    return {seed: invented.seed_tables(seed, jump=JUMPS[share], questions=80) for seed in range(2)}


@pytest.fixture(scope="module")
def found() -> SweepFindings:
    configurations = [
        Configuration(
            name=f"near_miss_share={share:g}", settings={"near_miss_share": share},
            trial={"contamination_share": 1.0 if share == 0 else 0.0}, tables=tables(share), trials=(f"{share:g}",),
        )
        for share in JUMPS
    ]  # fmt: skip
    return sweep_findings(configurations, rng=np.random.default_rng(3))


@pytest.fixture(scope="module")
def files(found: SweepFindings) -> dict[str, bytes]:
    return report(found, invented_sweep.facts())


def rows(files: Mapping[str, bytes], name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(files[f"data/{name}.csv"].decode())))


def learnt(share: float, arm: str) -> Any:
    return curves.learning_curve(arm, "acc", tables(share), weight=1.0)


def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def share_of(row: Mapping[str, str]) -> float:
    return float(row["configuration"].partition("=")[2])


def number(text: str) -> float:
    return float(text) if text else math.nan


def same(row: Mapping[str, str], column: str, value: float | None) -> None:
    """An estimate: no random draw is in it."""
    assert number(row[column]) == pytest.approx(math.nan if value is None else value, nan_ok=True, abs=1e-12), column


def near(row: Mapping[str, str], low: str, high: str, interval: tuple[float, float] | None) -> None:
    """The ends of an interval: up to the draws."""
    wanted = interval or (math.nan, math.nan)
    width = wanted[1] - wanted[0]
    for column, end in zip((low, high), wanted, strict=True):
        tolerance = RESAMPLED * width if math.isfinite(width) else 0.0
        assert number(row[column]) == pytest.approx(end, nan_ok=True, abs=max(tolerance, 1e-9)), column


def test_learning_curves(files: dict[str, bytes]) -> None:
    everything = rows(files, "learning_curves")
    assert {"base", "sft", "likra", "base_likra"} <= {row["arm"] for row in everything}
    for row in everything:
        again = {p.volume: p for p in curves.points(learnt(share_of(row), row["arm"]), rng=rng())}
        point = again[int(row["volume"])]
        same(row, "accuracy", point.accuracy)
        near(row, "low", "high", point.interval)


def test_critical_phases(files: dict[str, bytes]) -> None:
    for row in rows(files, "critical_phases"):
        curve = learnt(share_of(row), row["arm"])
        if row["of"] == "accuracy":
            phase = critical_phase.locate(curve.volumes, curve.outcomes, rng=rng())
        else:
            phase = critical_phase.locate_margin(curve.volumes, curve.margins, rng=rng())
        assert row["found"] == str(phase.found)
        same(row, "midpoint", phase.midpoint)
        same(row, "gain", phase.gain)
        near(row, "gain_low", "gain_high", phase.gain_interval)


def test_efficiency(files: dict[str, bytes]) -> None:
    for row in rows(files, "efficiency_per_example"):
        steps = {step.end: step for step in curves.efficiency(learnt(share_of(row), row["arm"]), rng=rng())}
        step = steps[int(row["end"])]
        same(row, "per_example", step.per_example)
        same(row, "per_doubling", step.per_doubling)
        near(row, "per_example_low", "per_example_high", step.per_example_interval)


def test_efficiency_ratio(files: dict[str, bytes]) -> None:
    for row in rows(files, "efficiency_ratio"):
        likra, sft = learnt(share_of(row), row["arm"]), learnt(share_of(row), "sft")
        if row["of"] == "step":
            ratio: Any = {one.end: one for one in curves.efficiency_ratio(likra, sft, rng=rng())}[int(row["end"])]
        else:
            phase = critical_phase.locate(likra.volumes, likra.outcomes, rng=rng())
            ratio = efficiency.phase_ratio(likra, sft, phase, rng=rng()).ratio
        assert (ratio is None) == (row.get("start", "") == "")
        if ratio is not None:
            same(row, "ratio", ratio.ratio)


def test_data_equivalence_and_examples_needed(files: dict[str, bytes]) -> None:
    for row in rows(files, "data_equivalence"):
        likra, sft = learnt(share_of(row), "likra"), learnt(share_of(row), "sft")
        one = {one.volume: one for one in equivalence.data_equivalence(likra, sft, rng=rng())}[int(row["volume"])]
        assert row["status"] == one.status
        same(row, "worth", one.worth)
    for row in rows(files, "examples_needed"):
        curve = learnt(share_of(row), row["arm"])
        again = equivalence.volume_needed(curve, float(row["target"]), meaning=row["meaning"], rng=rng())
        same(row, "volume", again.volume)


def test_equal_budgets(files: dict[str, bytes]) -> None:
    given = [row for row in rows(files, "equal_budgets") if row["currency"] == "examples"]
    for row in given:
        likra, sft = learnt(share_of(row), "likra"), learnt(share_of(row), "sft")
        one = {one.volume: one for one in budgets.equal_examples(likra, sft)}[int(row["volume"])]
        same(row, "difference", one.difference.value)
        near(row, "difference_low", "difference_high", one.difference.interval)
    assert given


def test_likelihoods(files: dict[str, bytes]) -> None:
    for row in rows(files, "likelihoods"):
        again = likelihoods.likelihood_estimates(row["view"], tables(share_of(row)), weight=1.0)
        point = {point.volume: point for point in again}[int(row["volume"])]
        same(row, "near_miss_per_option", point.per_option["near_miss"].value)
        same(row, "far_auroc", point.far_auroc.value)
        same(row, "brier", point.brier.value)
        near(row, "brier_low", "brier_high", point.brier.interval)


def test_effects(files: dict[str, bytes]) -> None:
    for row in rows(files, "effects_of_near_misses"):
        cases = []
        for share in JUMPS:
            curve = learnt(share, row["arm"])
            phase = critical_phase.locate(curve.volumes, curve.outcomes, rng=rng())
            cases.append(near_miss.Case({"near_miss_share": share}, (0, 1), curve, phase))
        if row["accuracy"]:
            again = near_miss.factor_effect("near_miss_share", *cases, arm=row["arm"])
            same(row, "accuracy", again.accuracy.value)
            near(row, "accuracy_low", "accuracy_high", again.accuracy.interval)
            same(row, "gain", again.gain.value)
        else:
            same(row, "slope", near_miss.factor_slope("near_miss_share", cases, arm=row["arm"]).slope.value)


def test_pareto_and_controls(found: SweepFindings, files: dict[str, bytes]) -> None:
    offered = pareto.choices(found.findings)
    front = {(one.configuration, one.point.volume) for one in pareto.front(offered)}
    given = rows(files, "pareto")
    assert {(row["configuration"], int(row["negatives"])) for row in given if row["on_front"] == "True"} == front
    again = controls.control_verdicts("identical sets", found.findings[0])
    assert [row["sentence"] for row in rows(files, "controls")] == [one.sentence for one in again]


def test_verdicts(found: SweepFindings, files: dict[str, bytes]) -> None:
    share = found.findings[found.headline].settings["near_miss_share"]
    alone = find(tables(share), name=found.findings[found.headline].name, settings={"near_miss_share": share},
                 trials=("1",), weight=1.0, rng=rng())  # fmt: skip
    again = verdicts.verdicts(alone, found.effects, found.controls)
    assert [one.found for one in again] == [one.found for one in found.verdicts]
    for name in ("critical_phase", "sft", "efficiency", "near_miss", "likelihood"):
        assert f"likra_ray.analysis.verdicts.{name}_verdict".encode() in files[PAGE]
