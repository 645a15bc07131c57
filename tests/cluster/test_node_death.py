"""Machines that die under a trial: raylets of this machine, each with room for one worker, killed with SIGKILL."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from own_ray import cluster, run, sets, wait_for

from likra_ray.heads.store import HeadStore
from likra_ray.records import TrialResult
from likra_ray.storage import Storage

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

FIRST, LAST = 8, 1600
"""The volume after which a machine is killed, and one that takes seconds more to reach."""

TWO_WORKERS = sets(
    "questions.train.limit=1700",
    f"trial.volumes=[0, {FIRST}, {LAST}]",
    f"trial.negatives={FIRST}",
    "trial.resources.workers=2",
    "trial.zero_stage=null",
    "search={seed: {choices: [0]}}",
    "budget={trials: 1, refinements: 0}",
)


@pytest.fixture
def machines() -> Iterator[Any]:
    """A head that has no room for workers, and three machines that have room for one each."""
    with cluster({"num_cpus": 0}) as found:
        for _ in range(3):
            found.add_node(num_cpus=1)
        yield found


def workers_by_machine(found: Any) -> dict[str, str]:
    """Of Ray Train's workers that live, the machine of each, by the worker's id."""
    return {
        key: actor["Address"]["NodeID"]
        for key, actor in found.global_state.actor_table(None).items()
        if actor["ActorClassName"] == "RayTrainWorker" and actor["State"] == "ALIVE"
    }


def kill(found: Any, machine: str) -> None:
    """SIGKILL to a machine's raylet: its workers end with it."""
    [node] = [node for node in found.worker_nodes if node.unique_id == machine]
    [raylet] = node.all_processes["raylet"]
    os.kill(raylet.process.pid, signal.SIGKILL)


def result(output: Path) -> TrialResult:
    [file] = (output / "smoke/trials").glob("*/result.json")
    return TrialResult.from_json(file.read_text())


def test_a_machine_dies_in_the_middle_of_a_head_which_ends_as_if_none_had(machines: Any, tmp_path: Path) -> None:
    killed, calm = tmp_path / "killed", tmp_path / "calm"
    sweep = run("sweep", killed, machines.address, *TWO_WORKERS)
    wait_for(lambda: list(killed.glob(f"heads/positive-*/volumes/{FIRST}/manifest.json")), sweep, seconds=300)
    before = sorted(workers_by_machine(machines).values())
    kill(machines, before[0])
    assert not list(killed.glob(f"heads/positive-*/volumes/{LAST}/manifest.json")), "killed too late to prove anything"
    assert len(set(before)) == 2, "its two workers were on two machines"
    spare = {node.unique_id for node in machines.worker_nodes} - set(before)
    after = wait_for(lambda: again(machines, without=before[0]), sweep, seconds=300)
    assert set(after) == {before[1], *spare}
    _, said = sweep.communicate(timeout=400)
    assert sweep.returncode == 0, said[-3000:]

    found = result(killed)
    assert found.status == "done"
    assert found.trained["positive"] == LAST - FIRST, "workers started again went on from the last volume in the store"
    alone = run("trial", calm, machines.address, *TWO_WORKERS)
    _, said = alone.communicate(timeout=400)
    assert alone.returncode == 0, said[-3000:]
    undisturbed = result(calm)
    assert undisturbed.trained["positive"] == LAST
    assert found.heads == undisturbed.heads and found.curves == undisturbed.curves
    stores = [HeadStore(Storage(str(output))) for output in (killed, calm)]
    for role, key in found.heads.items():
        if role != "base":
            volume = max(stores[0].volumes(key))
            one, other = (store.load(key, volume) for store in stores)
            assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one), role


def again(found: Any, *, without: str) -> list[str] | None:
    """The machines of the two workers that live, none of them on the dead machine; None until then."""
    there = sorted(workers_by_machine(found).values())
    return there if len(there) == 2 and without not in there else None
