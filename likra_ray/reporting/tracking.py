"""Takes what a sweep wrote to disk, mirrors it in MLflow: a parent run per sweep, a child per trial.

The driver of a sweep is the one writer. Runs are found again by their tags, so that every call may be repeated: a
resumed sweep goes on in the same runs, and a lost database is filled again from the files. The only importer of mlflow.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import likra_ray
from likra_ray.errors import InputError, without_secret
from likra_ray.records import TrialResult
from likra_ray.reporting import mlflow_inputs, mlflow_models, stores
from likra_ray.reporting.mlflow_inputs import QuestionSet
from likra_ray.reporting.points import Point, trial_points
from likra_ray.reporting.provenance import provenance

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

__all__ = ["Mirror", "Status", "provenance"]

Status = Literal["FINISHED", "FAILED", "KILLED"]

SWEEP, KIND, TRIAL = "likra_ray.sweep", "likra_ray.kind", "likra_ray.trial"
REASON, MIRRORED, NOT_FINITE = "likra_ray.reason", "likra_ray.mirrored", "likra_ray.not_finite"
CHANGED = "likra_ray.changed."
PHASE = {True: "found", False: "none"}
PARENT, NOTE = "mlflow.parentRunId", "mlflow.note.content"

METRICS_PER_CALL, ENTRIES_PER_CALL = 1000, 100
"""MLflow's limits on one log_batch: metrics; params or tags."""
PARAM_LENGTH, TAG_LENGTH = 6000, 8000
"""MLflow's limits on the text of a param and of a tag, in characters."""

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
"""Unless the environment says otherwise: no call to the outside, no address (with its password) on the screen."""

T = TypeVar("T")


