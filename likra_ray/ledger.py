"""What a sweep did so far: sweep.json in its folder is the truth, MLflow its mirror, written by the driver alone.

A ledger is opened before anything is used, begun when Ray runs, told of every trial, and closed with the findings.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from likra_ray import material as materials
from likra_ray import results
from likra_ray.analysis import findings
from likra_ray.analysis.findings import Finding
from likra_ray.console import OUTPUT
from likra_ray.errors import InputError
from likra_ray.material import Material
from likra_ray.records import TrialResult
from likra_ray.settings import resolved
from likra_ray.spec import SweepSpec, TrialSpec
from likra_ray.storage import Storage, absolute, cache_folder

if TYPE_CHECKING:
    from rich.console import RenderableType

    from likra_ray.reporting.tracking import Mirror

log = logging.getLogger(__name__)

MAY_CHANGE = ("budget",)
"""Fields of a sweep that --resume may change."""

ENDED: dict[str, Literal["FINISHED", "FAILED", "KILLED"]] = {
    "interrupted": "KILLED",
    "done": "FINISHED",
    "failed": "FAILED",
}
"""MLflow's word for how a sweep ended."""


class Ledger:
    """One sweep's record, open for writing; `open_ledger` makes it."""

    def __init__(self, storage: Storage, sweep: SweepSpec, material: Material, record: dict[str, Any]) -> None:
        self.storage, self.sweep, self.material = storage, sweep, material
        self._record = record
        self._mirror: Mirror | None = None

    @property
    def trials(self) -> list[str]:
        """Keys of the trials that ended, in the order they did; one may stand twice where Optuna asked twice."""
        trials: list[str] = self._record["trials"]
        return trials

    @property
    def remaining(self) -> int:
        """Trials still to run."""
        target = self.sweep.budget.trials if self.sweep.search else 1
        return max(0, target - len(self.trials))

    @property
    def finished(self) -> bool:
        """Whether the sweep ran to its end: all trials, all points, or all of its minutes."""
        return self._record["status"] in ("done", "failed")

    @property
    def results(self) -> list[TrialResult]:
        """What every ended trial left, each once."""
        found = [results.read(self.storage, self.sweep.name, key) for key in dict.fromkeys(self.trials)]
        return [result for result in found if result is not None]

    @property
    def done(self) -> list[TrialResult]:
        """The trials that ended well."""
        return [result for result in self.results if result.status == "done"]

    def study_url(self) -> str:
        """SQLAlchemy URL of the Optuna study: in the sweep's folder, or in the driver's cache where that is remote."""
        if self.storage.is_local:
            return f"sqlite:///{self.storage.path(f'{self.sweep.name}/optuna.db')}"
        place = hashlib.sha256(f"{self.storage.root}/{self.sweep.name}".encode()).hexdigest()[:16]
        folder = cache_folder() / "studies"
        folder.mkdir(parents=True, exist_ok=True)
        return f"sqlite:///{folder / place}.db"

    def retried(self) -> list[dict[str, Any]]:
        """Take failed trials back out, to be run again; returns their points."""
        failed = [result for result in self.results if result.status == "failed"]
        keys = {result.key for result in failed}
        self._record["trials"] = [key for key in self.trials if key not in keys]
        for key in keys:
            results.remove(self.storage, self.sweep.name, key)
        return [result.sampled for result in failed]

    def begin(self, mirror: Mirror, tracking_uri: str) -> None:
        """From here on trials run: sweep.json and the parent run in MLflow exist."""
        from likra_ray.reporting.tracking import provenance

        self._record |= {"status": "running", "provenance": provenance()}
        self._open(mirror, tracking_uri)
        mirror.close_stale(self._record["mlflow_run"], "KILLED")
        self._write()

    def replay(self, mirror: Mirror, tracking_uri: str) -> None:
        """Bring MLflow up to a sweep that ended before: what is there already is not written again."""
        self._open(mirror, tracking_uri)
        self._write()
        self._mirror_all()

    def _open(self, mirror: Mirror, tracking_uri: str) -> None:
        from likra_ray.reporting.tracking import without_secret

        self._mirror = mirror
        self._record["tracking_uri"] = without_secret(tracking_uri)
        sweep = self.sweep
        questions = f"{len(self.material.train)} to train on, {len(self.material.evaluate)} to evaluate on"
        self._record["mlflow_run"] = mirror.start_sweep(
            sweep=f"{self.storage.root}/{sweep.name}",
            run_name=sweep.name,
            params={field: value for field, value in resolved(sweep).items() if not field.startswith("search.")},
            tags={f"version.{name}": version for name, version in self._record["provenance"].items()},
            spec_yaml=json.dumps(sweep.model_dump(mode="json"), indent=1),
            description=f"Likra sweep {sweep.name} on {sweep.base}: {questions}, {sweep.questions.shots}-shot.",
        )

    def start_trial(self, key: str, name: str, trial: TrialSpec) -> None:
        """A trial began: its run appears in MLflow."""
        self._mirrored(lambda: self._child(key, name, trial))

    def end_trial(self, result: TrialResult) -> None:
        """A trial ended, well or not: first sweep.json, then MLflow."""
        self.trials.append(result.key)
        self._write()
        self._mirrored(lambda: self._mirror_result(result))

    def _mirrored(self, write: Callable[[], object]) -> None:
        """Write to MLflow; a store that fails now costs the sweep nothing: `close` mirrors every result again."""
        try:
            write()
        except Exception as error:
            log.warning("MLflow did not take it, it will be told at the end: %s: %s", type(error).__name__, error)

    def _child(self, key: str, name: str, trial: TrialSpec) -> str:
        """The trial's run, made or found."""
        assert self._mirror is not None
        return self._mirror.start_trial(
            parent=self._record["mlflow_run"],
            key=key,
            name=name,
            params=resolved(trial),
            tags={"sweep": self.sweep.name},
        )

    def _mirror_result(self, result: TrialResult) -> None:
        """Bring the trial's run up to its result; writes nothing where it is."""
        assert self._mirror is not None
        run = self._child(result.key, result.name, TrialSpec.model_validate(result.spec))
        artifacts = {"result.json": result.to_json().encode()}
        if result.status == "done":
            artifacts |= self._trial_artifacts(result)
        self._mirror.finish_trial(run, result, artifacts)

    def _trial_artifacts(self, result: TrialResult) -> dict[str, bytes]:
        from likra_ray.reporting import figures

        tables = results.tables(self.storage, result)
        found = {"scores/base.arrow": tables.base.to_arrow()}
        for role, by_volume in (("positive", tables.positive), ("negative", tables.negative)):
            found |= {f"scores/{role}/{volume}.arrow": table.to_arrow() for volume, table in by_volume.items()}
        finding = results.finding(self.storage, [result])
        return found | {"learning_curves.png": figures.learning_curves(finding, title=result.name)}

    def findings(self) -> list[Finding]:
        """What every configuration says, its seeds joined; empty where no trial ended well."""
        return [
            results.finding(self.storage, list(by_seed.values()))
            for _, by_seed in findings.configurations(self.results)
        ]

    def close(self, *, interrupted: bool) -> None:
        """Write the findings, here and in MLflow, and end the parent run."""
        found = self.findings()
        self._record |= {"status": "interrupted" if interrupted else "done" if found else "failed", "ended": _now()}
        if found:
            self._record["headline"] = found[findings.headline(found)].name
            self._record["critical_phase"] = {finding.name: _phases(finding) for finding in found}
        self._write()
        for name, data in self._artifacts(found).items():
            self.storage.write(f"{self.sweep.name}/{name}", data)
        self._mirror_all()

    def _artifacts(self, found: Sequence[Finding]) -> dict[str, bytes]:
        """Figures of the headline and every critical phase; nothing where no trial ended well."""
        from likra_ray.reporting import figures

        if not found:
            return {}
        best = found[findings.headline(found)]
        return {
            "critical_phase.json": json.dumps(self._record["critical_phase"], indent=1).encode(),
            "learning_curves.png": figures.learning_curves(best, title=f"{self.sweep.name}: {best.name}"),
            "efficiency.png": figures.efficiency_ladder(best),
        }

    def _mirror_all(self) -> None:
        """Bring every run of the sweep in MLflow up to what stands here, and end the parent."""
        assert self._mirror is not None
        for result in self.results:
            self._mirror_result(result)
        found = self.findings()
        metrics: dict[str, float] = {"trials_done": len(self.done), "trials_failed": len(self.results) - len(self.done)}
        tags = {"status": self._record["status"]}
        if found:
            best = found[findings.headline(found)]
            tags["headline"] = best.name
            metrics["best/likra/accuracy"] = best.curves["likra"][-1].accuracy
            for arm, phase in best.phase.items():
                tags[f"phase/{arm}"] = phase.reason
                if phase.found and phase.midpoint is not None:
                    metrics[f"phase/{arm}/midpoint"] = phase.midpoint
        self._mirror.close_stale(self._record["mlflow_run"], "KILLED")
        self._mirror.finish_sweep(
            self._record["mlflow_run"],
            status=ENDED[self._record["status"]],
            metrics=metrics,
            tags=tags,
            artifacts={**self._artifacts(found), "sweep.json": self._json()},
        )

    def summary(self) -> RenderableType:
        """What the terminal shows at the end."""
        from likra_ray.reporting.summary import sweep_summary

        found = self.findings()
        folder = f"{self.storage.root}/{self.sweep.name}"
        locations = {"files": folder, "MLflow": f"mlflow ui --backend-store-uri {self._record.get('tracking_uri')}"}
        if self.material.left_out:
            locations["left out"] = f"{len(self.material.left_out)} questions, named in {folder}/sweep.json"
        return sweep_summary(
            findings=found,
            results=self.results,
            headline=findings.headline(found) if found else 0,
            objective={str(metric): str(mode) for metric, mode in self.sweep.objective.items()},
            locations=locations,
        )

    def _write(self) -> None:
        self.storage.write(f"{self.sweep.name}/sweep.json", self._json())

    def _json(self) -> bytes:
        return json.dumps({**self._record, "left_out": self.material.left_out}, indent=1).encode()


