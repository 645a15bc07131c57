"""Workers take one trial after another, make what new ones would, and are not kept where a trial failed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from own_ray import cluster, rooms, run, sets

from likra_ray import plan as plans
from likra_ray import settings
from likra_ray.heads.store import HeadStore
from likra_ray.records import TrialResult
from likra_ray.storage import Storage

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

SMOKE = "search_spaces/smoke.yaml"
THREE_TRIALS = [
    "search={seed: {choices: [0, 1, 2]}}",
    "start_from=[{seed: 0}, {seed: 1}, {seed: 2}]",
    "budget={trials: 3, refinements: 0}",
]


def results(output: Path) -> list[TrialResult]:
    """Of the sweep, in the order its trials ended."""
    keys = json.loads((output / "smoke/sweep.json").read_text())["trials"]
    return [TrialResult.from_json((output / f"smoke/trials/{key}/result.json").read_text()) for key in keys]


def started(found: object) -> Counter[str]:
    """Actors of a cluster by class, those that ended too."""
    table = found.global_state.actor_table(None)  # type: ignore[attr-defined]
    return Counter(one["ActorClassName"] for one in table.values())


@pytest.mark.parametrize(("workers", "stage"), [(1, 0), pytest.param(2, 3, marks=pytest.mark.long)])
def test_the_third_trial_of_the_same_workers_makes_the_bits_that_new_ones_make(
    workers: int, stage: int, tmp_path: Path
) -> None:
    spec = settings.load(SMOKE, []).sweep
    several = [f"trial.resources.workers={workers}", f"trial.zero_stage={stage}"]
    output, alone = tmp_path / "out", tmp_path / "alone"
    with cluster({"num_cpus": workers}) as found:
        sweep = run("sweep", output, found.address, *sets(*several, *THREE_TRIALS))
        _, said = sweep.communicate(timeout=500)
        assert sweep.returncode == 0, said[-3000:]
        assert (started(found)["ImplicitFunc"], started(found)["RayTrainWorker"]) == (1, workers)
        assert rooms(found) == []
        last = results(output)[-1]
        single = run("trial", alone, found.address, *sets(*several, "search={}", f"trial.seed={last.sampled['seed']}"))
        _, said = single.communicate(timeout=300)
        assert single.returncode == 0, said[-3000:]
        assert started(found)["RayTrainWorker"] == 2 * workers
    assert [(one.status, one.retried) for one in results(output)] == [("done", [])] * 3
    kept, new = (HeadStore(Storage(str(folder))) for folder in (output, alone))
    for role in ("positive", "negative"):
        head = last.heads[role]
        assert kept.volumes(head) == new.volumes(head) != []
        for volume in new.volumes(head):
            ours, theirs = kept.load(head, volume), new.load(head, volume)
            assert all(bool((ours[name] == theirs[name]).all()) for name in theirs)
        for volume in spec.trial.volumes[1:]:
            ours_, theirs_ = (store.table(head, last.evaluation, volume) for store in (kept, new))
            assert ours_ is not None and theirs_ is not None
            assert ours_.logprob.tolist() == theirs_.logprob.tolist()


def test_workers_whose_trial_failed_are_not_kept(tmp_path: Path) -> None:
    """What fails is a write of the second trial: a folder lies where an adapter belongs."""
    output = tmp_path / "out"
    spec = settings.load(SMOKE, THREE_TRIALS).sweep
    plan = plans.trial_plan(plans.gather(spec), spec.trial_spec({"seed": 1}))
    (output / f"heads/{plan.heads['negative'].key}/volumes/16/adapter_model.safetensors").mkdir(parents=True)
    with cluster({"num_cpus": 1}) as found:
        sweep = run("sweep", output, found.address, *sets("trial.resources.retries=0", *THREE_TRIALS))
        _, said = sweep.communicate(timeout=500)
        assert sweep.returncode == 0, said[-3000:]
        assert started(found)["RayTrainWorker"] == 2
        assert rooms(found) == []
    assert [(one.status, one.sampled["seed"]) for one in results(output)] == [("done", 0), ("failed", 1), ("done", 2)]
