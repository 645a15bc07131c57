"""Trial results in the output folder: read, written, made from the score tables of a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from likra_ray.analysis import findings
from likra_ray.analysis.curves import SeedTables
from likra_ray.heads.orders import ROLES
from likra_ray.heads.store import HeadStore
from likra_ray.plan import TrialPlan
from likra_ray.records import ScoreTable, TrialResult
from likra_ray.spec import TrialSpec
from likra_ray.storage import Storage


class Unfinished(RuntimeError):
    """A trial's score tables are not all there."""


def stored_tables(store: HeadStore, plan: TrialPlan) -> SeedTables | None:
    """All score tables of a trial; None unless every head and table is there."""
    base = store.table(plan.base_key, plan.evaluation_key, 0)
    by_role: dict[str, dict[int, ScoreTable]] = {}
    for role, head in plan.heads.items():
        if not set(plan.volumes[role]) <= set(store.volumes(head.key)):
            return None
        found = {volume: store.table(head.key, plan.evaluation_key, volume) for volume in plan.volumes[role][1:]}
        by_role[role] = {volume: table for volume, table in found.items() if table is not None}
        if len(by_role[role]) < len(found):
            return None
    return None if base is None else SeedTables(base=base, **by_role)


def tables(storage: Storage, result: TrialResult) -> SeedTables:
    """The score tables a finished trial rests on. Raises Unfinished where one is gone."""
    store = HeadStore(storage)
    base = store.table(result.heads["base"], result.evaluation, 0)
    by_role: dict[str, dict[int, ScoreTable]] = {"positive": {}, "negative": {}}
    trial = TrialSpec.model_validate(result.spec)
    for role in ROLES:
        for volume in trial.head_volumes(role)[1:]:
            table = store.table(result.heads[role], result.evaluation, volume)
            if table is None:
                raise Unfinished(f"trial {result.key}: no score table of {result.heads[role]} at {volume}")
            by_role[role][volume] = table
    if base is None:
        raise Unfinished(f"trial {result.key}: no score table of the base")
    return SeedTables(base=base, **by_role)


def done(
    trial: TrialSpec,
    plan: TrialPlan,
    found: SeedTables,
    *,
    sampled: Mapping[str, Any],
    trained: dict[str, int],
    seconds: dict[str, float],
) -> TrialResult:
    """The record of a finished trial: all its tables say, analysed.

    trained: examples trained by this trial, by role; seconds: wall clock by part.
    """
    name = named(sampled)
    rng = np.random.default_rng(int(plan.key, 16))
    finding = findings.find(
        {trial.seed: found}, name=name, settings=dict(sampled), trials=(plan.key,), weight=trial.weight, rng=rng
    )
    return TrialResult(
        key=plan.key,
        name=name,
        status="done",
        reason=None,
        spec=trial.model_dump(mode="json"),
        sampled=dict(sampled),
        heads={"base": plan.base_key, **{role: head.key for role, head in plan.heads.items()}},
        evaluation=plan.evaluation_key,
        curves={arm: list(points) for arm, points in finding.curves.items()},
        metrics=findings.metrics_by_volume(finding, found, weight=trial.weight),
        phase=dict(finding.phase),
        trained=trained,
        seconds=seconds,
    )


def failed(trial: TrialSpec, plan: TrialPlan, sampled: Mapping[str, Any], reason: str) -> TrialResult:
    """The record of a trial that did not end well."""
    return TrialResult(
        key=plan.key,
        name=named(sampled),
        status="failed",
        reason=reason,
        spec=trial.model_dump(mode="json"),
        sampled=dict(sampled),
        heads={"base": plan.base_key, **{role: head.key for role, head in plan.heads.items()}},
        evaluation=plan.evaluation_key,
        curves={},
        metrics={},
        phase={},
        trained={},
        seconds={},
    )


def finding(storage: Storage, results: Sequence[TrialResult]) -> findings.Finding:
    """What one configuration says: finished trials that differ in seed only, one each. Raises Unfinished."""
    first = results[0]
    settings = {field: value for field, value in first.sampled.items() if field not in findings.NOT_SETTINGS}
    keys = tuple(result.key for result in results)
    return findings.find(
        {int(result.spec["seed"]): tables(storage, result) for result in results},
        name=named(settings),
        settings=settings,
        trials=keys,
        weight=float(first.spec["weight"]),
        rng=np.random.default_rng([int(key, 16) for key in sorted(keys)]),
    )


def reason(error: BaseException) -> str:
    """Why a trial failed, in one line: what its first worker raised, without Ray's wrapping."""
    failures = getattr(error, "worker_failures", None) or {}
    cause: BaseException = failures[min(failures)] if failures else error
    cause = getattr(cause, "cause", None) or cause
    return " ".join(f"{type(cause).__name__}: {cause}".split())[:500]


def named(sampled: Mapping[str, Any]) -> str:
    """``negatives=512 near_miss_share=0.5``; "fixed" for a trial of a sweep that varies nothing."""
    return " ".join(f"{field}={value:g}" if isinstance(value, float) else f"{field}={value}"
                    for field, value in sorted(sampled.items())) or "fixed"  # fmt: skip


def read(storage: Storage, sweep: str, key: str) -> TrialResult | None:
    """What a trial left; None where it left nothing yet."""
    name = f"{sweep}/trials/{key}/result.json"
    return TrialResult.from_json(storage.read(name).decode()) if storage.exists(name) else None


def remove(storage: Storage, sweep: str, key: str) -> None:
    """Forget what a trial left: it will be run again."""
    storage.remove(f"{sweep}/trials/{key}/result.json")


def write(storage: Storage, sweep: str, result: TrialResult) -> None:
    """Keep what a trial found."""
    storage.write(f"{sweep}/trials/{result.key}/result.json", result.to_json().encode())
