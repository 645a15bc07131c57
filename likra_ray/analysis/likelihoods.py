"""Takes score tables, returns what happened to the likelihood of near-misses and how well scores can be trusted.

The probes of arXiv 2407.10490 and 2410.08847, from tables already scored. Each is, per question, a numerator over a
denominator: so seeds join, and intervals follow, in one way (estimates.ratio_of).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from likra_ray.analysis import probes
from likra_ray.analysis.arms import KindMeans, arm_scores, check_same_questions, mean_logprob
from likra_ray.analysis.curves import SeedTables
from likra_ray.analysis.estimates import Estimate, missing, ratio_of
from likra_ray.errors import InputError
from likra_ray.records import KINDS, Kind, ScoreTable

ARM_VIEWS = ("likra", "base_likra")
"""Views that subtract one head from another; a "log-probability" is the difference of two there."""
HEAD_VIEWS = {"positive_head": "positive", "negative_head": "negative"}
"""Views of one head, by the head's name; a baseline's view has the name of the baseline. SFT is the positive head."""


class LikelihoodPoint(NamedTuple):
    """How one head sees correct, near-miss and far options at one volume."""

    volume: int
    """Training examples the head has seen."""
    means: KindMeans
    """Mean log-probability by kind, nats."""
    near_miss_auroc: float
    """Share of (correct, near-miss) pairs within a question that the score ranks right; 0.5: blind."""
    far_auroc: float
    """The same against far options."""
    near_miss_on_top: float
    """Share of questions whose top option is a near-miss."""
    calibration_error: float
    """Of the softmax over a question's options; probes.calibration_error."""
    brier: float
    """Of the same softmax, 0 to 2; probes.brier."""


@dataclass(frozen=True, kw_only=True)
class LikelihoodEstimates:
    """The probes of one view at one volume, seeds joined. Recomputed by likelihoods.likelihood_estimates."""

    view: str
    """positive_head (SFT), negative_head, a baseline, or likra, base_likra: differences of two heads."""
    volume: int
    """0 is the base, in every view of a head; a difference of two heads is 0 there."""
    per_option: Mapping[Kind, Estimate]
    """Mean score by kind, nats per option."""
    per_token: Mapping[Kind, Estimate]
    """Mean score by kind, nats per token."""
    near_miss_auroc: Estimate
    """Share of (correct, near-miss) pairs of a question ranked right; 0.5: blind."""
    far_auroc: Estimate
    """Share of (correct, far) pairs of a question ranked right."""
    near_miss_on_top: Estimate
    """Share of questions whose top option is a near-miss."""
    calibration_error: Estimate
    """Expected calibration error of the option softmax, mean of the seeds' own; no interval: resampled values lie above
    the truth, since noise adds to a sum of absolute values."""
    brier: Estimate
    """Brier score of the option softmax, 0 (sure and right) to 2."""


@dataclass(frozen=True, kw_only=True)
class LikelihoodContrast:
    """What training changed, at one volume. Recomputed by likelihoods.likelihood_contrast."""

    volume: int
    """The largest that both of Likra's heads have in every seed."""
    sft_change: Mapping[Kind, Estimate]
    """Under SFT, mean log-probability by kind less the base's, nats per option."""
    sft_auroc: Estimate
    """Correct against near-miss, under SFT."""
    likra_auroc: Estimate
    """Correct against near-miss, under Likra."""
    separation: Estimate
    """likra_auroc less sft_auroc, paired by question."""


def likelihood_curve(
    tables: Mapping[int, ScoreTable], scores: Mapping[int, np.ndarray] | None = None
) -> list[LikelihoodPoint]:
    """One point per volume, increasing. scores: (O,) by volume, of an arm; None: the tables' own log-probabilities."""
    return [
        likelihood_point(volume, tables[volume], tables[volume].logprob if scores is None else scores[volume])
        for volume in sorted(tables)
    ]


def likelihood_point(volume: int, table: ScoreTable, scores: np.ndarray) -> LikelihoodPoint:
    """The probes of one table under (O,) scores, larger = more plausible. Raises InputError on a shape mismatch."""
    return LikelihoodPoint(
        volume=volume,
        means=mean_logprob(table),
        near_miss_auroc=_value(probes.pairs(scores, table, "near_miss")),
        far_auroc=_value(probes.pairs(scores, table, "far")),
        near_miss_on_top=_value(probes.on_top(scores, table, "near_miss")),
        calibration_error=probes.calibration_error(scores, table),
        brier=_value(probes.brier(scores, table)),
    )


def _value(parts: probes.Parts) -> float:
    """One table's probe: all numerators over all denominators; NaN where there is nothing."""
    return ratio_of(parts.numerator[None], parts.denominator[None]).value


def likelihood_estimates(
    view: str, tables_by_seed: Mapping[int, SeedTables], *, weight: float = 1.0
) -> tuple[LikelihoodEstimates, ...]:
    """The probes of a view at 0 and every volume that some seed has, with 95 % intervals over questions and seeds.

    Raises InputError: no seed, unknown view, tables of different questions.
    """
    seeds = _seeds(tables_by_seed)
    found = []
    for volume in _volumes(view, seeds):
        scored = [(_scores(view, tables, volume, weight), tables) for tables in seeds]
        used = [(scores, tables.base) for scores, tables in scored if scores is not None]
        found.append(_estimates(view, volume, used))
    return tuple(found)


