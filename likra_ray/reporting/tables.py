"""Takes what a sweep found, returns the tables of its report. A number that is missing is a dash with its reason."""

from __future__ import annotations

import math
from collections.abc import Sequence

from likra_ray.analysis import arms
from likra_ray.analysis.curves import EfficiencyRatio
from likra_ray.analysis.efficiency import PhaseRatio
from likra_ray.analysis.equivalence import Equivalence, Needed
from likra_ray.analysis.estimates import Estimate
from likra_ray.analysis.findings import Finding
from likra_ray.analysis.near_miss import Effects
from likra_ray.reporting import data, words
from likra_ray.reporting.drawing import look
from likra_ray.reporting.page import Caption, Cell, Table, cells
from likra_ray.reporting.panels import Group, group_of, refitted, resampled, rests_on
from likra_ray.reporting.words import NOTHING, interval, number, share

VIEW_NAMES = {"positive_head": "SFT", "negative_head": "negative head"}
"""Views of likelihoods.likelihood_estimates that are no arms."""

NOT_REACHED, BELOW = "not reached", "below the base"


def estimate_cell(found: Estimate, *, digits: int | None = None, scale: float = 1.0) -> Cell:
    """The estimate with its interval; what is missing of it is said below."""
    low, high = (scale * end for end in found.interval)
    return Cell(words.with_interval(scale * found.value, (low, high), digits=digits), found.reason)


def phase_table(finding: Finding, findings: Sequence[Finding]) -> Table:
    """Where each arm jumps, by its accuracy and by its margin, and whether the two agree."""
    rows = []
    for arm, phase in finding.phase.items():
        margin = finding.margin_phase.get(arm)
        by_margin = Cell(NOTHING, "not looked for") if margin is None else Cell(words.phase_in_words(margin))
        agreed = finding.agreement.get(arm, "")
        rows.append(
            cells(look(arm).label, words.phase_in_words(phase), by_margin, agreed or Cell(NOTHING, "no margin"))
        )
    return Table(
        title="Where each arm jumps",
        columns=("arm", "accuracy: examples", "margin: examples, gain in nats", "do they agree?"),
        rows=tuple(rows),
        caption=Caption(
            "Critical phases by accuracy, and by the margin of the best correct over the best wrong option, which no "
            "threshold can turn into a jump.",
            rests_on(finding),
            refitted(len(finding.seeds)),
            ("likra_ray.analysis.critical_phase.locate", "likra_ray.analysis.critical_phase.locate_margin",
             "likra_ray.analysis.critical_phase.agreement"),
        ),
        name="critical_phases",
        data=data.phase_rows(findings),
    )  # fmt: skip


def ratio_table(finding: Finding, findings: Sequence[Finding]) -> Table:
    """Gain per example over SFT's, inside the phase first, then step by step."""
    rows = [_phase_ratio(one) for one in finding.phase_ratio.values()]
    rows += [cells("Likra", f"{one.start} to {one.end}", _ratio(one)) for one in finding.ratio]
    return Table(
        title="How many times SFT's gain per example",
        columns=("arm", "examples", "gain per example / SFT's"),
        rows=tuple(rows),
        why="Likra and SFT share fewer than two volumes.",
        caption=Caption(
            "Inside the located phase, its ends rounded outward to measured volumes, and on every step. A ratio to a "
            "gain that may be 0 has no upper bound: then the least one not excluded is given, or none.",
            rests_on(finding),
            "95 %, Fieller's, with the covariance of the two gains on the same questions",
            ("likra_ray.analysis.efficiency.phase_ratio", "likra_ray.analysis.curves.efficiency_ratio"),
        ),
        name="efficiency_ratio",
        data=data.ratio_rows(findings),
    )


def _phase_ratio(one: PhaseRatio) -> tuple[Cell, ...]:
    if one.ratio is None:
        return cells(look(one.arm).label, "its phase", Cell(NOTHING, one.reason))
    return cells(look(one.arm).label, f"its phase, {one.start} to {one.end}", _ratio(one.ratio))


