"""The mirror in MLflow, in a real SQLite store and behind a real server: everything may be said twice."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import invented
import pytest
from servers import Server

from likra_ray.errors import InputError
from likra_ray.records import TrialResult
from likra_ray.reporting.mlflow_inputs import QuestionSet
from likra_ray.reporting.points import trial_points
from likra_ray.reporting.tracking import Mirror

FILES = {"result.json": b"{}", "scores/negative/16.arrow": b"arrow", "learning_curves.png": b"png"}

ASKED = [
    QuestionSet(name="atlas", role=role, content=digit * 64, sources=[{"source": "atlas", "split": None, "limit": 5}],
                profile={"num_rows": 5, "options": 20})
    for role, digit in (("train", "1"), ("evaluate", "2"))
]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One SQLite store for all tests, each with an experiment of its own: making its tables takes seconds."""
    folder = tmp_path_factory.mktemp("a store") / "below"
    return f"sqlite:///{folder}/mlflow.db"


@pytest.fixture
def mirror(store: str, request: pytest.FixtureRequest) -> Mirror:
    return Mirror(store, request.node.name)


@pytest.fixture(scope="module")
def result() -> TrialResult:
    return invented.trial()


def start_sweep(mirror: Mirror, **changed: Any) -> str:
    given: dict[str, Any] = {
        "sweep": "/runs/quickstart's",
        "run_name": "quickstart",
        "params": {"trial.batch_size": 8, "trial.volumes": [0, 16], "budget.trials": 6, "questions.shots": None},
        "tags": {"version.python": "3"},
        "spec_yaml": "name: quickstart\n",
        "description": "An invented sweep.",
        "asked": ASKED,
    }
    return mirror.start_sweep(**{**given, **changed})


def start_trial(mirror: Mirror, parent: str, key: str = "00c0ffee00c0ffee") -> str:
    return mirror.start_trial(
        parent=parent, key=key, name="seed=0", params={"seed": 0}, tags={"sweep": "quickstart"}, asked=ASKED
    )


def runs(mirror: Mirror) -> list[Any]:
    return list(mirror._client.search_runs([mirror._experiment]))


def read(mirror: Mirror, run_id: str, name: str) -> bytes:
    return Path(mirror._client.download_artifacts(run_id, name)).read_bytes()


def logged(mirror: Mirror, run_id: str) -> list[tuple[str, float, int]]:
    """Every point of every metric, also those logged twice."""
    names = mirror._client.get_run(run_id).data.metrics
    histories = [mirror._client.get_metric_history(run_id, name) for name in names]
    return sorted((point.key, point.value, point.step) for history in histories for point in history)


def test_a_sweep_and_its_trial(mirror: Mirror, result: TrialResult) -> None:
    parent = start_sweep(mirror)
    child = start_trial(mirror, parent)
    mirror.finish_trial(child, result, lambda: FILES)
    mirror.finish_sweep(
        parent, status="FINISHED", metrics={"likra/accuracy": 0.9, "phase/likra/midpoint": float("nan")},
        tags={"headline": "it"}, artifacts={"sweep.json": b"{}"},
    )  # fmt: skip
    run = mirror._client.get_run(parent)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "quickstart"
    expected = {"trial.batch_size": "8", "trial.volumes": "[0, 16]", "budget.trials": "6", "questions.shots": "null"}
    assert run.data.params == expected
    assert run.data.metrics == {"likra/accuracy": 0.9}
    assert run.data.tags["likra_ray.kind"] == "sweep"
    assert run.data.tags["likra_ray.not_finite"] == "1"
    assert run.data.tags["mlflow.note.content"] == "An invented sweep."
    assert read(mirror, parent, "sweep.yaml") == b"name: quickstart\n"
    run = mirror._client.get_run(child)
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.data.tags["phase/likra"].startswith("found: ")
    assert run.data.tags["phase/sft"].startswith("none: ")
    for name, data in FILES.items():
        assert read(mirror, child, name) == data


def test_metrics_stand_at_their_volume_and_nan_is_left_out(mirror: Mirror, result: TrialResult) -> None:
    metrics = {**result.metrics, "odd": {16: float("nan"), 32: float("inf"), 64: 1.0}}
    result = dataclasses.replace(result, metrics=metrics)
    child = start_trial(mirror, start_sweep(mirror))
    mirror.finish_trial(child, result, lambda: {})
    finite = [(name, value, step) for name, value, step in trial_points(result) if abs(value) < float("inf")]
    assert logged(mirror, child) == sorted(finite)
    run = mirror._client.get_run(child)
    assert run.data.tags["likra_ray.not_finite"] == str(len(trial_points(result)) - len(finite))
    assert run.data.metrics["likra/accuracy"] == result.metrics["likra/accuracy"][512]
    assert run.data.metrics["phase/likra/midpoint"] == result.phase["likra"].midpoint
    assert run.data.metrics["trained/negative"] == 512
    assert run.data.metrics["best/likra/accuracy"] == max(point.accuracy for point in result.curves["likra"])


