"""Takes per-question outcomes, returns mean curves of resampled questions and intervals: the house's one bootstrap.

The question is the sampling unit (arXiv 2411.00640): one draw of questions serves every volume and every seed, so that
differences keep their pairing. Resampling seeds as well would count the scatter of single answers twice, and two or
three of them are too few to resample. Instead an interval over questions is widened by what the seeds say, in a
crossed analysis of variance, seeds by questions with one answer in each cell (Satterthwaite 1946 for its degrees of
freedom). With one seed nothing is known about other runs and nothing is widened.
"""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

RESAMPLES = 1000
"""Draws behind a percentile interval: Efron & Tibshirani (1993), section 13.3, ask for about 1000."""
PERCENTILES = (2.5, 97.5)
"""95 %."""
NORMAL_95 = 1.959964
"""Standard normal quantile at 97.5 %."""
TWO_SEEDS = 7.9
"""Standard errors over two seeds that an interval reaches: Student's t with one degree of freedom, 92 %.

With two seeds Satterthwaite's rule jumps from a normal quantile to t with one degree of freedom where the seeds' mean
square passes the rest's: it covers 90-92 % where runs differ, at three times the width. Measured: docs/locate.md.
"""


def draw(*, questions: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """(B, Q) float64: how often each question stands in each of B resamples with replacement; rows sum to Q."""
    if questions == 1:
        return np.ones((resamples, 1))
    # Counting uniform indices gives the multinomial draw several times faster than Generator.multinomial.
    picked = rng.integers(questions, size=(resamples, questions)) + questions * np.arange(resamples)[:, None]
    counts = np.bincount(picked.ravel(), minlength=resamples * questions)
    return counts.reshape(resamples, questions).astype(np.float64)


def means(outcomes: np.ndarray) -> np.ndarray:
    """(V,): mean over the seeds and questions measured at each volume, of (S, V, Q); NaN where none is measured."""
    measured = ~np.isnan(outcomes)
    total = np.where(measured, outcomes, 0.0).sum(axis=(0, 2))
    return _ratio(total, measured.sum(axis=(0, 2)).astype(np.float64))


def resampled_means(outcomes: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """(B, V): `means` of every draw, of (S, V, Q); a draw without one measurement at a volume is NaN there."""
    measured = ~np.isnan(outcomes)
    total = np.where(measured, outcomes, 0.0).sum(axis=0)
    return _ratio(draws @ total.T, draws @ measured.sum(axis=0).T.astype(np.float64))


def resampled_means_by_draw(outcomes: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """`resampled_means` as its definition reads, draw by draw: the reference the fast one is tested against."""
    picked = [np.repeat(np.arange(outcomes.shape[2]), counts.astype(int)) for counts in draws]
    return np.array([means(outcomes[:, :, questions]) for questions in picked])


def gradient(curves: np.ndarray, statistic: np.ndarray) -> np.ndarray:
    """(V,) by how much a statistic moves per unit of each volume's mean: least squares over the resamples.

    curves: (B, V) resampled means; statistic: (B,) of the same draws. Exact for a linear statistic; for a fitted
    midpoint it is the straight line through what resampling did to it. Draws with a NaN are left out.
    """
    kept = ~(np.isnan(curves).any(axis=1) | np.isnan(statistic))
    if kept.sum() < 2:
        return np.zeros(curves.shape[1])
    moved = curves[kept] - curves[kept].mean(axis=0)
    return np.asarray(np.linalg.lstsq(moved, statistic[kept] - statistic[kept].mean(), rcond=None)[0])


def influences(outcomes: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """(S, Q): what each cell's answers do to  slope @ means(outcomes), times S Q, about 0; of (S, V, Q) and (V,).

    Of an outcome that was not measured nothing is known, so it moves nothing: 0, and its volume's mean rests on the
    others with more weight each. Seeds without an outcome at any volume that counts (slope not 0) are left out.
    """
    used = np.flatnonzero(slope)
    measured = ~np.isnan(outcomes[:, used])
    rows = measured.any(axis=(1, 2))
    outcomes, measured = outcomes[rows][:, used], measured[rows]
    counts = measured.sum(axis=(0, 2)).astype(np.float64)
    weight = _ratio(slope[used], counts) * measured.shape[0] * measured.shape[2]
    residual = np.where(measured, outcomes - means(outcomes)[:, None], 0.0)
    return np.asarray(np.einsum("svq,v->sq", residual, np.nan_to_num(weight)))


def widening(influence: np.ndarray, *, plausible: float = float("inf")) -> float:
    """By what factor an interval over questions becomes one over questions and training runs; at least 1.

    influence: (S, Q), one of `influences`. With the mean squares of the crossed analysis of variance, the variance of
    the statistic is  max(seed + question - rest, question) / (S Q): the runs' own scatter is added where it exceeds
    what single answers explain. Its quantile is Student's t with Satterthwaite's degrees of freedom. Two seeds:
    TWO_SEEDS. 1 with one seed, one question, or where questions do not scatter at all.

    plausible: standard deviation between runs, in the statistic's unit, beyond which nobody would believe them to
    differ unless they are seen to. Two or three runs say so little that t goes beyond anything plausible: the interval
    reaches no further than if that deviation, or the one seen where it is larger, were known.
    """
    seeds, questions = influence.shape
    if seeds < 2 or questions < 2:
        return 1.0
    of_seed, of_question = influence.mean(axis=1), influence.mean(axis=0)
    rest = influence - of_seed[:, None] - of_question + influence.mean()
    freedoms = np.array([seeds - 1, questions - 1, (seeds - 1) * (questions - 1)])
    sizes = np.array([questions * seeds, seeds * questions, rest.size])
    by_seed, by_question, by_rest = sizes * [of_seed.var(), of_question.var(), rest.var()] / freedoms
    if not by_question > 0.0:
        return 1.0
    if seeds == 2:
        half = TWO_SEEDS * float(np.sqrt(by_seed))
    else:
        variance = max(by_seed + by_question - by_rest, by_question)
        freedom = variance**2 / float((np.array([by_seed, by_question, by_rest]) ** 2 / freedoms).sum())
        half = float(stdtrit(freedom, 0.975) * np.sqrt(variance))
    known = NORMAL_95 * float(np.sqrt(by_question + max(questions * plausible**2, by_seed)))
    return max(1.0, min(half, known) / (NORMAL_95 * float(np.sqrt(by_question))))


def interval(draws: np.ndarray, *, estimate: float = float("nan"), widened: float = 1.0) -> tuple[float, float]:
    """95 % percentile interval of (B,) values, those that are NaN left out; (NaN, NaN) if all are.

    widened: stretches the draws about the estimate, by `widening`.
    """
    kept = draws[~np.isnan(draws)]
    if len(kept) == 0:
        return float("nan"), float("nan")
    low, high = (float(end) for end in np.percentile(kept, PERCENTILES))
    if widened == 1.0:
        return low, high
    return estimate + widened * (low - estimate), estimate + widened * (high - estimate)


def _ratio(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0))
