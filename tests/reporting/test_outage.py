"""MLflow fails while a sweep runs: its server is killed or frozen, its writer dies between two calls, two open at once.

Real servers, a real SQLite store, the sweep's own side of MLflow; only the trials are invented.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import invented
import pytest
from left_running import killed_after
from servers import Server

from likra_ray import settings
from likra_ray.material import Material
from likra_ray.records import TrialResult
from likra_ray.reporting.tracking import Mirror
from likra_ray.spec import TrialSpec
from likra_ray.sweep_runs import Found, SweepRuns

SMOKE = Path(__file__).parents[2] / "search_spaces/smoke.yaml"
NOTHING = Material(base="random-tiny", identity="i", train=(), shots=(), evaluate=(), others=(), left_out=())
SETS = 1
"""Data sets of a run: both question sets are empty here, and MLflow knows a set by its name and content."""
ABOUT = {"base": "random-tiny", "base_identity": "i", "weight": 1.0, "sweep": "smoke", "trial": "t", "volumes": {}}
HEADS = {"likra.json": json.dumps(ABOUT).encode(), "positive/adapter_model.safetensors": b"head"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def pattern() -> TrialResult:
    """Few metrics: what is tested is who hears of them, not how many there are."""
    return dataclasses.replace(invented.trial(), metrics={"likra/accuracy": {0: 0.2, 16: 0.4}})


def sweep_runs(uri: str, name: str = "smoke") -> SweepRuns:
    """What a driver opens."""
    sweep = settings.load(SMOKE, [f"name={name}"]).sweep
    return SweepRuns(Mirror(uri, name), uri, sweep=sweep, root="/runs", material=NOTHING, tags={"version.python": "3"})


def one_trial(runs: SweepRuns, result: TrialResult) -> None:
    """A trial begins and ends."""
    runs.start_trial(result.key, result.name, TrialSpec.model_validate(result.spec))
    runs.end_trial(result, lambda: {"result.json": result.to_json().encode()})


def end(runs: SweepRuns, ended: list[TrialResult]) -> str | None:
    """The sweep is over."""
    return runs.end(
        "done",
        ended={one.key: (one, lambda one=one: {"result.json": one.to_json().encode()}) for one in ended},  # type: ignore[misc]
        metrics={"trials_done": float(len(ended))},
        tags={"status": "done"},
        files={"sweep.json": b"{}"},
        found=Found(short="short", whole="whole", best=ended[0], heads=lambda: HEADS),
    )


def shown(uri: str, name: str = "smoke") -> tuple[list[Any], dict[str, Any]]:
    """The parents an MLflow user sees, and the children by trial; a trial shown twice is an error."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    parents = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in found if "mlflow.parentRunId" in run.data.tags]
    by_key = {run.data.tags["likra_ray.trial"]: run for run in children}
    assert len(by_key) == len(children), "a trial is shown twice"
    return parents, by_key


