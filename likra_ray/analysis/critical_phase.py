"""Takes a learning curve's outcomes, returns its critical phase: where accuracy jumps, or why no jump was located.

A logistic in log2 n has to beat three simpler stories, a constant, a log-linear rise and smooth diminishing returns,
by generalised least squares with the covariance of the checkpoints (they share questions, so they move together).
How often it can, where and how well it then finds what was planted: docs/locate.md.

n = 0 is no point on a log axis. The logistic in log2 n is at its lower asymptote there, exactly; so n = 0 anchors where
the rise starts from, as it should: both heads of a Likra arm equal the base there and its accuracy is chance. The
diminishing-returns family is written in n and needs no convention; log-linear has n = 0 one doubling before the first
positive volume. Leading volumes that lie clearly above a later one are left out: the rise is from the dip, and then it
also has to beat a steady recovery and to end clearly above what was left out: coming back is not learning.

Intervals resample questions, one draw for every volume and seed, tilt the ground beside the jump a little, refit, and
are widened by how the seeds differ (resampling.widening). A bootstrap of a jump's place is inconsistent where the
change is discontinuous (arXiv 1101.1032); the logistic is smooth and never narrower than fits.NARROWEST (a quarter) of
the median spacing of the volumes, and the interval of a change sharper than that is too narrow. With one seed an
interval is conditional on that training run: it says what other questions would have shown, not what another run would.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from likra_ray.analysis import fits
from likra_ray.analysis.curve_input import checked_values, checked_volumes
from likra_ray.analysis.dips import only_a_recovery, volumes_before_a_dip
from likra_ray.analysis.resampling import draw, gradient, influences, interval, means, resampled_means, widening
from likra_ray.analysis.simpler_stories import LEVEL, LOGISTIC_PARAMETERS, Chances, chances
from likra_ray.records import CriticalPhase

REFITS = 1000
"""Draws behind each interval: Efron & Tibshirani (1993), section 13.3, ask for about 1000."""
WIDEST_INTERVAL = 2.0
"""Doublings the midpoint's interval must stay under: design section 7."""
FAR_OUT = 3.0
"""Interquartile ranges beyond the quartiles at which a margin is drawn in: Tukey (1977), section 2D, "far out"."""
PLAUSIBLE_SHIFT = 0.5
"""Doublings: largest standard deviation between runs believed, unless seen, of onset, midpoint and end. An assumption;
with it intervals of runs 0 to .3 doublings apart cover 89 to 100 %, measured: docs/locate.md."""
PLAUSIBLE_GAIN = 0.25
"""The same of the gain, as a share of it; an assumption too."""

PLAUSIBLE_SLOPE = 0.035
"""Shares of the gain per doubling: standard deviation of the straight lines believed to lie under a jump, one before
and one after its midpoint. An assumption: real curves fall on towards a jump and drift after it; intervals that know of
level ground only cover 73 to 83 % of such midpoints; measured: docs/locate.md."""


class Located(NamedTuple):
    """The best logistic of each of B curves."""

    onset: np.ndarray
    """(B,) log2 examples at 10 % of the rise."""
    midpoint: np.ndarray
    """(B,) log2 examples at half of the rise."""
    end: np.ndarray
    """(B,) log2 examples at 90 % of the rise."""
    gain: np.ndarray
    """(B,) accuracy or nats between the asymptotes."""


def locate(volumes: Sequence[int] | np.ndarray, correct: np.ndarray, *, rng: np.random.Generator) -> CriticalPhase:
    """Where a learning curve jumps, with 95 % intervals, or one sentence that says which test it failed.

    volumes: (V,) increasing integers, the first may be 0.
    correct: (S, V, Q) or (V, Q) in [0, 1]: seed, volume, question. NaN is "not measured": the mean of a volume is over
    what was measured there, a resample without any measurement at some volume is left out.
    Onset and end are where 10 % and 90 % of the gain are reached, by the fitted logistic. Estimates do not depend on
    the order of questions or seeds; verdict and intervals do only as they depend on the draws of `rng`.

    Raises InputError: volumes not increasing integers, fewer than two; shapes that do not match; values outside [0, 1];
    a question, volume or seed without one measurement (dropping it silently would change what the verdict rests on).
    """
    checked = checked_volumes(volumes, where="locate")
    outcomes = checked_values(correct, checked, where="locate", field="correct", unit=True)
    return _located_phase(checked, outcomes, rng, most=1.0)


