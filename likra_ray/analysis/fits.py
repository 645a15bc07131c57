"""Takes mean curves with the covariance of their checkpoints, returns the best curve of a family: batched, no search.

Every family here is  level + gain * rise(n; shape)  with a grid over its shape. For one shape, level and gain are a
generalised least-squares fit in closed form; so the best shape of B curves is one (B, V) @ (V, G) product
and an argmin.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

TEN_TO_NINETY = float(np.log(81.0))
"""Width of a logistic from 10 % to 90 % in units of its scale: 2 ln 9."""
MIDPOINTS_PER_SPACING = 32
"""Grid steps to the median spacing of the volumes in log2 n: where volumes double, a rounding of 1/64 doubling, far
under the quarter of a doubling a midpoint is wanted to."""
MOST_MIDPOINTS = 512
"""Bounds the grid where a few volumes stand close together among distant ones; the step is then coarser."""
CURVES_AT_ONCE = 64
"""Curves per matrix product: 64 curves by 512 x 20 shapes is 5 MB, whatever the number of resamples."""
WIDTHS = 20
"""Widths from the narrowest to the widest, in equal ratios."""
NARROWEST = 0.25
"""Narrowest 10-90 % width, as a share of the median spacing of the volumes in log2 n (never under two grid steps).

A narrower logistic is a step between two volumes: its place is not identified and a bootstrap of it is inconsistent
(arXiv 1101.1032). Measured with 100 draws: with 0.5, intervals of a phase 0.25 doublings wide covered it in 60-88 %;
with 0.25, in 97 %.
"""
POWERS = (1.0, 0.75, 0.5, 0.3, 0.15, 0.0, -0.15, -0.3, -0.5, -1.0, -1.5, -2.0, -3.0, -5.0, -10.0)
"""Exponents of `diminishing`: 1 linear in n, 0 logarithmic, -1 Michaelis-Menten; exponential, their limit, is added."""
OFFSETS_PER_DOUBLING = 4
"""Offsets of `diminishing`, from 1/64 of the first positive volume to 4 times the last."""
FALLS = (0.0, 0.5, 1.0)
"""Slopes before the turn of `recovery`, as shares of the one after it: flat, half as steep, as steep."""
TURNS_PER_SPACING = 4
"""Grid steps of its turn to the median spacing of the volumes in log2 n; between volumes the shape hardly changes."""


class Shapes(NamedTuple):
    """A family's grid."""

    rises: np.ndarray
    """(G, V): the family's rise at each volume, 0 to 1 for the logistic."""
    midpoints: np.ndarray
    """(G,) log2 examples at half of the rise; NaN for families without one."""
    widths: np.ndarray
    """(G,) doublings from 10 % to 90 % of the rise; NaN for families without one."""


class Projections(NamedTuple):
    """A grid made ready for whitened curves."""

    whiten: np.ndarray
    """(V, V): whiten @ covariance @ whiten.T is the identity."""
    level: np.ndarray
    """(V,) unit vector: the whitened constant."""
    rise: np.ndarray
    """(V, G) unit vectors: whitened rises less their part along `level`; zero where nothing is left."""
    lengths: np.ndarray
    """(G,) length of the rises before they became unit vectors: explained amplitude per unit of gain."""
    upward: bool
    """Whether the gain may not be negative."""


class Fits(NamedTuple):
    """The best shape of each of B curves."""

    shape: np.ndarray
    """(B,) index into the grid."""
    gain: np.ndarray
    """(B,) in the unit of the curves."""
    misfit: np.ndarray
    """(B,) squared whitened residual: chi-square with V - 2 - (shape parameters) degrees of freedom if all is right."""


def logistic_shapes(volumes: np.ndarray) -> Shapes:
    """Logistics in log2 n, at n = 0 at their lower asymptote: 0.

    Midpoints from one median spacing before the first positive volume to one after the last; widths from NARROWEST of
    that spacing to the whole range.
    """
    positive = np.log2(volumes[volumes > 0])
    first, last = positive[0], positive[-1]
    spacing = float(np.median(np.diff(positive)))
    step = max(spacing / MIDPOINTS_PER_SPACING, (last - first + 2.0 * spacing) / MOST_MIDPOINTS)
    midpoints = np.arange(first - spacing, last + spacing + 0.5 * step, step)
    narrowest = max(NARROWEST * spacing, 2.0 * step)
    widths = np.geomspace(narrowest, max(last - first, 2.0 * narrowest), WIDTHS)
    grid_midpoints, grid_widths = (grid.ravel() for grid in np.meshgrid(midpoints, widths, indexing="ij"))
    rises = np.zeros((len(grid_midpoints), len(volumes)))
    steepness = (TEN_TO_NINETY / grid_widths)[:, None]
    rises[:, volumes > 0] = 0.5 * (1.0 + np.tanh(0.5 * steepness * (positive - grid_midpoints[:, None])))
    return Shapes(rises, grid_midpoints, grid_widths)


