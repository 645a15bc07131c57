"""Who does the next trial: the workers that are kept, or new ones where those were dismissed, died or failed."""

from __future__ import annotations

import subprocess
import sys

import pytest
from own_ray import cluster

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

ASK = """
import ray, sys, threading, time
from likra_ray import group, holdings
from likra_ray.workers import ENDED

ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
leases = holdings.leases()
started, dies = [], threading.Event()

def run(key, *, keep=True):
    task = {"key": key}

    def start(mine):                # as Ray Train with a worker that goes from trial to trial
        started.append(mine.name)
        now, others = task, 0
        while not dies.is_set():
            if now is not None and now["key"].startswith("fails"):
                raise ValueError(now["key"])
            if now is not None:
                mine.after_report(None, [{ENDED: {"did": now["key"]}}, {ENDED: "of rank 1"}], None)
                others += 1
            now = ray.get(leases.given.remote(mine.name, others))
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
run("c: others were dismissed")
run("d")
run("fails among them", keep=False)
run("fails at once", keep=False)
run("e: others failed")
dies.set()
while any(thread.name == "workers" for thread in threading.enumerate()):
    time.sleep(0.05)
dies.clear()
run("f: others died")
run("g")
"""

SEEN = """a 1
b 1
c: others were dismissed 2
d 2
fails among them 2
fails at once 3
e: others failed 4
f: others died 5
g 5
"""


def test_workers_are_kept_until_they_are_dismissed_die_or_fail() -> None:
    with cluster({"num_cpus": 1}) as found:
        ended = subprocess.run([sys.executable, "-c", ASK, found.address], capture_output=True, text=True, timeout=200)
        assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout == SEEN
