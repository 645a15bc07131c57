"""From a search space's YAML and ``--set`` to a SweepSpec, with the origin of every value.

All that is wrong is one InputError: the file (or --set), the field, the value, what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from likra_ray.errors import InputError
from likra_ray.spec import Choices, Range, SourceSpec, SweepSpec, TrialSpec

SEARCHABLE = (
    "negatives",
    "positives",
    "near_miss_share",
    "contamination_share",
    "learning_rate",
    "batch_size",
    "seed",
    "weight",
)
"""Fields of a trial that a search may vary: one number each."""

COMMAND_LINE = "--set"


class Settings(NamedTuple):
    """A sweep and where its values come from."""

    sweep: SweepSpec
    origins: dict[str, str]
    """Dotted field -> default | the file's name | --set | sampled; in the order of the spec."""


def load(path: str | Path, overrides: Sequence[str] = ()) -> Settings:
    """Read a search space. Raises InputError.

    overrides: ``a.b=value`` strings, value in YAML, stronger than the file; ``trial.x`` also replaces
    ``search.x``, so that a fixed value is fixed.
    """
    path = Path(path)
    tree = _read(path)
    in_file = dict(_leaves(tree))
    given: dict[str, Any] = {}
    for override in overrides:
        field, value = _override(override)
        _assign(tree, field.split("."), value)
        given[field] = value
        if field.startswith("trial."):
            _fix(tree, field.removeprefix("trial."))
    sweep = _validated(tree, str(path), given)
    _check_search(sweep, str(path))
    origins = {}
    for field, _ in _leaves(sweep.model_dump(mode="json")):
        searched = field.removeprefix("trial.").split(".")[0] in sweep.search and field.startswith("trial.")
        origins[field] = "sampled" if searched else _origin(field, given, in_file, path.name)
    return Settings(sweep, origins)


def _origin(field: str, given: Mapping[str, Any], in_file: Mapping[str, Any], file_name: str) -> str:
    for name, fields in ((COMMAND_LINE, given), (file_name, in_file)):
        if any(field == other or field.startswith(other + ".") for other in fields):
            return name
        if any(other.startswith(field + ".") for other in fields):
            return name
    return "default"


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(where=str(path), field="file", value=str(error), allowed="a readable YAML file") from None
    try:
        tree = yaml.load(text, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error)
        raise InputError(where=where, field="YAML", value=problem, allowed="valid YAML") from None
    if not isinstance(tree, dict):
        raise InputError(where=str(path), field="file", value=tree, allowed="a mapping with name, base, trial, search")
    return tree


class _UniqueKeys(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice and reads 1e-3 as a number (YAML 1.1 wants 1.0e-3)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key!r} given twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    return float(loader.construct_scalar(node))