def test_everything_said_twice_stands_once(mirror: Mirror, store: str, result: TrialResult) -> None:
    parent = start_sweep(mirror)
    child = start_trial(mirror, parent)
    mirror.finish_trial(child, result, lambda: FILES)
    mirror.finish_sweep(parent, status="KILLED", metrics={"a": 1.0}, tags={}, artifacts={})
    points = logged(mirror, child)
    ended = mirror._client.get_run(child).info.end_time
    mirror.finish_trial(child, result, lambda: FILES)
    assert mirror._client.get_run(child).info.end_time == ended

    mirror = Mirror(store, mirror._client.get_experiment(mirror._experiment).name)
    assert start_sweep(mirror) == parent
    assert mirror._client.get_run(parent).info.status == "RUNNING"
    assert start_trial(mirror, parent) == child
    mirror._client.delete_tag(child, "likra_ray.mirrored")
    mirror.finish_trial(child, result, lambda: FILES)
    mirror.finish_sweep(parent, status="FINISHED", metrics={"a": 1.0}, tags={}, artifacts={})
    assert logged(mirror, child) == points
    assert logged(mirror, parent) == [("a", 1.0, 0)]
    assert {run.info.run_id: run.info.status for run in runs(mirror)} == {parent: "FINISHED", child: "FINISHED"}


def test_a_sweep_that_is_looked_at_again_keeps_its_end(mirror: Mirror, result: TrialResult) -> None:
    def end() -> int:
        mirror.finish_sweep(start_sweep(mirror), status="FINISHED", metrics={}, tags={}, artifacts={})
        ended: int = mirror._client.get_run(parent).info.end_time
        return ended

    parent = start_sweep(mirror)
    mirror.finish_trial(start_trial(mirror, parent), result, lambda: FILES)
    first = end()
    time.sleep(0.01)
    assert end() == first, "nothing was trained since"
    time.sleep(0.01)
    mirror.finish_trial(start_trial(mirror, parent, key="another"), dataclasses.replace(result, key="another"), dict)
    time.sleep(0.01)
    assert end() > first


def test_a_value_that_changed_is_the_one_shown(mirror: Mirror, result: TrialResult) -> None:
    child = start_trial(mirror, start_sweep(mirror))
    metrics: list[dict[str, dict[int, float]]] = [{"x": {16: 0.9, 32: 0.5}}, {"x": {16: 0.9, 32: 0.4}}]
    for changed in metrics:
        mirror.finish_trial(child, dataclasses.replace(result, metrics=changed), lambda: {})
        time.sleep(0.002)
    points = [point for point in logged(mirror, child) if point[0] == "x"]
    assert points == [("x", 0.4, 32), ("x", 0.5, 32), ("x", 0.9, 16)]
    assert mirror._client.get_run(child).data.metrics["x"] == 0.4


def noted(mirror: Mirror, run_id: str) -> list[tuple[str, str, str]]:
    """Name, digest and role of every data set of a run."""
    inputs = mirror._client.get_run(run_id).inputs.dataset_inputs
    return sorted((one.dataset.name, one.dataset.digest, one.tags[0].value) for one in inputs)


def test_runs_show_their_questions_once(mirror: Mirror, store: str) -> None:
    """As MLflow itself reads them back: source, schema and profile too."""
    import mlflow.data

    for _ in range(2):
        parent = start_sweep(mirror)
        child = start_trial(mirror, parent)
        for run in (parent, child):
            assert noted(mirror, run) == [("atlas", "1" * 36, "train"), ("atlas", "2" * 36, "evaluate")]
        mirror = Mirror(store, mirror._client.get_experiment(mirror._experiment).name)
    [train, _] = mirror._client.get_run(child).inputs.dataset_inputs
    read = mlflow.data.get_source(train)
    assert read.to_dict() == {"tags": {"sources": [{"source": "atlas", "split": None, "limit": 5}], "sha256": "1" * 64}}
    assert json.loads(train.dataset.profile) == {"num_rows": 5, "options": 20}
    assert [one["name"] for one in json.loads(train.dataset.schema)["mlflow_colspec"]] == ["id", "prompt", "options"]


def test_new_questions_are_added(mirror: Mirror) -> None:
    parent = start_sweep(mirror, asked=ASKED[:1])
    assert start_sweep(mirror) == parent
    assert len(noted(mirror, parent)) == 2


def test_the_experiment_says_what_was_found(mirror: Mirror) -> None:
    for said in ("at first", "now"):
        mirror.describe(said)
        assert mirror._client.get_experiment(mirror._experiment).tags["mlflow.note.content"] == said


def test_params_are_kept_and_a_new_value_is_told(mirror: Mirror) -> None:
    parent = start_sweep(mirror)
    assert start_sweep(mirror, params={"budget.trials": 12, "new": "x" * 7000}) == parent
    run = mirror._client.get_run(parent)
    assert run.data.params["budget.trials"] == "6"
    assert run.data.params["new"] == "x" * 6000
    assert run.data.tags["likra_ray.changed.budget.trials"] == "12"
    start_sweep(mirror, params={"budget.trials": 6, "new": "x" * 7000})
    assert not any(tag.startswith("likra_ray.changed") for tag in mirror._client.get_run(parent).data.tags)


