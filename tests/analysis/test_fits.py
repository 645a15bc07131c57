"""The batched grid fit: exact on curves of its own families, and equal to ordinary least squares shape by shape."""

from __future__ import annotations

import numpy as np
import pytest

from likra_ray.analysis import fits

VOLUMES = np.array([0, 16, 32, 64, 128, 256, 512])


def some_covariance(rng: np.random.Generator) -> np.ndarray:
    root = rng.normal(size=(len(VOLUMES), len(VOLUMES)))
    return root @ root.T + 0.5 * np.eye(len(VOLUMES))


def misfits_by_shape(curve: np.ndarray, shapes: fits.Shapes, covariance: np.ndarray) -> np.ndarray:
    """The generalised least-squares misfit as its definition reads, shape by shape, any gain."""
    weight = np.linalg.inv(covariance)
    found = []
    for rise in shapes.rises:
        design = np.column_stack([np.ones(len(curve)), rise])
        coefficients = np.linalg.lstsq(design.T @ weight @ design, design.T @ weight @ curve, rcond=None)[0]
        residual = curve - design @ coefficients
        found.append(residual @ weight @ residual)
    return np.array(found)


@pytest.mark.parametrize("family", [fits.diminishing_shapes, fits.log_linear_shape, fits.constant_shape])
def test_misfits_equal_their_definition(family: object) -> None:
    rng = np.random.default_rng(0)
    shapes, covariance, curve = family(VOLUMES), some_covariance(rng), rng.random(len(VOLUMES))  # type: ignore[operator]
    fast = fits.misfits(curve[None], fits.project(shapes, covariance, (-np.inf, np.inf)))[0]
    np.testing.assert_allclose(fast, misfits_by_shape(curve, shapes, covariance), rtol=1e-4, atol=1e-6)


def test_a_logistic_is_recovered_exactly() -> None:
    shapes = fits.logistic_shapes(VOLUMES)
    truth = int(np.argmin(np.abs(shapes.midpoints - 6.5) + np.abs(shapes.widths - 1.5)))
    curves = np.array([0.3 + 0.4 * shapes.rises[truth], 0.9 - 0.4 * shapes.rises[truth]])
    found = fits.fit(curves, fits.project(shapes, some_covariance(np.random.default_rng(1)), (0.0, 1.0)))
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


@pytest.mark.parametrize("limits", [(0.0, 1.0), (0.0, 0.1), (0.0, np.inf), fits.ANY_GAIN])
def test_the_fast_fit_equals_the_smallest_of_all_misfits(limits: tuple[float, float]) -> None:
    rng = np.random.default_rng(2)
    curves = rng.random((90, len(VOLUMES))) * 0.5 + 0.2 * np.arange(len(VOLUMES)) * rng.standard_normal((90, 1))
    projections = fits.project(fits.logistic_shapes(VOLUMES), some_covariance(rng), limits)
    found, every = fits.fit(curves, projections), fits.misfits(curves, projections)
    np.testing.assert_allclose(found.misfit, every.min(axis=1), atol=1e-9)
    np.testing.assert_allclose(every[np.arange(90), found.shape], every.min(axis=1), atol=1e-9)
    assert np.all((found.gain >= limits[0]) & (found.gain <= limits[1]))


def test_fitted_curves_leave_the_misfit_that_was_found() -> None:
    rng = np.random.default_rng(3)
    shapes, covariance = fits.diminishing_shapes(VOLUMES), some_covariance(rng)
    projections = fits.project(shapes, covariance, fits.ANY_GAIN)
    curves = rng.random((5, len(VOLUMES)))
    residuals = curves - fits.fitted_curves(curves, projections, shapes)
    left = np.einsum("bv,vw,bw->b", residuals, np.linalg.inv(covariance), residuals)
    np.testing.assert_allclose(left, fits.fit(curves, projections).misfit, rtol=1e-6)


def test_exponential_saturation_is_among_diminishing_returns() -> None:
    curve = 0.3 + 0.2 * -np.expm1(-VOLUMES / 64.0)
    covariance = 0.0004 * np.eye(len(VOLUMES))
    misfit = fits.fit(curve[None], fits.project(fits.diminishing_shapes(VOLUMES), covariance, fits.ANY_GAIN)).misfit
    assert misfit[0] < 0.01