def likelihood_contrast(tables_by_seed: Mapping[int, SeedTables], *, weight: float = 1.0) -> LikelihoodContrast | None:
    """What SFT did to each kind of option, and how much better Likra tells near-misses; None without a shared volume.

    Raises InputError: no seed, tables of different questions.
    """
    seeds = _seeds(tables_by_seed)
    shared = set.intersection(*[set(tables.positive) & set(tables.negative) for tables in seeds]) - {0}
    if not shared:
        return None
    volume = max(shared)
    changes = [(tables.positive[volume].logprob - tables.base.logprob, tables.base) for tables in seeds]
    sft = [(tables.positive[volume].logprob, tables.base) for tables in seeds]
    likra = [(_given(_scores("likra", tables, volume, weight)), tables.base) for tables in seeds]
    ranked = {name: [probes.pairs(*one, "near_miss") for one in scored] for name, scored in _named(sft, likra)}
    difference = [
        probes.Parts(
            np.where(upper.denominator == lower.denominator, upper.numerator - lower.numerator, np.nan),
            upper.denominator,
        )
        for upper, lower in zip(ranked["likra"], ranked["sft"], strict=True)
    ]
    return LikelihoodContrast(
        volume=volume,
        sft_change={kind: _joined([probes.score_sum(*one, kind) for one in changes]) for kind in KINDS},
        sft_auroc=_joined(ranked["sft"], within=(0.0, 1.0)),
        likra_auroc=_joined(ranked["likra"], within=(0.0, 1.0)),
        separation=_joined(difference),
    )


Scored = list[tuple[np.ndarray, ScoreTable]]
"""(O,) scores of each seed, and the table whose options they are of."""


def _named(sft: Scored, likra: Scored) -> tuple[tuple[str, Scored], ...]:
    return ("sft", sft), ("likra", likra)


def _given(scores: np.ndarray | None) -> np.ndarray:
    assert scores is not None
    return scores


def _estimates(view: str, volume: int, scored: Scored) -> LikelihoodEstimates:
    share, errors = (0.0, 1.0), [probes.calibration_error(*one) for one in scored]
    brier = _joined([probes.brier(*one) for one in scored], within=(0.0, 2.0))
    calibration = missing(
        "Resampled values of this error lie above the truth.", questions=brier.questions, seeds=brier.seeds
    )
    return LikelihoodEstimates(
        view=view,
        volume=volume,
        per_option={kind: _joined([probes.score_sum(*one, kind) for one in scored]) for kind in KINDS},
        per_token={kind: _joined([probes.score_sum(*one, kind, per_token=True) for one in scored]) for kind in KINDS},
        near_miss_auroc=_joined([probes.pairs(*one, "near_miss") for one in scored], within=share),
        far_auroc=_joined([probes.pairs(*one, "far") for one in scored], within=share),
        near_miss_on_top=_joined([probes.on_top(*one, "near_miss") for one in scored], within=share),
        calibration_error=Estimate(**{**vars(calibration), "value": float(np.mean(errors))}),
        brier=brier,
    )


def _joined(parts: list[probes.Parts], *, within: tuple[float, float] = (-np.inf, np.inf)) -> Estimate:
    """The ratio over all seeds; an interval that leaves what is possible is cut there."""
    found = ratio_of(np.array([one.numerator for one in parts]), np.array([one.denominator for one in parts]))
    low, high = np.clip(found.interval, *within)
    return Estimate(**{**vars(found), "interval": (float(low), float(high))})


def _seeds(tables_by_seed: Mapping[int, SeedTables]) -> list[SeedTables]:
    if not tables_by_seed:
        raise InputError(where="likelihoods", field="tables_by_seed", value={}, allowed="at least one seed")
    seeds = [tables_by_seed[seed] for seed in sorted(tables_by_seed)]
    everything = [table for tables in seeds for by_volume in tables.by_head.values() for table in by_volume.values()]
    check_same_questions(everything)
    return seeds


def views(tables_by_seed: Mapping[int, SeedTables]) -> tuple[str, ...]:
    """The views these tables give: both heads, both differences, and the baselines there are."""
    baselines = {name: None for tables in tables_by_seed.values() for name in tables.baselines}
    return (*HEAD_VIEWS, *ARM_VIEWS, *baselines)


def _volumes(view: str, seeds: list[SeedTables]) -> list[int]:
    """0 and every volume at which some seed has all the tables of the view."""
    if view == "likra":
        trained = [set(tables.positive) & set(tables.negative) for tables in seeds]
    elif view == "base_likra":
        trained = [set(tables.negative) for tables in seeds]
    else:
        head = HEAD_VIEWS.get(view, view)
        if not any(head in tables.by_head for tables in seeds):
            allowed = ", ".join((*HEAD_VIEWS, *ARM_VIEWS, "or a baseline that was trained"))
            raise InputError(where="likelihoods", field="view", value=view, allowed=allowed)
        trained = [set(tables.by_head.get(head, {})) for tables in seeds]
    return sorted(set().union(*trained) | {0})


def _scores(view: str, tables: SeedTables, volume: int, weight: float) -> np.ndarray | None:
    """(O,) scores of a view at a volume; None where this seed lacks a table."""
    if view in ARM_VIEWS:
        at = {head: tables.at(head, volume) for head in ("base", "positive", "negative")}
        at["base"] = tables.base
        heads = ("positive", "negative") if view == "likra" else ("base", "negative")
        return None if any(at[head] is None for head in heads) else arm_scores(view, at, weight=weight)
    table = tables.at(HEAD_VIEWS.get(view, view), volume)
    return None if table is None else table.logprob
