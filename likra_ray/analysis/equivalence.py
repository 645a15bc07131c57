"""Takes learning curves, returns how many examples a target accuracy needs and how many positives a negative is worth.

Data equivalence in the sense of arXiv 2406.14532: what one kind of example is worth, counted in examples of another
that reach the same accuracy. The paper's claim (arXiv 2503.14391) is about ten positives for a negative.

A curve is made to rise (isotonic regression of its mean over volumes, each volume alike) before it is read backwards;
between volumes it is linear in log2 examples, between 0 and the first positive volume linear in examples.

Measured on planted curves (200 draws a cell, 200 to 1,000 questions; benchmarks/equivalence_coverage.py): the 95 %
intervals hold the truth in 94 to 100 %, with one seed, two or five, and in 89 to 97 % with three: least where those
differ, as every interval of the house that is widened by three seeds. Inside a phase an estimate is off by 0.03 to 0.2
doublings in the median; on SFT's slow rise by 0.3 to 0.8, and the intervals say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import isotonic_regression

from likra_ray.analysis.estimates import curve_draws, ordered_interval
from likra_ray.analysis.resampling import means
from likra_ray.errors import InputError
from likra_ray.records import LearningCurve

ROUNDING = 1e-9
"""Accuracy below which a curve still counts as having reached its target: means of blocks round off."""
STEP = 0.05
"""Accuracy between the targets above SFT's best."""


@dataclass(frozen=True, kw_only=True)
class Needed:
    """Examples at which an arm's curve reaches a target accuracy. Recomputed by equivalence.volume_needed."""

    arm: str
    target: float
    """Accuracy asked for."""
    meaning: str
    """Why this target: ``the base's accuracy``, ``SFT's best``, ``SFT's best + .05``, ..."""
    volume: float | None
    """Examples each head of the arm has then seen, interpolated; None: not reached."""
    interval: tuple[float, float]
    """95 %, examples; infinite above where over 2.5 % of the resamples do not reach it, from the last volume on where
    nearly none does."""
    at_least: float | None
    """Where it is not reached: the last volume measured, more than which are needed; None where reached."""
    reached_share: float
    """Share of the resamples that reach the target within the volumes measured."""
    questions: int
    seeds: int
    reason: str
    """One sentence: what the number rests on, or why there is none."""


Comparison = Literal["measured", "at least", "below the base"]


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """What one negative was worth, in positives, at one volume. Recomputed by equivalence.data_equivalence."""

    volume: int
    """n: positives and negatives Likra has seen, n of each."""
    accuracy: float
    """Likra's there."""
    status: Comparison
    """measured; at least: SFT never gets there, so the number is a bound; below the base: no positive needed at all."""
    positives: float
    """m: positives SFT alone needs for that accuracy; NaN unless measured."""
    worth: float
    """(m - n) / n: positives one negative was worth; NaN unless measured."""
    interval: tuple[float, float]
    """95 %, of worth; infinite above where SFT does not get there in over 2.5 % of the resamples; -1 is "below the
    base", as if no example at all were enough."""
    at_least: float
    """(M - n) / n with SFT's last volume M, where the status is "at least"; else NaN."""
    reached_share: float
    """Share of the resamples in which SFT gets there."""
    questions: int
    seeds: int
    reason: str
    """One sentence."""


def volume_needed(
    curve: LearningCurve, target: float, *, rng: np.random.Generator, meaning: str = "a target accuracy"
) -> Needed:
    """Examples each head of the arm needs for an accuracy; "not reached" is a bound, never a number.

    The interval resamples questions, the same draw at every volume, and is widened volume by volume by what the seeds
    say before the curve is made to rise; its ends are order statistics, so that "not reached" may be one of them.
    Raises InputError: one volume, a volume or question without an outcome, a target outside [0, 1].
    """
    return volumes_needed(curve, [(target, meaning)], rng=rng)[0]


def volumes_needed(
    curve: LearningCurve, asked: Sequence[tuple[float, str]], *, rng: np.random.Generator
) -> list[Needed]:
    """`volume_needed` for several (target, meaning), which share their resamples."""
    _check(curve)
    for target, _ in asked:
        if not 0.0 <= target <= 1.0:
            raise InputError(where="volume_needed", field="target", value=target, allowed="an accuracy in [0, 1]")
    rising = isotonic(means(curve.outcomes)[None])
    resampled = isotonic(curve_draws(curve.outcomes, rng=rng))
    return [_needed(curve, target, meaning, rising, resampled) for target, meaning in asked]


