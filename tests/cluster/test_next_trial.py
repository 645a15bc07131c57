"""What a worker does from trial to trial, in a process of its own: real leases and heads, no Ray Train around them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from own_ray import cluster

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

ASK = """
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

def has(planned):
    table = store.table(planned.base_key, planned.evaluation_key, 0)
    scored = store.table(planned.heads["negative"].key, planned.evaluation_key, 32)
    return f"base {table is not None}, heads {scored is not None}"

first, do = work(0, None)
assert ray.get(leases.acquire.remote(first.base_key, "another trial"))
ended = []
thread = threading.Thread(target=lambda: ended.append(do()))
thread.start()
while has(first) != "base False, heads True":
    assert thread.is_alive()
    time.sleep(0.1)
print("another trial is at the base:", has(first), ended)
ray.get(leases.release.remote(first.base_key, "another trial"))
thread.join()
[(done, base)] = ended
print("it is not:", has(first), done["scored"][first.base_key], len(base.model._forward_pre_hooks))

second, do = work(1, base)
assert ray.get(leases.acquire.remote(second.base_key, "another trial"))
done, again = do()
print("the table is there:", has(second), second.base_key in done["scored"], again.model is base.model)
"""

SEEN = [
    "another trial is at the base: base False, heads True []",
    "it is not: base True, heads True 1 0",
    "the table is there: base True, heads True False True",
]


def test_the_bases_table_is_waited_for_last_and_only_where_it_is_missing(tmp_path: Path) -> None:
    """The second trial would hang: another holds the base's lease for good. It has the first one's base."""
    with cluster({"num_cpus": 2}) as found:
        command = [sys.executable, "-c", ASK, found.address, str(tmp_path / "out")]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert [line for line in ended.stdout.splitlines() if ":" in line and "head:" not in line] == SEEN
