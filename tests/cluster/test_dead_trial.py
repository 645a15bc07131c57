"""A trial whose own process dies: the room of its workers is free for the next."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import psutil
import pytest
from own_ray import actors, cluster, processes, rooms, run, sets, wait_for

from likra_ray.records import TrialResult

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

FIRST, LAST = 8, 1600
MOMENTS: dict[str, list[int]] = {
    # The trials' volumes of positives, by seed; the one before the last dies.
    "its workers start": [LAST, LAST],
    "its head is made": [LAST, LAST],
    "its workers had another trial": [FIRST, LAST, LAST],
    "its workers wait for it": [FIRST, LAST, LAST],
}


def trials(positives: list[int]) -> list[str]:
    """The settings of a sweep with a trial for each of these volumes, one after the other."""
    points = [f"{{seed: {seed}, positives: {volume}}}" for seed, volume in enumerate(positives)]
    return sets(
        "questions.train.limit=1700",
        "trial.batch_size=2",
        f"trial.volumes=[0, {FIRST}, {LAST}]",
        f"trial.negatives={FIRST}",
        f"search={{seed: {{choices: {list(range(len(points)))}}}, positives: {{choices: [{FIRST}, {LAST}]}}}}",
        f"start_from=[{', '.join(points)}]",
        f"budget={{trials: {len(points)}, refinements: 0}}",
    )


OF_A_TRIAL = {"ImplicitFunc", "RayTrainWorker", "SynchronizationActor"}
"""Tune's actor, which runs Ray Train's controller; its worker; what Ray Train lets workers wait for each other with."""
OF_A_SWEEP = {"Leases", "_AutoscalingCoordinatorActor"}


def of_the_trial() -> list[psutil.Process]:
    """Tune's actor, in the cluster's folder."""
    alive = processes(Path(os.environ["RAY_TMPDIR"]))
    return [one for one in alive if re.match(r"ray::([\w.<>]*\.)?ImplicitFunc\b", " ".join(one.cmdline()))]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_trial_that_dies_leaves_its_cpu_to_the_next(moment: str, tmp_path: Path) -> None:
    """One CPU: were the dead trial's room kept, the next trial would wait for it for ever."""
    output = tmp_path / "out"
    begun = f"heads/positive-*/volumes/{FIRST}/manifest.json"
    before = len(MOMENTS[moment]) - 2

    def is_now() -> bool:
        if moment == "its workers start":
            return bool(rooms(found))
        if moment == "its workers wait for it":
            return bool(ended())
        return len(list(output.glob(begun))) == before + 1

    def ended() -> list[str]:
        record = output / "smoke/sweep.json"
        keys: list[str] = json.loads(record.read_text())["trials"] if record.exists() else []
        return keys

    with cluster({"num_cpus": 1}) as found:
        sweep = run("sweep", output, found.address, *trials(MOMENTS[moment]))
        wait_for(is_now, sweep, seconds=300)
        if moment == "its workers had another trial":
            names = [one["ActorClassName"] for one in actors(found)]
            assert names.count("RayTrainWorker") == 1
        [attempt] = of_the_trial()
        attempt.send_signal(signal.SIGKILL)
        assert bool(list(output.glob(begun))) == (moment != "its workers start")
        assert not list(output.glob(f"heads/positive-*/volumes/{LAST}/manifest.json")), "killed too late"
        _, said = sweep.communicate(timeout=500)
        assert sweep.returncode == 0, said[-3000:]
        assert {one["ActorClassName"] for one in actors(found)} == OF_A_TRIAL | OF_A_SWEEP

    read = [TrialResult.from_json((output / f"smoke/trials/{key}/result.json").read_text()) for key in ended()]
    *earlier, dead, done = read
    assert [one.status for one in earlier] == ["done"] * before
    assert (dead.status, dead.reason) == ("failed", "its process died before it could say why")
    assert (done.status, done.trained["positive"]) == ("done", LAST)
