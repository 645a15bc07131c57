"""Takes findings and trial results, returns what the terminal shows; readable at 100 columns and without colour."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from likra_ray.analysis.curves import EfficiencyRatio, EfficiencyStep
from likra_ray.analysis.findings import Finding
from likra_ray.analysis.objectives import best, objective_value
from likra_ray.analysis.verdicts import Verdict
from likra_ray.records import CurvePoint, TrialResult
from likra_ray.reporting.words import CLAIMS, NOTHING, SHOWN, phase_in_words, share

VOLUMES_PER_TABLE = 9
"""Columns beside the arm's name that fit into 100; longer curves go on in another table."""


def finding_tables(finding: Finding) -> list[RenderableType]:
    """One configuration: curves, critical phases, what an added example was worth, and what all this rests on."""
    seeds = ", ".join(str(seed) for seed in finding.seeds)
    plural = "s" if len(finding.seeds) > 1 else ""
    rests_on = f"{finding.questions} questions, {len(finding.seeds)} seed{plural} ({seeds}); intervals are 95 %"
    return [
        *_curves(finding),
        Text("Critical phase, in examples each head has learnt from:"),
        *[Text(f"  {arm}: {_located(finding, arm)}") for arm in finding.phase],
        Text(),
        *_efficiency(finding),
        Text(rests_on),
    ]


def _located(finding: Finding, arm: str) -> str:
    phase, agreed = finding.phase[arm], finding.agreement.get(arm, "")
    return phase_in_words(phase) + (f". {agreed}" if phase.found and agreed else "")


def _titled(title: str, table: Table) -> Group:
    """A table's own title would be wrapped to the table's width."""
    return Group(Text(title, style="bold"), table)


