"""The batched grid fit: exact on curves of its own families, and equal to ordinary least squares shape by shape."""

from __future__ import annotations

import numpy as np
import pytest

from likra_ray.analysis import fits

VOLUMES = np.array([0, 16, 32, 64, 128, 256, 512])


def some_covariance(rng: np.random.Generator) -> np.ndarray:
    root = rng.normal(size=(len(VOLUMES), len(VOLUMES)))
    return root @ root.T + 0.5 * np.eye(len(VOLUMES))


def misfits_by_shape(curve: np.ndarray, shapes: fits.Shapes, covariance: np.ndarray, upward: bool) -> np.ndarray:
    """The generalised least-squares misfit as its definition reads, shape by shape; a fall refused is a constant."""
    weight = np.linalg.inv(covariance)
    found = []
    for rise in shapes.rises:
        design = np.column_stack([np.ones(len(curve)), rise])
        coefficients = np.linalg.lstsq(design.T @ weight @ design, design.T @ weight @ curve, rcond=None)[0]
        if upward and coefficients[1] < 0.0:
            coefficients = np.array([weight.sum(axis=0) @ curve / weight.sum(), 0.0])
        residual = curve - design @ coefficients
        found.append(residual @ weight @ residual)
    return np.array(found)


@pytest.mark.parametrize("upward", [False, True])
@pytest.mark.parametrize(
    "family",
    [
        fits.logistic_shapes,
        fits.diminishing_shapes,
        fits.log_linear_shape,
        fits.constant_shape,
        fits.recovery_shapes,
    ],
)
def test_the_fit_is_the_least_misfit_of_all_shapes(family: object, upward: bool) -> None:
    rng = np.random.default_rng(0)
    shapes = fits.Shapes(*(part[:: len(part) // 500 + 1] for part in family(VOLUMES)))  # type: ignore[operator]
    covariance = some_covariance(rng)
    curves = rng.random((3, len(VOLUMES))) + np.arange(len(VOLUMES)) * np.array([[0.2], [0.0], [-0.2]])
    found = fits.fit(curves, fits.project(shapes, covariance, upward=upward))
    for row, curve in enumerate(curves):
        slow = misfits_by_shape(curve, shapes, covariance, upward)
        assert found.misfit[row] == pytest.approx(slow.min(), rel=1e-4, abs=1e-6)
        assert slow[found.shape[row]] == pytest.approx(slow.min(), rel=1e-4, abs=1e-6)
        assert found.gain[row] >= 0.0 or not upward


def test_a_logistic_is_recovered_exactly() -> None:
    shapes = fits.logistic_shapes(VOLUMES)
    truth = int(np.argmin(np.abs(shapes.midpoints - 6.5) + np.abs(shapes.widths - 1.5)))
    curves = np.array([0.3 + 0.4 * shapes.rises[truth], 0.9 - 0.4 * shapes.rises[truth]])
    found = fits.fit(curves, fits.project(shapes, some_covariance(np.random.default_rng(1)), upward=True))
    assert found.shape[0] == truth
    assert found.gain[0] == pytest.approx(0.4)
    assert found.misfit[0] == pytest.approx(0.0, abs=1e-9)
    assert found.gain[1] >= 0.0 and found.misfit[1] > 1e-3  # a fall is not a rise


def test_logistics_are_at_their_asymptote_at_zero_and_at_half_at_the_midpoint() -> None:
    shapes = fits.logistic_shapes(VOLUMES)
    assert np.all(shapes.rises[:, 0] == 0.0)
    at_64 = shapes.midpoints == 6.0
    np.testing.assert_allclose(shapes.rises[at_64, 3], 0.5)
    assert shapes.widths.min() == pytest.approx(0.25)


def test_diminishing_returns_diminish() -> None:
    even = np.arange(0, 512, 8)
    rises = fits.diminishing_shapes(even).rises
    slopes = np.diff(rises, axis=1)
    assert np.all(slopes >= 0.0)
    assert np.all(np.diff(slopes, axis=1) <= 1e-12 * np.abs(rises).max(axis=1, keepdims=True))


def test_fitted_curves_leave_the_misfit_that_was_found() -> None:
    rng = np.random.default_rng(3)
    shapes, covariance = fits.diminishing_shapes(VOLUMES), some_covariance(rng)
    projections = fits.project(shapes, covariance)
    curves = rng.random((5, len(VOLUMES)))
    residuals = curves - fits.fitted_curves(curves, projections, shapes)
    left = np.einsum("bv,vw,bw->b", residuals, np.linalg.inv(covariance), residuals)
    np.testing.assert_allclose(left, fits.fit(curves, projections).misfit, rtol=1e-6)


def test_exponential_saturation_is_among_diminishing_returns() -> None:
    curve = 0.3 + 0.2 * -np.expm1(-VOLUMES / 64.0)
    covariance = 0.0004 * np.eye(len(VOLUMES))
    misfit = fits.fit(curve[None], fits.project(fits.diminishing_shapes(VOLUMES), covariance)).misfit
    assert misfit[0] < 0.01
