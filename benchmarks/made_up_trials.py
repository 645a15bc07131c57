"""Trials made up at once for benchmarks/driver_scale.py: random score tables and a record of the right shape."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from likra_ray import material as materials
from likra_ray import plan as plans
from likra_ray import results, settings, tuning
from likra_ray.analysis.curves import SeedTables
from likra_ray.analysis.objectives import objective_value
from likra_ray.driver import Driver
from likra_ray.heads.store import HeadStore
from likra_ray.records import ScoreTable, TrialResult
from likra_ray.spec import SweepSpec
from likra_ray.storage import Storage

ROOT = Path(__file__).parents[1]
PATTERN = "pattern.json"
"""In the output folder: the result that every made-up one is a copy of."""


def space(trials: int) -> SweepSpec:
    """More points than any number of trials, every one a configuration of its own, as with a sampled rate."""
    wanted = [
        "name=scale",
        "search={negatives: {low: 8, high: 32, log: true}, learning_rate: {low: 1.0e-4, high: 2.0e-3, log: true}}",
        f"budget={{trials: {trials}, minutes: 100000, refinements: 0}}",
    ]
    return settings.load(ROOT / "search_spaces/smoke.yaml", wanted).sweep


def tables(material: materials.Material, volumes: Sequence[int], seed: int) -> SeedTables:
    """Random score tables of the right shape."""
    rng = np.random.default_rng(seed)
    kinds = [option.kind for question in material.evaluate for option in question.options]
    index = [number for number, question in enumerate(material.evaluate) for _ in question.options]

    def table() -> ScoreTable:
        ones = np.full(len(kinds), 3, dtype=np.int32)
        codes = np.array([("correct", "near_miss", "far").index(kind) for kind in kinds], dtype=np.int8)
        return ScoreTable(
            question_ids=tuple(question.id for question in material.evaluate),
            question=np.array(index, dtype=np.int32), kind=codes, logprob=rng.normal(-8.0, 1.0, len(kinds)),
            tokens=ones, characters=ones, bytes=ones,
        )  # fmt: skip

    positive, negative = ({volume: table() for volume in volumes if volume} for _ in range(2))
    return SeedTables(base=table(), positive=positive, negative=negative)


def counted(plan: plans.TrialPlan) -> dict[str, dict[int, int]]:
    """Answer tokens by role and volume: three an answer."""
    return {role: {volume: 3 * volume for volume in volumes} for role, volumes in plan.volumes.items()}


def make_up(spec: SweepSpec, storage: Storage, material: materials.Material, point: dict[str, Any]) -> TrialResult:
    """Write what a trial at this point would leave: its score tables and its result."""
    trial = spec.trial_spec(point)
    plan = plans.trial_plan(material, trial)
    seed = int(plan.key, 16)
    found = tables(material, trial.volumes, seed)
    store = HeadStore(storage)
    if store.table(plan.base_key, plan.evaluation_key, 0) is None:
        store.save_table(plan.base_key, plan.evaluation_key, 0, found.base)
    for role, by_volume in (("positive", found.positive), ("negative", found.negative)):
        for volume in trial.head_volumes(role)[1:]:
            store.save_table(plan.heads[role].key, plan.evaluation_key, volume, by_volume[volume])
    if not storage.exists(PATTERN):
        tokens = counted(plan)
        whole = tables(material, trial.volumes, seed)
        pattern = results.done(trial, plan, whole, sampled=point, trained={}, seconds={}, tokens=tokens)
        storage.write(PATTERN, pattern.to_json().encode())
    pattern = TrialResult.from_json(storage.read(PATTERN).decode())
    height = np.random.default_rng(seed).uniform(0.0, 0.1)
    shifted = {name: {volume: value + height for volume, value in by.items()} for name, by in pattern.metrics.items()}
    last = max(trial.head_volumes("negative"))
    result = dataclasses.replace(
        pattern, key=plan.key, name=results.named(point), spec=trial.model_dump(mode="json"), sampled=dict(point),
        heads={"base": plan.base_key, **{role: head.key for role, head in plan.heads.items()}},
        evaluation=plan.evaluation_key, metrics=shifted,
        curves={arm: [one for one in points if one.volume <= last] for arm, points in pattern.curves.items()},
        answer_tokens=counted(plan),
    )  # fmt: skip
    results.write(storage, spec.name, result)
    return result


def attempt(params: dict[str, Any], *, context: Mapping[str, Any]) -> None:
    """In place of the sweep's own: a trial as Tune sees it."""
    from ray import tune

    spec, storage = SweepSpec.model_validate(context["sweep"]), Storage(context["root"])
    material = materials.read(storage, context["material"])
    result = make_up(spec, storage, material, tuning.point(params))
    tune.report({metric: objective_value(result, metric) for metric in spec.objective})


def fill(driver: Driver, folder: Path, trials: int) -> None:
    """Copy a trial so often, with new keys and points, into MLflow, the study (twice each) and sweep.json."""
    rng = np.random.default_rng(0)
    keys = [f"copy{number:012x}" for number in range(trials)]
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        [run] = database.execute("SELECT run_uuid FROM tags WHERE key = 'likra_ray.trial' LIMIT 1").fetchone()
        for table in ("runs", "tags", "params", "metrics", "latest_metrics"):
            columns, rows = _of(database, table, "run_uuid", run)
            at = columns.index("run_uuid")
            for row in rows:
                keyed = table == "tags" and "likra_ray.trial" in row
                copies = [[*row[:at], key.rjust(32, "0"), *row[at + 1 :]] for key in keys]
                if keyed:
                    value = columns.index("value")
                    copies = [[*c[:value], key, *c[value + 1 :]] for c, key in zip(copies, keys, strict=True)]
                _insert(database, table, copies)
    with contextlib.closing(sqlite3.connect(folder / "scale/optuna.db")) as database, database:
        [trial] = database.execute("SELECT trial_id FROM trials WHERE state = 'COMPLETE' LIMIT 1").fetchone()
        [last, number] = database.execute("SELECT MAX(trial_id), MAX(number) FROM trials").fetchone()
        for table in ("trials", "trial_params", "trial_values"):
            columns, rows = _of(database, table, "trial_id", trial)
            for row in rows:
                named = [dict(zip(columns, row, strict=True)) for _ in range(2 * trials)]
                for count, one in enumerate(named, start=1):
                    one |= {columns[0]: None, "trial_id": last + count}
                    if table == "trials":
                        one["number"] = number + count
                    elif one.get("param_name") == "learning_rate":
                        one["param_value"] = float(np.exp(rng.uniform(np.log(1e-4), np.log(2e-3))))
                    elif one.get("objective") == 0:
                        one["value"] = float(rng.uniform(0.2, 0.4))
                _insert(database, table, [list(one.values()) for one in named])
    driver.book.trials.extend(keys)


def _of(
    database: sqlite3.Connection, table: str, column: str, value: object
) -> tuple[list[str], list[tuple[Any, ...]]]:
    found = database.execute(f"SELECT * FROM {table} WHERE {column} = ?", (value,))
    return [one[0] for one in found.description], found.fetchall()


def _insert(database: sqlite3.Connection, table: str, rows: list[list[Any]]) -> None:
    database.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
