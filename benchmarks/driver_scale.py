"""What one driver holds: a sweep of made-up trials through everything but the training; a table for docs/scale.md.

    python -m benchmarks.driver_scale 10 100 1000                through Tune, Optuna, the ledger and MLflow on SQLite
    python -m benchmarks.driver_scale 1000 10000 --without-tune  the same driver, asked and told in a loop
    python -m benchmarks.driver_scale 5 --without-tune           a look, seconds
    python -m benchmarks.driver_scale 40 --without-tune --no-end --tracking-uri http://127.0.0.1:5000
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
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from rich.console import Console

from benchmarks import made_up_trials
from likra_ray import ledger, study, sweep, tuning
from likra_ray.analysis.objectives import objective_value
from likra_ray.driver import Driver
from likra_ray.reporting.outbox import Outbox

PARTS = ("Optuna: ask", "Optuna: tell", "Optuna: observe", "MLflow", "files for MLflow", "sweep.json", "driver", "rest")
"""Of a driver's time, each without what another of them takes; rest: Tune and Ray, or the made-up trial."""


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
    with contextlib.ExitStack() as held:

        def time_it(owner: Any, name: str, part: str) -> None:
            held.enter_context(mock.patch.object(owner, name, meter.timed(part, getattr(owner, name))))

        time_it(study, "ask_new", "Optuna: ask")
        time_it(study, "hear", "Optuna: tell")
        time_it(study, "observe", "Optuna: observe")
        time_it(ledger.Ledger, "_files", "files for MLflow")
        time_it(ledger.Ledger, "_write", "sweep.json")
        time_it(Outbox, "deliver", "MLflow")
        for name in ("started", "progressed", "ended"):
            time_it(Driver, name, "driver")
        held.enter_context(mock.patch.object(Driver, "ended", meter.ended(Driver.ended)))
        yield


def loop(filled: int, driver: Driver, at_once: int, seconds: float, rounds: Any) -> None:
    """In place of Tune: one trial after the other. filled: trials that are copied in half way."""
    search, trials = tuning.Search(driver, rounds), driver.book.remaining
    for number in range(trials):
        if filled and number == trials // 2:
            made_up_trials.fill(driver, Path(driver.book.storage.root), filled)
        point = tuning.point(search.suggest(str(number)))
        driver.started(point)
        result = made_up_trials.make_up(driver.sweep, driver.book.storage, driver.material, point)
        told = {metric: objective_value(result, metric) for metric in driver.sweep.objective}
        search.on_trial_complete(str(number), result=told)
        driver.ended(point, failed=False)
    assert search.suggest("no more") == search.FINISHED


def no_rounds(book: ledger.Ledger, **_: Any) -> Iterator[Any]:
    """In place of refinement."""
    book.end_refinement("there is none here")
    return iter(())


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


def measure(
    trials: int, folder: Path, *, with_tune: bool, whole: bool = True, filled: int = 0, tracking_uri: str | None = None
) -> Measured:
    """Run it. whole: with findings and report, else the sweep ends with its last trial; filled: as of `loop`;
    tracking_uri: of an MLflow server, None: SQLite in the folder."""
    spec, meter, at_last = made_up_trials.space(trials), Meter(), [0.0]

    def last(*_: Any, **__: Any) -> None:
        at_last[0] = resident()

    with contextlib.ExitStack() as held:
        held.enter_context(instrumented(meter))
        patch = mock.patch.object
        if with_tune:
            held.enter_context(patch(sweep, "attempt", made_up_trials.attempt))
        else:
            held.enter_context(patch(sweep, "_run", functools.partial(loop, filled)))
            held.enter_context(patch(sweep.console, "ray_session", lambda **_: contextlib.nullcontext()))
            answers = ((sweep.cluster, "places", 1), (sweep.cluster, "attempts", 1), (sweep.holdings, "leases", None),
                       (sweep.holdings, "release", None), (sweep.holdings, "allow", None),
                       (sweep.holdings, "dismiss", None),
                       (sweep.cluster, "cpus_each", 1))  # fmt: skip
            for owner, name, answer in answers:
                held.enter_context(
                    patch(owner, name, functools.partial(lambda *_, answer, **__: answer, answer=answer))
                )
        close = ledger.Ledger.close if whole else (lambda *_, **__: None)
        held.enter_context(patch(ledger.Ledger, "close", lambda *given, **named: (last(), close(*given, **named))))
        held.enter_context(patch(sweep.refine, "rounds", no_rounds))
        began = resident()
        meter.began = meter.now()
        store = tracking_uri or f"sqlite:///{folder}/mlflow.db"
        sweep.run_sweep(spec, output=str(folder), tracking_uri=store, screen=Console(quiet=True))
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
    parser.add_argument("--tracking-uri", help="of an MLflow server that runs; else SQLite")
    given = parser.parse_args()
    all_found = []
    for trials in given.trials:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(
                trials, Path(folder), with_tune=not given.without_tune, whole=not given.no_end, filled=given.filled,
                tracking_uri=given.tracking_uri,
            )  # fmt: skip
            all_found.append(found)
        print("\n".join(page(all_found[-1:])), flush=True)
    if len(all_found) > 1:
        print("\n".join(page(all_found)))


if __name__ == "__main__":
    main()
