"""sweep.json: what it holds at first, how it is read, in what two sweeps of one name differ; where the study lies."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from likra_ray.errors import MISSING, InputError
from likra_ray.spec import SweepSpec
from likra_ray.storage import Storage, here

MAY_CHANGE = ("budget",)
"""Fields of a sweep that --resume may change."""


ENDED = ("done", "failed")
"""Status of a sweep that ran to its end."""


def fresh(spec: dict[str, Any], material: str, *, began: str) -> dict[str, Any]:
    """Of a sweep that has not run. spec: as JSON; material: name of its questions' file; began: ISO time."""
    return {"spec": spec, "material": material, "began": began, "status": "new", "trials": [],
            "refined": [], "refinements": []}  # fmt: skip


def read(storage: Storage, name: str) -> dict[str, Any]:
    """A sweep.json; fields that came later than it have their defaults. Raises InputError for a damaged one."""
    remedy = "give another name or --output; heads and score tables are kept beside it, and used"
    record = storage.read_as(name, _parsed, remedy=remedy)
    with contextlib.suppress(ValidationError):  # a spec of another version: it differs, and is shown as it stands
        record["spec"] = SweepSpec.model_validate(record["spec"]).model_dump(mode="json")
    return record


def _parsed(data: bytes) -> dict[str, Any]:
    record: dict[str, Any] = {"refined": [], "refinements": [], **json.loads(data)}
    for field in ("spec", "material", "status", "trials"):
        record[field]  # a KeyError names it
    return record


def spec(storage: Storage, sweep: str, record: Mapping[str, Any]) -> SweepSpec:
    """Of a sweep that was run. Raises InputError for one of another version."""
    remedy = "the version of this package that made it reads it"
    return storage.read_as(f"{sweep}/sweep.json", lambda _: SweepSpec.model_validate(record["spec"]), remedy=remedy)


def opened(storage: Storage, spec: dict[str, Any], material: str, *, began: str, resume: bool) -> dict[str, Any]:
    """The record of a sweep, new or found; with `resume` it takes on the budget of `spec`.

    spec: as JSON; material: name of its questions' file; began: ISO time, for a new one. Raises InputError where the
    folder holds another sweep, or one cut short that --resume was not asked to finish.
    """
    name = f"{spec['name']}/sweep.json"
    if not storage.exists(name):
        return fresh(spec, material, began=began)
    record, where = read(storage, name), storage.path(name)
    differs = difference({**record["spec"], "material": record["material"]}, {**spec, "material": material})
    if differs is not None:
        field, there = differs
        raise InputError(
            where=where, field=field, value=there, allowed="the same settings; else give another name or --output"
        )
    if not resume and record["status"] not in ENDED:
        raise InputError(
            where=where,
            field="status",
            value=f"{record['status']}, {len(record['trials'])} of {spec['budget']['trials']} trials",
            allowed="--resume to finish it, or another name or --output",
        )
    if resume and record["spec"]["budget"] != spec["budget"]:
        record |= {"spec": spec, "refinement_ended": None}  # what ended for want of budget may go on
    return record


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> tuple[str, Any] | None:
    """The first field in which two specs differ, of those that may not, and what stands there."""
    for field in here:
        if field not in MAY_CHANGE and there.get(field) != here[field]:
            if isinstance(here[field], dict) and isinstance(there.get(field), dict):
                mine, theirs = here[field], there[field]
                inner = next(key for key in mine | theirs if mine.get(key, MISSING) != theirs.get(key, MISSING))
                return f"{field}.{inner}", theirs.get(inner, MISSING)
            return field, there.get(field, MISSING)
    return None


def study_url(storage: Storage, sweep: str) -> str:
    """SQLAlchemy URL of the Optuna study: in the sweep's folder, or in the driver's cache where that is remote."""
    if storage.is_local:
        return f"sqlite:///{storage.path(f'{sweep}/optuna.db')}"
    place = here(storage, sweep, "studies")
    place.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{place}.db"