def whole(uri: str, ended: list[TrialResult], name: str = "smoke") -> None:
    """MLflow has one parent and each trial once, all ended, with all their params, metrics and files."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    [parent], children = shown(uri, name)
    assert parent.info.status == "FINISHED" and parent.data.metrics == {"trials_done": len(ended)}
    assert parent.data.params["trial.batch_size"] == "8"
    assert {one.path for one in client.list_artifacts(parent.info.run_id)} == {"sweep.yaml", "sweep.json"}
    assert set(children) == {one.key for one in ended}
    for run in children.values():
        assert run.info.status == "FINISHED" and run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.params["batch_size"] and run.data.metrics["likra/accuracy"] == 0.4
        assert len(client.get_metric_history(run.info.run_id, "likra/accuracy")) == 2
        assert [one.path for one in client.list_artifacts(run.info.run_id)] == ["result.json"]
    experiment = client.get_experiment_by_name(name)
    assert experiment.tags["mlflow.note.content"] == "Last finished sweep: short"
    assert parent.data.tags["mlflow.note.content"].endswith("whole")
    for run in (parent, *children.values()):
        assert len(client.get_run(run.info.run_id).inputs.dataset_inputs) == SETS
    [model] = client.search_logged_models([experiment.experiment_id])
    best = client.get_run(children[ended[0].key].info.run_id)
    assert str(model.status) == "READY" and model.source_run_id == best.info.run_id
    assert [one.model_id for one in best.outputs.model_outputs] == [model.model_id]
    assert [metric.value for metric in model.metrics] == [0.4]
    assert {one.path for one in client.list_logged_model_artifacts(model.model_id)} == {
        "MLmodel",
        "heads",
        "requirements.txt",
    }


def seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def test_a_server_that_is_killed_and_one_that_freezes(
    server: Server, pattern: TrialResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed and started anew, then frozen and thawed, while a sweep runs; then down at its end, and told by a replay.

    The limits: a call of the driver's is over when one request of 5 s has failed, or at once where none is made. MLflow
    of itself would hold it for minutes; all that is less is room for a busy machine.
    """
    uri = f"http://{server.address}"
    trials = [dataclasses.replace(pattern, key=f"{number:016x}") for number in range(8)]
    runs = sweep_runs(uri)
    runs.begin()
    one_trial(runs, trials[0])
    server.stop(signal.SIGKILL)
    for result in trials[1:4]:
        assert seconds(lambda result=result: one_trial(runs, result)) < 30.0  # type: ignore[misc]
    server.start()
    one_trial(runs, trials[4])
    while len(shown(uri)[1]) < 5:
        runs._outbox.deliver()
    assert {run.info.status for run in shown(uri)[1].values()} == {"FINISHED"}

    server.send(signal.SIGSTOP)
    frozen = [seconds(lambda result=result: one_trial(runs, result)) for result in trials[5:7]]  # type: ignore[misc]
    assert 4.0 < max(frozen) < 30.0 and min(frozen) < 4.0, frozen
    server.send(signal.SIGCONT)
    one_trial(runs, trials[7])
    assert end(runs, trials) is None
    whole(uri, trials)

    server.stop(signal.SIGKILL)
    monkeypatch.setattr("likra_ray.sweep_runs.END_SECONDS", 4.0)
    later = dataclasses.replace(pattern, key="later")
    one_trial(runs, later)
    began = time.monotonic()
    lacks = end(runs, [*trials, later])
    assert time.monotonic() - began < 60.0
    assert (
        lacks is not None
        and lacks.startswith("1 trials and the best trial's heads and the sweep's end (")
        and "\n" not in lacks
    )
    assert "the same command, once more, tells it" in lacks
    server.start()
    again = sweep_runs(uri)
    again.begin()
    assert end(again, [*trials, later]) is None
    whole(uri, [*trials, later])


@pytest.mark.ray
@pytest.mark.long
def test_a_sweep_does_not_notice(server: Server, tmp_path: Path) -> None:
    """The whole command: its server is killed when a trial has ended, and back before the sweep is over or after."""
    uri = f"http://{server.address}"
    command = [sys.executable, "-m", "likra_ray.sweep", str(SMOKE), "--output", str(tmp_path / "out")]
    command += ["--tracking-uri", uri, "--set", "budget={trials: 2, refinements: 0}"]
    record, stderr = tmp_path / "out/smoke/sweep.json", tmp_path / "stderr"
    with stderr.open("w") as err:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=err)
    with killed_after(process):
        began = time.monotonic()
        while not (record.exists() and json.loads(record.read_text())["trials"]):
            assert process.poll() is None and time.monotonic() - began < 300, stderr.read_text()[-3000:]
            time.sleep(0.1)
        server.stop(signal.SIGKILL)
        time.sleep(5.0)
        server.start()
        assert process.wait(timeout=300) == 0, stderr.read_text()[-3000:]
    kept = json.loads(record.read_text())
    assert kept["status"] == "done" and len(kept["trials"]) == 2
    [parent], children = shown(uri)
    assert parent.info.run_id == kept["mlflow_run"] and parent.info.status == "FINISHED"
    assert set(children) == set(kept["trials"])
    assert {run.info.status for run in children.values()} == {"FINISHED"}


WRITES = (
    "create_run",
    "log_batch",
    "set_terminated",
    "update_run",
    "delete_tag",
    "log_artifacts",
    "set_experiment_tag",
    "log_inputs",
    "create_logged_model",
    "log_model_artifacts",
    "log_outputs",
    "finalize_logged_model",
)