def _needed(curve: LearningCurve, target: float, meaning: str, rising: np.ndarray, resampled: np.ndarray) -> Needed:
    """One target; rising: (1, V), resampled: (B, V)."""
    volume = float(reached(curve.volumes, rising, np.array([target]))[0])
    draws = reached(curve.volumes, resampled, np.full(len(resampled), target))
    last, found = int(curve.volumes[-1]), np.isfinite(volume)
    if not found:
        reason = f"Not reached: {rising[0, -1]:.3f} at the last volume, {last} examples."
    elif volume == curve.volumes[0]:
        reason = f"The curve is there at its first volume, {volume:.0f} examples."
    else:
        reason = f"The rising curve passes {target:.3f} at {volume:.0f} examples."
    seeds, _, questions = curve.outcomes.shape
    return Needed(
        arm=curve.arm,
        target=float(target),
        meaning=meaning,
        volume=volume if found else None,
        interval=censored_interval(draws, float(last)),
        at_least=None if found else float(last),
        reached_share=float(np.isfinite(draws).mean()),
        questions=questions,
        seeds=seeds,
        reason=reason,
    )


def censored_interval(draws: np.ndarray, bound: float) -> tuple[float, float]:
    """95 % interval of (B,) values of which the infinite are only known to lie above `bound`."""
    low, high = ordered_interval(draws)
    return (bound if np.isinf(low) else low), high


def targets(sft: LearningCurve, arms: Sequence[LearningCurve]) -> list[tuple[float, str]]:
    """Accuracies a buyer of data may ask for: the base's, SFT's best, and steps of STEP above that as far as some arm
    gets, one at least. The best are read off curves made to rise, so that SFT reaches its own."""
    start, top = means(sft.outcomes)[0], isotonic(means(sft.outcomes)[None])[0, -1]
    best = max(float(isotonic(means(curve.outcomes)[None])[0, -1]) for curve in (sft, *arms))
    lowest = [(float(start), "the base's accuracy"), (float(top), "SFT's best")]
    if top - start < ROUNDING:
        lowest = [(float(top), "the base's accuracy, which SFT never exceeds")]
    steps = max(1, int((best - top) / STEP + ROUNDING))
    above = [(float(top) + STEP * step, f"SFT's best + {STEP * step:.2f}") for step in range(1, steps + 1)]
    return [*lowest, *[(target, meaning) for target, meaning in above if target <= 1.0]]


def data_equivalence(likra: LearningCurve, sft: LearningCurve, *, rng: np.random.Generator) -> list[Equivalence]:
    """At each volume n > 0 of Likra: SFT alone needs m positives for the same accuracy, so a negative is worth (m-n)/n.

    Both curves share every resample of questions. Likra's accuracy is read as measured, SFT's curve made to rise.
    Raises InputError: curves of different questions or seeds, one volume, a volume without a measurement.
    """
    _check(likra)
    _check(sft)
    if likra.question_ids != sft.question_ids or len(likra.outcomes) != len(sft.outcomes):
        shown = [(curve.arm, *curve.outcomes.shape) for curve in (likra, sft)]
        raise InputError(where="data_equivalence", field="curves", value=shown, allowed="the same questions and seeds")
    both = np.concatenate((likra.outcomes, sft.outcomes), axis=1)
    drawn = curve_draws(both, rng=rng)
    likra_draws, sft_draws = drawn[:, : len(likra.volumes)], isotonic(drawn[:, len(likra.volumes) :])
    accuracies, rising = means(likra.outcomes), isotonic(means(sft.outcomes)[None])
    rows = []
    for column, volume in enumerate(likra.volumes.tolist()):
        if volume > 0:
            m = float(reached(sft.volumes, rising, accuracies[[column]])[0])
            draws = reached(sft.volumes, sft_draws, likra_draws[:, column])
            below = accuracies[column] < rising[0, 0] - ROUNDING
            draws = np.where(likra_draws[:, column] < sft_draws[:, 0] - ROUNDING, 0.0, draws)
            rows.append(_equivalence(likra, sft, (volume, float(accuracies[column])), 0.0 if below else m, draws))
    return rows


