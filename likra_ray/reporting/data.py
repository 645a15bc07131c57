"""Takes findings and trials, returns the rows behind every picture and table of the report, and writes them as CSV.

A row is column -> value. What was not measured is an empty cell, never 0; an end of an interval may be ``inf``.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from likra_ray.analysis.estimates import Estimate
from likra_ray.analysis.findings import Finding
from likra_ray.analysis.near_miss import Effects
from likra_ray.analysis.objectives import objective_value
from likra_ray.analysis.pareto import Choice
from likra_ray.records import KINDS, CriticalPhase, TrialResult
from likra_ray.reporting import words

Row = dict[str, Any]


def to_csv(rows: Sequence[Row]) -> bytes:
    """UTF-8, a header and a line per row; columns in the order in which they first appear. Empty for no rows."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    sink = io.StringIO()
    writer = csv.DictWriter(sink, columns, lineterminator="\n")
    if rows:
        writer.writeheader()
    for row in rows:
        writer.writerow({column: _cell(value) for column, value in row.items()})
    return sink.getvalue().encode()


def _cell(value: Any) -> Any:
    """Numbers in full, nothing for None and NaN; text that a spreadsheet would run as a formula is led by a quote."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") and not _is_number(value):
        return f"'{value}"
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _ends(prefix: str, interval: tuple[float, float] | None) -> Row:
    low, high = interval or (math.nan, math.nan)
    return {f"{prefix}low": low, f"{prefix}high": high}


def _estimate(name: str, found: Estimate) -> Row:
    return {name: found.value, **_ends(f"{name}_", found.interval)}


def curve_rows(findings: Iterable[Finding]) -> list[Row]:
    """Accuracy of every arm at every volume of every configuration."""
    return [
        {"configuration": finding.name, "arm": arm, "volume": point.volume, "accuracy": point.accuracy,
         **_ends("", point.interval), "questions": point.questions, "seeds": point.seeds}
        for finding in findings for arm, curve in finding.curves.items() for point in curve
    ]  # fmt: skip


def phase_rows(findings: Iterable[Finding]) -> list[Row]:
    """Every critical phase, of the accuracy and of the margin, found or not."""
    return [
        {"configuration": finding.name, "arm": arm, "of": of, **_phase(phase)}
        for finding in findings
        for of, phases in (("accuracy", finding.phase), ("margin", finding.margin_phase))
        for arm, phase in phases.items()
    ]


def _phase(phase: CriticalPhase) -> Row:
    row: Row = {"found": phase.found}
    for name in ("onset", "midpoint", "end", "gain"):
        row |= {name: getattr(phase, name), **_ends(f"{name}_", getattr(phase, f"{name}_interval"))}
    return row | {"questions": phase.questions, "seeds": phase.seeds, "reason": phase.reason}


def efficiency_rows(findings: Iterable[Finding]) -> list[Row]:
    """What each step between neighbouring volumes gained, by arm."""
    return [
        {"configuration": finding.name, "arm": arm, "start": step.start, "end": step.end, "gain": step.gain,
         **_ends("gain_", step.gain_interval), "per_example": step.per_example,
         **_ends("per_example_", step.per_example_interval), "per_doubling": step.per_doubling,
         **_ends("per_doubling_", step.per_doubling_interval)}
        for finding in findings for arm, steps in finding.efficiency.items() for step in steps
    ]  # fmt: skip


def ratio_rows(findings: Iterable[Finding]) -> list[Row]:
    """Gain per example over SFT's: step by step, and inside each located phase."""
    rows = []
    for finding in findings:
        inside = [(one.arm, "phase", one.ratio, one.reason) for one in finding.phase_ratio.values()]
        for arm, of, ratio, reason in [*[("likra", "step", one, one.reason) for one in finding.ratio], *inside]:
            row: Row = {"configuration": finding.name, "arm": arm, "of": of}
            if ratio is not None:
                bounds = ratio.interval if ratio.bounded else None
                row |= {"start": ratio.start, "end": ratio.end, "ratio": ratio.ratio, **_ends("", bounds),
                        "at_least": ratio.at_least}  # fmt: skip
            rows.append({**row, "reason": reason})
    return rows


def needed_rows(findings: Iterable[Finding]) -> list[Row]:
    """Examples each arm needs for each target accuracy."""
    return [
        {"configuration": finding.name, "arm": one.arm, "target": one.target, "meaning": one.meaning,
         "volume": one.volume, **_ends("", one.interval), "at_least": one.at_least,
         "reached_share": one.reached_share, "questions": one.questions, "seeds": one.seeds, "reason": one.reason}
        for finding in findings for one in finding.needed
    ]  # fmt: skip


