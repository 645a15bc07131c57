"""Takes the score tables of every configuration of a sweep, returns all that the report says. No storage here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from likra_ray.analysis import controls, findings, near_miss, verdicts
from likra_ray.analysis.arms import check_same_questions
from likra_ray.analysis.controls import ControlVerdict
from likra_ray.analysis.curves import SeedTables, learning_curve
from likra_ray.analysis.findings import Finding
from likra_ray.analysis.near_miss import Case, Effects
from likra_ray.analysis.verdicts import Verdict
from likra_ray.errors import InputError

EFFECT_ARMS = ("likra", "base_likra")
"""Arms in which the effect of a field is looked for: those with a negative head."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One configuration of a sweep: what its trials, one per seed, left."""

    name: str
    """As people read it: ``learning_rate=0.0005 near_miss_share=1``."""
    settings: Mapping[str, Any]
    """Searched fields, seed and volumes left out."""
    trial: Mapping[str, Any]
    """The resolved fields of one of its trials."""
    tables: Mapping[int, SeedTables]
    """By seed."""
    trials: tuple[str, ...]
    """Keys of its trials."""
    answer_tokens: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    """By role, then volume: tokens of all answers a head has learnt from, the mean over seeds; empty: not recorded."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Something that was measured or offered and does not stand in the findings."""

    what: str
    """questions, trials, answers, ..."""
    count: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class SweepFindings:
    """All that a sweep found. Recomputed by sweep_findings.sweep_findings."""

    findings: tuple[Finding, ...]
    """One per configuration, its seeds joined."""
    headline: int
    """Index of the one the report opens with."""
    effects: Effects
    """Of each searched field, near_miss_share first."""
    importances: Mapping[str, Mapping[str, float]]
    """By objective, then searched field: share of its variance (fANOVA), largest first. By importances.fanova."""
    importances_reason: str
    """What they rest on, or why there are none."""
    controls: tuple[ControlVerdict, ...]
    """Configurations in which no critical phase may be found, and what was found."""
    left_out: tuple[LeftOut, ...]
    """Everything that was left out, counted, with the reason."""
    verdicts: tuple[Verdict, ...]
    """Five, in order."""


def sweep_findings(
    configurations: Sequence[Configuration],
    *,
    rng: np.random.Generator,
    importances: tuple[Mapping[str, Mapping[str, float]], str] = ({}, "They were not asked for."),
    left_out: Sequence[LeftOut] = (),
    found: Sequence[Finding] | None = None,
) -> SweepFindings:
    """All findings of a sweep from its score tables.

    importances: of importances.fanova, and what they rest on. left_out: what the caller knows was not used.
    found: findings of these configurations made before, in their order; None: made here.
    Raises InputError: no configuration, or configurations that answer different questions (mixed evaluation sets).
    """
    if not configurations:
        raise InputError(where="sweep findings", field="configurations", value=[], allowed="at least one")
    check_same_questions([_first(one).base for one in configurations])
    if found is None:
        found = [find(one, rng=rng) for one in configurations]
    kinds = [controls.control_of(one.trial) for one in configurations]
    quiet = [
        verdict
        for kind, finding, one in zip(kinds, found, configurations, strict=True)
        if kind is not None
        for verdict in controls.control_verdicts(kind, finding, weight=_weight(one))
    ]
    opens = headline([one.trial for one in configurations], found)
    effects = near_miss.factor_effects(
        {arm: [_case(arm, *pair) for pair in zip(configurations, found, strict=True)] for arm in EFFECT_ARMS}
    )
    return SweepFindings(
        findings=tuple(found),
        headline=opens,
        effects=effects,
        importances=importances[0],
        importances_reason=importances[1],
        controls=tuple(quiet),
        left_out=(*left_out, *_unanswered(found)),
        verdicts=verdicts.verdicts(found[opens], effects, quiet),
    )


def headline(trials: Sequence[Mapping[str, Any]], found: Sequence[Finding]) -> int:
    """Index of the one the report opens with: no control where another is there; see findings.headline.

    trials: the spec of one trial of each configuration, in the order of found.
    """
    kinds = [controls.control_of(trial) for trial in trials]
    experiments = [index for index, kind in enumerate(kinds) if kind is None] or list(range(len(found)))
    return experiments[findings.headline([found[index] for index in experiments])]


def find(configuration: Configuration, *, rng: np.random.Generator) -> Finding:
    """findings.find of a configuration."""
    return findings.find(
        configuration.tables,
        name=configuration.name,
        settings=configuration.settings,
        trials=configuration.trials,
        weight=_weight(configuration),
        rng=rng,
        answer_tokens=configuration.answer_tokens,
    )


def _weight(configuration: Configuration) -> float:
    return float(configuration.trial.get("weight", 1.0))


def _first(configuration: Configuration) -> SeedTables:
    if not configuration.tables:
        raise InputError(
            where=f"configuration {configuration.name}", field="tables", value={}, allowed="a seed or more"
        )
    return configuration.tables[min(configuration.tables)]


def _case(arm: str, configuration: Configuration, finding: Finding) -> Case:
    curve = learning_curve(arm, "acc", configuration.tables, weight=_weight(configuration))
    return Case(configuration.settings, tuple(sorted(configuration.tables)), curve, finding.phase[arm])


def _unanswered(found: Sequence[Finding]) -> list[LeftOut]:
    """Answers that no mean holds, by arm, over all configurations."""
    counted: Counter[str] = Counter()
    for finding in found:
        counted.update(finding.unanswered)
    return [
        LeftOut(what=f"answers of {arm}", count=count, reason="a score was not a number")
        for arm, count in counted.items()
    ]


def questions_left_out(pairs: Sequence[tuple[str, str]]) -> list[LeftOut]:
    """(id, reason) of questions that were not used, counted by reason."""
    counted = Counter(reason for _, reason in pairs)
    return [LeftOut(what="questions", count=count, reason=reason) for reason, count in counted.items()]
