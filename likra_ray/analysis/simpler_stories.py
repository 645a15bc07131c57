"""Takes a mean curve with the covariance of its checkpoints, returns whether a jump explains it better than no jump.

Three stories have no jump: a constant, a steady rise per doubling, smooth diminishing returns; where the curve first
dips there is a fourth, a steady recovery. For each, the best curve of that kind is found and simulated with the real
curve's covariance; the logistic has to improve on the real curve's fit by more than it does on nearly all of those: a
likelihood-ratio test with a parametric bootstrap (Efron & Tibshirani 1993, chapter 16). The threshold is thus as low as
this story, these volumes and this noise allow. What is called a jump has passed them all, so the chance of a false
alarm is at most that of one test, whichever story is true.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import chdtri

from likra_ray.analysis import fits

SIMULATIONS = 500
"""Simulated curves per story: a chance of 3 % is then known to 0.8 %."""
LEVEL = 0.03
"""Largest chance a story may give to an improvement as large as the one seen. 5 % false alarms are allowed; the rest
is room for what an estimated covariance and a best-fitting story add. Measured: docs/locate.md."""
MISFIT_TAIL = 0.05
"""A misfit is put down to sampling noise unless chi-square gives it less than this chance; see `_dispersion`."""
LOGISTIC_PARAMETERS = 4
"""Level, gain, midpoint, width."""


class Chances(NamedTuple):
    """Under each story, the share of simulated curves that a logistic improves on as much as on the real one."""

    constant: float
    log_linear: float
    diminishing: float
    recovery: float
    """NaN where the curve did not dip."""


def chances(
    volumes: np.ndarray,
    curve: np.ndarray,
    covariance: np.ndarray,
    logistic: fits.Projections,
    *,
    dipped: bool,
    rng: np.random.Generator,
) -> Chances:
    """How likely each story makes the curve look this much like a jump; each in (0, 1], small: the story fails.

    curve: (V,) means; covariance: (V, V) of them, positive definite; logistic: the logistics to beat the stories with.
    Real curves dip and sag: what even the logistic cannot follow counts as noise (`_dispersion`), not as evidence.
    """
    noise = rng.standard_normal((SIMULATIONS, len(volumes))) @ np.linalg.cholesky(covariance).T

    def chance(shapes: fits.Shapes, *, upward: bool = False) -> float:
        story = fits.project(shapes, covariance, upward=upward)
        best = fits.fitted_curves(curve[None], story, shapes)
        improvement = _improvement(np.concatenate([curve[None], best + noise]), story, logistic)
        return float((np.count_nonzero(improvement[1:] >= improvement[0]) + 1) / (SIMULATIONS + 1))

    return Chances(
        constant=chance(fits.constant_shape(volumes)),
        log_linear=chance(fits.log_linear_shape(volumes)),
        diminishing=chance(fits.diminishing_shapes(volumes)),
        recovery=chance(fits.recovery_shapes(volumes), upward=True) if dipped else float("nan"),
    )


def _improvement(curves: np.ndarray, story: fits.Projections, logistic: fits.Projections) -> np.ndarray:
    """(B,) by how much the logistic's misfit is below the story's, in units of the dispersion."""
    misfit = fits.fit(curves, logistic).misfit
    return np.asarray((fits.fit(curves, story).misfit - misfit) / _dispersion(misfit, curves.shape[1]))


def _dispersion(misfit: np.ndarray, volume_count: int) -> np.ndarray:
    """At least 1: how far a misfit exceeds what sampling noise explains (its chi-square's upper MISFIT_TAIL)."""
    return np.asarray(np.maximum(1.0, misfit / float(chdtri(volume_count - LOGISTIC_PARAMETERS, MISFIT_TAIL))))
