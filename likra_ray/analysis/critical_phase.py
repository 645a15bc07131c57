"""Takes a learning curve's outcomes, returns its critical phase: where accuracy jumps, or why no jump was located.

A logistic in log2 n has to beat three simpler stories, a constant, a log-linear rise and smooth diminishing returns,
by generalised least squares with the covariance of the checkpoints (they share questions, so they move together).

n = 0 is no point on a log axis. The logistic in log2 n is at its lower asymptote there, exactly; so n = 0 anchors where
the rise starts from, as it should: both heads of a Likra arm equal the base there and its accuracy is chance. The
diminishing-returns family is written in n and needs no convention; log-linear has n = 0 one doubling before the first
positive volume. Where the first trained volume lies clearly below it, volume 0 is left out: the rise is from the dip.

Intervals resample questions, one draw for every volume, and seeds in an outer level, and refit. A bootstrap of a jump's
place is inconsistent where the change is discontinuous (arXiv 1101.1032); the logistic is smooth and never narrower
than fits.NARROWEST (a quarter) of the median spacing of the volumes, and the interval of a change sharper than that is
too narrow. With one seed an interval is conditional on that training run: it says what other questions would have
shown, not what another run would. With several it is wide where seeds agree (measured, 150 draws: 99 % covered instead
of 95) and narrow where few of them differ (midpoints 0.3 doublings apart: 79 % covered with two seeds, 87 % with
three, 93 % with five).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import chdtri

from likra_ray.analysis import fits
from likra_ray.analysis.resampling import draw, interval, means, resampled_means
from likra_ray.errors import InputError
from likra_ray.records import CriticalPhase

REFITS = 400
"""Draws behind each interval: the 2.5 % tail then holds ten of them, at about a tenth of a second per locate."""
CLEARLY = float(2.0 * np.log(10.0))
"""BIC by which the logistic must beat each alternative: odds of ten to one, "strong" in Jeffreys (1961), appendix B.

Measured by simulation (100 draws a cell, 300 questions): exponential saturation, the null nearest to a phase, then
gives 1 to 5 % false alarms, the other nulls none; at 2 it gives 12 %.
"""
WIDEST_INTERVAL = 2.0
"""Doublings the midpoint's interval must stay under: design section 7."""
LOGISTIC_PARAMETERS = 4
"""Level, gain, midpoint, width; as many as diminishing returns has (level, gain, offset, power)."""
MISFIT_TAIL = 0.05
"""A misfit is put down to sampling noise unless chi-square gives it less than this chance; see `_dispersion`."""
CLEAR_DIP = 3.0
"""Standard errors over questions by which volume 0 must lie above the next: about one chance in a thousand."""
ANY_GAIN = (-np.inf, np.inf)
UPWARD_GAIN = (0.0, 1.0)
"""A critical phase is a rise, and accuracy cannot rise by more than 1."""


class Comparison(NamedTuple):
    """BIC of an alternative less that of the logistic; positive: the logistic is better."""

    constant: float
    log_linear: float
    diminishing: float


class Located(NamedTuple):
    """The best logistic of each of B curves."""

    midpoint: np.ndarray
    """(B,) log2 examples at half of the rise."""
    width: np.ndarray
    """(B,) doublings from 10 % to 90 % of the rise."""
    gain: np.ndarray
    """(B,) accuracy between the asymptotes."""


def locate(volumes: Sequence[int] | np.ndarray, correct: np.ndarray, *, rng: np.random.Generator) -> CriticalPhase:
    """Where a learning curve jumps, with 95 % intervals, or one sentence that says which test it failed.

    volumes: (V,) increasing integers, the first may be 0.
    correct: (S, V, Q) or (V, Q) in [0, 1]: seed, volume, question. NaN is "not measured": the mean of a volume is over
    what was measured there, a resample without any measurement at some volume is left out.
    Onset and end are where 10 % and 90 % of the gain are reached, by the fitted logistic. Estimates do not depend on
    the order of questions or seeds; intervals do only as they depend on the draws of `rng`.

    Raises InputError: volumes not increasing integers, fewer than two; shapes that do not match; values outside [0, 1];
    a question, volume or seed without one measurement (dropping it silently would change what the verdict rests on).
    """
    checked_volumes = _checked_volumes(volumes)
    checked_volumes, outcomes = _after_a_dip(checked_volumes, _checked_outcomes(correct, checked_volumes))
    seeds, volume_count, questions = outcomes.shape

    def refused(reason: str) -> CriticalPhase:
        return CriticalPhase(found=False, reason=reason, questions=questions, seeds=seeds)

    if volume_count <= LOGISTIC_PARAMETERS:
        needed = LOGISTIC_PARAMETERS + 1
        return refused(
            f"{volume_count} volumes cannot test a logistic of four parameters: at least {needed} are needed."
        )
    if questions < 2 * volume_count:
        needed = 2 * volume_count
        return refused(
            f"{questions} questions are too few for the covariance of {volume_count} volumes: {needed} needed."
        )
    curve = means(outcomes)
    covariance = checkpoint_covariance(outcomes)
    shapes = fits.logistic_shapes(checked_volumes)
    logistic = fits.project(shapes, covariance, UPWARD_GAIN)
    fitted = fits.fit(curve[None], logistic)
    best = _located(fitted, shapes)
    comparison = _compare(checked_volumes, curve, covariance, float(fitted.misfit[0]))
    draws = draw(questions=questions, seeds=seeds, resamples=REFITS, rng=rng)
    curves = resampled_means(outcomes, draws)
    refits = _located(fits.fit(curves[~np.isnan(curves).any(axis=1)], logistic), shapes)
    failed = _failed_gate(comparison, best, refits, checked_volumes)
    if failed:
        return refused(failed)
    return _phase(best, refits, reason=_verdict(comparison, seeds), questions=questions, seeds=seeds)