def _equivalence(
    likra: LearningCurve, sft: LearningCurve, point: tuple[int, float], needed: float, draws: np.ndarray
) -> Equivalence:
    """One row; needed: m, 0 where Likra is below the base, inf where SFT never gets there."""
    (volume, accuracy), last, nan = point, int(sft.volumes[-1]), float("nan")
    start = float(isotonic(means(sft.outcomes)[None])[0, 0])
    status: Comparison
    if accuracy < start - ROUNDING:
        status, reason = "below the base", f"Likra, {accuracy:.3f}, is below where SFT starts, {start:.3f}."
    elif np.isinf(needed):
        status, reason = "at least", f"SFT never reaches {accuracy:.3f} within its {last} positives."
    else:
        status, reason = "measured", f"SFT alone needs {needed:.0f} positives for {accuracy:.3f}."
    measured = status == "measured"
    seeds, _, questions = likra.outcomes.shape
    return Equivalence(
        volume=volume,
        accuracy=accuracy,
        status=status,
        positives=needed if measured else nan,
        worth=(needed - volume) / volume if measured else nan,
        interval=censored_interval((draws - volume) / volume, (last - volume) / volume),
        at_least=(last - volume) / volume if status == "at least" else nan,
        reached_share=float(np.isfinite(draws).mean()),
        questions=questions,
        seeds=seeds,
        reason=reason,
    )


def isotonic(curves: np.ndarray) -> np.ndarray:
    """(B, V) non-decreasing curves nearest to (B, V) ones in least squares, every volume weighing alike.

    By the max-min formula of Robertson, Wright & Dykstra (1988), theorem 1.4.4: at i the largest over j <= i of the
    smallest over k >= i of the mean from j to k. NaN anywhere in a curve makes all of it from there on NaN.
    """
    _, volumes = curves.shape
    sums = np.concatenate((np.zeros((len(curves), 1)), np.cumsum(curves, axis=1)), axis=1)
    rising = np.full(curves.shape, -np.inf)
    for start in range(volumes):
        block_means = (sums[:, start + 1 :] - sums[:, [start]]) / np.arange(1, volumes - start + 1)
        least = np.minimum.accumulate(block_means[:, ::-1], axis=1)[:, ::-1]
        rising[:, start:] = np.maximum(rising[:, start:], least)
    return rising


def isotonic_by_curve(curves: np.ndarray) -> np.ndarray:
    """`isotonic` by scipy's pool-adjacent-violators, curve by curve: the reference the fast one is tested against."""
    return np.array([isotonic_regression(curve).x for curve in curves])


def reached(volumes: np.ndarray, rising: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """(B,) examples at which each rising curve (B, V) first has its level (B,); inf where it never has.

    The first volume where a curve starts at its level or above.
    """
    there = rising >= levels[:, None] - ROUNDING
    after = there.argmax(axis=1)
    before = np.maximum(after - 1, 0)
    rows = np.arange(len(rising))
    low, high = rising[rows, before], rising[rows, after]
    part = np.divide(levels - low, high - low, out=np.ones(len(rising)), where=high > low)
    left, right = volumes[before].astype(np.float64), volumes[after].astype(np.float64)
    doubling = left * (right / np.maximum(left, 1.0)) ** np.clip(part, 0.0, 1.0)
    examples = np.where(left > 0, doubling, right * np.clip(part, 0.0, 1.0))
    return np.where(there.any(axis=1), np.where(after == 0, volumes[0], examples), np.inf)


def reached_by_curve(volumes: Sequence[int] | np.ndarray, curve: np.ndarray, level: float) -> float:
    """`reached` as its definition reads, for one curve: the reference the fast one is tested against."""
    if curve[0] >= level - ROUNDING:
        return float(volumes[0])
    for left, right, low, high in zip(volumes[:-1], volumes[1:], curve[:-1], curve[1:], strict=True):
        if high >= level - ROUNDING:
            part = min((level - low) / (high - low), 1.0)
            return float(right * part if left == 0 else 2.0 ** (np.log2(left) + part * np.log2(right / left)))
    return float("inf")


def _check(curve: LearningCurve) -> None:
    """Raises InputError unless the curve has two increasing volumes or more, each measured somewhere."""
    where, shown = f"curve of {curve.arm}", curve.volumes.tolist()
    if len(shown) < 2 or np.any(np.diff(curve.volumes) <= 0):
        raise InputError(where=where, field="volumes", value=shown, allowed="two or more volumes, increasing")
    empty = [volume for volume, mean in zip(shown, means(curve.outcomes), strict=True) if np.isnan(mean)]
    if empty:
        raise InputError(where=where, field=f"volume {empty[0]}", value=float("nan"), allowed="one outcome or more")
    unasked = np.flatnonzero(np.isnan(curve.outcomes).all(axis=(0, 1)))
    if len(unasked):
        name = curve.question_ids[unasked[0]]
        raise InputError(where=where, field=f"question {name}", value=float("nan"), allowed="one outcome or more")
