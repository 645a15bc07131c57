"""Takes score tables, returns what happened to the likelihood of near-misses.

The probes of arXiv 2407.10490 and 2410.08847, from tables already scored; arms.mean_logprob has the means by kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from likra_ray.analysis.arms import CORRECT, NEAR_MISS, KindMeans, mean_logprob, question_starts, tied_share
from likra_ray.records import ScoreTable


class LikelihoodPoint(NamedTuple):
    """How one head sees correct, near-miss and far options at one volume."""

    volume: int
    """Training examples the head has seen."""
    means: KindMeans
    """Mean log-probability by kind, nats."""
    near_miss_auroc: float
    """Share of (correct, near-miss) pairs within a question that the score ranks right; 0.5: blind."""
    near_miss_on_top: float
    """Share of questions whose top option is a near-miss."""


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
    return LikelihoodPoint(volume, mean_logprob(table), near_miss_auroc(scores, table), near_miss_on_top(scores, table))


def near_miss_auroc(scores: np.ndarray, table: ScoreTable) -> float:
    """Share of (correct, near-miss) pairs of one question where the correct option scores higher; ties count half.

    Pairs weigh alike, whichever question they belong to. A pair with a NaN score is left out; NaN if no pair is left.
    Raises InputError: shape mismatch, a question without options.
    """
    starts = question_starts(scores, table)
    usable = ~np.isnan(scores)
    right = pairs = 0.0
    longest = int(np.diff(np.append(starts, len(scores))).max())
    for step in range(1, longest):  # pairs of options `step` rows apart: few rows per question, all questions at once
        same = table.question[step:] == table.question[:-step]
        both = same & usable[step:] & usable[:-step]
        later, earlier = scores[step:], scores[:-step]
        for correct, near_miss, difference in (
            (table.kind[step:], table.kind[:-step], later - earlier),
            (table.kind[:-step], table.kind[step:], earlier - later),
        ):
            chosen = difference[both & (correct == CORRECT) & (near_miss == NEAR_MISS)]
            right += float((chosen > 0).sum() + 0.5 * (chosen == 0).sum())
            pairs += len(chosen)
    return right / pairs if pairs else float("nan")


def near_miss_auroc_by_pair(scores: np.ndarray, table: ScoreTable) -> float:
    """`near_miss_auroc` as its definition reads, pair by pair: the reference the fast one is tested against."""
    ranked = []
    for question in range(len(table.question_ids)):
        rows = np.flatnonzero(table.question == question)
        for correct in rows[table.kind[rows] == CORRECT]:
            for near_miss in rows[table.kind[rows] == NEAR_MISS]:
                difference = scores[correct] - scores[near_miss]
                if not np.isnan(difference):
                    ranked.append(1.0 if difference > 0 else 0.5 if difference == 0 else 0.0)
    return float(np.mean(ranked)) if ranked else float("nan")


def near_miss_on_top(scores: np.ndarray, table: ScoreTable) -> float:
    """Share of questions whose top option is a near-miss, ties shared; over questions without NaN, NaN if none is."""
    shares = tied_share(scores, table, NEAR_MISS)
    measured = shares[~np.isnan(shares)]
    return float(measured.mean()) if len(measured) else float("nan")