def _after_a_dip(volumes: np.ndarray, outcomes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The curve without volume 0 where the first trained volume lies clearly below it, else as it is.

    A negative head first makes every answer of its kind likelier, so Base-Likra falls below chance before it rises
    (measured on the atlas: .20 at 0, .05 at 16, .34 at 256). The rise then starts from the dip: a fit that has to
    start at volume 0 would call the whole curve flat.
    """
    fall = np.nanmean(outcomes[:, 0] - outcomes[:, 1], axis=0) if volumes[0] == 0 else np.zeros(2)
    spread = float(np.nanstd(fall, ddof=1)) / np.sqrt(np.count_nonzero(~np.isnan(fall)))
    if float(np.nanmean(fall)) > CLEAR_DIP * spread > 0:
        return volumes[1:], outcomes[:, 1:]
    return volumes, outcomes


def checkpoint_covariance(outcomes: np.ndarray) -> np.ndarray:
    """(V, V) covariance of the mean curve of (S, V, Q) outcomes over questions, positive definite.

    From each question's influence on the means, so that NaN needs no pairwise deletion. Covariances are shrunk by
    V / (V + Q), more where questions are few. A volume's variance is at least half of the median one: where every
    question ties (volume 0) it is zero, but no curve is known so well that it should pin the fit there.
    """
    _, volume_count, questions = outcomes.shape
    measured = ~np.isnan(outcomes)
    residuals = np.where(measured, outcomes - means(outcomes)[None, :, None], 0.0)
    influence = residuals.sum(axis=0) / measured.sum(axis=(0, 2))[:, None]
    covariance = influence @ influence.T * questions / (questions - 1)
    variance = np.diag(covariance)
    varying = variance[variance > 0]
    least = 0.5 * float(np.median(varying)) if len(varying) else 0.25 / questions  # 0.25: the largest a share can have
    covariance = covariance * questions / (volume_count + questions)
    np.fill_diagonal(covariance, np.maximum(variance, least))
    return np.asarray(covariance)


def _located(found: fits.Fits, shapes: fits.Shapes) -> Located:
    return Located(shapes.midpoints[found.shape], shapes.widths[found.shape], found.gain)


def _compare(volumes: np.ndarray, curve: np.ndarray, covariance: np.ndarray, misfit: float) -> Comparison:
    """BIC of the three alternatives less the logistic's, whose misfit is given; misfits in units of the dispersion."""
    dispersion = _dispersion(misfit, len(volumes) - LOGISTIC_PARAMETERS)

    def beaten_by(shapes: fits.Shapes, parameters: int) -> float:
        alternative = fits.fit(curve[None], fits.project(shapes, covariance, ANY_GAIN)).misfit[0]
        penalty = (LOGISTIC_PARAMETERS - parameters) * np.log(len(volumes))
        return float((alternative - misfit) / dispersion - penalty)

    return Comparison(
        constant=beaten_by(fits.constant_shape(volumes), 1),
        log_linear=beaten_by(fits.log_linear_shape(volumes), 2),
        diminishing=beaten_by(fits.diminishing_shapes(volumes), 4),
    )


def _dispersion(misfit: float, freedom: int) -> float:
    """At least 1: how far the misfit exceeds what sampling noise explains (its chi-square's upper MISFIT_TAIL).

    Real curves dip and sag; what even the logistic cannot follow must not count as evidence between the families.
    """
    return max(1.0, misfit / float(chdtri(freedom, MISFIT_TAIL)))


def _failed_gate(comparison: Comparison, best: Located, refits: Located, volumes: np.ndarray) -> str:
    """The first gate not passed, in one sentence with its numbers; empty if all are."""
    stories = {
        "constant": "no better explained by a jump upward than by a constant",
        "log_linear": "no better explained by a jump than by a steady rise per doubling",
        "diminishing": "no better explained by a jump than by smooth diminishing returns",
    }
    for name, story in stories.items():
        margin = getattr(comparison, name)
        if margin < CLEARLY:
            return f"The curve is {story}: BIC differs by {margin:.1f}, at least {CLEARLY:.1f} is asked."
    low, high = interval(refits.gain)
    if not low > 0.0:
        return f"The gain's 95 % interval, {low:.3f} to {high:.3f}, does not exclude 0."
    first, last = volumes[volumes > 0][[0, -1]]
    midpoint = float(np.exp2(best.midpoint[0]))
    if not first < midpoint < last:
        return f"The midpoint, {midpoint:.0f} examples, is not inside the volumes measured, {first} to {last}."
    low, high = interval(refits.midpoint)
    if not high - low < WIDEST_INTERVAL:
        return (
            f"The midpoint's 95 % interval, {2.0**low:.0f} to {2.0**high:.0f} examples, "
            f"spans {high - low:.1f} doublings: under {WIDEST_INTERVAL:.0f} is asked."
        )
    return ""


def _verdict(comparison: Comparison, seeds: int) -> str:
    runs = "this one training run" if seeds == 1 else f"{seeds} training runs, drawn anew with the questions"
    conditional = "conditional on" if seeds == 1 else "over"
    return (
        f"A logistic jump beats a constant by {comparison.constant:.1f}, a steady rise per doubling by "
        f"{comparison.log_linear:.1f} and smooth diminishing returns by {comparison.diminishing:.1f} in BIC "
        f"({CLEARLY:.1f} asked); intervals are {conditional} {runs}."
    )


def _phase(best: Located, refits: Located, *, reason: str, questions: int, seeds: int) -> CriticalPhase:
    """The record of a phase that was found: log2 examples become examples."""

    def examples(log2_examples: np.ndarray) -> tuple[float, float]:
        low, high = interval(log2_examples)
        return 2.0**low, 2.0**high

    midpoint, half = float(best.midpoint[0]), 0.5 * float(best.width[0])
    return CriticalPhase(
        found=True,
        reason=reason,
        onset=2.0 ** (midpoint - half),
        end=2.0 ** (midpoint + half),
        midpoint=2.0**midpoint,
        gain=float(best.gain[0]),
        onset_interval=examples(refits.midpoint - 0.5 * refits.width),
        end_interval=examples(refits.midpoint + 0.5 * refits.width),
        midpoint_interval=examples(refits.midpoint),
        gain_interval=interval(refits.gain),
        questions=questions,
        seeds=seeds,
    )


def _checked_volumes(volumes: Sequence[int] | np.ndarray) -> np.ndarray:
    """(V,) int64. Raises InputError unless at least two non-negative integers that increase."""
    given = np.asarray(volumes)
    shown = given.tolist()
    whole = (
        given.ndim == 1 and given.dtype.kind in "iuf" and bool(np.all(np.isfinite(given) & (given == np.rint(given))))
    )
    if not whole or len(given) < 2:
        raise InputError(where="locate", field="volumes", value=shown, allowed="two or more whole numbers of examples")
    if given[0] < 0 or np.any(np.diff(given) <= 0):
        raise InputError(where="locate", field="volumes", value=shown, allowed="increasing numbers, none below 0")
    return given.astype(np.int64)


def _checked_outcomes(correct: np.ndarray, volumes: np.ndarray) -> np.ndarray:
    """(S, V, Q) float64. Raises InputError as `locate` says."""
    given = np.asarray(correct, dtype=np.float64)
    outcomes = given[None] if given.ndim == 2 else given
    if outcomes.ndim != 3 or outcomes.shape[1] != len(volumes) or 0 in outcomes.shape:
        allowed = f"(seeds, {len(volumes)}, questions) or ({len(volumes)}, questions), one row per volume, none empty"
        raise InputError(where="locate", field="correct", value=given.shape, allowed=allowed)
    outside = ~np.isnan(outcomes) & ~((outcomes >= 0.0) & (outcomes <= 1.0))
    if outside.any():
        worst = float(outcomes[outside][0])
        raise InputError(where="locate", field="correct", value=worst, allowed="values in [0, 1], or NaN: not measured")
    measured = ~np.isnan(outcomes)
    for name, axes in (("question", (0, 1)), ("volume", (0, 2)), ("seed", (1, 2))):
        empty = np.flatnonzero(~measured.any(axis=axes))
        if len(empty):
            raise InputError(
                where="locate",
                field=f"{name} {empty[0]}",
                value=float("nan"),
                allowed=f"a {name} measured at least once",
            )
    return outcomes