def _table(first: str, *figures: str, words: int = 12) -> Table:
    """The first column is words, at least that many characters wide; the others are figures."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(Text(first), overflow="fold", min_width=words)
    for column in figures:
        table.add_column(Text(column), justify="right", overflow="fold")
    return table


def _row(table: Table, *cells: str) -> None:
    """Brackets are intervals here, not markup."""
    table.add_row(*[Text(cell) for cell in cells])


def _half_width(point: CurvePoint) -> str:
    return share((point.interval[1] - point.interval[0]) / 2)


def _curves(finding: Finding) -> list[RenderableType]:
    volumes = sorted({point.volume for curve in finding.curves.values() for point in curve})
    tables: list[RenderableType] = []
    for start in range(0, len(volumes), VOLUMES_PER_TABLE):
        shown = volumes[start : start + VOLUMES_PER_TABLE]
        table = _table("examples per head", *map(str, shown))
        for arm, curve in finding.curves.items():
            by_volume = {point.volume: point for point in curve}
            points = [by_volume.get(volume) for volume in shown]
            if any(points):
                cells = [f"{share(p.accuracy)}\n±{_half_width(p)}" if p else NOTHING for p in points]
                _row(table, arm, *cells)
        tables.append(_titled(f"Accuracy by volume: {finding.name}", table))
    return tables


def _efficiency(finding: Finding) -> list[RenderableType]:
    """Likra's worth of an example against SFT's, step by step."""
    likra, sft = ({(s.start, s.end): s for s in finding.efficiency.get(arm, ())} for arm in ("likra", "sft"))
    ratios = {(ratio.start, ratio.end): ratio for ratio in finding.ratio}
    if not likra:
        return []
    table = _table("examples", "likra", "sft", "likra / sft")
    for step, gained in likra.items():
        _row(table, f"{step[0]} to {step[1]}", _worth(gained), _worth(sft.get(step)), _ratio(ratios.get(step)))
    titled = _titled("Points of accuracy gained per 100 added examples", table)
    if any(ratio.bounded and ratio.at_least >= 0 for ratio in finding.ratio):
        return [titled]
    return [titled, Text("On no step is SFT's gain distinguishable from 0 (or it loses), so no ratio is bounded.\n")]


def _worth(step: EfficiencyStep | None) -> str:
    if step is None or math.isnan(step.per_example):
        return NOTHING
    value, low, high = (_signed(100 * 100 * worth) for worth in (step.per_example, *step.per_example_interval))
    return f"{value} [{low}, {high}]"


def _signed(value: float) -> str:
    return f"{value:+.3g}" if value else "0"


def _ratio(ratio: EfficiencyRatio | None) -> str:
    if ratio is None:
        return NOTHING
    if ratio.bounded and math.isnan(ratio.at_least):
        return "SFT loses"
    if ratio.bounded:
        return f"{ratio.ratio:.3g} [{ratio.interval[0]:.3g}, {ratio.interval[1]:.3g}]"
    if ratio.at_least > 0:
        return f"above {ratio.at_least:.3g}, if SFT gains"
    return "no bound"


def sweep_summary(
    *,
    findings: Sequence[Finding],
    results: Sequence[TrialResult],
    headline: int,
    objective: Mapping[str, str],
    locations: Mapping[str, str],
    refinement: Sequence[str] = (),
    verdicts: Sequence[Verdict] = (),
) -> RenderableType:
    """A whole sweep: the headline's finding, every configuration, what failed, the best trials, the cost, the places.

    headline: index of the finding shown in full; not read where there is no finding.
    objective: metric -> max or min; locations: what -> where; refinement: a sentence for each of its rounds.
    verdicts: of the headline; they stand last, in a line each, above the places.
    """
    parts: list[RenderableType] = []
    if findings:
        parts += [Text(f"Headline: {findings[headline].name}", style="bold"), Text()]
        parts += [*finding_tables(findings[headline]), Text(), _configurations(findings, headline)]
    else:
        parts.append(Text("No trial ended well, so there is no finding."))
    failed = [result for result in results if result.status == "failed"]
    if failed:
        parts.append(_failed(failed))
    parts += [Text(f"refined: {sentence}") for sentence in refinement]
    # A refinement measures a point of the sweep again: only the sweep's own stand for choice.
    chosen_from = [result for result in results if "volumes" not in result.sampled]
    parts += [*_best(chosen_from, objective), Text(), Text(_cost(results)), Text()]
    if verdicts:
        width = max(len(CLAIMS[verdict.subject]) for verdict in verdicts)
        parts.append(Text(f"The paper's claims, as this sweep sees them ({findings[headline].name}):", style="bold"))
        parts += [Text(f"  {CLAIMS[one.subject]:<{width}}  {SHOWN[one.found]}") for one in verdicts]
        parts.append(Text())
    parts += [Text(f"{what}: {where}", overflow="fold") for what, where in locations.items()]
    return Group(*parts)


def _configurations(findings: Sequence[Finding], headline: int) -> Group:
    figures = ("best likra", "at", "sft there", "likra jumps at", "base_likra jumps at")
    table = _table("configuration (* headline)", *figures, words=30)
    for number, finding in enumerate(findings):
        name = f"{'* ' if number == headline else '  '}{finding.name}"
        measured = [point for point in finding.curves["likra"] if not math.isnan(point.accuracy)]
        if not measured:
            _row(table, name, *[NOTHING] * 5)
            continue
        top = max(measured, key=lambda point: point.accuracy)
        there = [_with_half_width(point) for point in finding.curves["sft"] if point.volume == top.volume]
        sft = there[0] if there else NOTHING
        _row(table, name, _with_half_width(top), str(top.volume), sft, *_midpoints(finding))
    return _titled("All configurations", table)


def _midpoints(finding: Finding) -> list[str]:
    """Midpoint and interval of Likra's and of Base-Likra's critical phase, or "none"."""
    shown = []
    for arm in ("likra", "base_likra"):
        phase = finding.phase[arm]
        if not phase.found or phase.midpoint is None or phase.midpoint_interval is None:
            shown.append("none")
        else:
            shown.append(f"{phase.midpoint:.0f} [{phase.midpoint_interval[0]:.0f}, {phase.midpoint_interval[1]:.0f}]")
    return shown


def _with_half_width(point: CurvePoint) -> str:
    return f"{share(point.accuracy)} ±{_half_width(point)}"


def _failed(failed: Sequence[TrialResult]) -> Group:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("trial", "point", "reason"):
        table.add_column(column, overflow="fold")
    for result in failed:
        _row(table, result.key, result.name, result.reason or "no reason given")
    return _titled(f"Failed: {len(failed)}", table)


def _best(results: Sequence[TrialResult], objective: Mapping[str, str]) -> list[RenderableType]:
    """The best trial or the Pareto front, with a warning on how it was chosen."""
    front = best(results, objective)
    if not front:
        return []
    goals = ", ".join(f"{metric} ({mode})" for metric, mode in objective.items())
    title = f"Best by {goals}" if len(objective) == 1 else f"Pareto front of {goals}"
    table = _table("trial", *objective)
    for result in front:
        _row(table, result.name, *[_objective(metric, objective_value(result, metric)) for metric in objective])
    warning = "Each at its largest volume; the report's front takes the volumes before it too. "
    warning += "Chosen on the same questions as they are scored on, so their accuracy is optimistic."
    return [_titled(title, table), Text(warning)]


def _objective(metric: str, value: float) -> str:
    return f"{value:.0f}" if metric == "negatives" else share(value)


def _cost(results: Sequence[TrialResult]) -> str:
    """What was trained, what was found, how long it took."""
    examples = [count for result in results for count in result.trained.values()]
    trained = sum(count > 0 for count in examples)
    seconds = sum(result.seconds.get("all", 0.0) for result in results)
    done = sum(result.status == "done" for result in results)
    return (
        f"{done} of {len(results)} trials ended well. When they ran they trained {trained} heads ({sum(examples)} "
        f"examples) and found {len(examples) - trained} in the store.\n"
        f"{seconds:.0f} s in trials, added up; some ran at the same time."
    )