def locate_margin(
    volumes: Sequence[int] | np.ndarray, margins: np.ndarray, *, rng: np.random.Generator
) -> CriticalPhase:
    """`locate` on the margin, log p of the correct option less that of the best wrong one: does what is learned jump?

    margins: (S, V, Q) or (V, Q) in nats, larger is better, NaN not measured. Gain and its interval are in nats.
    A few questions with huge margins would decide a mean: at each volume, margins beyond FAR_OUT interquartile ranges
    from the quartiles (of all seeds) are drawn in to there, and the reason says how many were.
    Raises InputError as `locate` does; margins may be any finite number.
    """
    checked = checked_volumes(volumes, where="locate_margin")
    given = checked_values(margins, checked, where="locate_margin", field="margins", unit=False)
    kept = _drawn_in(given)
    phase = _located_phase(checked, kept, rng, most=np.inf)
    moved = np.count_nonzero(~np.isnan(given) & (kept != given))
    share = f" Of {np.count_nonzero(~np.isnan(given))} margins, {moved} far out were drawn in." if moved else ""
    return CriticalPhase(**{**vars(phase), "reason": phase.reason + share})


def agreement(accuracy: CriticalPhase, margin: CriticalPhase) -> str:
    """One plain sentence: whether accuracy and margin of one arm tell the same story.

    A score that counts only which option is on top can jump while what is learned rises smoothly (arXiv 2304.15004).
    """
    if not (accuracy.tested and margin.tested):
        return "Accuracy and margin could not be tested for a jump."
    if not accuracy.found and not margin.found:
        return "Neither accuracy nor the margin jumps."
    if not margin.found:
        return (
            f"Accuracy jumps at {accuracy.midpoint:.0f} examples but the margin does not: the jump may be an artefact "
            "of counting only which option is on top, of a margin that rises smoothly (arXiv 2304.15004)."
        )
    if not accuracy.found:
        return f"The margin jumps at {margin.midpoint:.0f} examples, by {margin.gain:.2g} nats, but accuracy does not."
    places = f"accuracy at {_place(accuracy)} examples, the margin at {_place(margin)}"
    if _apart(accuracy.midpoint_interval, margin.midpoint_interval):
        return f"Both jump, but not together: {places}."
    return f"Both jump, and at the same place as far as can be told: {places}."


def _place(phase: CriticalPhase) -> str:
    low, high = phase.midpoint_interval or (float("nan"), float("nan"))
    return f"{phase.midpoint:.0f} [{low:.0f}, {high:.0f}]"


def _apart(first: tuple[float, float] | None, second: tuple[float, float] | None) -> bool:
    return first is not None and second is not None and (first[1] < second[0] or second[1] < first[0])