def test_many_params_and_long_tags_fit(mirror: Mirror) -> None:
    params = {f"p{number}": number for number in range(250)}
    parent = start_sweep(mirror, params=params, tags={f"t{number}": "y" * 9000 for number in range(120)})
    start_sweep(mirror, params=params, tags={f"t{number}": "z" * 9000 for number in range(120)})
    run = mirror._client.get_run(parent)
    assert len(run.data.params) == 250
    assert run.data.tags["t119"] == "z" * 8000


def test_another_output_is_another_sweep(mirror: Mirror) -> None:
    assert start_sweep(mirror) != start_sweep(mirror, sweep="/elsewhere/quickstart")


def test_a_failed_trial_and_its_second_try(mirror: Mirror, result: TrialResult) -> None:
    parent = start_sweep(mirror)
    child = start_trial(mirror, parent)
    mirror.finish_trial(child, invented.failed(), lambda: {"result.json": b"failed"})
    run = mirror._client.get_run(child)
    assert run.info.status == "FAILED"
    assert run.data.tags["likra_ray.reason"] == "ValueError: the loss is [nan]"
    assert run.data.metrics == {}
    assert start_trial(mirror, parent) == child
    mirror.finish_trial(child, result, lambda: {"result.json": b"done"})
    run = mirror._client.get_run(child)
    assert run.info.status == "FINISHED"
    assert "likra_ray.reason" not in run.data.tags
    assert read(mirror, child, "result.json") == b"done"


def test_close_stale_ends_the_running_children_only(mirror: Mirror, result: TrialResult) -> None:
    parent = start_sweep(mirror)
    other = start_sweep(mirror, sweep="another")
    finished, stale, foreign = (
        start_trial(mirror, run, key) for run, key in ((parent, "a"), (parent, "b"), (other, "a"))
    )
    mirror.finish_trial(finished, result, lambda: {})
    assert mirror.close_stale(parent) == 1
    assert mirror.close_stale(parent) == 0
    status = {run.info.run_id: run.info.status for run in runs(mirror)}
    assert status == {parent: "RUNNING", other: "RUNNING", finished: "FINISHED", stale: "KILLED", foreign: "RUNNING"}


def test_a_deleted_experiment_comes_back(mirror: Mirror, store: str) -> None:
    parent = start_sweep(mirror)
    name = mirror._client.get_experiment(mirror._experiment).name
    mirror._client.delete_experiment(mirror._experiment)
    assert start_sweep(Mirror(store, name)) == parent


def test_artifacts_lie_beside_the_database(mirror: Mirror, store: str) -> None:
    parent = start_sweep(mirror)
    place = Path(store.removeprefix("sqlite:///")).parent / "mlartifacts"
    assert [path.name for path in place.rglob("sweep.yaml") if parent in path.parts] == ["sweep.yaml"]


@pytest.mark.parametrize(
    "uri",
    [
        "http://me:hidden@127.0.0.1:1",
        "postgresql://me:hidden@127.0.0.1:1/x",
        "sqlite:////dev/null/x.db",
        "nonsense://x",
        "sqlite://x.db",
        "sqlite://a/b.db",
        "sqlite://",
        "sqlite:///:memory:",
        "",
    ],
)
def test_a_store_that_cannot_be_used_is_told_at_once(uri: str, capfd: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    with pytest.raises(InputError) as told:
        Mirror(uri, "any")
    assert time.monotonic() - began < 20
    assert str(told.value).startswith("command line: --tracking-uri: got ")
    assert "hidden" not in str(told.value) + "".join(capfd.readouterr())
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """The address of a server over the SQLite store of a folder."""
    process = Server(folder)
    try:
        process.start()
        yield process.address
    finally:
        process.stop()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_behind_a_server(store: str, mirror: Mirror, result: TrialResult, capfd: pytest.CaptureFixture[str]) -> None:
    """A server shows what was written without it, artifacts included, and takes a mirror of its own."""
    direct = start_sweep(mirror)
    with server(Path(store.removeprefix("sqlite:///")).parent) as address:
        url = f"http://{address}/get-artifact?path=sweep.yaml&run_uuid={direct}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert answer.read() == b"name: quickstart\n"
        for _ in range(2):
            remote = Mirror(f"http://me:hidden@{address}", "over http")
            parent = start_sweep(remote)
            child = start_trial(remote, parent)
            remote.finish_trial(child, result, lambda: FILES)
            remote.finish_sweep(parent, status="FINISHED", metrics={"a": 1.0}, tags={}, artifacts={"sweep.json": b"{}"})
        assert {run.info.run_id: run.info.status for run in runs(remote)} == {parent: "FINISHED", child: "FINISHED"}
        finite = [tuple(point) for point in trial_points(result) if abs(point.value) < float("inf")]
        assert logged(remote, child) == sorted(finite)
        assert read(remote, child, "scores/negative/16.arrow") == b"arrow"
    assert "hidden" not in "".join(capfd.readouterr())
