"""Workers take one trial after another, make what new ones would, and are not kept where a trial failed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from own_ray import actors, cluster, run, sets, wait_for

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


def started(found: Any, *states: str) -> Counter[str]:
    """Actors of a cluster by class, those in these states or (none given) all there were."""
    return Counter(one["ActorClassName"] for one in actors(found, *states))


def rooms_removed(found: Any) -> int:
    """Placement groups with CPUs that were given back."""
    groups = found.global_state.placement_group_table(None).values()
    with_cpus = [one for one in groups if any("CPU" in bundle for bundle in one["bundles"].values())]
    return sum(one["state"] == "REMOVED" for one in with_cpus)


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
    assert [(one.status, one.sampled["seed"]) for one in results(output)] == [("done", 0), ("failed", 1), ("done", 2)]


def test_workers_that_wait_go_once_every_trial_has_some(tmp_path: Path) -> None:
    """Two CPUs, two short trials and a long one, which one of the two groups of workers takes: the other ends."""
    output = tmp_path / "out"
    given = sets(
        "questions.train.limit=1700",
        "trial.batch_size=2",
        "trial.volumes=[0, 8, 1600]",
        "trial.negatives=8",
        "search={seed: {choices: [0, 1, 2]}, positives: {choices: [8, 1600]}}",
        "start_from=[{seed: 0, positives: 8}, {seed: 1, positives: 8}, {seed: 2, positives: 1600}]",
        "budget={trials: 3, refinements: 0}",
    )
    with cluster({"num_cpus": 2}) as found:
        sweep = run("sweep", output, found.address, *given)

        def one_is_left() -> bool:
            states = [started(found, state)["RayTrainWorker"] for state in ("ALIVE", "DEAD")]
            return states == [1, 1] and len(list((output / "smoke/trials").glob("*/result.json"))) == 2

        wait_for(one_is_left, sweep, seconds=300)
        wait_for(lambda: rooms_removed(found) == 1, sweep, seconds=60)
        assert not list(output.glob("heads/positive-*/volumes/1600/manifest.json")), "seen too late"
        _, said = sweep.communicate(timeout=500)
        assert sweep.returncode == 0, said[-3000:]
        assert started(found)["RayTrainWorker"] == 2
    assert [(one.status, one.retried) for one in results(output)] == [("done", [])] * 3


REFINED = """
import sys
import ray
from likra_ray import refine, settings
from likra_ray.sweep import run_sweep

def next_round(best, results):
    [last] = [one for one in results.values() if one.sampled["seed"] == 1 and 16 not in one.spec["volumes"]]
    point = {**last.sampled, "volumes": sorted([*last.spec["volumes"], 16])}
    return refine.Round(best.name, "likra", (16,), [point], None)

ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
refine.next_round = next_round
spec, output = settings.load(sys.argv[2], sys.argv[4:]).sweep, sys.argv[3]
run_sweep(spec, output=output, tracking_uri=f"sqlite:///{output}.db")
"""


def test_a_refinement_has_the_workers_of_the_last_trial(tmp_path: Path) -> None:
    """Two CPUs, a short trial and a long one, whose workers stay; no phase lies here, so the round is made up."""
    output = tmp_path / "out"
    given = [
        "questions.train.limit=500",
        "trial.batch_size=2",
        "trial.volumes=[0, 8, 400]",
        "trial.negatives=8",
        "search={seed: {choices: [0, 1]}, positives: {choices: [8, 400]}}",
        "start_from=[{seed: 0, positives: 8}, {seed: 1, positives: 400}]",
        "budget={trials: 2, refinements: 1}",
    ]
    with cluster({"num_cpus": 2}) as found:
        command = [sys.executable, "-c", REFINED, found.address, SMOKE, str(output), *given]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert ended.returncode == 0, ended.stderr[-3000:]
        assert (started(found)["ImplicitFunc"], started(found)["RayTrainWorker"]) == (2, 2)
    record = json.loads((output / "smoke/sweep.json").read_text())
    assert [one.sampled["seed"] for one in results(output)] == [0, 1]
    assert [(len(one["trials"]), one["failed"], one["added_volumes"]) for one in record["refinements"]] == [
        (1, 0, [16])
    ]
    assert record["refinement_ended"] == "1 rounds, as budget.refinements allows"


MINUTES_END = """
import sys, time
import ray
from likra_ray import settings
from likra_ray.sweep import run_sweep

ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
spec, output = settings.load(sys.argv[2], sys.argv[4:]).sweep, sys.argv[3]
book = run_sweep(spec, output=output, tracking_uri=f"sqlite:///{output}.db")
print(len(book.trials), "ended")
while ray.available_resources().get("CPU") != 2:
    time.sleep(0.1)
print("all CPUs are free")
"""


@pytest.mark.long
def test_a_sweep_whose_minutes_end_gives_back_all_in_a_process_that_goes_on(tmp_path: Path) -> None:
    """Tune stops its trials without a word to the driver; Ray keeps their rooms for as long as the process lives."""
    given = [
        "questions.train.limit=1700",
        "questions.evaluate.limit=900",
        f"trial.volumes={list(range(0, 1601, 40))}",
        "search={seed: {choices: [0, 1]}}",
        "budget={trials: 2, refinements: 0, minutes: 1}",
    ]
    with cluster({"num_cpus": 2}) as found:
        command = [sys.executable, "-c", MINUTES_END, found.address, SMOKE, str(tmp_path / "out"), *given]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert started(found)["RayTrainWorker"] == 2, "the minutes ended before the workers began"
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.splitlines()[-2:] == ["0 ended", "all CPUs are free"]