def _located_phase(volumes: np.ndarray, values: np.ndarray, rng: np.random.Generator, *, most: float) -> CriticalPhase:
    """The phase of (S, V, Q) checked values; `most`: the largest gain there can be."""
    measured_volumes, measured = volumes, values
    dropped = volumes_before_a_dip(values)
    volumes, values = volumes[dropped:], values[:, dropped:]
    seeds, volume_count, questions = values.shape

    dip = f" The rise is looked for from {volumes[0]} examples on: what lies before it is above it." if dropped else ""

    def refused(reason: str, *, tested: bool = True) -> CriticalPhase:
        return CriticalPhase(found=False, reason=reason + dip, questions=questions, seeds=seeds, tested=tested)

    if volume_count <= LOGISTIC_PARAMETERS:
        needed = LOGISTIC_PARAMETERS + 1
        return refused(
            f"{volume_count} volumes cannot test a logistic of four parameters: at least {needed} are needed.",
            tested=False,
        )
    if questions < 2 * volume_count:
        needed = 2 * volume_count
        return refused(
            f"{questions} questions are too few for the covariance of {volume_count} volumes: {needed} needed.",
            tested=False,
        )
    curve = means(values)
    covariance = checkpoint_covariance(values)
    shapes = fits.logistic_shapes(volumes)
    logistic = fits.project(shapes, covariance, upward=True)
    best = _located(fits.fit(curve[None], logistic), shapes, most)
    stories = chances(volumes, curve, covariance, logistic, dipped=dropped > 0, rng=rng)
    resampled = resampled_means(measured, draw(questions=questions, resamples=REFITS, rng=rng))
    resampled = resampled[~np.isnan(resampled).any(axis=1)]
    curves = resampled[:, dropped:]
    level, sloping = (
        _located(fits.fit(refitted, logistic), shapes, most)
        for refitted in (curves, curves + _slopes(volumes, best, rng, len(curves)))
    )
    ends = _intervals(best, level, sloping, curves, values)
    failed = _failed_gate(stories, best, ends, volumes)
    if not failed and dropped:
        after = measured_volumes > np.exp2(best.midpoint[0])
        failed = only_a_recovery(measured, resampled, dropped=dropped, after=after)
    if failed:
        return refused(failed)
    return _phase(best, ends, _verdict(stories, seeds) + dip, questions, seeds)


def _slopes(volumes: np.ndarray, best: Located, rng: np.random.Generator, draws: int) -> np.ndarray:
    """(B, V) random straight lines per doubling, one before the midpoint and one after it, both 0 at it."""
    steps = np.log2(np.maximum(volumes, volumes[volumes > 0][0] / 2.0)) - best.midpoint[0]
    bends = np.array([np.minimum(steps, 0.0), np.maximum(steps, 0.0)])
    return np.asarray(PLAUSIBLE_SLOPE * best.gain[0] * rng.standard_normal((draws, 2)) @ bends)


def _drawn_in(margins: np.ndarray) -> np.ndarray:
    """(S, V, Q) margins, those far out at a volume drawn in to its fences; where three quarters tie, none are."""
    low, high = np.nanquantile(margins, (0.25, 0.75), axis=(0, 2), keepdims=True)
    reach = np.where(high > low, FAR_OUT * (high - low), np.inf)
    return np.asarray(np.clip(margins, low - reach, high + reach))


def checkpoint_covariance(values: np.ndarray) -> np.ndarray:
    """(V, V) covariance of the mean curve of (S, V, Q) values over questions, positive definite.

    From each question's influence on the means, so that NaN needs no pairwise deletion. Covariances are shrunk by
    V / (V + Q), more where questions are few. A volume's variance is at least half of the median one: where every
    question ties (volume 0) it is zero, but no curve is known so well that it should pin the fit there.
    """
    _, volume_count, questions = values.shape
    measured = ~np.isnan(values)
    residuals = np.where(measured, values - means(values)[None, :, None], 0.0)
    influence = residuals.sum(axis=0) / measured.sum(axis=(0, 2))[:, None]
    covariance = influence @ influence.T * questions / (questions - 1)
    variance = np.diag(covariance)
    varying = variance[variance > 0]
    # Without any scatter at any volume: 0.25, the largest variance a share can have; any positive number would do.
    least = 0.5 * float(np.median(varying)) if len(varying) else 0.25 / questions
    covariance = covariance * questions / (volume_count + questions)
    np.fill_diagonal(covariance, np.maximum(variance, least))
    return np.asarray(covariance)


