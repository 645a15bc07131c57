"""Who does the next trial: the workers that are kept, or new ones where those were dismissed, died or failed."""

from __future__ import annotations

import subprocess
import sys

import pytest
from own_ray import cluster

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

ASK = """
import ray, sys, threading, time
from ray import tune
from likra_ray import group, holdings
from likra_ray.news import NEWS
from likra_ray.workers import ENDED

ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
leases = holdings.leases()
tune.report = lambda metrics: None  # there is no Tune here
started, dies = [], threading.Event()

def run(key, *, keep=True):
    task = {"key": key}

    def start(mine):                # as Ray Train with a worker that goes from trial to trial
        started.append(mine.name)
        now, before = task, 0
        while not dies.is_set():
            if now is not None:
                if now["key"] == "lost" and before:
                    raise RuntimeError("the worker's machine is gone")
                mine.after_report(None, [{NEWS: []}, {NEWS: []}], None)
                if now["key"] == "fails":
                    raise ValueError("failed")
                mine.after_report(None, [{ENDED: {"did": now["key"]}}, {ENDED: "of rank 1"}], None)
                before += 1
            now = ray.get(leases.given.remote(mine.name, before))
            time.sleep(0.05)
        raise RuntimeError("a worker died while it waited")

    try:
        did = group.run(task, start)["did"]
    except ValueError as error:
        did = str(error)
    holdings.release(key, keep_group=keep)
    print(did, len(started))

run("a")
run("b")
holdings.dismiss()
run("c, others were dismissed")
run("d")
run("fails", keep=False)
run("e, others failed")
dies.set()
while any(thread.name == "workers" for thread in threading.enumerate()):
    time.sleep(0.05)
dies.clear()
run("f, others died")
run("g")
run("lost")
run("h")
"""

SEEN = """a 1
b 1
c, others were dismissed 2
d 2
failed 2
e, others failed 3
f, others died 4
g 4
lost 5
h 5
"""


def test_workers_are_kept_until_they_are_dismissed_fail_or_die() -> None:
    with cluster({"num_cpus": 1}) as found:
        ended = subprocess.run([sys.executable, "-c", ASK, found.address], capture_output=True, text=True, timeout=200)
        assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout == SEEN
