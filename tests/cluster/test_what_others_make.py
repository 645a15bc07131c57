"""What a worker waits for that another trial makes, in a process of its own: real leases and heads, no Ray Train."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from own_ray import cluster

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

SETUP = """
import ray, ray.train, sys, threading, time
from likra_ray import holdings, material, plan, settings, workers
from likra_ray.heads.store import HeadStore
from likra_ray.storage import Storage

ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
leases = holdings.leases()
storage = Storage(sys.argv[2])
ray.train.report = lambda metrics: None
sweep = settings.load("search_spaces/smoke.yaml", ["search={seed: {choices: [0, 1]}}", "trial.zero_stage=null"]).sweep
questions = plan.gather(sweep)
named = material.write(questions, storage)
store = HeadStore(storage)

def work(seed, base):
    trial = sweep.trial_spec({"seed": seed})
    planned = plan.trial_plan(questions, trial)
    task = {"root": storage.root, "material": named, "trial": trial.model_dump(mode="json"), "key": planned.key}
    return planned, lambda: workers._work(task, trial, base, 0, lambda: None)

def another_takes(*keys):
    for key in keys:
        assert ray.get(leases.acquire.remote(key, "another trial"))

def another_gives(*keys):
    for key in keys:
        ray.get(leases.release.remote(key, "another trial"))

def begin(do):
    ended = []
    thread = threading.Thread(target=lambda: ended.append(do()))
    thread.start()
    return thread, ended

def wait_for(wanted, sees, thread):
    until = time.monotonic() + 60
    while sees() != wanted:
        assert thread.is_alive() and time.monotonic() < until, sees()
        time.sleep(0.1)
"""

BASE = (
    SETUP
    + """
def has(planned):
    table = store.table(planned.base_key, planned.evaluation_key, 0)
    scored = store.table(planned.heads["negative"].key, planned.evaluation_key, 32)
    return f"base {table is not None}, heads {scored is not None}"

first, do = work(0, None)
another_takes(first.base_key)
thread, ended = begin(do)
wait_for("base False, heads True", lambda: has(first), thread)
print("another trial is at the base:", ended)
another_gives(first.base_key)
thread.join()
[(done, base)] = ended
print("it is not:", has(first), done["scored"][first.base_key], len(base.model._forward_pre_hooks))

second, do = work(1, base)
another_takes(second.base_key)
done, again = do()
print("the table is there:", has(second), second.base_key in done["scored"], again.model is base.model)
"""
)

BASE_SEEN = [
    "another trial is at the base: []",
    "it is not: base True, heads True 1 0",
    "the table is there: base True, heads True False True",
]

HEADS = (
    SETUP
    + """
planned, do = work(0, None)
positive, negative = (planned.heads[role].key for role in ("positive", "negative"))

def has(key):
    scored = [volume for volume in (8, 16, 32) if store.table(key, planned.evaluation_key, volume) is not None]
    return f"trained {[volume for volume in (8, 16, 32) if volume in store.volumes(key)]}, scored {scored}"

another_takes(positive, negative + "/tables")
thread, ended = begin(do)
wait_for("trained [8, 16, 32], scored []", lambda: has(negative), thread)
print("another trial trains one head and scores the other:", has(positive), ended)
another_gives(positive)
wait_for("trained [8, 16, 32], scored [8, 16, 32]", lambda: has(positive), thread)
print("the other is still to be scored:", has(negative), ended)
another_gives(negative + "/tables")
thread.join()
[(done, base)] = ended
print("it is done:", has(negative), sum(done["trained"].values()), sum(done["scored"].values()))

planned, do = work(0, base)
another_takes(positive, negative, positive + "/tables", negative + "/tables")
done, _ = do()
print("all is there:", sum(done["trained"].values()), sum(done["scored"].values()))
"""
)

HEADS_SEEN = [
    "another trial trains one head and scores the other: trained [], scored [] []",
    "the other is still to be scored: trained [8, 16, 32], scored [] []",
    "it is done: trained [8, 16, 32], scored [8, 16, 32] 64 7",
    "all is there: 0 0",
]


def seen(script: str, folder: Path) -> list[str]:
    """What it printed."""
    with cluster({"num_cpus": 2}) as found:
        command = [sys.executable, "-c", script, found.address, str(folder / "out")]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return [line for line in ended.stdout.splitlines() if ":" in line and "head:" not in line]


def test_the_bases_table_is_waited_for_last_and_only_where_it_is_missing(tmp_path: Path) -> None:
    """The second trial would hang: another holds the base's lease for good. It has the first one's base."""
    assert seen(BASE, tmp_path) == BASE_SEEN


def test_a_head_is_trained_while_another_trial_scores_it_and_only_what_is_missing_is_waited_for(tmp_path: Path) -> None:
    """The last trial would hang: another holds every lease for good, but all tables are there."""
    assert seen(HEADS, tmp_path) == HEADS_SEEN