def _located(found: fits.Fits, shapes: fits.Shapes, most: float) -> Located:
    midpoint, half = shapes.midpoints[found.shape], 0.5 * shapes.widths[found.shape]
    return Located(midpoint - half, midpoint, midpoint + half, np.minimum(found.gain, most))


def _failed_gate(stories: Chances, best: Located, ends: Located, volumes: np.ndarray) -> str:
    """The first gate not passed, in one sentence with its numbers; empty if all are. ends: of the intervals."""
    in_words = (
        "by a constant",
        "by a steady rise per doubling",
        "by smooth diminishing returns",
        "by a steady recovery from a dip",
    )
    for story, chance in zip(in_words, stories, strict=True):
        if chance > LEVEL:
            return (
                f"The curve is no better explained by a jump upward than {story}: "
                f"p = {chance:.3f} by simulation, at most {LEVEL:.2f} is asked."
            )
    low, high = ends.gain
    if not low > 0.0:
        return f"The gain's 95 % interval, {low:.3f} to {high:.3f}, does not exclude 0."
    first, last = volumes[volumes > 0][[0, -1]]
    midpoint = float(np.exp2(best.midpoint[0]))
    if not first < midpoint < last:
        return f"The midpoint, {midpoint:.0f} examples, is not inside the volumes measured, {first} to {last}."
    low, high = ends.midpoint
    if not high - low < WIDEST_INTERVAL:
        return (
            f"The midpoint's 95 % interval, {2.0**low:.0f} to {2.0**high:.0f} examples, "
            f"spans {high - low:.1f} doublings: under {WIDEST_INTERVAL:.0f} is asked."
        )
    return ""


def _intervals(best: Located, level: Located, sloping: Located, curves: np.ndarray, values: np.ndarray) -> Located:
    """(2,) each: the ends of the 95 % intervals over questions, training runs and slopes of the ground.

    level, sloping: refits of the same (B, V) resampled curves, as they are and with a slope each.
    """
    plausible = (PLAUSIBLE_SHIFT, PLAUSIBLE_SHIFT, PLAUSIBLE_SHIFT, PLAUSIBLE_GAIN * float(best.gain[0]))

    def ends(estimate: np.ndarray, flat: np.ndarray, sloped: np.ndarray, spread: float) -> np.ndarray:
        widened = widening(influences(values, gradient(curves, flat)), plausible=spread)
        return np.array(interval(estimate + widened * (flat - estimate) + (sloped - flat)))

    return Located(*(ends(*parts) for parts in zip(best, level, sloping, plausible, strict=True)))


def _verdict(stories: Chances, seeds: int) -> str:
    runs = "conditional on this one training run" if seeds == 1 else f"over questions and {seeds} training runs"
    dip = "" if np.isnan(stories.recovery) else f" and, after its dip, a steady recovery ({stories.recovery:.3f})"
    return (
        f"A logistic jump explains the curve better than a constant (p = {stories.constant:.3f}), a steady rise per "
        f"doubling ({stories.log_linear:.3f}), smooth diminishing returns ({stories.diminishing:.3f}){dip}, each by "
        f"simulation with at most {LEVEL:.2f} asked; intervals are {runs}."
    )


def _phase(best: Located, ends: Located, reason: str, questions: int, seeds: int) -> CriticalPhase:
    """The record of a phase that was found: log2 examples become examples."""

    def examples(log2_ends: np.ndarray) -> tuple[float, float]:
        return float(np.exp2(log2_ends[0])), float(np.exp2(log2_ends[1]))

    return CriticalPhase(
        found=True,
        reason=reason,
        onset=float(np.exp2(best.onset[0])),
        end=float(np.exp2(best.end[0])),
        midpoint=float(np.exp2(best.midpoint[0])),
        gain=float(best.gain[0]),
        onset_interval=examples(ends.onset),
        end_interval=examples(ends.end),
        midpoint_interval=examples(ends.midpoint),
        gain_interval=(float(ends.gain[0]), float(ends.gain[1])),
        questions=questions,
        seeds=seeds,
    )