_UniqueKeys.add_implicit_resolver("!exponent", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789"))
_UniqueKeys.add_constructor("!exponent", _float)


def _override(text: str) -> tuple[str, Any]:
    field, equals, value = text.partition("=")
    if not equals or not all(field.split(".")):
        raise InputError(where="command line", field=COMMAND_LINE, value=text, allowed="a.b=value")
    try:
        return field, yaml.load(value, Loader=_UniqueKeys)
    except yaml.YAMLError:
        raise InputError(where="command line", field=COMMAND_LINE, value=text, allowed="a value in YAML") from None


def _assign(tree: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    for key in keys[:-1]:
        child = tree.get(key)
        if not isinstance(child, dict):
            child = tree[key] = {}
        tree = child
    tree[keys[-1]] = value


def _fix(tree: dict[str, Any], field: str) -> None:
    """Take a field of trial that is given on the command line out of the search."""
    points = tree.get("start_from")
    for mapping in [tree.get("search"), *(points if isinstance(points, list) else [])]:
        if isinstance(mapping, dict):
            mapping.pop(field, None)


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """(dotted field, value) of all that is not itself a non-empty mapping."""
    leaves: list[tuple[str, Any]] = []
    for key, value in tree.items():
        field = f"{prefix}{key}"
        leaves += _leaves(value, f"{field}.") if isinstance(value, dict) and value else [(field, value)]
    return leaves


def resolved(spec: SweepSpec | TrialSpec) -> dict[str, Any]:
    """Every value by dotted field."""
    return dict(_leaves(spec.model_dump(mode="json")))


def _validated(tree: dict[str, Any], where: str, given: Mapping[str, Any]) -> SweepSpec:
    try:
        return SweepSpec.model_validate(tree)
    except ValidationError as error:
        raise input_error(error, where, given) from None


def input_error(error: ValidationError, where: str, given: Mapping[str, Any]) -> InputError:
    """The first fault of a pydantic error as one line of ours."""
    fault = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in fault["loc"] if not _names_a_type(part))
    if any(field == name or field.startswith(f"{name}.") or name.startswith(f"{field}.") for name in given):
        where = COMMAND_LINE
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = "one of " + ", ".join(_known_fields(fault["loc"][:-1]))
    value = fault["input"] if fault["type"] != "missing" else "nothing"
    own_words = fault["type"] == "value_error" and "; allowed: " in message
    if own_words:
        detail, _, message = message.partition("; allowed: ")
        name, _, shown = detail.partition(": ")
        field, value = f"{field}.{name}" if field else name, shown
    return InputError(where=where, field=field, value=value, allowed=message)


def _names_a_type(part: str | int) -> bool:
    """pydantic puts such among the keys of a fault's place where a field may be of several types."""
    return isinstance(part, str) and (part in ("Range", "Choices", "[key]") or "(" in part)


def _known_fields(place: Sequence[str | int]) -> list[str]:
    """Names a mapping at this place of a sweep may hold."""
    model: Any = SweepSpec
    for part in place:
        if part == "train" or part == "evaluate":
            model = SourceSpec
        elif _names_a_type(part):
            model = Choices if part == "Choices" else Range
        elif isinstance(part, str) and part in getattr(model, "model_fields", {}):
            model = model.model_fields[part].annotation
    return list(getattr(model, "model_fields", ())) or ["the fields that docs/reference.md lists"]


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
        return [round(dimension.low + i * dimension.step, 12) for i in range(count)]
    if field in ("seed", "batch_size"):
        return list(range(int(dimension.low), int(dimension.high) + 1))
    return None


def _check_search(sweep: SweepSpec, where: str) -> None:
    """Every end of every axis must make a valid trial, before any is run."""
    for field, dimension in sweep.search.items():
        if field not in SEARCHABLE:
            raise InputError(where=where, field=f"search.{field}", value=field, allowed=f"one of {SEARCHABLE}")
        axis = values(field, dimension, sweep.trial.volumes)
        if axis is None and isinstance(dimension, Range):
            if sweep.sampler == "grid":
                raise InputError(where=where, field=f"search.{field}", value="a continuous range",
                                 allowed="choices or a step, with sampler grid")  # fmt: skip
            axis = [dimension.low, dimension.high]
        if not axis:
            raise InputError(where=where, field=f"search.{field}", value=dimension.model_dump(),
                             allowed=f"a range that holds one of volumes {list(sweep.trial.volumes)}")  # fmt: skip
        for value in axis:
            _check_point(sweep, {field: value}, where, f"search.{field}")
    for number, point in enumerate(sweep.start_from):
        unknown = set(point) ^ set(sweep.search)
        if unknown:
            raise InputError(where=where, field=f"start_from.{number}", value=sorted(unknown),
                             allowed=f"exactly the fields of search: {sorted(sweep.search)}")  # fmt: skip
        for field, value in point.items():
            axis = values(field, sweep.search[field], sweep.trial.volumes)
            if axis is not None and value not in axis:
                raise InputError(where=where, field=f"start_from.{number}.{field}", value=value,
                                 allowed=f"one of {axis}")  # fmt: skip
        _check_point(sweep, dict(point), where, f"start_from.{number}")


def _check_point(sweep: SweepSpec, point: dict[str, Any], where: str, field: str) -> None:
    try:
        sweep.trial_spec(point)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        message = fault["msg"].removeprefix("Value error, ")
        raise InputError(where=where, field=field, value=point, allowed=message) from None
