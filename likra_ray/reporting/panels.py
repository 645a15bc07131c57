"""Takes what a sweep found, returns the pictures of its report: drawing, caption, data; or why there is no picture."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal

from likra_ray.analysis import phrases
from likra_ray.analysis.findings import Finding
from likra_ray.analysis.near_miss import FactorEffect, FactorSlope
from likra_ray.analysis.sweep_findings import SweepFindings
from likra_ray.reporting import data, effect_figures, figures, likelihood_figures, words
from likra_ray.reporting.drawing import look
from likra_ray.reporting.effect_figures import Level
from likra_ray.reporting.figures import MAIN_ARMS, PER_DOUBLING, PER_EXAMPLE
from likra_ray.reporting.page import Caption, Panel

NEAR_MISS_FIELDS = ("near_miss_share", "negative_source.near_miss_from", "negative_source.far_from")
"""Searched fields that say which negatives are used: the near-miss section has their effects."""

CONTROL_FIELDS = ("contamination_share", "labels")
"""Searched fields that make a configuration a control: its own section has their effects."""

Group = Literal["near-misses", "controls", "others"]
"""Sections that hold effects."""


def group_of(field: str) -> Group:
    """The section that a searched field's effects stand in."""
    if field in NEAR_MISS_FIELDS:
        return "near-misses"
    return "controls" if field in CONTROL_FIELDS else "others"


def rests_on(finding: Finding) -> str:
    """``160 questions, 3 seeds (0, 1, 2)``."""
    return f"{phrases.rests_on(finding.questions, len(finding.seeds))} ({', '.join(map(str, finding.seeds))})"


def resampled(seeds: int) -> str:
    """The kind of interval of everything that is a mean over questions."""
    return f"95 %, questions resampled, the same draw for all volumes and arms; {_over_runs(seeds)}"


def refitted(seeds: int) -> str:
    """The kind of interval of a critical phase."""
    return (
        "95 %, the logistic refitted to resampled questions on ground that slopes a little, the same draw for all "
        f"volumes; {_over_runs(seeds)}"
    )


def _over_runs(seeds: int) -> str:
    return "conditional on this one training run" if seeds == 1 else "widened by what the seeds say"


def curve_panel(finding: Finding, findings: Sequence[Finding]) -> Panel:
    """SFT, Likra and Base-Likra of the headline; its data holds every arm of every configuration."""
    return Panel(
        name="learning_curves",
        title="Learning curves",
        caption=Caption(
            "Accuracy by the number of examples each head has learnt from. Shaded: a critical phase from onset to "
            "end; dash-dotted: its midpoint, whose interval is the bar below it. At 0 both heads are the base, every "
            "Likra score is 0 and its accuracy is chance: part of a jump is recovery from chance.",
            rests_on(finding),
            f"bands: {resampled(len(finding.seeds))}; phase: {refitted(len(finding.seeds))}",
            ("likra_ray.analysis.curves.learning_curve", "likra_ray.analysis.curves.points",
             "likra_ray.analysis.critical_phase.locate"),
        ),
        drawing=functools.partial(figures.draw_learning_curves, finding=finding),
        height=3.9,
        data=data.curve_rows(findings),
    )  # fmt: skip


def other_arms_panel(finding: Finding) -> Panel:
    """Every other arm of the headline, a small picture each."""
    arms = [arm for arm, curve in finding.curves.items() if arm not in (*MAIN_ARMS, "base") and figures.measured(curve)]
    return Panel(
        name="other_arms",
        title="Other arms on the same examples",
        caption=Caption(
            "Accuracy of each other arm, with Likra (blue) and SFT (orange) of the same configuration thin beside it. "
            "What an example is for each arm stands under How each arm counts.",
            rests_on(finding),
            f"bands: {resampled(len(finding.seeds))}",
            ("likra_ray.analysis.curves.learning_curve", "likra_ray.analysis.curves.points"),
        ),
        drawing=_small([(look(arm).label, finding, arm) for arm in arms]) if arms else None,
        why="No other arm was trained or scored: trial.baselines and trial.prior ask for them.",
        height=figures.small_height([look(arm).label for arm in arms]),
        data=[row for row in data.curve_rows([finding]) if row["arm"] in arms],
    )


DRAWN = 24
"""Most configurations, or effects, in one figure: more nobody compares, and 1,000 take hours to draw."""