def _ratio(ratio: EfficiencyRatio) -> Cell:
    if ratio.bounded and not math.isnan(ratio.at_least):
        return Cell(words.with_interval(ratio.ratio, ratio.interval))
    if ratio.bounded:
        return Cell(NOTHING, "SFT loses there")
    reason = ratio.reason.replace("The second arm", "SFT").replace("that arm", "SFT")
    return Cell(f"above {number(ratio.at_least)}" if ratio.at_least > 0 else NOTHING, reason)


def equivalence_table(finding: Finding, findings: Sequence[Finding]) -> Table:
    """How many positives one negative was worth, volume by volume."""
    return Table(
        title="Data equivalence: what one negative is worth, in positives",
        columns=("n of each", "Likra's accuracy", "positives SFT needs for it", "one negative is worth"),
        rows=tuple(_equivalence(one) for one in finding.equivalence),
        why="Not estimated: it takes Likra and SFT at two volumes or more.",
        caption=Caption(
            "At n positives and n negatives Likra has an accuracy; SFT alone needs m positives for it, so a negative "
            "was worth (m - n) / n of them. The paper's claim is about ten.",
            rests_on(finding),
            "95 %, questions resampled; open above where SFT does not get there in over 2.5 % of the resamples",
            ("likra_ray.analysis.equivalence.data_equivalence",),
        ),
        name="data_equivalence",
        data=data.equivalence_rows(findings),
    )


def _equivalence(one: Equivalence) -> tuple[Cell, ...]:
    first = (str(one.volume), share(one.accuracy))
    if one.status == "measured":
        return cells(*first, number(one.positives), words.with_interval(one.worth, one.interval))
    if one.status == "at least":
        return cells(*first, Cell(NOT_REACHED, one.reason), _at_least(one.at_least, one.interval))
    return cells(*first, Cell("none", BELOW), Cell(NOTHING, one.reason))


def _at_least(value: float, ends: tuple[float, float]) -> Cell:
    return Cell(f"at least {number(value)}", f"interval {interval(ends)}" if interval(ends) else "")


def needed_table(finding: Finding, findings: Sequence[Finding]) -> Table:
    """Examples each arm needs, a row a target, a column an arm."""
    columns = list(dict.fromkeys(one.arm for one in finding.needed))
    targets = list(dict.fromkeys((one.target, one.meaning) for one in finding.needed))
    by_place = {(one.target, one.meaning, one.arm): one for one in finding.needed}
    rows = [
        cells(Cell(share(target), meaning), *[_needed(by_place.get((target, meaning, arm))) for arm in columns])
        for target, meaning in targets
    ]
    return Table(
        title="Examples needed for an accuracy",
        columns=("accuracy", *[look(arm).label for arm in columns]),
        rows=tuple(rows),
        why="Not estimated.",
        caption=Caption(
            "Examples each head has learnt from when the arm's curve, made monotone, first has that accuracy, "
            "interpolated in log2; how each arm counts them stands below.",
            rests_on(finding),
            "95 %, questions resampled; open above where over 2.5 % of the resamples do not reach it",
            ("likra_ray.analysis.equivalence.volume_needed",),
        ),
        name="examples_needed",
        data=data.needed_rows(findings),
    )


def _needed(one: Needed | None) -> Cell:
    if one is None:
        return Cell(NOTHING, "not asked")
    if one.volume is None:
        more = "" if one.at_least is None else f", more than {number(one.at_least)}"
        return Cell(f"{NOT_REACHED}{more}", f"reached in {100 * one.reached_share:.0f} % of the resamples")
    return Cell(words.with_interval(one.volume, one.interval))


def budget_table(finding: Finding, findings: Sequence[Finding]) -> Table:
    """Likra against SFT given as much data."""
    rows = [
        cells(
            one.currency,
            str(one.volume),
            number(one.amount) if not math.isnan(one.amount) else Cell(NOTHING, "not counted"),
            number(one.sft_volume) if not math.isnan(one.sft_volume) else Cell(NOTHING, "beyond its run"),
            share(one.likra),
            share(one.sft),
            estimate_cell(one.difference, digits=3),
        )
        for one in finding.equal_budgets
    ]
    return Table(
        title="Likra against SFT on as much data",
        columns=("counted in", "n of each", "Likra has seen", "SFT at", "Likra", "SFT", "difference"),
        rows=tuple(rows),
        why="Not estimated: it takes Likra and SFT at two volumes or more.",
        caption=Caption(
            "At n Likra has learnt from n positives and n negatives; SFT is read where it has seen as many answer "
            "tokens, or as many examples, interpolated in log2.",
            rests_on(finding),
            f"{resampled(len(finding.seeds))}, paired by question",
            ("likra_ray.analysis.budgets.equal_tokens", "likra_ray.analysis.budgets.equal_examples"),
        ),
        name="equal_budgets",
        data=data.budget_rows(findings),
        folded=True,
    )


