"""Takes what a sweep found and the ledger's facts, returns the sections of its report, in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from likra_ray.analysis.findings import Finding
from likra_ray.analysis.sweep_findings import SweepFindings
from likra_ray.analysis.verdicts import Subject
from likra_ray.reporting import choice_panels, panels, tables, words
from likra_ray.reporting.data import trial_rows
from likra_ray.reporting.drawing import look
from likra_ray.reporting.page import Caption, Cell, Panel, Section, SweepFacts, Table, cells
from likra_ray.reporting.words import NOTHING, number

RECOMPUTE: dict[Subject, str] = {
    "critical phase": "likra_ray.analysis.verdicts.critical_phase_verdict",
    "SFT": "likra_ray.analysis.verdicts.sft_verdict",
    "efficiency": "likra_ray.analysis.verdicts.efficiency_verdict",
    "near-misses": "likra_ray.analysis.verdicts.near_miss_verdict",
    "likelihoods": "likra_ray.analysis.verdicts.likelihood_verdict",
}
"""The function that gives each verdict from a configuration's Finding, which findings.find gives from score tables."""

PASSED = {True: "passed", False: "FAILED", None: "not tested"}
"""ControlVerdict.passed, as the report says it."""

MANY = 40
"""Rows above which a table of questions or trials shows the first ones only; its data has all."""


def sections(found: SweepFindings | None, facts: SweepFacts) -> list[Section]:
    """The whole report below its verdicts; found is None where no trial ended well."""
    made: list[Section] = []
    if found is not None and found.findings:
        finding = found.findings[found.headline]
        made = [
            _curves(finding, found.findings),
            _efficiency(finding, found.findings),
            _near_misses(found),
            _likelihoods(finding, found.findings),
            _choices(found, facts),
            _controls(found),
        ]
    else:
        finding = None
    return [*made, _cost(facts), _settings(facts), _counts(finding), _left_out(found, facts)]


def _curves(finding: Finding, findings: Sequence[Finding]) -> Section:
    # The lower one first: it shares a column with the learning curves.
    others = sorted((panels.other_arms_panel(finding), panels.configurations_panel(findings)), key=lambda p: p.height)
    return Section(
        name="curves",
        title="Learning curves and critical phases",
        sentences=(f"The headline configuration, {finding.name}: of those with the most seeds the one whose Likra "
                   "curve ends highest, so its height is optimistic.",),
        panels=(panels.curve_panel(finding, findings), *others),
        tables=(tables.phase_table(finding, findings),),
    )  # fmt: skip


def _efficiency(finding: Finding, findings: Sequence[Finding]) -> Section:
    return Section(
        name="efficiency",
        title="What an example is worth",
        panels=panels.efficiency_panels(finding, findings),
        tables=(
            tables.ratio_table(finding, findings),
            tables.equivalence_table(finding, findings),
            tables.needed_table(finding, findings),
            tables.budget_table(finding, findings),
        ),
    )


def _near_misses(found: SweepFindings) -> Section:
    levels = [panels.levels_panel(found, field) for field in panels.NEAR_MISS_FIELDS]
    return Section(
        name="near-misses",
        title="Near-misses: which negatives teach more",
        sentences=_not_compared(found, "near-misses"),
        panels=(panels.effects_panel(found, "near-misses"), *[panel for panel in levels if panel is not None]),
        tables=(tables.effect_table(found.effects, "near-misses"),),
    )


def _not_compared(found: SweepFindings, group: panels.Group) -> tuple[str, ...]:
    asked = {field: why for field, why in found.effects.not_compared.items() if panels.group_of(field) == group}
    return tuple(f"{field}: not compared, {why}" for field, why in asked.items())


def _likelihoods(finding: Finding, findings: Sequence[Finding]) -> Section:
    return Section(
        name="likelihoods",
        title="Likelihoods of correct, near-miss and far options",
        panels=(panels.likelihood_panel(finding, findings),),
        tables=(tables.likelihood_table(finding),),
    )


def _choices(found: SweepFindings, facts: SweepFacts) -> Section:
    return Section(
        name="choices",
        title="What there is to choose between",
        sentences=_not_compared(found, "others"),
        panels=(
            choice_panels.pareto_panel(found.findings),
            choice_panels.importance_panel(found),
            choice_panels.parallel_panel(facts),
            panels.effects_panel(found, "others"),
        ),
        tables=(tables.effect_table(found.effects, "others"), _configurations(found)),
    )


def _configurations(found: SweepFindings) -> Table:
    """Every configuration: what Likra reached, and where it and Base-Likra jump."""
    rows = []
    for number_of, finding in enumerate(found.findings):
        curve = [point for point in finding.curves["likra"] if point.accuracy == point.accuracy]
        name = Cell(finding.name, "headline" if number_of == found.headline else "")
        end = words.with_interval(curve[-1].accuracy, curve[-1].interval, digits=3) if curve else NOTHING
        at = f"at {curve[-1].volume} of each" if curve else "not measured"
        jumps = [words.phase_in_words(finding.phase[arm]) for arm in ("likra", "base_likra") if arm in finding.phase]
        rows.append(cells(name, Cell(end, at), *jumps, panels.rests_on(finding)))
    return Table(
        title="Every configuration",
        columns=("configuration", "Likra at its end", "Likra jumps at", "Base-Likra jumps at", "rests on"),
        rows=tuple(rows),
        caption=Caption(
            "What each configuration reached and where its critical phases are. Data: data/learning_curves.csv and "
            "data/critical_phases.csv.",
            "what stands in the last column",
            "95 %, as in the pictures and the table of phases above",
            ("likra_ray.analysis.curves.points", "likra_ray.analysis.critical_phase.locate"),
        ),
        folded=len(rows) > 6,
    )