def configurations_panel(findings: Sequence[Finding]) -> Panel:
    """Likra's curve in every configuration, or in the DRAWN where it is highest."""
    measured = [finding for finding in findings if figures.measured(finding.curves["likra"])]
    drawn = measured if len(measured) <= DRAWN else sorted(measured, key=_height, reverse=True)[:DRAWN]
    shown = [(finding.name, finding, "likra") for finding in drawn]
    which = (
        f" Drawn: the {DRAWN} of {len(measured)} where it is highest; the data has all."
        if len(measured) > DRAWN
        else ""
    )
    seeds = min((len(finding.seeds) for finding in findings), default=1)
    return Panel(
        name="configurations",
        title="Likra in every configuration",
        caption=Caption(
            "Accuracy of Likra with its critical phase where one was found, SFT (orange) thin beside it." + which,
            "; ".join(dict.fromkeys(phrases.rests_on(one.questions, len(one.seeds)) for one in findings)),
            f"bands: {resampled(seeds)}",
            (
                "likra_ray.analysis.curves.learning_curve",
                "likra_ray.analysis.curves.points",
                "likra_ray.analysis.critical_phase.locate",
            ),
        ),
        drawing=_small(shown) if len(shown) > 1 else None,
        why="There is one configuration, shown above.",
        height=figures.small_height([title for title, _, _ in shown]),
        data=[row for row in data.curve_rows(findings) if row["arm"] in ("likra", "sft")],
    )


def _height(finding: Finding) -> float:
    """Likra's accuracy where it is highest."""
    return max(point.accuracy for point in figures.measured(finding.curves["likra"]))


def _small(shown: Sequence[tuple[str, Finding, str]]) -> functools.partial[None]:
    return functools.partial(figures.draw_small_curves, cells=tuple(shown))


def efficiency_panels(finding: Finding, findings: Sequence[Finding]) -> tuple[Panel, Panel]:
    """The ladder per added example, and per doubling."""
    recompute = ("likra_ray.analysis.curves.efficiency",)
    bars = f"bars: {resampled(len(finding.seeds))}"
    shows = {
        PER_EXAMPLE: "Points of accuracy gained per 100 added examples on each step between neighbouring volumes, from "
        "top to bottom. The axis is linear in the grey stretch and logarithmic beyond it.",
        PER_DOUBLING: "The same gain per doubling of the examples. The step from 0 has no doublings.",
    }
    first, second = (
        Panel(
            name=f"efficiency_{unit.replace(' ', '_')}",
            title=f"The efficiency ladder, {unit}",
            caption=Caption(shows[unit], rests_on(finding), bars, recompute),
            drawing=functools.partial(figures.draw_efficiency, finding=finding, unit=unit)
            if any(finding.efficiency.get(arm) for arm in MAIN_ARMS)
            else None,
            why="It takes two volumes.",
            height=figures.ladder_height(finding),
            data=data.efficiency_rows(findings),
        )
        for unit in (PER_EXAMPLE, PER_DOUBLING)
    )
    return first, second


EFFECT_TITLES: dict[Group, str] = {
    "near-misses": "What the kind of negative changed",
    "controls": "What the controls changed",
    "others": "What the other settings changed",
}


def effects_panel(found: SweepFindings, group: Group) -> Panel:
    """The effects of one group of searched fields."""
    pairs = [one for one in found.effects.pairs if group_of(one.field) == group]
    shown = effect_figures.shown_effects(pairs)
    drawn = shown if len(shown) <= DRAWN else sorted(shown, key=lambda one: -abs(one.accuracy.value))[:DRAWN]
    which = f" Drawn: the {DRAWN} largest of {len(shown)}; the data has all." if len(shown) > DRAWN else ""
    return Panel(
        name=f"effects_of_{group.replace('-', '_')}",
        title=EFFECT_TITLES[group],
        caption=Caption(
            "Change of accuracy between two configurations that differ in one setting, at the largest volume both "
            "measured with the same seeds; in brackets what they share. Right of the line: better." + which,
            _effects_rest_on(pairs),
            "bars: 95 %, paired by question and seed",
            ("likra_ray.analysis.near_miss.factor_effect",),
        ),
        drawing=functools.partial(effect_figures.draw_effects, pairs=tuple(drawn)) if drawn else None,
        why=_not_compared(found, pairs, group),
        height=effect_figures.effects_height(drawn),
        data=[row for row in data.effect_rows(found.effects) if group_of(str(row["field"])) == group],
    )


