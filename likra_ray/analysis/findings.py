"""Takes the score tables of one configuration, by seed, returns what they say: curves, phases, efficiency.

A trial is one configuration with one seed; a sweep's finding joins the trials that differ in seed only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from likra_ray.analysis import curves
from likra_ray.analysis.critical_phase import locate
from likra_ray.analysis.curves import EfficiencyRatio, EfficiencyStep, SeedTables
from likra_ray.analysis.likelihoods import LikelihoodPoint, likelihood_curve
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


def find(
    tables_by_seed: Mapping[int, SeedTables],
    *,
    name: str,
    settings: Mapping[str, Any],
    trials: tuple[str, ...],
    weight: float,
    rng: np.random.Generator,
) -> Finding:
    """What a configuration's tables say about accuracy. Raises InputError on tables that do not belong together."""
    by_arm = {arm: curves.learning_curve(arm, "acc", tables_by_seed, weight=weight) for arm in ("base", *CURVE_ARMS)}
    phase = {}
    for arm in PHASE_ARMS:
        phase[arm] = locate(by_arm[arm].volumes, by_arm[arm].outcomes, rng=rng)
    steps = {arm: tuple(curves.efficiency(by_arm[arm], rng=rng)) for arm in CURVE_ARMS}
    likra, sft = _on_shared_volumes(by_arm["likra"], by_arm["sft"])
    return Finding(
        name=name,
        settings=settings,
        trials=trials,
        seeds=tuple(sorted(tables_by_seed)),
        questions=len(by_arm["base"].question_ids),
        curves={arm: tuple(curves.points(curve, rng=rng)) for arm, curve in by_arm.items()},
        phase=phase,
        efficiency=steps,
        ratio=tuple(curves.efficiency_ratio(likra, sft, rng=rng)),
    )


def _on_shared_volumes(first: LearningCurve, second: LearningCurve) -> tuple[LearningCurve, LearningCurve]:
    """Both curves cut to the volumes they share: the positive head often goes on beyond the negative one."""
    shared = np.intersect1d(first.volumes, second.volumes)

    def cut(curve: LearningCurve) -> LearningCurve:
        kept = np.isin(curve.volumes, shared)
        return LearningCurve(
            arm=curve.arm,
            metric=curve.metric,
            question_ids=curve.question_ids,
            volumes=curve.volumes[kept],
            outcomes=curve.outcomes[:, kept],
            margins=curve.margins[:, kept],
        )

    return cut(first), cut(second)


METRIC_NAMES: dict[Metric, str] = {"acc": "accuracy", "acc_norm": "accuracy_norm", "acc_bytes": "accuracy_bytes"}


def metrics_by_volume(finding: Finding, tables: SeedTables, *, weight: float) -> dict[str, dict[int, float]]:
    """What MLflow shows of a trial at step = volume: accuracies, margins, efficiency, ratio to SFT, likelihoods.

    Names sort by arm or head: likra/accuracy, likra/efficiency_per_example, logp/negative_head/near_miss, ...
    A ratio that is not bounded and whatever a table lacks is NaN.
    """
    found: dict[str, dict[int, float]] = {}
    for arm in ("base", *CURVE_ARMS):
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
    heads = {"positive_head": tables.positive, "negative_head": tables.negative}
    for head, by_volume in heads.items():
        points = likelihood_curve({0: tables.base, **by_volume})
        found |= _likelihoods(f"logp/{head}", points)
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
        found.setdefault(f"{prefix}/near_miss_auroc", {})[point.volume] = point.near_miss_auroc
        found.setdefault(f"{prefix}/near_miss_on_top", {})[point.volume] = point.near_miss_on_top
    return found


def configurations(results: Sequence[TrialResult]) -> list[tuple[dict[str, Any], dict[int, TrialResult]]]:
    """Finished trials by configuration: (settings, the trial with the most negatives by seed), in order of name.

    Trials that differ in seed, negatives or positives only are one configuration: a longer head has passed through
    the volumes of a shorter one, so it alone is kept.
    """
    grouped: dict[str, tuple[dict[str, Any], dict[int, TrialResult]]] = {}
    for result in results:
        if result.status != "done":
            continue
        settings = {field: value for field, value in sorted(result.sampled.items()) if field not in NOT_SETTINGS}
        _, by_seed = grouped.setdefault(repr(settings), (settings, {}))
        seed = int(result.spec["seed"])
        if seed not in by_seed or _reach(result) > _reach(by_seed[seed]):
            by_seed[seed] = result
    return [grouped[name] for name in sorted(grouped)]


NOT_SETTINGS = ("negatives", "positives", "seed")
"""Sampled fields that do not make another configuration."""


def _reach(result: TrialResult) -> tuple[int, int]:
    return (max(point.volume for point in result.curves["likra"]), max(point.volume for point in result.curves["sft"]))


def headline(found: Sequence[Finding]) -> int:
    """Index of the configuration whose Likra curve ends highest, the longest curves first.

    It is chosen on the questions it is shown on, so its height is optimistic; its shape is what a report reads.
    """
    longest = max(finding.curves["likra"][-1].volume for finding in found)
    ends = [finding.curves["likra"][-1] for finding in found]
    return max(range(len(found)), key=lambda i: (ends[i].volume == longest, ends[i].accuracy, -i))