def effect_table(effects: Effects, group: Group) -> Table:
    """Every effect of one group of searched fields: accuracy, midpoint and gain; then the slopes."""
    rows = [
        cells(
            Cell(f"{one.field} {words.setting(one.low)} → {words.setting(one.high)}", words.context(one.context)),
            look(one.arm).label,
            str(one.volume) if one.volume is not None else Cell(NOTHING, "none shared"),
            estimate_cell(one.accuracy, digits=3),
            estimate_cell(one.midpoint),
            estimate_cell(one.gain, digits=3),
        )
        for one in effects.pairs
        if group_of(one.field) == group
    ]
    rows += [
        cells(
            Cell(f"{one.field}, per unit", words.context(one.context)),
            look(one.arm).label,
            str(one.volume) if one.volume is not None else Cell(NOTHING, "none shared"),
            estimate_cell(one.slope, digits=3),
            Cell(NOTHING, "a slope of accuracy"),
            Cell(NOTHING, "a slope of accuracy"),
        )
        for one in effects.slopes
        if group_of(one.field) == group and len(one.levels) > 1
    ]
    return Table(
        title="The effects in figures",
        columns=("change", "arm", "at", "accuracy", "midpoint, doublings", "gain of the phase"),
        rows=tuple(rows),
        why="No two configurations of this sweep can be compared on such a setting.",
        caption=Caption(
            "Differences between two configurations; accuracy at the largest volume both measured; a midpoint below 0 "
            "comes earlier. A slope is a straight line through all values of the setting.",
            "what both configurations of a row measured with the same seeds",
            "95 %; of accuracies and slopes paired by question and seed; of midpoints and gains the two phases' own, "
            "combined as if independent (MOVER), which is too wide",
            ("likra_ray.analysis.near_miss.factor_effect", "likra_ray.analysis.near_miss.factor_slope"),
        ),
        folded=True,
    )


def likelihood_table(finding: Finding) -> Table:
    """The probes at the last volume of every view, beside the base."""
    rows = []
    for view, points in finding.likelihoods.items():
        for point in points[-1:] if view != "positive_head" else [points[0], points[-1]]:
            name = "base" if point.volume == 0 else VIEW_NAMES.get(view, look(view).label)
            means = [estimate_cell(point.per_option[kind]) for kind in ("correct", "near_miss", "far")]
            probes = [estimate_cell(one, digits=3) for one in
                      (point.near_miss_auroc, point.far_auroc, point.near_miss_on_top, point.calibration_error,
                       point.brier)]  # fmt: skip
            rows.append(cells(name, str(point.volume), *means, *probes))
    return Table(
        title="Likelihoods at the last volume",
        columns=("view", "examples", "correct", "near-miss", "far", "AUROC near-miss", "AUROC far",
                 "near-miss on top", "ECE", "Brier"),
        rows=tuple(rows),
        why="No likelihoods were estimated.",
        caption=Caption(
            "Mean score by kind in nats per option, and the probes of the picture above. All volumes, and nats per "
            "token, are in its data.",
            rests_on(finding),
            resampled(len(finding.seeds)),
            ("likra_ray.analysis.likelihoods.likelihood_estimates",),
        ),
        folded=True,
    )  # fmt: skip


def counts_table(finding: Finding | None) -> Table:
    """What an example is for each arm that was measured."""
    there = arms.COUNTS if finding is None else [arm for arm in finding.curves]
    return Table(
        title="How each arm counts examples",
        columns=("arm", "what the volume axis counts"),
        rows=tuple(cells(look(arm).label, arms.COUNTS.get(arm, NOTHING)) for arm in there),
    )