class Killed(BaseException):
    """What SIGKILL would be: nothing after it runs."""


def test_a_writer_that_dies_after_any_call_leaves_runs_that_are_found_again(
    pattern: TrialResult, tmp_path: Path
) -> None:
    """A driver is stopped after its first write to MLflow, another after its second, and so on; each is resumed."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    stops = 0
    while True:
        name = f"stop-{stops + 1}"
        runs = sweep_runs(uri, name)
        if not _dies(runs, stops + 1, pattern):
            break
        stops += 1
        resumed = sweep_runs(uri, name)
        resumed.begin()
        assert not [run for run in shown(uri, name)[1].values() if run.info.status == "RUNNING"]
        one_trial(resumed, pattern)
        assert end(resumed, [pattern]) is None
        whole(uri, [pattern], name)
    assert stops >= 20


def _dies(runs: SweepRuns, after: int, result: TrialResult) -> bool:
    """Whether the driver died after so many writes; False where its sweep was over first."""
    client, left = runs._mirror._client, [after]

    def dying(write: Callable[..., Any]) -> Callable[..., Any]:
        def written(*given: Any, **named: Any) -> Any:
            answer = write(*given, **named)
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return answer

        return written

    for write in WRITES:
        setattr(client, write, dying(getattr(client, write)))
    try:
        runs.begin()
        one_trial(runs, result)
        end(runs, [result])
    except Killed:
        return True
    return False


def test_a_run_made_twice_is_shown_once(pattern: TrialResult, tmp_path: Path) -> None:
    """A frozen server may obey, long after, a request that was given up and sent again."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    runs = sweep_runs(uri)
    runs.begin()
    runs.start_trial(pattern.key, pattern.name, TrialSpec.model_validate(pattern.spec))
    mirror = runs._mirror
    [run] = mirror._children(str(runs.parent), f"tags.`likra_ray.trial` = '{pattern.key}'")
    late = mirror._client.create_run(mirror._experiment, tags=run.data.tags)
    runs.end_trial(pattern, lambda: {"result.json": b"{}"})
    late_too = mirror._client.create_run(mirror._experiment, tags=run.data.tags)
    assert end(runs, [pattern]) is None
    assert shown(uri)[1][pattern.key].info.run_id == run.info.run_id
    for twin in (late, late_too):
        assert mirror._client.get_run(twin.info.run_id).info.lifecycle_stage == "deleted"


ROUNDS, TRIALS = 3, 3

TOGETHER = f"""
import dataclasses, sys, time
from pathlib import Path
sys.path[:0] = {[str(folder) for folder in Path(__file__).parents[:2]]!r}
import invented, test_outage
folder, name = Path(sys.argv[1]), sys.argv[2]
for number in range({ROUNDS}):
    (folder / f"{{name}}-{{number}}").touch()
    while not all((folder / f"{{other}}-{{number}}").exists() for other in ("first", "second")):
        time.sleep(0.01)
    uri = f"sqlite:///{{folder}}/{{number}}/mlflow.db"
    test_outage.Mirror(uri, "one experiment for both")
    runs = test_outage.sweep_runs(uri, name)
    runs.begin()
    ended = [dataclasses.replace(invented.failed(), key=f"{{trial:016x}}") for trial in range({TRIALS})]
    for one in ended:
        test_outage.one_trial(runs, one)
    assert test_outage.end(runs, ended) is None, "not all was told"
"""


def test_two_processes_open_a_new_database_at_once_and_write_side_by_side(tmp_path: Path) -> None:
    """Several databases, one after the other; both processes meet before each. Without the lock one of them fails."""
    code = [sys.executable, "-c", TOGETHER, str(tmp_path)]
    processes = [
        subprocess.Popen([*code, name], env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for name in ("first", "second")
    ]
    with killed_after(*processes):
        for process in processes:
            _, said = process.communicate(timeout=500)
            assert process.returncode == 0, said[-3000:]
    for number in range(ROUNDS):
        for name in ("first", "second"):
            [parent], children = shown(f"sqlite:///{tmp_path}/{number}/mlflow.db", name)
            assert parent.info.status == "FINISHED" and len(children) == TRIALS
            assert {run.info.status for run in children.values()} == {"FAILED"}
