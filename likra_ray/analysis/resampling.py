"""Takes per-question outcomes, returns mean curves of resampled questions and seeds: the one bootstrap of the house.

The question is the sampling unit (arXiv 2411.00640): one draw of questions serves every volume, so that differences
between volumes keep their pairing. Seeds are drawn in an outer level, independently of the questions (the pigeonhole
bootstrap of Owen, doi 10.1214/07-AOAS122; it counts the scatter of single answers more than once, so it is wide where
seeds agree). Few seeds remain few: two or three that differ give too narrow an interval; critical_phase has figures.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

RESAMPLES = 1000
"""Draws behind a percentile interval: Efron & Tibshirani (1993), section 13.3, ask for about 1000."""
PERCENTILES = (2.5, 97.5)
"""95 %."""


class Draws(NamedTuple):
    """How often each question and each seed stands in each of B resamples."""

    questions: np.ndarray
    """(B, Q) float64 counts, each row sums to Q."""
    seeds: np.ndarray
    """(B, S) float64 counts, each row sums to S; all ones for one seed."""


def draw(*, questions: int, seeds: int, resamples: int, rng: np.random.Generator) -> Draws:
    """Multinomial counts of `resamples` draws with replacement."""
    return Draws(_counts(questions, resamples, rng), _counts(seeds, resamples, rng))


def _counts(items: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """(B, N): counting uniform indices gives the multinomial draw several times faster than Generator.multinomial."""
    if items == 1:
        return np.ones((resamples, 1))
    picked = rng.integers(items, size=(resamples, items)) + items * np.arange(resamples)[:, None]
    return np.bincount(picked.ravel(), minlength=resamples * items).reshape(resamples, items).astype(np.float64)


def means(outcomes: np.ndarray) -> np.ndarray:
    """(V,): mean over the seeds and questions measured at each volume, of (S, V, Q); NaN where none is measured."""
    measured = ~np.isnan(outcomes)
    total = np.where(measured, outcomes, 0.0).sum(axis=(0, 2))
    return _ratio(total, measured.sum(axis=(0, 2)).astype(np.float64))


def resampled_means(outcomes: np.ndarray, draws: Draws) -> np.ndarray:
    """(B, V): `means` of every draw, of (S, V, Q); a draw without one measurement at a volume is NaN there."""
    total = np.zeros((len(draws.questions), outcomes.shape[1]))
    weight = np.zeros_like(total)
    for seed, outcome in enumerate(outcomes):
        measured = ~np.isnan(outcome)
        times = draws.seeds[:, seed, None]
        total += times * (draws.questions @ np.where(measured, outcome, 0.0).T)
        weight += times * (draws.questions @ measured.T.astype(np.float64))
    return _ratio(total, weight)


def resampled_means_by_draw(outcomes: np.ndarray, draws: Draws) -> np.ndarray:
    """`resampled_means` as its definition reads, draw by draw: the reference the fast one is tested against."""
    rows = []
    for question_counts, seed_counts in zip(draws.questions, draws.seeds, strict=True):
        questions = np.repeat(np.arange(outcomes.shape[2]), question_counts.astype(int))
        seeds = np.repeat(np.arange(outcomes.shape[0]), seed_counts.astype(int))
        rows.append(means(outcomes[seeds][:, :, questions]))
    return np.array(rows)


def interval(draws: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval of (B,) values, those that are NaN left out; (NaN, NaN) if all are."""
    kept = draws[~np.isnan(draws)]
    if len(kept) == 0:
        return float("nan"), float("nan")
    low, high = np.percentile(kept, PERCENTILES)
    return float(low), float(high)


def _ratio(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0))
