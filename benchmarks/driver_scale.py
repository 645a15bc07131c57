"""What one driver holds: a sweep of made-up trials through everything but the training; a table for docs/scale.md.

    python -m benchmarks.driver_scale 10 100 1000                through Tune, Optuna, the ledger and MLflow on SQLite
    python -m benchmarks.driver_scale 1000 10000 --without-tune  the same driver, asked and told in a loop
    python -m benchmarks.driver_scale 5 --without-tune           a look, seconds
    python -m benchmarks.driver_scale 40 --filled 10000 --without-tune --no-end
                                                                 what trials cost once so many have been: half way, as
                                                                 many are copied into all three stores

Real: the space, Optuna's study on SQLite, the sweep's own search, driver, ledger, MLflow with artifacts, the report.
Made up: a trial writes random score tables and a result.json of the right shape at once. Costs are processor seconds of
the driver's process, which other work on the machine does not change; wall clock stands beside them.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import os
import resource
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from rich.console import Console

from likra_ray import ledger, results, settings, study, sweep
from likra_ray import material as materials
from likra_ray import plan as plans
from likra_ray.analysis.curves import SeedTables
from likra_ray.analysis.objectives import objective_value
from likra_ray.driver import Driver
from likra_ray.heads.store import HeadStore
from likra_ray.records import ScoreTable, TrialResult
from likra_ray.reporting.outbox import Outbox
from likra_ray.spec import SweepSpec
from likra_ray.storage import Storage

ROOT = Path(__file__).parents[1]
PATTERN = "pattern.json"
"""In the output folder: the result that every made-up one is a copy of."""
PARTS = ("Optuna: ask", "Optuna: tell", "Optuna: observe", "MLflow", "files for MLflow", "sweep.json", "driver", "rest")
"""Of a driver's time, each without what another of them takes; rest: Tune and Ray, or the made-up trial."""


def space(trials: int) -> SweepSpec:
    """More points than any number of trials, every one a configuration of its own, as with a sampled rate."""
    wanted = [
        "name=scale",
        "search={negatives: {low: 8, high: 32, log: true}, learning_rate: {low: 1.0e-4, high: 2.0e-3, log: true}}",
        f"budget={{trials: {trials}, minutes: 100000, refinements: 0}}",
    ]
    return settings.load(ROOT / "search_spaces/smoke.yaml", wanted).sweep


