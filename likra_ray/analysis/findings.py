"""Takes the score tables of one configuration, by seed, returns what they say: curves, phases, efficiency.

A trial is one configuration with one seed; a sweep's finding joins the trials that differ in seed only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from likra_ray.analysis import arms, budgets, curves, equivalence, likelihoods
from likra_ray.analysis.budgets import EqualBudget
from likra_ray.analysis.critical_phase import agreement, locate, locate_margin
from likra_ray.analysis.curves import EfficiencyRatio, EfficiencyStep, SeedTables
from likra_ray.analysis.efficiency import PhaseRatio, at_volumes, phase_ratio
from likra_ray.analysis.equivalence import Equivalence, Needed
from likra_ray.analysis.likelihoods import LikelihoodContrast, LikelihoodEstimates, LikelihoodPoint
from likra_ray.records import METRICS, CriticalPhase, CurvePoint, LearningCurve, Metric, TrialResult

CURVE_ARMS = ("sft", "likra", "base_likra", "positive_over_base")
"""Arms that have a volume axis."""

PHASE_ARMS = ("sft", "likra", "base_likra")
"""Arms in whose curve a critical phase is looked for."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One configuration, all its seeds joined."""

    name: str
    """As people read it: ``learning_rate=0.0005 near_miss_share=1``."""
    settings: Mapping[str, Any]
    """Fields of the configuration, seed and volumes left out."""
    trials: tuple[str, ...]
    """Keys of the trials it rests on."""
    seeds: tuple[int, ...]
    questions: int
    curves: Mapping[str, tuple[CurvePoint, ...]]
    """By arm, metric acc; the arm ``base`` has volume 0 alone."""
    phase: Mapping[str, CriticalPhase]
    """By arm of PHASE_ARMS."""
    efficiency: Mapping[str, tuple[EfficiencyStep, ...]]
    """By arm of CURVE_ARMS: accuracy per added example and per doubling, step by step."""
    ratio: tuple[EfficiencyRatio, ...]
    """Likra's gain per example over SFT's, step by step."""
    margin_phase: Mapping[str, CriticalPhase] = field(default_factory=dict)
    """By arm of `phase`: the same on the margin, best correct less best wrong option; gain in nats."""
    agreement: Mapping[str, str] = field(default_factory=dict)
    """By arm of `phase`: whether accuracy and margin tell the same story, in one sentence."""
    phase_ratio: Mapping[str, PhaseRatio] = field(default_factory=dict)
    """By arm (likra, base_likra): its gain per example over SFT's inside its critical phase."""
    needed: tuple[Needed, ...] = ()
    """Examples each arm needs for the base's accuracy, for SFT's best, and for steps of .05 above that."""
    equivalence: tuple[Equivalence, ...] = ()
    """At each volume of Likra: how many positives a negative was worth."""
    equal_budgets: tuple[EqualBudget, ...] = ()
    """Likra against SFT on as many answer tokens, and on as many examples."""
    likelihoods: Mapping[str, tuple[LikelihoodEstimates, ...]] = field(default_factory=dict)
    """By view (positive_head = SFT, negative_head, likra, base_likra, baselines), in order of volume; 0 is the base."""
    likelihood_contrast: LikelihoodContrast | None = None
    """What SFT did to each kind of option and how much better Likra tells near-misses; None without shared volumes."""
    unanswered: Mapping[str, int] = field(default_factory=dict)
    """By arm: answers without an outcome (a score was NaN), in no mean; empty where there are none."""
    largest_rise: Mapping[str, float] = field(default_factory=dict)
    """By arm: accuracy that it may have gained within a doubling, or from one volume to the next, at most (95 %)."""


