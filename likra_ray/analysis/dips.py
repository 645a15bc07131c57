"""Takes the outcomes of a curve that first falls, returns what lies before the dip and what the rise after it is worth.

Base-Likra falls below chance before it rises, and so can Likra: the negative head first makes every answer of its kind
likelier. A rise from there is a jump only where it ends above where the curve stood: coming back is not learning.
"""

from __future__ import annotations

import numpy as np

from likra_ray.analysis.resampling import influences, interval, means, widening
from likra_ray.analysis.simpler_stories import LOGISTIC_PARAMETERS

CLEAR_DIP = 3.0
"""Standard errors over questions by which a leading volume must lie above a later one: 1 chance in 1000 each."""


def volumes_before_a_dip(values: np.ndarray) -> int:
    """How many leading volumes of (S, V, Q) values lie clearly above a later one; 0 where too few would be left.

    A negative head first makes every answer of its kind likelier, so Base-Likra falls below chance before it rises
    (measured on the atlas: .20 at 0, .05 at 16, .34 at 256). The rise then starts from the dip: a fit that has to
    start at volume 0 would call the whole curve flat. Where too few volumes are left the curve just falls.
    """
    volume_count = values.shape[1]
    start = 0
    while start + 1 < volume_count and any(
        _clearly_above(values[:, start], values[:, later]) for later in range(start + 1, volume_count)
    ):
        start += 1
    return start if volume_count - start > LOGISTIC_PARAMETERS else 0


def only_a_recovery(measured: np.ndarray, resampled: np.ndarray, *, dropped: int, after: np.ndarray) -> str:
    """Why a rise after a dip is only a recovery; empty where it ends clearly above the best volume before the dip.

    measured: (S, V, Q), resampled: (B, V), of all volumes; after: (V,) which of them lie past the midpoint.
    Likra trained on shuffled labels fell and came back to chance, sharply, having learned nothing (docs/findings.md).
    """
    curve = means(measured)
    before = int(curve[:dropped].argmax())
    slope = np.where(after, 1.0 / np.count_nonzero(after), 0.0)
    slope[before] -= 1.0
    widened = widening(influences(measured, slope))
    low, high = interval(resampled @ slope, estimate=float(curve @ slope), widened=widened)
    if low > 0.0:
        return ""
    return (
        "The rise only makes up for a dip: after it accuracy or margin is "
        f"{curve @ slope:+.3f} [{low:+.3f}, {high:+.3f}] from where it stood before, not clearly above it."
    )


def _clearly_above(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether the mean of (S, Q) values exceeds that of others by CLEAR_DIP standard errors, paired by question."""
    differences = first - second
    differences = differences[:, ~np.isnan(differences).all(axis=0)]
    if differences.shape[1] < 2:
        return False
    by_question = np.nanmean(differences, axis=0)
    error = float(by_question.std(ddof=1)) / np.sqrt(len(by_question))
    return bool(by_question.mean() > CLEAR_DIP * error > 0.0)
