"""A sweep whose driver is killed, with one trial that diverges and one that hangs; then --resume."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import optuna
import psutil
import pytest
from injure import children, manifests, run, sets, start, wait_for
from left_running import kill
from mlflow.tracking import MlflowClient

from likra_ray import plan as plans
from likra_ray import settings
from likra_ray.ledger import Ledger, open_ledger
from likra_ray.storage import Storage
from likra_ray.study import OBSERVED

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.timeout(1800)]

SOUND = {"beta": 0.1, "near_miss_share": 0.0}
DIVERGES = {"beta": 1e38, "near_miss_share": 0.0}
"""Shares the heads of SOUND; its dpo head's loss is no number after the first step."""
HANGS = {"beta": 0.1, "near_miss_share": 1.0}
GIVEN = (
    "search={beta: {choices: [0.1, 1.0e+38]}, near_miss_share: {choices: [0.0, 1.0]}}",
    f"start_from=[{', '.join(json.dumps(point) for point in (SOUND, DIVERGES, HANGS))}]",
    "budget={trials: 3, refinements: 0, minutes: 60}", "objective={accuracy: max}", "trial.baselines=[dpo]",
    "trial.volumes=[0, 64, 512]", "trial.batch_size=2", "questions.train.limit=560",
    "trial.resources={retries: 0, stall_minutes: 1.5}",
)  # fmt: skip
"""stall_minutes: more than a worker takes to import what it needs on a machine that is busy with other tests."""


def ledger(folder: Path) -> Ledger:
    found = settings.load(str(Path(__file__).parents[2] / "search_spaces/smoke.yaml"), GIVEN).sweep
    return open_ledger(Storage(str(folder / "out")), found, plans.gather(found), resume=True)


def test_killed_driver_diverging_trial_and_hanging_trial(tmp_path: Path) -> None:
    """What hangs is a read: a stored manifest is a pipe that nobody writes to, as a network disk that went away."""
    book = ledger(tmp_path)
    sound, diverges, hangs = (plans.trial_plan(book.material, book.sweep.trial_spec(point))
                              for point in (SOUND, DIVERGES, HANGS))  # fmt: skip
    pipe = tmp_path / f"out/heads/{hangs.heads['negative'].key}/volumes/64/manifest.json"
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)

    record = tmp_path / "out/smoke/sweep.json"
    with start("sweep", tmp_path, *sets(*GIVEN)) as process:
        wait_for(record.exists, process, tmp_path)
        second = run("sweep", tmp_path, *sets(*GIVEN), "--resume")
        assert second.returncode == 2 and second.stderr.count("\n") == 1, second.stderr
        assert f"pid {process.pid}, since" in second.stderr and "driver.lock" in second.stderr
        assert process.poll() is None

        negative = tmp_path / f"out/heads/{sound.heads['negative'].key}/volumes"
        wait_for((negative / "64/manifest.json").exists, process, tmp_path)
        below = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        killed = time.monotonic()
        too_late = process.wait() != -9 or (negative / "512/manifest.json").exists()
        try:
            gone, alive = psutil.wait_procs(below, timeout=240)
        finally:
            kill(below)
    print(f"{len(gone)} processes of the dead driver were gone after {time.monotonic() - killed:.1f} s")
    assert not alive, alive
    assert not too_late, "killed too late"
    kept = {path: at for path, at in manifests(tmp_path).items() if path != pipe}
    first = json.loads(record.read_text())
    assert first["status"] == "running"

    resumed = run("sweep", tmp_path, *sets(*GIVEN), "--resume")
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    print(resumed.stdout)
    last = json.loads(record.read_text())
    assert last["status"] == "done" and last["mlflow_run"] == first["mlflow_run"]
    now = manifests(tmp_path)
    assert {path: now[path] for path in kept} == kept, "a finished volume was written again"

    by_key = {result.key: result for result in ledger(tmp_path).results}
    assert by_key.keys() == {sound.key, diverges.key, hangs.key} and len(last["trials"]) == 3
    done, diverged, hung = (by_key[plan.key] for plan in (sound, diverges, hangs))
    assert done.status == "done" and diverged.status == hung.status == "failed"
    assert done.trained["positive"] + done.trained["negative"] <= 2 * 512 - 64, "it did not go on from the last volume"
    assert diverged.retried == [] == hung.retried
    for said in ("Diverged: loss is nan after", "examples: lower the learning rate of the dpo head"):
        assert said in str(diverged.reason)
    assert "hung and was killed: no pass through the model for" in str(hung.reason) and " in " in str(hung.reason)
    for failed in (diverged, hung):
        assert f"trial {failed.key} FAILED" in resumed.stdout and str(failed.reason) in resumed.stdout

    study = optuna.load_study(study_name="smoke", storage=f"sqlite:///{tmp_path}/out/smoke/optuna.db")
    asked = [trial for trial in study.trials if OBSERVED not in trial.user_attrs]
    assert {trial.state.name for trial in asked} == {"COMPLETE", "FAIL"}
    assert [trial.params for trial in asked if trial.state.name == "COMPLETE"] == [SOUND]
    failed_points = [trial.params for trial in asked if trial.state.name == "FAIL"]
    assert DIVERGES in failed_points and HANGS in failed_points

    parents, below_it = children(MlflowClient(f"sqlite:///{tmp_path}/mlflow.db"), "smoke")
    assert [run_.info.run_id for run_ in parents] == [first["mlflow_run"]] and parents[0].info.status == "FINISHED"
    runs = {run_.data.tags["likra_ray.trial"]: run_ for run_ in below_it}
    assert len(below_it) == 3 and runs.keys() == by_key.keys()
    for key, result in by_key.items():
        assert runs[key].info.status == ("FINISHED" if result.status == "done" else "FAILED")
        assert runs[key].data.tags.get("likra_ray.reason") == result.reason
