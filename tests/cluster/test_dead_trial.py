"""A trial whose own process dies: the room of its workers is free for the next."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import psutil
import pytest
from own_ray import cluster, processes, rooms, run, sets, wait_for

from likra_ray.records import TrialResult

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

FIRST, LAST = 8, 1600
TWO_TRIALS = sets(
    "questions.train.limit=1700",
    "trial.batch_size=2",
    f"trial.volumes=[0, {FIRST}, {LAST}]",
    f"trial.negatives={FIRST}",
    f"trial.positives={LAST}",
    "search={seed: {choices: [0, 1]}}",
    "start_from=[{seed: 0}, {seed: 1}]",
    "budget={trials: 2, refinements: 0}",
)

OF_A_TRIAL = {"ImplicitFunc", "RayTrainWorker", "SynchronizationActor"}
"""Tune's actor, which runs Ray Train's controller; its worker; what Ray Train lets workers wait for each other with."""
OF_A_SWEEP = {"Leases", "_AutoscalingCoordinatorActor"}


def of_the_trial() -> list[psutil.Process]:
    """Tune's actor, in the cluster's folder."""
    alive = processes(Path(os.environ["RAY_TMPDIR"]))
    return [one for one in alive if one.cmdline() and one.cmdline()[0].startswith("ray::ImplicitFunc")]


@pytest.mark.parametrize("moment", ["its workers start", "its head is made"])
def test_a_trial_that_dies_leaves_its_cpu_to_the_next(moment: str, tmp_path: Path) -> None:
    """One CPU: were the dead trial's room kept, the second trial would wait for it for ever."""
    output = tmp_path / "out"
    begun = "heads/positive-*/volumes/*/manifest.json"
    with cluster({"num_cpus": 1}) as found:
        sweep = run("sweep", output, found.address, *TWO_TRIALS)
        wait_for(
            lambda: rooms(found) if moment == "its workers start" else list(output.glob(begun)), sweep, seconds=300
        )
        [attempt] = of_the_trial()
        attempt.send_signal(signal.SIGKILL)
        assert bool(list(output.glob(begun))) == (moment == "its head is made")
        assert not list(output.glob(f"heads/positive-*/volumes/{LAST}/manifest.json")), "killed too late"
        _, said = sweep.communicate(timeout=500)
        assert sweep.returncode == 0, said[-3000:]
        actors = found.global_state.actor_table(None).values()
        assert {one["ActorClassName"] for one in actors} == OF_A_TRIAL | OF_A_SWEEP

    keys = json.loads((output / "smoke/sweep.json").read_text())["trials"]
    dead, done = (TrialResult.from_json((output / f"smoke/trials/{key}/result.json").read_text()) for key in keys)
    assert (dead.status, dead.reason) == ("failed", "its process died before it could say why")
    assert (done.status, done.trained["positive"]) == ("done", LAST)