def constant_shape(volumes: np.ndarray) -> Shapes:
    """The one shape that does not rise."""
    return _shapes_without_midpoint(np.zeros((1, len(volumes))))


def log_linear_shape(volumes: np.ndarray) -> Shapes:
    """The one shape log2 n, n = 0 standing one doubling before the first positive volume."""
    positive = volumes[volumes > 0]
    return _shapes_without_midpoint(np.log2(np.maximum(volumes, positive[0] / 2.0))[None, :])


def diminishing_shapes(volumes: np.ndarray) -> Shapes:
    """Smooth laws of diminishing returns: ((1 + n / c)^p - 1) / p with p <= 1 (p = 0: log), and 1 - exp(-n / c).

    All are concave in n: linear, logarithmic, power-law, Michaelis-Menten and exponential saturation are among them, so
    every added example is worth no more than the one before it. They have as many parameters as the logistic.
    """
    positive = volumes[volumes > 0].astype(np.float64)
    low, high = np.log2(positive[0] / 64.0), np.log2(positive[-1] * 4.0)
    offsets = np.exp2(np.linspace(low, high, int(np.ceil((high - low) * OFFSETS_PER_DOUBLING)) + 1))
    logs = np.log1p(volumes / offsets[:, None])
    rises = [logs if power == 0.0 else np.expm1(power * logs) / power for power in POWERS]
    return _shapes_without_midpoint(np.concatenate([*rises, -np.expm1(-volumes / offsets[:, None])]))


def recovery_shapes(volumes: np.ndarray) -> Shapes:
    """Steady recoveries: log2 n from some volume on; before it flat or falling, as steeply at most as it rises after.

    n = 0 stands one doubling before the first positive volume, as in log-linear.
    """
    positive = volumes[volumes > 0]
    steps = np.log2(np.maximum(volumes, positive[0] / 2.0))
    spacing = float(np.median(np.diff(np.log2(positive))))
    turns = np.arange(steps[0], steps[-2] + 1e-9, spacing / TURNS_PER_SPACING)[:, None]
    after, before = np.maximum(steps - turns, 0.0), np.maximum(turns - steps, 0.0)
    return _shapes_without_midpoint(np.concatenate([after + share * before for share in FALLS]))


def _shapes_without_midpoint(rises: np.ndarray) -> Shapes:
    missing = np.full(len(rises), np.nan)
    return Shapes(rises, missing, missing)


def project(shapes: Shapes, covariance: np.ndarray, *, upward: bool = False) -> Projections:
    """Whitens a grid once, for any number of curves. covariance: (V, V), positive definite."""
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    level = whiten.sum(axis=1)
    level = level / np.linalg.norm(level)
    rise = whiten @ shapes.rises.T
    scale = np.linalg.norm(rise, axis=0)
    rise = rise - np.outer(level, level @ rise)
    lengths = np.linalg.norm(rise, axis=0)
    flat = lengths <= 1e-9 * np.maximum(scale, 1.0)  # rounding of a subtraction, with room
    lengths = np.where(flat, 0.0, lengths)
    return Projections(whiten, level, np.divide(rise, lengths, out=np.zeros_like(rise), where=~flat), lengths, upward)


def fit(curves: np.ndarray, projections: Projections) -> Fits:
    """The best shape for each of (B, V) curves, the first of equals: the one with the largest amplitude."""
    found = Fits(*(np.empty(len(curves), dtype=kind) for kind in (np.int64, np.float64, np.float64)))
    for start in range(0, len(curves), CURVES_AT_ONCE):
        block = slice(start, start + CURVES_AT_ONCE)
        for whole, part in zip(found, _fit_block(curves[block], projections), strict=True):
            whole[block] = part
    return found


def _fit_block(curves: np.ndarray, projections: Projections) -> Fits:
    whitened = curves @ projections.whiten.T
    amplitudes = whitened @ projections.rise
    shape = (amplitudes if projections.upward else np.abs(amplitudes)).argmax(axis=1)
    amplitude, length = amplitudes[np.arange(len(curves)), shape], projections.lengths[shape]
    amplitude = np.maximum(amplitude, 0.0) if projections.upward else amplitude
    gain = np.divide(amplitude, length, out=np.zeros_like(amplitude), where=length > 0)
    constant = np.square(whitened).sum(axis=1) - np.square(whitened @ projections.level)
    return Fits(shape, gain, constant - np.square(amplitude))


def fitted_curves(curves: np.ndarray, projections: Projections, shapes: Shapes) -> np.ndarray:
    """(B, V): the best curve of the family for each of (B, V) curves."""
    found = fit(curves, projections)
    rises = found.gain[:, None] * shapes.rises[found.shape]
    constant = projections.whiten.sum(axis=1)
    level = (curves - rises) @ projections.whiten.T @ constant / (constant @ constant)
    return np.asarray(level[:, None] + rises)
