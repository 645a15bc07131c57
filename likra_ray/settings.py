"""From a search space's YAML and ``--set`` to a SweepSpec, with the origin of every value.

All that is wrong is one InputError: the file (or --set), the field, the value, what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import yaml
from pydantic import ValidationError

from likra_ray import search
from likra_ray.errors import MISSING, InputError
from likra_ray.question_spec import SourceSpec
from likra_ray.spec import Choices, Range, SweepSpec, TrialSpec

COMMAND_LINE = "--set"

LONGEST = 1000
"""Bits of a whole number: what is larger is no float, and from 4300 digits on Python does not write it out."""

SPACES = "search_spaces"
"""Folder of the bundled search spaces: in the package where it is installed, beside it in a checkout."""

LARGEST, MOST_VALUES = 2**20, 20_000
"""Bytes and values of a search space, far above any real one (the largest of search_spaces/ has under 100 values)."""


class Settings(NamedTuple):
    """A sweep and where its values come from."""

    sweep: SweepSpec
    origins: dict[str, str]
    """Dotted field -> default | the file's name | --set | sampled; in the order of the spec."""


def bundled() -> dict[str, Path]:
    """The search spaces that come with likra_ray, by name."""
    package = Path(__file__).parent
    folder = package / SPACES if (package / SPACES).is_dir() else package.parent / SPACES
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load(path: str | Path, overrides: Sequence[str] = ()) -> Settings:
    """Read a search space. Raises InputError.

    path: a YAML file, or the name of a bundled search space (`bundled`); a file of that name comes first.
    overrides: ``a.b=value`` strings, value in YAML, stronger than the file; ``trial.x`` also replaces
    ``search.x``, so that a fixed value is fixed.
    """
    path = Path(path)
    if not path.is_file():
        path = bundled().get(str(path), path)
    tree = _read(path)
    in_file = dict(_leaves(tree))
    given: dict[str, Any] = {}
    for override in overrides:
        field, value = _override(override)
        _assign(tree, _keys(field), value)
        given[field] = value
        if field.startswith("trial."):
            _fix(tree, field.removeprefix("trial."))

    def place(field: str) -> str:
        overridden = any(_within(field, other) or _within(other, field) for other in given)
        return COMMAND_LINE if overridden else str(path)

    try:
        sweep = SweepSpec.model_validate(tree)
    except ValidationError as error:
        raise input_error(error, place) from None
    search.check(sweep, place)
    origins = {}
    for field, _ in _leaves(sweep.model_dump(mode="json")):
        searched = any(_within(field, f"trial.{name}") for name in sweep.search)
        origins[field] = "sampled" if searched else _origin(field, given, in_file, path.name)
    return Settings(sweep, origins)


def _origin(field: str, given: Mapping[str, Any], in_file: Mapping[str, Any], file_name: str) -> str:
    for name, fields in ((COMMAND_LINE, given), (file_name, in_file)):
        if any(_within(field, other) or _within(other, field) for other in fields):
            return name
    return "default"


def _within(field: str, other: str) -> bool:
    """Whether a dotted field is another, or part of it."""
    return field == other or field.startswith(f"{other}.")


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        text = data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        allowed = f"a readable YAML file, or one of {', '.join(bundled())}"
        raise InputError(where=str(path), field="file", value=str(error), allowed=allowed) from None
    if len(data) > LARGEST:
        raise InputError(where=str(path), field="file", value=f"more than {LARGEST} bytes", allowed="a search space")
    try:
        tree = _parsed(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error)
        raise InputError(where=where, field="YAML", value=problem, allowed="valid YAML") from None
    if not isinstance(tree, dict):
        raise InputError(where=str(path), field="file", value=tree, allowed="a mapping with name, base, trial, search")
    return tree


def _parsed(text: str) -> Any:
    """The YAML's value. Raises yaml.YAMLError, also for what PyYAML gives up on in other ways."""
    try:
        tree = yaml.load(text, Loader=_UniqueKeys)
        _check_size(tree, [MOST_VALUES])
    except RecursionError:
        raise yaml.YAMLError("nested too deep, or within itself") from None
    except (ValueError, OverflowError, AttributeError, TypeError, LookupError) as error:
        raise yaml.YAMLError(f"a value that cannot be read ({error})") from None
    return tree


def _check_size(tree: Any, left: list[int]) -> None:
    """Count every value as often as it is named, and stop at `left` of them: an alias is small, what it means need not
    be."""
    left[0] -= 1
    if left[0] < 0:
        raise yaml.YAMLError(f"more than {MOST_VALUES} values")
    if isinstance(tree, int) and tree.bit_length() > LONGEST:
        raise yaml.YAMLError("a whole number of more than 300 digits")
    for child in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list | tuple | set) else ():
        _check_size(child, left)


class _UniqueKeys(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice and reads 1e-3 as a number (YAML 1.1 wants 1.0e-3)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.MarkedYAMLError(problem="a key that is no plain value", problem_mark=key_node.start_mark)
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
        return field, _parsed(value)
    except yaml.YAMLError:
        raise InputError(where="command line", field=COMMAND_LINE, value=text, allowed="a value in YAML") from None


def _keys(field: str) -> list[str]:
    """The keys that lead to a dotted field; a searched field is one key, dots and all."""
    for name in search.SEARCHABLE:
        if _within(field, f"search.{name}"):
            rest = field.removeprefix(f"search.{name}").removeprefix(".")
            return ["search", name, *(rest.split(".") if rest else [])]
    return field.split(".")


def _assign(tree: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    for key in keys[:-1]:
        child = tree.get(key)
        if not isinstance(child, dict):
            child = tree[key] = {}
        tree = child
    tree[keys[-1]] = value


def _fix(tree: dict[str, Any], field: str) -> None:
    """Take a field of trial that is given on the command line, and all within it, out of the search."""
    points = tree.get("start_from")
    for mapping in [tree.get("search"), *(points if isinstance(points, list) else [])]:
        if isinstance(mapping, dict):
            for name in [name for name in mapping if isinstance(name, str) and _within(name, field)]:
                del mapping[name]


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


def input_error(error: ValidationError, place: search.Place) -> InputError:
    """The first fault of a pydantic error as one line of ours; a misspelt key comes before what it leaves missing."""
    faults = error.errors(include_url=False)
    fault = next((one for one in faults if one["type"] == "extra_forbidden"), faults[0])
    if fault["loc"][:1] == ("search",) and len(fault["loc"]) > 1:
        search.check_field(str(fault["loc"][1]), place)
    field = ".".join(str(part) for part in fault["loc"] if not _names_a_type(part))
    where = place(field)
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = "one of " + ", ".join(_known_fields(fault["loc"][:-1]))
    value = fault["input"]
    if fault["type"] == "missing":
        value, message = MISSING, "this field, which is required"
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
        if part in ("train", "evaluate", "other"):
            model = SourceSpec
        elif _names_a_type(part):
            model = Choices if part == "Choices" else Range
        elif isinstance(part, str) and part in getattr(model, "model_fields", {}):
            model = model.model_fields[part].annotation
            model = next((one for one in get_args(model) if hasattr(one, "model_fields")), model)
    return list(getattr(model, "model_fields", ())) or ["the fields that likra_ray/spec.py and question_spec.py list"]