class Mirror:
    """One experiment of one MLflow store, open for writing."""

    def __init__(self, uri: str, experiment: str) -> None:
        """Open or make the experiment, once, before anything runs in parallel; a deleted one is restored.

        uri: whatever MLflow takes. Artifacts of a SQLite store lie beside its file (stores.artifact_folder).
        Raises InputError, within seconds of having its file, where the store cannot be reached or written.
        """
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
        from sqlalchemy.exc import SQLAlchemyError

        # That tables are made is no news, and what goes wrong is told by whoever catches it.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        try:
            with stores.environment(stores.OPENING), stores.one_opens(uri):
                self._client = MlflowClient(stores.answering(uri))
                self._experiment = _open_experiment(self._client, experiment, stores.artifact_folder(uri, experiment))
        except (MlflowException, SQLAlchemyError, OSError, ImportError, ValueError) as error:
            why = stores.reason(error, uri)
            allowed = f"an MLflow store that answers, as sqlite:///mlflow.db or http://host:5000 ({why})"
            shown = without_secret(uri)
            raise InputError(where="command line", field="--tracking-uri", value=shown, allowed=allowed) from None

    def start_sweep(
        self,
        *,
        sweep: str,
        run_name: str,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        spec_yaml: str,
        description: str,
        asked: Sequence[QuestionSet] = (),
    ) -> str:
        """The parent run of a sweep, running; returns its id. The same run however often it is called.

        sweep: what the run is found by; description: of a new one; asked: its questions. A param that has another
        value than before keeps it, as MLflow's are immutable, and the new value stands in likra_ray.changed.<param>.
        """
        found = [run for run in self._search(f"tags.`{KIND}` = 'sweep'") if run.data.tags.get(SWEEP) == sweep]
        # A run that is there keeps its description: it may hold what an earlier end found.
        all_tags = {**tags, SWEEP: sweep, KIND: "sweep"} | ({} if found else {NOTE: description})
        run_id = self._start(found, run_name, params, all_tags, asked)
        self._upload(run_id, {"sweep.yaml": spec_yaml.encode()})
        return run_id

    def start_trial(
        self,
        *,
        parent: str,
        key: str,
        name: str,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        asked: Sequence[QuestionSet] = (),
    ) -> str:
        """The child run of a trial, running; returns its id. Found by its parent and key. asked: its questions."""
        found = self._children(parent, f"tags.`{TRIAL}` = '{key}'")
        return self._start(found, name, params, {**tags, PARENT: parent, TRIAL: key, KIND: "trial"}, asked)

    def has(self, parent: str, result: TrialResult) -> bool:
        """Whether a trial's run has ended with just this result, so that nothing is left to write."""
        found = self._children(parent, f"tags.`{TRIAL}` = '{result.key}'")
        return len(found) == 1 and found[0].info.status == _status(result) and _is_told(found[0], result)

    def finish_trial(self, run_id: str, result: TrialResult, artifacts: Callable[[], Mapping[str, bytes]]) -> None:
        """End a trial's run: its metrics at step = volume, its critical phases, its files; FAILED with the reason.

        What is not finite is left out, since MLflow has no honest way to show it, and counted in a tag. The tag
        likra_ray.mirrored comes last: with it in place a repeated call writes nothing. artifacts: makes the files that
        belong to this result, and is called only where they are written.
        """
        run = self._client.get_run(run_id)
        if not _is_told(run, result):
            self._upload(run_id, artifacts())
            dropped = self._log_points(run, trial_points(result))
            tags = {f"phase/{arm}": f"{PHASE[phase.found]}: {phase.reason}" for arm, phase in result.phase.items()}
            if result.reason is not None:
                tags[REASON] = result.reason
            elif REASON in run.data.tags:
                self._client.delete_tag(run_id, REASON)
            self._log_tags(run_id, {**tags, NOT_FINITE: str(dropped)})
            self._log_tags(run_id, {MIRRORED: _digest(result)})
        self._end(run, _status(result))

    def finish_sweep(
        self,
        run_id: str,
        *,
        status: Status,
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        artifacts: Mapping[str, bytes],
    ) -> None:
        """End a sweep's run; what is not finite among the metrics is left out and counted.

        A run that had ended and is looked at again keeps its end, and so its duration, unless a trial ended since.
        """
        run = self._client.get_run(run_id)
        ended: int | None = run.info.end_time
        if ended is not None and self._children(run_id, f"attributes.end_time > {ended}"):
            ended = None
        self._upload(run_id, artifacts)
        dropped = self._log_points(run, [Point(name, float(value), 0) for name, value in metrics.items()])
        self._log_tags(run_id, {**tags, NOT_FINITE: str(dropped)})
        self._end(run, status, ended)

    def log_model(
        self, parent: str, result: TrialResult, files: Callable[[], Mapping[str, bytes]], asked: QuestionSet
    ) -> None:
        """The heads of a trial as a model of its run (mlflow_models.write); LookupError where it has no run."""
        found = self._children(parent, f"tags.`{TRIAL}` = '{result.key}'")
        if not found:
            raise LookupError(f"no run of trial {result.key}")
        run = self._client.get_run(found[0].info.run_id)
        heads = mlflow_models.Heads(name=f"likra-{result.key}", trial=result.key, digest=_digest(result))
        mlflow_models.write(self._client, run, heads, files, asked)

    def describe(self, text: str) -> None:
        """The experiment's description, as Markdown."""
        self._client.set_experiment_tag(self._experiment, NOTE, text)

    def close_stale(self, parent: str, status: Status = "KILLED") -> int:
        """End the children a killed driver left running; returns how many."""
        stale = self._children(parent, "attributes.status = 'RUNNING'")
        for run in stale:
            # Finding a trial's run leaves one of them: the oldest.
            kept = self._only(self._children(parent, f"tags.`{TRIAL}` = '{run.data.tags[TRIAL]}'"))
            if kept is not None and kept.info.run_id == run.info.run_id:
                self._end(run, status)
        return len(stale)

    def _children(self, parent: str, text: str) -> list[Run]:
        """Children of a sweep's run that a filter names. The filter names few, so that each trial costs the same."""
        return [run for run in self._search(text) if run.data.tags.get(PARENT) == parent]

    def _only(self, found: Sequence[Run]) -> Run | None:
        """The oldest of the runs found for one thing; the others are deleted.

        A second one is made where a server took a request for a run, was silent past the time limit, and obeyed later.
        """
        for other in found[1:]:
            self._client.delete_run(other.info.run_id)
        return found[0] if found else None

    def _search(self, text: str) -> list[Run]:
        """Every run of the experiment that a filter names, the oldest first."""
        runs: list[Run] = []
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment], text, order_by=["attributes.start_time ASC"], page_token=token
            )
            runs += page
            token = page.token
            if not token:
                return runs

    def _start(
        self,
        found: Sequence[Run],
        name: str,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        asked: Sequence[QuestionSet],
    ) -> str:
        """Set the first of the runs found, or a new one, running with these params, tags and questions.

        A new run has its tags from its first moment, so that it is found again wherever its writer dies.
        """
        there = self._only(found)
        run = there or self._client.create_run(self._experiment, tags=_cut(tags), run_name=name)
        run_id: str = run.info.run_id
        as_yaml = {key: one if isinstance(one, str) else json.dumps(one, default=str) for key, one in params.items()}
        shown = {key: text[:PARAM_LENGTH] for key, text in as_yaml.items()}
        known = run.data.params
        if there is not None:
            changed = {CHANGED + key: text for key, text in shown.items() if known.get(key, text) != text}
            for tag in run.data.tags:
                if tag.startswith(CHANGED) and tag not in changed:
                    self._client.delete_tag(run_id, tag)
            wanted = _cut({**tags, **changed})
            self._log_tags(run_id, {tag: text for tag, text in wanted.items() if run.data.tags.get(tag) != text})
            if run.info.status != "RUNNING":
                self._client.update_run(run_id, status="RUNNING")
        self._log_params(run_id, {key: text for key, text in shown.items() if key not in known})
        mlflow_inputs.note(self._client, run, asked)
        return run_id

    def _log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        for chunk in _chunks([Param(key, text) for key, text in params.items()], ENTRIES_PER_CALL):
            self._client.log_batch(run_id, params=chunk)

    def _log_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        for chunk in _chunks([RunTag(key, text) for key, text in _cut(tags).items()], ENTRIES_PER_CALL):
            self._client.log_batch(run_id, tags=chunk)

    def _log_points(self, run: Run, points: Sequence[Point]) -> int:
        """Log the finite points not yet there, with one timestamp for all; returns how many are not finite."""
        from mlflow.entities import Metric

        finite = [point for point in points if math.isfinite(point.value)]
        there: dict[tuple[str, int], float] = {}
        for name in {point.name for point in finite} & set(run.data.metrics):
            history = self._client.get_metric_history(run.info.run_id, name)
            there |= {(name, old.step): old.value for old in sorted(history, key=lambda old: old.timestamp)}
        fresh = [point for point in finite if there.get((point.name, point.step)) != point.value]
        now = int(time.time() * 1000)
        for chunk in _chunks([Metric(name, value, now, step) for name, value, step in fresh], METRICS_PER_CALL):
            self._client.log_batch(run.info.run_id, metrics=chunk)
        return len(points) - len(finite)

    def _upload(self, run_id: str, artifacts: Mapping[str, bytes]) -> None:
        """Files by their path below the run's artifacts; a file of that name is replaced."""
        if not artifacts:
            return
        with tempfile.TemporaryDirectory() as folder:
            for name, data in artifacts.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            self._client.log_artifacts(run_id, folder)

    def _end(self, run: Run, status: Status, at: int | None = None) -> None:
        """at: milliseconds since 1970; None: now."""
        if run.info.status != status:
            self._client.set_terminated(run.info.run_id, status, at)


def _open_experiment(client: MlflowClient, name: str, artifacts: str | None) -> str:
    """Its id; made, restored or found, and proved writable."""
    found = client.get_experiment_by_name(name)
    if found is not None and found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    experiment: str = client.create_experiment(name, artifacts) if found is None else found.experiment_id
    client.set_experiment_tag(experiment, "likra_ray.version", likra_ray.__version__)
    return experiment


def _chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _cut(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: text[:TAG_LENGTH] for key, text in tags.items()}


def _status(result: TrialResult) -> Status:
    return "FAILED" if result.status == "failed" else "FINISHED"


def _is_told(run: Run, result: TrialResult) -> bool:
    return bool(run.data.tags.get(MIRRORED) == _digest(result))


def _digest(result: TrialResult) -> str:
    """Changes with a result and with the version that draws its files."""
    return hashlib.sha256((likra_ray.__version__ + result.to_json()).encode()).hexdigest()[:16]
