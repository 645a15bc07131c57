"""What a search may vary: the values of each axis, checked before any trial runs."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError

from likra_ray.errors import InputError
from likra_ray.spec import Choices, Range, SweepSpec, TrialSpec

SEARCHABLE = (
    "negatives",
    "positives",
    "near_miss_share",
    "contamination_share",
    "negative_source.near_miss_from",
    "negative_source.far_from",
    "labels",
    "learning_rate",
    "batch_size",
    "seed",
    "weight",
    "beta",
)
"""Fields of a trial that a search may vary: one number or one word each."""

DIGITS = 12
"""Decimals of a stepped range's values: a tenth is .3 after three steps, not .30000000000000004."""

MOST_VALUES = 4096
"""Values an axis may have: every one of them is checked before any trial runs."""

Place = Callable[[str], str]
"""Given a dotted field: where it was given, a file or the command line."""


def values(field: str, dimension: Range | Choices, volumes: Sequence[int]) -> list[Any] | None:
    """All values an axis can take, in order; None for a continuous range.

    A range of negatives or positives means the volumes inside it: only there is a head kept.
    """
    if isinstance(dimension, Choices):
        return list(dimension.choices)
    if field in ("negatives", "positives"):
        return [v for v in volumes if dimension.low <= v <= dimension.high and v > 0]
    if dimension.step is not None:
        count = round((dimension.high - dimension.low) / dimension.step) + 1
        return [round(dimension.low + i * dimension.step, DIGITS) for i in range(count)]
    if field in ("seed", "batch_size"):
        return list(range(int(dimension.low), int(dimension.high) + 1))
    return None


def _count(field: str, dimension: Range | Choices) -> float:
    """How many values a range asks for before any is made; 0 where it asks for none by itself."""
    if isinstance(dimension, Choices) or field in ("negatives", "positives"):
        return 0
    step = dimension.step or (1 if field in ("seed", "batch_size") else math.inf)
    return (dimension.high - dimension.low) / step


def check_field(field: str, place: Place) -> None:
    """Raise InputError unless a search may vary this field."""
    name = f"search.{field}"
    if field not in SEARCHABLE:
        raise InputError(where=place(name), field=name, value=field, allowed=f"one of {', '.join(SEARCHABLE)}")


def check(sweep: SweepSpec, place: Place) -> None:
    """Every end of every axis, and every point to start from, must make a valid trial. Raises InputError."""
    for field, dimension in sweep.search.items():
        name = f"search.{field}"
        check_field(field, place)
        if _count(field, dimension) > MOST_VALUES:
            raise InputError(where=place(name), field=name, value=dimension.model_dump(),
                             allowed=f"a range of at most {MOST_VALUES} values")  # fmt: skip
        axis = values(field, dimension, sweep.trial.volumes)
        if axis is None and isinstance(dimension, Range):
            if sweep.sampler == "grid":
                raise InputError(where=place(name), field=name, value="a continuous range",
                                 allowed="choices or a step, with sampler grid")  # fmt: skip
            axis = [dimension.low, dimension.high]
        if not axis:
            raise InputError(where=place(name), field=name, value=dimension.model_dump(),
                             allowed=f"a range that holds one of volumes {list(sweep.trial.volumes)}")  # fmt: skip
        for value in axis:
            read = _value(_check_point(sweep, {field: value}, place(name), name), field)
            if read != value:
                raise InputError(where=place(name), field=name, value=value, allowed=f"{read!r}, as a trial reads it")
    if "beta" in sweep.search and set(sweep.trial.baselines) <= {"mixture", "unlikelihood"}:
        raise InputError(where=place("search.beta"), field="search.beta", value=list(sweep.trial.baselines),
                         allowed="a beta with one of npo, dpo, kto, orpo among trial.baselines")  # fmt: skip
    for number, point in enumerate(sweep.start_from):
        _check_start(sweep, dict(point), place, f"start_from.{number}")


def _check_start(sweep: SweepSpec, point: dict[str, Any], place: Place, name: str) -> None:
    unknown = sorted(set(point) ^ set(sweep.search))
    if unknown:
        raise InputError(where=place(name), field=name, value=unknown,
                         allowed=f"exactly the fields of search: {sorted(sweep.search)}")  # fmt: skip
    for field, value in point.items():
        dimension = sweep.search[field]
        axis = values(field, dimension, sweep.trial.volumes)
        if axis is not None:
            fits, allowed = value in axis, f"one of {axis}"
        else:
            assert isinstance(dimension, Range)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            fits = number and dimension.low <= float(value) <= dimension.high
            allowed = f"a number from {dimension.low} to {dimension.high}"
        if not fits:
            raise InputError(where=place(name), field=f"{name}.{field}", value=value, allowed=allowed)
    _check_point(sweep, point, place(name), name)


def _value(trial: TrialSpec, field: str) -> Any:
    return functools.reduce(getattr, field.split("."), trial)


def _check_point(sweep: SweepSpec, point: dict[str, Any], where: str, field: str) -> TrialSpec:
    try:
        return sweep.trial_spec(point)
    except ValidationError as error:
        message = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise InputError(where=where, field=field, value=point, allowed=message) from None