def find(
    tables_by_seed: Mapping[int, SeedTables],
    *,
    name: str,
    settings: Mapping[str, Any],
    trials: tuple[str, ...],
    weight: float,
    rng: np.random.Generator,
    answer_tokens: Mapping[str, Mapping[int, float]] | None = None,
) -> Finding:
    """All that a configuration's tables say, at the volumes that every seed has.

    Raises InputError on tables that do not belong together.

    answer_tokens: by role, then volume: tokens of all answers a head has learnt from, the mean over seeds.
    """
    tables_by_seed = curves.at_shared_volumes(tables_by_seed)
    trained = trained_arms(tables_by_seed)
    by_arm = {arm: curves.learning_curve(arm, "acc", tables_by_seed, weight=weight) for arm in ("base", *trained)}
    located = [arm for arm in trained if arm in PHASE_ARMS or arm in arms.BASELINES]
    phase = {arm: locate(by_arm[arm].volumes, by_arm[arm].outcomes, rng=rng) for arm in located}
    margin = {arm: locate_margin(by_arm[arm].volumes, by_arm[arm].margins, rng=rng) for arm in located}
    likra, sft = by_arm["likra"], by_arm["sft"]
    shared = np.intersect1d(likra.volumes, sft.volumes).tolist()
    targets = equivalence.targets(sft, [by_arm[arm] for arm in located])
    return Finding(
        name=name,
        settings=settings,
        trials=trials,
        seeds=tuple(sorted(tables_by_seed)),
        questions=len(sft.question_ids),
        curves={arm: tuple(curves.points(curve, rng=rng)) for arm, curve in by_arm.items()},
        phase=phase,
        efficiency={arm: tuple(curves.efficiency(by_arm[arm], rng=rng)) for arm in trained},
        margin_phase=margin,
        agreement={arm: agreement(phase[arm], margin[arm]) for arm in located},
        ratio=tuple(curves.efficiency_ratio(at_volumes(likra, shared), at_volumes(sft, shared), rng=rng)),
        phase_ratio={arm: phase_ratio(by_arm[arm], sft, phase[arm], rng=rng) for arm in located if arm != "sft"},
        needed=tuple(row for arm in located for row in equivalence.volumes_needed(by_arm[arm], targets, rng=rng)),
        equivalence=tuple(equivalence.data_equivalence(likra, sft, rng=rng)),
        equal_budgets=(*budgets.equal_tokens(likra, sft, answer_tokens or {}), *budgets.equal_examples(likra, sft)),
        likelihoods={
            view: likelihoods.likelihood_estimates(view, tables_by_seed, weight=weight)
            for view in likelihoods.views(tables_by_seed)
        },
        likelihood_contrast=likelihoods.likelihood_contrast(tables_by_seed, weight=weight),
        unanswered=unanswered(by_arm),
        largest_rise={arm: curves.largest_rise(by_arm[arm], rng=rng) for arm in trained},
    )


def trained_arms(tables_by_seed: Mapping[int, SeedTables]) -> tuple[str, ...]:
    """CURVE_ARMS and every other arm of which some seed has all the tables; the base has no volumes of its own."""
    there = [{head for head, by_volume in tables.by_head.items() if by_volume} for tables in tables_by_seed.values()]
    more = [arm for arm, found in arms.ARMS.items() if any(set(found.heads) <= heads for heads in there)]
    return (*CURVE_ARMS, *[arm for arm in more if arm not in ("base", *CURVE_ARMS)])


def unanswered(by_arm: Mapping[str, LearningCurve]) -> dict[str, int]:
    """By arm, where there are any: answers without an outcome because a score was NaN; they are in no mean.

    A volume that a seed has no table of is not measured, which its points count; it is not among these.
    """
    found = {}
    for arm, curve in by_arm.items():
        nothing = np.isnan(curve.outcomes)
        found[arm] = int(nothing.sum() - nothing.all(axis=2).sum() * nothing.shape[2])
    return {arm: count for arm, count in found.items() if count}


METRIC_NAMES: dict[Metric, str] = {"acc": "accuracy", "acc_norm": "accuracy_norm", "acc_bytes": "accuracy_bytes"}


