"""Takes per-question contrasts or resampled values, returns an estimate with its interval and what it rests on.

A mean of contrasts needs no resampling: its interval over questions is a normal one, widened by what the seeds say
(resampling.widening), like every interval of the house. With one seed it is conditional on that training run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from likra_ray.analysis.resampling import (
    NORMAL_95,
    PERCENTILES,
    RESAMPLES,
    draw,
    influences,
    means,
    resampled_means,
    widening,
)

NO_INTERVAL = (float("nan"), float("nan"))
"""The interval of what has none."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One number with its 95 % interval. Where it has none, the value or the interval is NaN and `reason` says why."""

    value: float
    """In the unit its owner names."""
    interval: tuple[float, float]
    """95 %; an end may be infinite where what was measured does not bound it."""
    questions: int
    """Questions it rests on."""
    seeds: int
    """Seeds it rests on; with one the interval is conditional on that training run."""
    reason: str = ""
    """Why value or interval is missing; empty where both are there."""

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval; False where there is none, or one of no width (all answers alike)."""
        low, high = self.interval
        return low < high and (low > 0.0 or high < 0.0)


def missing(reason: str, *, questions: int = 0, seeds: int = 0) -> Estimate:
    """No estimate, and why."""
    return Estimate(value=float("nan"), interval=NO_INTERVAL, questions=questions, seeds=seeds, reason=reason)


def mean_of(contrasts: np.ndarray) -> Estimate:
    """The mean of (S, Q) contrasts, NaN where not measured, with its interval over questions and seeds."""
    return ratio_of(contrasts, np.ones_like(contrasts))


def ratio_of(numerator: np.ndarray, denominator: np.ndarray) -> Estimate:
    """Sum of (S, Q) numerators over sum of denominators, linearised about the estimate (the delta method).

    A NaN in either leaves that answer out; a denominator of 0 counts for nothing. Questions and seeds that have
    nothing at all are not counted. No estimate where nothing is left, no interval from one question.
    """
    used = ~np.isnan(numerator) & ~np.isnan(denominator) & (denominator != 0.0)
    used_seeds, used_questions = used.any(axis=1), used.any(axis=0)
    seeds, questions = int(used_seeds.sum()), int(used_questions.sum())
    if not questions:
        return missing("Nothing was measured.")
    top, bottom = np.where(used, numerator, 0.0), np.where(used, denominator, 0.0)
    value = float(top.sum() / bottom.sum())
    if questions < 2:
        return Estimate(
            value=value, interval=NO_INTERVAL, questions=1, seeds=seeds, reason="One question has no interval."
        )
    influence = ((top - value * bottom) * seeds * questions / bottom.sum())[used_seeds][:, used_questions]
    half = half_width(influence)
    return Estimate(value=value, interval=(value - half, value + half), questions=questions, seeds=seeds)


def half_width(influence: np.ndarray) -> float:
    """Of the 95 % interval of a mean whose (S, Q) influences these are, about 0, over questions and seeds."""
    by_question = influence.mean(axis=0)
    return float(NORMAL_95 * by_question.std(ddof=1) / np.sqrt(len(by_question)) * widening(influence))


def curve_draws(outcomes: np.ndarray, *, rng: np.random.Generator, resamples: int = RESAMPLES) -> np.ndarray:
    """(B, V) resampled mean curves of (S, V, Q) outcomes: questions are drawn once for all volumes and seeds, then each
    volume's draws are spread about its mean by what its seeds say. Draws without an outcome at some volume are left
    out."""
    drawn = resampled_means(outcomes, draw(questions=outcomes.shape[2], resamples=resamples, rng=rng))
    drawn = drawn[~np.isnan(drawn).any(axis=1)]
    wider = np.array([widening(influences(outcomes, slope)) for slope in np.eye(outcomes.shape[1])])
    centre = means(outcomes)
    return np.asarray(centre + wider * (drawn - centre))


def ordered_interval(draws: np.ndarray) -> tuple[float, float]:
    """95 % interval of (B,) values, some of them infinite: its ends are values among them. (NaN, NaN) of none."""
    if len(draws) == 0:
        return NO_INTERVAL
    low, high = np.percentile(draws, PERCENTILES, method="inverted_cdf")
    return float(low), float(high)