def equivalence_rows(findings: Iterable[Finding]) -> list[Row]:
    """How many positives a negative was worth."""
    return [
        {"configuration": finding.name, "volume": one.volume, "accuracy": one.accuracy, "status": one.status,
         "positives": one.positives, "worth": one.worth, **_ends("", one.interval), "at_least": one.at_least,
         "reached_share": one.reached_share, "questions": one.questions, "seeds": one.seeds, "reason": one.reason}
        for finding in findings for one in finding.equivalence
    ]  # fmt: skip


def budget_rows(findings: Iterable[Finding]) -> list[Row]:
    """Likra against SFT on as much data."""
    return [
        {"configuration": finding.name, "currency": one.currency, "volume": one.volume, "amount": one.amount,
         "sft_volume": one.sft_volume, "likra": one.likra, "sft": one.sft, **_estimate("difference", one.difference),
         "questions": one.difference.questions, "seeds": one.difference.seeds, "reason": one.difference.reason}
        for finding in findings for one in finding.equal_budgets
    ]  # fmt: skip


def likelihood_rows(findings: Iterable[Finding]) -> list[Row]:
    """Every probe of every view at every volume."""
    rows = []
    for finding in findings:
        for view, points in finding.likelihoods.items():
            for point in points:
                row: Row = {"configuration": finding.name, "view": view, "volume": point.volume}
                for kind in KINDS:
                    row |= _estimate(f"{kind}_per_option", point.per_option[kind])
                    row |= _estimate(f"{kind}_per_token", point.per_token[kind])
                for name in ("near_miss_auroc", "far_auroc", "near_miss_on_top", "calibration_error", "brier"):
                    row |= _estimate(name, getattr(point, name))
                rows.append({**row, "questions": point.brier.questions, "seeds": point.brier.seeds})
    return rows


def effect_rows(effects: Effects) -> list[Row]:
    """What changing each field did: pairs, then slopes."""
    pairs = [
        {"field": one.field, "arm": one.arm, "context": words.context(one.context), "low": str(one.low),
         "high": str(one.high), "volume": one.volume, **_estimate("accuracy", one.accuracy),
         **_estimate("midpoint_doublings", one.midpoint), **_estimate("gain", one.gain),
         "questions": one.accuracy.questions, "seeds": one.accuracy.seeds,
         "reason": " ".join(dict.fromkeys(part.reason for part in (one.accuracy, one.midpoint, one.gain)))}
        for one in effects.pairs
    ]  # fmt: skip
    slopes = [
        {"field": one.field, "arm": one.arm, "context": words.context(one.context), "low": f"{one.levels[0]:g}",
         "high": f"{one.levels[-1]:g}", "volume": one.volume, **_estimate("slope", one.slope),
         "questions": one.slope.questions, "seeds": one.slope.seeds, "reason": one.slope.reason}
        for one in effects.slopes if one.levels
    ]  # fmt: skip
    return [*pairs, *slopes]


def pareto_rows(offered: Sequence[Choice], front: Sequence[Choice]) -> list[Row]:
    """Every configuration at every number of negatives, and whether another is better with as few."""
    return [
        {"configuration": choice.configuration, "negatives": choice.point.volume, "accuracy": choice.point.accuracy,
         **_ends("", choice.point.interval), "on_front": choice in front, "questions": choice.point.questions,
         "seeds": choice.point.seeds}
        for choice in offered
    ]  # fmt: skip


def importance_rows(importances: Mapping[str, Mapping[str, float]]) -> list[Row]:
    """Share of an objective's variance by searched field."""
    return [
        {"objective": objective, "field": field, "share": value}
        for objective, shares in importances.items()
        for field, value in shares.items()
    ]


def trial_rows(results: Iterable[TrialResult], objective: Iterable[str]) -> list[Row]:
    """Every trial: what was sampled, what it reached, what it cost; the whole reason of a failed one."""
    goals = list(objective)
    return [
        {"trial": result.key, "name": result.name, "status": result.status,
         **{field: str(value) if isinstance(value, list | tuple) else value for field, value in result.sampled.items()},
         **{f"objective_{metric}": objective_value(result, metric) for metric in goals},
         **{f"trained_{role}": examples for role, examples in result.trained.items()},
         **{f"seconds_{part}": seconds for part, seconds in result.seconds.items()}, "reason": result.reason}
        for result in results
    ]  # fmt: skip