def _phases(finding: Finding) -> dict[str, Any]:
    return {arm: asdict(phase) for arm, phase in finding.phase.items()}


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def open_ledger(storage: Storage, sweep: SweepSpec, material: Material, *, resume: bool) -> Ledger:
    """The ledger of a sweep, new or found. Raises InputError where the folder holds another sweep, or one cut short
    that --resume was not asked to finish."""
    name = f"{sweep.name}/sweep.json"
    spec = sweep.model_dump(mode="json")
    if not storage.exists(name):
        record = {"spec": spec, "material": material.name, "began": _now(), "status": "new", "trials": []}
        return Ledger(storage, sweep, material, record)
    record = json.loads(storage.read(name))
    where = storage.path(name)
    difference = _difference({**record["spec"], "material": record["material"]}, {**spec, "material": material.name})
    if difference is not None:
        field, there = difference
        raise InputError(
            where=where, field=field, value=there, allowed="the same settings; else give another name or --output"
        )
    book = Ledger(storage, sweep, material, {**record, "spec": spec})
    if not resume and not book.finished:
        raise InputError(
            where=where,
            field="status",
            value=f"{record['status']}, {len(book.trials)} of {sweep.budget.trials} trials",
            allowed="--resume to finish it, or another name or --output",
        )
    return book


def load_sweep(name: str, output: str = OUTPUT) -> Ledger:
    """A sweep's ledger, for reading: `results`, `findings()`, `summary()`. Raises InputError where there is none."""
    storage = Storage(absolute(output))
    if not storage.exists(f"{name}/sweep.json"):
        there = [folder for folder in storage.names(".") if storage.exists(f"{folder}/sweep.json")]
        raise InputError(where=storage.root, field="sweep", value=name, allowed=f"one of {there}")
    record = json.loads(storage.read(f"{name}/sweep.json"))
    found = materials.read(storage, record["material"])
    return Ledger(storage, SweepSpec.model_validate(record["spec"]), found, record)


def _difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> tuple[str, Any] | None:
    """The first field in which two specs differ, of those that may not, and what stands there."""
    for field in here:
        if field not in MAY_CHANGE and there.get(field) != here[field]:
            if isinstance(here[field], dict) and isinstance(there.get(field), dict):
                inner = next(key for key in here[field] | there[field] if here[field].get(key) != there[field].get(key))
                return f"{field}.{inner}", there[field].get(inner)
            return field, there.get(field)
    return None