def _not_compared(found: SweepFindings, pairs: Sequence[FactorEffect], group: Group) -> str:
    """Why there is no effect to show."""
    reasons = [pair.accuracy.reason for pair in pairs if pair.accuracy.reason]
    reasons += [f"{field}: {why}" for field, why in found.effects.not_compared.items() if group_of(field) == group]
    return " ".join(dict.fromkeys(reasons)) or "No two configurations of this sweep differ in such a setting alone."


def _effects_rest_on(pairs: Sequence[FactorEffect]) -> str:
    each = dict.fromkeys(phrases.rests_on(pair.accuracy.questions, pair.accuracy.seeds)
                         for pair in effect_figures.shown_effects(pairs))  # fmt: skip
    return "; ".join(each) or "nothing that was measured"


def levels_panel(found: SweepFindings, field: str) -> Panel | None:
    """Accuracy by the value of one field; None where it has fewer than two values, or no number."""
    slopes = [one for one in found.effects.slopes if one.field == field and len(one.levels) > 1]
    lines = [line for line in (_levels(found.findings, slope) for slope in slopes) if len(line) > 1]
    if not lines:
        return None
    points = [level.point for line in lines for level in line]
    volumes = sorted({point.volume for point in points})
    return Panel(
        name=f"by_{field.replace('.', '_')}",
        title=f"Accuracy by {field}",
        caption=Caption(
            f"Accuracy at {', '.join(map(str, volumes))} examples by the value of {field}; points of one line share "
            "all other settings and stand a little apart where lines meet.",
            "; ".join(dict.fromkeys(phrases.rests_on(point.questions, point.seeds) for point in points)),
            f"bars: {resampled(min(point.seeds for point in points))}",
            ("likra_ray.analysis.near_miss.factor_slope", "likra_ray.analysis.curves.points"),
        ),
        drawing=functools.partial(effect_figures.draw_levels, slope_levels=tuple(lines)),
        height=effect_figures.levels_height(slopes),
        data=[
            {"field": one.field, "arm": one.arm, "context": one.context, "level": one.level,
             "volume": one.point.volume, "accuracy": one.point.accuracy, "low": one.point.interval[0],
             "high": one.point.interval[1], "questions": one.point.questions, "seeds": one.point.seeds}
            for line in lines for one in line
        ],
    )  # fmt: skip


def _levels(findings: Sequence[Finding], slope: FactorSlope) -> list[Level]:
    """The points of the curves that a slope was laid through."""
    context = words.context(slope.context)
    line = []
    for level in slope.levels:
        wanted = {**slope.context, slope.field: level}
        for finding in findings:
            if all(finding.settings.get(name) == value for name, value in wanted.items()):
                there = [point for point in finding.curves[slope.arm] if point.volume == slope.volume]
                line += [Level(slope.field, slope.arm, context, level, point) for point in figures.measured(there)]
                break
    return line


def likelihood_panel(finding: Finding, findings: Sequence[Finding]) -> Panel:
    """What learning did to correct, near-miss and far options, under SFT and under Likra."""
    return Panel(
        name="likelihoods",
        title="Likelihoods: SFT against Likra",
        caption=Caption(
            "First the mean log-probability of an option by its kind, under SFT, under the negative head, and Likra's "
            "difference of the two. Then, by arm: the share of questions whose top option is a near-miss; how often a "
            "correct option outranks a near-miss or a far option of its question (AUROC, .5 is blind); the expected "
            "calibration error (15 equal-width bins of the top option's probability, no interval) and the Brier score "
            "of the softmax over a question's options (0 is sure and right, 2 the worst).",
            rests_on(finding),
            f"bands: {resampled(len(finding.seeds))}",
            ("likra_ray.analysis.likelihoods.likelihood_estimates",),
        ),
        drawing=functools.partial(likelihood_figures.draw_likelihoods, likelihoods=finding.likelihoods)
        if finding.likelihoods
        else None,
        why="No likelihoods were estimated.",
        height=likelihood_figures.likelihoods_height(finding.likelihoods),
        data=data.likelihood_rows(findings),
    )