class Meter:
    """Processor and wall seconds by part, and where they stood when each trial ended."""

    def __init__(self) -> None:
        self.cpu, self.wall = Counter[str](), Counter[str]()
        self.at: list[tuple[float, float, Counter[str]]] = []
        self.began = self.now()
        self._open: list[list[float]] = []

    @staticmethod
    def now() -> tuple[float, float]:
        return time.process_time(), time.perf_counter()

    def timed(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The work, its time less that of timed work within it counted as of this part."""

        @functools.wraps(work)
        def measured(*given: Any, **named: Any) -> Any:
            cpu, wall = self.now()
            self._open.append([0.0, 0.0])
            try:
                return work(*given, **named)
            finally:
                spent = [after - before for after, before in zip(self.now(), (cpu, wall), strict=True)]
                inside = self._open.pop()
                self.cpu[part] += spent[0] - inside[0]
                self.wall[part] += spent[1] - inside[1]
                if self._open:
                    self._open[-1] = [old + new for old, new in zip(self._open[-1], spent, strict=True)]

        return measured

    def ended(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """The driver's `ended`, after which a trial is over."""

        @functools.wraps(work)
        def measured(*given: Any, **named: Any) -> Any:
            work(*given, **named)
            cpu, wall = (after - before for after, before in zip(self.now(), self.began, strict=True))
            self.at.append((cpu, wall, Counter(self.cpu)))

        return measured


@contextlib.contextmanager
def instrumented(meter: Meter) -> Iterator[None]:
    """The platform's own functions, timed."""
    from ray.tune.search.optuna import OptunaSearch

    with contextlib.ExitStack() as held:

        def time_it(owner: Any, name: str, part: str) -> None:
            held.enter_context(mock.patch.object(owner, name, meter.timed(part, getattr(owner, name))))

        time_it(study, "ask_new", "Optuna: ask")
        time_it(OptunaSearch, "on_trial_complete", "Optuna: tell")
        time_it(study, "observe", "Optuna: observe")
        time_it(ledger.Ledger, "_files", "files for MLflow")
        time_it(ledger.Ledger, "_write", "sweep.json")
        time_it(Outbox, "deliver", "MLflow")
        for name in ("started", "progressed", "ended"):
            time_it(Driver, name, "driver")
        held.enter_context(mock.patch.object(Driver, "ended", meter.ended(Driver.ended)))
        yield


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
    result = make_up(spec, storage, material, study.point(params))
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


def loop(filled: int, driver: Driver, concurrent: int, seconds: float, search: Any) -> None:
    """In place of Tune: one trial after the other. filled: trials that are copied in half way."""
    trials = driver.book.remaining
    for number in range(trials):
        if filled and number == trials // 2:
            fill(driver, Path(driver.book.storage.root), filled)
        params = search.suggest(str(number))
        point = study.point(params)
        driver.started(point)
        result = make_up(driver.sweep, driver.book.storage, driver.material, point)
        told = {metric: objective_value(result, metric) for metric in driver.sweep.objective}
        search.on_trial_complete(str(number), result=told)
        driver.ended(point, failed=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """One sweep."""

    trials: int
    meter: Meter
    end: tuple[float, float]
    """Processor and wall seconds from the last trial to the end: findings, report, MLflow's last word."""
    memory: tuple[float, float, float]
    """MB resident when the sweep began, when its last trial had ended, at most (its end included)."""
    disk: dict[str, float]
    """MB by what lies there."""


def measure(trials: int, folder: Path, *, with_tune: bool, whole: bool = True, filled: int = 0) -> Measured:
    """Run it. whole: with findings and report, else the sweep ends with its last trial; filled: as of `loop`."""
    spec, meter, at_last = space(trials), Meter(), [0.0]

    def last(*_: Any, **__: Any) -> None:
        at_last[0] = resident()

    with contextlib.ExitStack() as held:
        held.enter_context(instrumented(meter))
        patch = mock.patch.object
        if with_tune:
            held.enter_context(patch(sweep, "attempt", attempt))
        else:
            held.enter_context(patch(sweep, "_run", functools.partial(loop, filled)))
            held.enter_context(patch(sweep.console, "ray_session", lambda **_: contextlib.nullcontext()))
            answers = ((sweep.cluster, "places", 1), (sweep.cluster, "attempts", 1), (sweep.trials, "leases", None),
                       (sweep.trials, "release", None))  # fmt: skip
            for owner, name, answer in answers:
                held.enter_context(patch(owner, name, functools.partial(lambda *_, answer: answer, answer=answer)))
        close = ledger.Ledger.close if whole else (lambda *_, **__: None)
        held.enter_context(patch(ledger.Ledger, "close", lambda *given, **named: (last(), close(*given, **named))))
        held.enter_context(patch(sweep, "refine", lambda *_, **__: True))
        began = resident()
        meter.began = meter.now()
        sweep.run_sweep(
            spec, output=str(folder), tracking_uri=f"sqlite:///{folder}/mlflow.db", screen=Console(quiet=True)
        )
        cpu, wall = (after - before for after, before in zip(meter.now(), meter.began, strict=True))
    assert len(meter.at) == trials, (len(meter.at), trials)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Measured(
        trials=trials, meter=meter, end=(cpu - meter.at[-1][0], wall - meter.at[-1][1]),
        memory=(began, at_last[0], most), disk=sizes(folder),
    )  # fmt: skip


def resident() -> float:
    """MB of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def sizes(folder: Path) -> dict[str, float]:
    """MB on disk by part of the output."""
    named = {"mlflow.db": "mlflow.db", "MLflow's artifacts": "mlartifacts", "optuna.db": "scale/optuna.db",
             "sweep.json": "scale/sweep.json", "results": "scale/trials", "heads": "heads",
             "Tune's own": "scale/ray"}  # fmt: skip
    return {what: _size(folder / name) for what, name in named.items() if (folder / name).exists()}


def _size(path: Path) -> float:
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return sum(one.stat().st_size for one in files) / 2**20


def rows(found: Measured) -> list[str]:
    """A row for each part: processor milliseconds per trial over all trials, their first and their last quarter."""
    at, quarter = found.meter.at, max(1, found.trials // 4)
    start = at[0]

    def per_trial(first: int, last: int, part: str | None) -> float:
        (cpu, _, parts), (before, _, parts_before) = at[last], at[first]
        spent = cpu - before if part is None else parts[part] - parts_before[part]
        if part == "rest":
            spent = cpu - before - sum(parts[one] - parts_before[one] for one in PARTS)
        return 1000 * spent / max(1, last - first)

    end = len(at) - 1
    lines = []
    for part in (*PARTS, None):
        cells = [per_trial(0, end, part), per_trial(0, min(quarter, end), part), per_trial(end - quarter, end, part)]
        shown = " | ".join(f"{cell:.1f}" for cell in cells)
        lines.append(f"| {found.trials} | {part or 'all'} | {shown} |")
    wall = (at[-1][1] - start[1]) / max(1, end)
    lines.append(f"| {found.trials} | wall clock, all | {1000 * wall:.1f} | | |")
    return lines


def page(all_found: Sequence[Measured]) -> list[str]:
    """Markdown: what a trial costs, what the end costs, memory and disk."""
    lines = ["| trials | part | ms per trial | first quarter | last quarter |", "|---|---|---|---|---|"]
    for found in all_found:
        lines += rows(found)
    lines += ["", "| trials | end: processor s | end: wall s | MB at first | MB after all | MB at most | disk, MB |",
              "|---|---|---|---|---|---|---|"]  # fmt: skip
    for found in all_found:
        disk = ", ".join(f"{what} {size:.1f}" for what, size in found.disk.items())
        first, last, most = found.memory
        end = f"{found.end[0]:.1f} | {found.end[1]:.1f}"
        lines.append(f"| {found.trials} | {end} | {first:.0f} | {last:.0f} | {most:.0f} | {disk} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", type=int, nargs="+", help="how many, one sweep each")
    parser.add_argument("--without-tune", action="store_true", help="a loop instead: no process per trial")
    parser.add_argument("--filled", type=int, default=0, help="trials copied in half way; with --without-tune")
    parser.add_argument("--no-end", action="store_true", help="neither findings nor report")
    given = parser.parse_args()
    all_found = []
    for trials in given.trials:
        with tempfile.TemporaryDirectory() as folder:
            all_found.append(
                measure(
                    trials, Path(folder), with_tune=not given.without_tune, whole=not given.no_end, filled=given.filled
                )
            )
        print("\n".join(page(all_found[-1:])), flush=True)
    if len(all_found) > 1:
        print("\n".join(page(all_found)))


if __name__ == "__main__":
    main()
