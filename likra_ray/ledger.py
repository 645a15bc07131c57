"""What a sweep did so far: sweep.json in its folder is the truth, MLflow its mirror, written by the driver alone.

A ledger is opened before anything is used, begun when Ray runs, told of every trial, and closed with the findings.
"""

from __future__ import annotations

import datetime
import functools
import json
from typing import TYPE_CHECKING, Any

from likra_ray import exported, outcomes, results, sweep_file
from likra_ray import material as materials
from likra_ray.analysis import findings
from likra_ray.analysis.findings import Finding
from likra_ray.analysis.refinement import rounds_in_words
from likra_ray.analysis.sweep_findings import SweepFindings, headline
from likra_ray.console import OUTPUT
from likra_ray.errors import InputError, without_secret
from likra_ray.material import Material
from likra_ray.records import TrialResult
from likra_ray.spec import SweepSpec, TrialSpec
from likra_ray.storage import Storage, absolute
from likra_ray.sweep_runs import Found, SweepRuns

if TYPE_CHECKING:
    from rich.console import RenderableType

    from likra_ray.reporting.tracking import Mirror


class Ledger:
    """One sweep's record, open for writing; `open_ledger` makes it."""

    def __init__(self, storage: Storage, sweep: SweepSpec, material: Material, record: dict[str, Any]) -> None:
        self.storage, self.sweep, self.material = storage, sweep, material
        self._record = record
        self._runs: SweepRuns | None = None
        self._lacks: str | None = None
        self._again: set[str] = set()
        self._made: dict[tuple[str, ...], Finding] = {}
        self._whole: tuple[list[str], SweepFindings | None] | None = None

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
    def complete(self) -> bool:
        """Whether every trial ended and refinement has nothing left to do."""
        return self.remaining == 0 and self.refinement_ended is not None

    @property
    def finished(self) -> bool:
        """Whether the sweep ran to its end: all trials, all points, or all of its minutes."""
        return self._record["status"] in ("done", "failed")

    @property
    def results(self) -> list[TrialResult]:
        """What every ended trial left, each once; those of the refinement come last."""
        keys = dict.fromkeys([*self.trials, *self.refined])
        found = [results.read(self.storage, self.sweep.name, key) for key in keys]
        return [result for result in found if result is not None]

    @property
    def done(self) -> list[TrialResult]:
        """The trials that ended well."""
        return [result for result in self.results if result.status == "done"]

    def study_url(self) -> str:
        """SQLAlchemy URL of the Optuna study: in the sweep's folder, or in the driver's cache where that is remote."""
        return sweep_file.study_url(self.storage, self.sweep.name)

    def retried(self) -> list[dict[str, Any]]:
        """Take back out, to be run again, trials that failed or lack tables or their record; returns points of those
        with one (the study knows the others'). `begin` brings the disk up to it."""
        there = self.results
        sound = {one.key for one in there if one.status == "done" and results.whole(self.storage, one)}
        self._again = {*self.trials, *self.refined} - sound
        for ended in ("trials", "refined"):
            self._record[ended] = [key for key in self._record[ended] if key not in self._again]
        if self._again:
            self._record["refinement_ended"] = None
        self._record["refinements"] = [one for one in self.refinements if not self._again & set(one["trials"])]
        return [one.sampled for one in there if one.key in self._again and not results.is_refined(one.sampled)]

    def begin(self, mirror: Mirror, tracking_uri: str) -> None:
        """From here on trials run: sweep.json and the parent run in MLflow exist."""
        from likra_ray.reporting.tracking import provenance

        self._record |= {"status": "running", "provenance": provenance(), "refinement_ended": None}
        self._open(mirror, tracking_uri)
        self._write()
        for key in self._again:
            results.remove(self.storage, self.sweep.name, key)

    def replay(self, mirror: Mirror, tracking_uri: str) -> None:
        """Bring MLflow up to a sweep whose trials all ended: what is there already is not written again."""
        self._open(mirror, tracking_uri)
        if not self.finished:  # all was measured, and the driver died before it could say so
            self.close(interrupted=False)
            return
        self._write()
        self._mirror_all(self.write_report())

    def _open(self, mirror: Mirror, tracking_uri: str) -> None:
        self._record["tracking_uri"] = without_secret(tracking_uri)
        tags = {f"version.{name}": version for name, version in self._record["provenance"].items()}
        root = self.storage.root
        self._runs = SweepRuns(mirror, tracking_uri, sweep=self.sweep, root=root, material=self.material, tags=tags)
        self._runs.begin()

    def start_trial(self, key: str, name: str, trial: TrialSpec) -> None:
        """A trial began: its run appears in MLflow."""
        assert self._runs is not None
        self._runs.start_trial(key, name, trial)

    def end_trial(self, result: TrialResult) -> None:
        """A trial ended, well or not: first sweep.json, then MLflow, which hears it at `close` where it is not open."""
        self._record["refined" if results.is_refined(result.sampled) else "trials"].append(result.key)
        self._write()
        if self._runs is not None:
            self._runs.end_trial(result, functools.partial(self._files, result))

    def _files(self, result: TrialResult) -> dict[str, bytes]:
        """What belongs to a trial's run in MLflow."""
        more = outcomes.trial_files(self.storage, result) if result.status == "done" else {}
        return {"result.json": result.to_json().encode(), **more}

    @property
    def refined(self) -> list[str]:
        """Keys of the refinement's trials that ended, in the order they did."""
        refined: list[str] = self._record["refined"]
        return refined

    @property
    def refinements(self) -> list[dict[str, Any]]:
        """Rounds of refinement so far (refine.py): what each measured, cost and gained."""
        rounds: list[dict[str, Any]] = self._record["refinements"]
        return rounds

    @property
    def refinement_ended(self) -> str | None:
        """Why there is no further round; None where there may be one."""
        reason: str | None = self._record.get("refinement_ended")
        return reason

    def add_refinement(self, record: dict[str, Any]) -> None:
        """A round of refinement ended."""
        self.refinements.append(record)
        self._write()

    def end_refinement(self, reason: str) -> None:
        """There is no further round, for this reason."""
        self._record["refinement_ended"] = reason
        self._write()

    def findings(self) -> list[Finding]:
        """What every configuration says, its seeds joined; empty where no trial ended well."""
        return [finding for _, finding in self._configurations()]

    def headline(self) -> Finding | None:
        """That of the configuration the report would open with now; None where no trial ended well."""
        found = self._configurations()
        return found[headline([spec for spec, _ in found], [said for _, said in found])][1] if found else None

    def _configurations(self) -> list[tuple[dict[str, Any], Finding]]:
        """The spec of one trial of each, and what its trials say, made once."""
        found = []
        for _, by_seed in findings.configurations(self.results):
            keys = tuple(result.key for result in by_seed.values())
            if keys not in self._made:
                self._made[keys] = results.finding(self.storage, list(by_seed.values()))
            found.append((next(iter(by_seed.values())).spec, self._made[keys]))
        return found

    def sweep_findings(self) -> SweepFindings | None:
        """All that the sweep found so far; None where no trial ended well."""
        ended = self.results
        keys = [result.key for result in ended]
        if self._whole is None or self._whole[0] != keys:
            whole = outcomes.found(
                self.storage, self.sweep, self.material, ended, made=self.findings(), study_url=self.study_url()
            )
            self._whole = (keys, whole)
        return self._whole[1]

    @property
    def best(self) -> TrialResult | None:
        """The trial the report opens with: the first seed of its configuration. None where no trial ended well."""
        opens = self.headline()
        return next(result for result in self.done if result.key == opens.trials[0]) if opens is not None else None

    def report(self) -> dict[str, bytes]:
        """The files of the sweep's report by their path in its folder: report.html, figures/*.png, data/*.csv."""
        refinement = rounds_in_words(self.refinements, self.refinement_ended)
        about = outcomes.facts(self.sweep, self.material, self.results, record=self._record, refinement=refinement)
        return outcomes.report_files(self.sweep_findings(), about)

    def write_report(self) -> dict[str, bytes]:
        """Write the report and the critical phases into the sweep's folder; returns them."""
        files = self.report()
        files["critical_phase.json"] = json.dumps(outcomes.phases(self.findings()), indent=1).encode()
        outcomes.write(self.storage, self.sweep.name, files)
        return files

    def close(self, *, interrupted: bool) -> None:
        """Write the findings and the report, here and in MLflow, and end the parent run."""
        found = self.sweep_findings()
        self._record |= {"status": "interrupted" if interrupted else "done" if found else "failed", "ended": _now()}
        if found is not None:
            self._record["headline"] = found.findings[found.headline].name
            self._record["critical_phase"] = outcomes.phases(found.findings)
        self._write()
        self._mirror_all(self.write_report())

    def _mirror_all(self, files: dict[str, bytes]) -> None:
        """Bring every run of the sweep in MLflow up to what stands here, its report too, and end the parent."""
        assert self._runs is not None
        ended, found = self.results, self.sweep_findings()
        metrics, tags = outcomes.at_a_glance(found, ended)
        whole = found if self._record["status"] == "done" else None
        self._lacks = self._runs.end(
            self._record["status"],
            ended={result.key: (result, functools.partial(self._files, result)) for result in ended},
            metrics=metrics,
            tags={"status": self._record["status"], **tags},
            files={**files, "sweep.json": self._json()},
            found=self._found(whole) if whole else None,
        )

    def _found(self, what: SweepFindings) -> Found:
        """Verdicts, and the heads of the trial the report opens with."""
        result = self.best
        assert result is not None  # what is found rests on it
        heads = functools.partial(exported.whole, self.storage, self.sweep, self.material, result)
        said = outcomes.in_words(self.sweep.name, what, ended=self._record.get("ended", ""))
        return Found(short=said.short, whole=said.whole, best=result, heads=heads)

    def summary(self) -> RenderableType:
        """What the terminal shows at the end."""
        from likra_ray.reporting.summary import sweep_summary

        found = self.sweep_findings()
        return sweep_summary(
            findings=found.findings if found is not None else (),
            results=self.results,
            headline=found.headline if found is not None else 0,
            objective={str(metric): str(mode) for metric, mode in self.sweep.objective.items()},
            locations=self._locations(),
            refinement=rounds_in_words(self.refinements, self.refinement_ended),
            verdicts=found.verdicts if found is not None else (),
        )

    def _locations(self) -> dict[str, str]:
        """Where all of it lies."""
        folder = f"{self.storage.root}/{self.sweep.name}"
        mlflow = f"mlflow ui --backend-store-uri {self._record.get('tracking_uri')}"
        locations = {"report": f"{folder}/report.html", "files": folder, "MLflow": mlflow}
        if self._lacks is not None:
            locations["MLflow lacks"] = self._lacks
        if self.material.left_out:
            locations["left out"] = f"{len(self.material.left_out)} questions, named in {folder}/sweep.json"
        return locations

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints: the findings whole, the trials in short; each trial's result.json has the rest."""
        found = self.sweep_findings()
        told = ("key", "name", "status", "reason", "sampled", "heads", "trained", "seconds")
        return {
            "sweep": self.sweep.name,
            "status": self._record["status"],
            "headline": found.findings[found.headline].name if found is not None else None,
            "verdicts": list(found.verdicts) if found is not None else [],
            "configurations": list(found.findings) if found is not None else [],
            "trials": [{field: getattr(result, field) for field in told} for result in self.results],
            "refinement": rounds_in_words(self.refinements, self.refinement_ended),
            "locations": self._locations(),
        }

    def _write(self) -> None:
        self.storage.write(f"{self.sweep.name}/sweep.json", self._json())

    def _json(self) -> bytes:
        if self._runs is not None and self._runs.parent is not None:
            self._record["mlflow_run"] = self._runs.parent
        return json.dumps({**self._record, "left_out": self.material.left_out}, indent=1).encode()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def open_ledger(storage: Storage, sweep: SweepSpec, material: Material, *, resume: bool) -> Ledger:
    """The ledger of a sweep, new or found. Raises InputError as sweep_file.opened."""
    spec = sweep.model_dump(mode="json")
    return Ledger(
        storage, sweep, material, sweep_file.opened(storage, spec, material.name, began=_now(), resume=resume)
    )


def load_sweep(name: str, output: str = OUTPUT) -> Ledger:
    """A sweep's ledger, for reading: `results`, `findings()`, `summary()`. Raises InputError where there is none."""
    storage = Storage(absolute(output))
    storage.check_readable()
    if "/" in name or name in ("", ".", "..") or not storage.exists(f"{name}/sweep.json"):
        there = [folder for folder in storage.names_at_root() if storage.exists(f"{folder}/sweep.json")]
        raise InputError(where=storage.root, field="sweep", value=name, allowed=f"one of {there}")
    record = sweep_file.read(storage, f"{name}/sweep.json")
    found = materials.read(storage, record["material"])
    return Ledger(storage, sweep_file.spec(storage, name, record), found, record)