def _controls(found: SweepFindings) -> Section:
    levels = [panels.levels_panel(found, field) for field in panels.CONTROL_FIELDS]
    table = Table(
        title="Where no critical phase may be found",
        columns=("control", "configuration", "arm", "", "in words"),
        rows=tuple(
            cells(one.control, one.configuration, look(one.arm).label, PASSED[one.passed], one.sentence)
            for one in found.controls
        ),
        why="This sweep holds no control configuration (shuffled labels, or contamination_share 1).",
        caption=Caption(
            "Heads that learn from shuffled labels, or from the same set as positives and negatives, must not jump.",
            "what each sentence says",
            "",
            ("likra_ray.analysis.controls.control_verdicts",),
        ),
        name="controls",
        data=[{"control": one.control, "configuration": one.configuration, "arm": one.arm, "passed": one.passed,
               "sentence": one.sentence} for one in found.controls],
    )  # fmt: skip
    effects = panels.effects_panel(found, "controls")
    return Section(
        name="controls",
        title="Controls",
        panels=tuple(panel for panel in (*levels, effects) if panel is not None and panel.drawing is not None),
        tables=(table, *([tables.effect_table(found.effects, "controls")] if effects.drawing is not None else [])),
    )


def _cost(facts: SweepFacts) -> Section:
    examples = [count for result in facts.results for count in result.trained.values()]
    trained = sum(count > 0 for count in examples)
    timed = [result.seconds["all"] for result in facts.results if "all" in result.seconds]
    untimed = f" ({len(facts.results) - len(timed)} not timed)" if len(timed) < len(facts.results) else ""
    done = sum(result.status == "done" for result in facts.results)
    rows = [
        cells(
            Cell(result.name, result.key),
            Cell(result.status, result.reason or ""),
            *[_seconds(result.seconds.get(part)) for part in ("start", "train", "score", "all")],
            ", ".join(f"{role} {count}" for role, count in result.trained.items()) or Cell(NOTHING, "it failed"),
        )
        for result in facts.results
    ]
    return Section(
        name="cost",
        title="Cost",
        sentences=(
            f"{done} of {len(facts.results)} trials ended well, {number(sum(timed))} s in trials{untimed}, those that "
            f"ran at the same time each counted. Heads trained: {trained} ({sum(examples):,} examples); found in the "
            f"store: {len(examples) - trained}.",
            *[f"Refinement: {sentence}" for sentence in facts.refinement],
        ),
        tables=(
            Table(
                title="Every trial",
                columns=("trial", "ended", "start, s", "train, s", "score, s", "all, s", "examples trained"),
                rows=tuple(rows[:MANY]),
                why="No trial ended.",
                caption=Caption(
                    "What each trial's record says; the sums above are of these.",
                    "one record a trial",
                    "",
                    ("likra_ray.results.read",),
                ),
                name="trials",
                data=trial_rows(facts.results, facts.objective),
                folded=True,
            ),
        ),
    )


def _seconds(value: float | None) -> Cell:
    return Cell(NOTHING, "not timed") if value is None else Cell(f"{value:.1f}")


def _settings(facts: SweepFacts) -> Section:
    questions = (
        f"{words.count(facts.train, 'question')} to train on, {facts.evaluate:,} to evaluate on, "
        f"{words.count(facts.shots, 'solved example')} before each. Base: {facts.base}. "
        f"Objective: {', '.join(f'{metric} ({mode})' for metric, mode in facts.objective.items())}."
    )
    return Section(
        name="settings",
        title="Settings and provenance",
        sentences=(questions,),
        tables=(
            Table(
                title="Every setting",
                columns=("field", "value", "origin"),
                rows=tuple(cells(one.field, words.setting(one.value), one.origin) for one in facts.settings),
                folded=True,
            ),
            Table(
                title="What ran",
                columns=("", "version"),
                rows=tuple(cells(name, version) for name, version in facts.provenance.items()),
                why="The ledger holds no versions.",
                folded=True,
            ),
        ),
    )


def _counts(finding: Finding | None) -> Section:
    return Section(name="counts", title="How each arm counts", tables=(tables.counts_table(finding),))


def _left_out(found: SweepFindings | None, facts: SweepFacts) -> Section:
    """Counted by what and why; the questions by id."""
    rows = [cells(one.what, f"{one.count:,}", one.reason) for one in found.left_out] if found is not None else []
    by_reason = Counter(reason for _, reason in facts.left_out)
    if not any(row[0].text == "questions" for row in rows):
        rows += [cells("questions", f"{count:,}", reason) for reason, count in by_reason.items()]
    failed = [result for result in facts.results if result.status == "failed"]
    if not any(row[0].text == "trials" for row in rows):
        rows += [cells("trials", "1", f"{result.name}: {result.reason}") for result in failed]
    return Section(
        name="left-out",
        title="What was left out, and why",
        tables=(
            Table(
                title="Left out",
                columns=("what", "how many", "why"),
                rows=tuple(rows),
                why="Nothing: every question offered and every trial stands in the numbers above.",
            ),
            Table(
                title="Questions left out",
                columns=("question", "why"),
                rows=tuple(cells(identity, reason) for identity, reason in facts.left_out[:MANY]),
                why="None.",
                name="questions_left_out",
                data=[{"question": identity, "reason": reason} for identity, reason in facts.left_out],
                folded=True,
            ),
        ),
    )


def pictures(made: Sequence[Section]) -> list[Panel]:
    """Every panel of the sections."""
    return [panel for section in made for panel in section.panels]
