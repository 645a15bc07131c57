"""Takes what a sweep found and its trials, returns the pictures of its choices: the front, importances, trials."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from likra_ray.analysis import pareto, phrases
from likra_ray.analysis.findings import Finding
from likra_ray.analysis.objectives import objective_value
from likra_ray.analysis.sweep_findings import SweepFindings
from likra_ray.records import TrialResult
from likra_ray.reporting import data, effect_figures, words
from likra_ray.reporting.page import Caption, Panel, SweepFacts
from likra_ray.reporting.panels import resampled


def pareto_panel(findings: Sequence[Finding]) -> Panel:
    """Accuracy against negatives."""
    offered = pareto.choices(findings)
    front = pareto.front(offered)
    seeds = min((choice.point.seeds for choice in offered), default=1)
    return Panel(
        name="pareto",
        title="Accuracy against negatives",
        caption=Caption(
            "Every configuration stopped at every volume; joined are those that none beats with as few negatives or "
            "fewer. Chosen on the questions they are scored on, so the front is optimistic.",
            "; ".join(dict.fromkeys(phrases.rests_on(one.point.questions, one.point.seeds) for one in offered)),
            f"bars: {resampled(seeds)}",
            ("likra_ray.analysis.pareto.choices", "likra_ray.analysis.pareto.front"),
        ),
        drawing=functools.partial(effect_figures.draw_pareto, offered=offered, front=front) if offered else None,
        why="Likra was scored at no volume above 0.",
        data=data.pareto_rows(offered, front),
    )


def importance_panel(found: SweepFindings) -> Panel:
    """Which searched field moved the objectives."""
    importances = {goal: shares for goal, shares in found.importances.items() if shares}
    return Panel(
        name="importances",
        title="Which settings mattered",
        caption=Caption(
            f"Share of an objective's variance over the sampled space by searched setting. {found.importances_reason}",
            "the trials Optuna knows, volumes passed on the way among them",
            "",
            ("likra_ray.importances.fanova",),
        ),
        drawing=functools.partial(effect_figures.draw_importances, importances=importances) if importances else None,
        why=found.importances_reason or "Optuna gave none.",
        height=effect_figures.importances_height(importances),
        data=data.importance_rows(importances),
    )


def parallel_panel(facts: SweepFacts) -> Panel:
    """Every finished trial through its settings to the first objective."""
    goal = next(iter(facts.objective))
    scored = [(result, objective_value(result, goal)) for result in facts.results if result.status == "done"]
    kept = [(result, value) for result, value in scored if not math.isnan(value)]
    values = _parallel([result for result, _ in kept]) | {goal: [value for _, value in kept]}
    return Panel(
        name="parallel_coordinates",
        title="Trials through their settings",
        caption=Caption(
            f"One line per finished trial, from each setting the search varied down to its {goal} at its largest "
            "volume, which colours it (dark: low, yellow: high).",
            words.count(len(kept), "trial"),
            "",
            ("likra_ray.load_sweep", "likra_ray.analysis.objectives.objective_value"),
        ),
        drawing=functools.partial(effect_figures.draw_parallel, axes_values=values)
        if len(kept) > 1 and len(values) > 1
        else None,
        why="It takes two finished trials and a setting that differs between them.",
        height=effect_figures.parallel_height(len(values)),
        data=data.trial_rows(facts.results, facts.objective),
    )


def _parallel(results: Sequence[TrialResult]) -> dict[str, list[object]]:
    """Fields every trial sampled that differ between them; a refinement's volumes are no setting."""
    fields = dict.fromkeys(field for result in results for field in result.sampled if field != "volumes")
    columns = {field: [result.sampled.get(field) for result in results] for field in fields}
    return {field: column for field, column in columns.items()
            if None not in column and len({str(value) for value in column}) > 1}  # fmt: skip
