"""Takes what a caller gave as a learning curve, returns it checked, or refuses it with what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from likra_ray.errors import InputError


def checked_volumes(volumes: Sequence[int] | np.ndarray, *, where: str) -> np.ndarray:
    """(V,) int64. Raises InputError unless at least two non-negative integers that increase."""
    given = np.asarray(volumes)
    shown = given.tolist()
    whole = (
        given.ndim == 1 and given.dtype.kind in "iuf" and bool(np.all(np.isfinite(given) & (given == np.rint(given))))
    )
    if not whole or len(given) < 2:
        raise InputError(where=where, field="volumes", value=shown, allowed="two or more whole numbers of examples")
    if given[0] < 0 or np.any(np.diff(given) <= 0):
        raise InputError(where=where, field="volumes", value=shown, allowed="increasing numbers, none below 0")
    return given.astype(np.int64)


def checked_values(values: np.ndarray, volumes: np.ndarray, *, where: str, field: str, unit: bool) -> np.ndarray:
    """(S, V, Q) float64 of (S, V, Q) or (V, Q). NaN: not measured.

    Raises InputError: shapes that do not match; a question, volume or seed without one measurement; values that are
    infinite, or outside [0, 1] where they are shares (`unit`).
    """
    given = np.asarray(values, dtype=np.float64)
    found = given[None] if given.ndim == 2 else given
    if found.ndim != 3 or found.shape[1] != len(volumes) or 0 in found.shape:
        allowed = f"(seeds, {len(volumes)}, questions) or ({len(volumes)}, questions), one row per volume, none empty"
        raise InputError(where=where, field=field, value=given.shape, allowed=allowed)
    measured = ~np.isnan(found)
    outside = measured & ~((found >= 0.0) & (found <= 1.0) if unit else np.isfinite(found))
    if outside.any():
        allowed = "values in [0, 1]" if unit else "finite values"
        raise InputError(
            where=where, field=field, value=float(found[outside][0]), allowed=f"{allowed}, or NaN: not measured"
        )
    for name, axes in (("question", (0, 1)), ("volume", (0, 2)), ("seed", (1, 2))):
        empty = np.flatnonzero(~measured.any(axis=axes))
        if len(empty):
            allowed = f"a {name} measured at least once"
            raise InputError(where=where, field=f"{name} {empty[0]}", value=float("nan"), allowed=allowed)
    return found
