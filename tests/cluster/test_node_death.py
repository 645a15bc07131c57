"""Machines that die under a trial: raylets of this machine, each with room for one worker, killed with SIGKILL."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from own_ray import actors, cluster, run, sets, wait_for

from likra_ray.cluster import not_placed
from likra_ray.heads.store import HeadStore
from likra_ray.records import TrialResult
from likra_ray.storage import Storage

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1500)]

NO_ROOM = {"num_cpus": 0}
"""The head: the driver's machine, no worker's."""

FIRST, LAST = 8, 2800
"""The volume after which a machine is killed, and one that takes half a minute more, in steps of two examples."""

TWO_WORKERS = sets(
    "questions.train.limit=2860",
    "trial.batch_size=2",
    f"trial.volumes=[0, {FIRST}, {LAST}]",
    f"trial.negatives={FIRST}",
    "trial.resources.workers=2",
    "trial.zero_stage=null",
    "search={seed: {choices: [0]}}",
    "budget={trials: 1, refinements: 0}",
)


def of_workers(found: Any) -> list[str]:
    """The machines of Ray Train's workers that live."""
    alive = [one for one in actors(found, "ALIVE") if one["ActorClassName"] == "RayTrainWorker"]
    return sorted(one["Address"]["NodeID"] for one in alive)


def kill_one_in_the_middle(found: Any, sweep: subprocess.Popen[str], output: Path) -> list[str]:
    """SIGKILL to the raylet of one of two workers, which ends with it, after the head's first volume; both machines."""
    volumes = "heads/positive-*/volumes"
    wait_for(lambda: list(output.glob(f"{volumes}/{FIRST}/manifest.json")), sweep, seconds=500)
    killed, other = of_workers(found)
    [node] = [node for node in found.worker_nodes if node.node_id == killed]
    [raylet] = node.all_processes["raylet"]
    os.kill(raylet.process.pid, signal.SIGKILL)
    assert not list(output.glob(f"{volumes}/{LAST}/manifest.json")), "killed too late to prove anything"
    assert killed != other, "the head's two workers were on two machines"
    return [killed, other]


def result(output: Path) -> TrialResult:
    [file] = (output / "smoke/trials").glob("*/result.json")
    return TrialResult.from_json(file.read_text())


@pytest.mark.long
def test_a_machine_dies_in_the_middle_of_a_head_which_ends_as_if_none_had(tmp_path: Path) -> None:
    hurt, calm = tmp_path / "hurt", tmp_path / "calm"
    with cluster(NO_ROOM, machines=3) as found:
        sweep = run("sweep", hurt, found.address, *TWO_WORKERS)
        killed, other = kill_one_in_the_middle(found, sweep, hurt)
        [spare] = {node.node_id for node in found.worker_nodes} - {killed, other}
        wait_for(lambda: of_workers(found) == sorted([other, spare]), sweep, seconds=300)
        _, said = sweep.communicate(timeout=400)
        assert sweep.returncode == 0, said[-3000:]
        trial = run("trial", calm, found.address, *TWO_WORKERS)
        _, said = trial.communicate(timeout=400)
        assert trial.returncode == 0, said[-3000:]

    went_on, undisturbed = result(hurt), result(calm)
    assert went_on.status == undisturbed.status == "done"
    assert undisturbed.trained["positive"] == LAST
    assert went_on.trained["positive"] == LAST - FIRST, "it went on from the last volume in the store"
    assert went_on.heads == undisturbed.heads and went_on.curves == undisturbed.curves
    stores = [HeadStore(Storage(str(output))) for output in (hurt, calm)]
    for role, volume in (("positive", LAST), ("negative", FIRST)):
        one, same = (store.load(went_on.heads[role], volume) for store in stores)
        assert one.keys() == same.keys() and all(torch.equal(one[name], same[name]) for name in one), role


def test_room_that_is_waited_for_is_told_from_work_that_failed() -> None:
    from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError
    from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

    assert not_placed(ControllerError(WorkerGroupStartupTimeoutError(2)))
    assert not not_placed(ControllerError(ValueError("no such thing")))
    assert not not_placed(WorkerGroupError("rank 0", {0: RuntimeError("died")}))


@pytest.mark.long
def test_a_trial_that_fits_no_longer_fails_and_says_so(tmp_path: Path) -> None:
    """Ray may not know yet that a machine is dead when the workers are started again; they do not wait for ever."""
    with cluster(NO_ROOM, machines=2, RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S="20") as found:
        sweep = run("sweep", tmp_path / "out", found.address, *TWO_WORKERS)
        kill_one_in_the_middle(found, sweep, tmp_path / "out")
        _, said = sweep.communicate(timeout=400)
        assert sweep.returncode == 1, said[-3000:]
    failed = result(tmp_path / "out")
    assert failed.status == "failed"
    assert "workers of 1 CPU each: got 2; allowed: at most 1, as the cluster's 2 machines hold" in str(failed.reason)