def metrics_by_volume(finding: Finding, tables: SeedTables, *, weight: float) -> dict[str, dict[int, float]]:
    """What MLflow shows of a trial at step = volume: accuracies, margins, efficiency, ratio to SFT, likelihoods.

    Names sort by arm or head: likra/accuracy, likra/efficiency_per_example, logp/negative_head/near_miss, ...
    A ratio that is not bounded and whatever a table lacks is NaN.
    """
    found: dict[str, dict[int, float]] = {}
    for arm in ("base", *trained_arms({0: tables})):
        for metric in METRICS:
            curve = curves.learning_curve(arm, metric, {0: tables}, weight=weight)
            volumes = [int(volume) for volume in curve.volumes]
            found[f"{arm}/{METRIC_NAMES[metric]}"] = dict(zip(volumes, _means(curve.outcomes[0]), strict=True))
            if metric == "acc":
                found[f"{arm}/margin"] = dict(zip(volumes, _means(curve.margins[0]), strict=True))
    for arm, steps in finding.efficiency.items():
        found[f"{arm}/efficiency_per_example"] = {step.end: step.per_example for step in steps}
        found[f"{arm}/efficiency_per_doubling"] = {step.end: step.per_doubling for step in steps}
    found["likra/efficiency_ratio_to_sft"] = {step.end: step.ratio for step in finding.ratio}
    heads = {view: tables.by_head[head] for view, head in likelihoods.HEAD_VIEWS.items()}
    for head, by_volume in {**heads, **{name: tables.others[name] for name in tables.baselines}}.items():
        found |= _likelihoods(f"logp/{head}", likelihoods.likelihood_curve({0: tables.base, **by_volume}))
    return found


def _means(by_question: np.ndarray) -> list[float]:
    return [float(value) for value in by_question.mean(axis=-1)]


def _likelihoods(prefix: str, points: list[LikelihoodPoint]) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for point in points:
        for kind, value in point.means.per_option.items():
            found.setdefault(f"{prefix}/{kind}", {})[point.volume] = value
        for kind, value in point.means.per_token.items():
            found.setdefault(f"{prefix}/{kind}_per_token", {})[point.volume] = value
        for probe in ("near_miss_auroc", "far_auroc", "near_miss_on_top", "calibration_error", "brier"):
            found.setdefault(f"{prefix}/{probe}", {})[point.volume] = getattr(point, probe)
    return found


def configurations(results: Sequence[TrialResult]) -> list[tuple[dict[str, Any], dict[int, TrialResult]]]:
    """Finished trials by configuration: (settings, the trial with the most negatives by seed), in order of name, seeds
    in theirs.

    Trials that differ in seed, negatives, positives or volumes only are one configuration: a longer head has passed
    through the volumes of a shorter one, and a refinement through the sweep's, so it alone is kept. Seeds that do not
    reach as far as another are left out: where they end, the mean would step by how they differ from those that go on.
    """
    grouped: dict[str, tuple[dict[str, Any], dict[int, TrialResult]]] = {}
    for result in results:
        if result.status != "done":
            continue
        settings = settings_of(result)
        _, by_seed = grouped.setdefault(repr(settings), (settings, {}))
        seed = int(result.spec["seed"])
        if seed not in by_seed or _reach(result) > _reach(by_seed[seed]):
            by_seed[seed] = result
    return [(settings, _as_far(by_seed)) for _, (settings, by_seed) in sorted(grouped.items())]


def _as_far(by_seed: Mapping[int, TrialResult]) -> dict[int, TrialResult]:
    """Those whose Likra, then whose SFT, has the largest volume of all."""
    reach = {seed: _reach(result)[:2] for seed, result in by_seed.items()}
    return {seed: by_seed[seed] for seed in sorted(by_seed) if reach[seed] == max(reach.values())}


NOT_SETTINGS = ("negatives", "positives", "seed", "volumes")
"""Sampled fields that do not make another configuration."""


def settings_of(result: TrialResult) -> dict[str, Any]:
    """The sampled fields that make a trial's configuration, by name."""
    return {field: value for field, value in sorted(result.sampled.items()) if field not in NOT_SETTINGS}


def _reach(result: TrialResult) -> tuple[int, int, int]:
    """Largest volume of Likra, of SFT, and how many volumes: a refinement has more of them."""
    likra, sft = (result.curves[arm] for arm in ("likra", "sft"))
    return max(point.volume for point in likra), max(point.volume for point in sft), len(likra)


def headline(found: Sequence[Finding]) -> int:
    """Index of the configuration whose Likra curve ends highest: of the longest curves, those of the most seeds.

    What more runs have shown comes before what one run happened to reach. It is chosen on the questions it is shown on,
    so its height is optimistic; its shape is what a report reads.
    """
    longest = max(finding.curves["likra"][-1].volume for finding in found)
    ends = [finding.curves["likra"][-1] for finding in found]
    return max(range(len(found)), key=lambda i: (ends[i].volume == longest, len(found[i].seeds), ends[i].accuracy, -i))
