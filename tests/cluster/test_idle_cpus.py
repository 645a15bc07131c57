"""CPUs that are free on a running Ray go to workers that are allowed more; what another holds does not."""

from __future__ import annotations

import subprocess
import sys

from own_ray import cluster

ASK = """
import ray, sys, time
from likra_ray import trial
from likra_ray.idle import Cpus

ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
leases = trial.leases()
free = lambda: ray.available_resources().get("CPU", 0.0)

@ray.remote(num_cpus=1)
class Worker:
    def __init__(self, holder):
        self.clock = 0.0
        self.cpus = Cpus(leases, holder, 1.0, clock=lambda: self.clock)
    def grow(self, after=10.0):
        self.clock += after
        import torch
        grown = self.cpus.grow()
        assert torch.get_num_threads() == self.cpus.count
        return grown, self.cpus.count

a, b = Worker.remote("a"), Worker.remote("b")
print(ray.get(a.grow.remote()))
trial.allow(2)
print(ray.get(a.grow.remote()), ray.get(a.grow.remote()))
trial.allow(4)
print(ray.get(b.grow.remote()), ray.get(b.grow.remote()), ray.get(a.grow.remote()), free())
trial.release("b")
ray.kill(b)
while free() < 2:
    time.sleep(0.1)
print(ray.get(a.grow.remote(0.1)), ray.get(a.grow.remote()), free())
trial.release("a")
while free() < 3:
    time.sleep(0.1)
print(free())
"""

SEEN = (
    "(False, 1.0)",  # nobody allowed it
    "(True, 2.0) (False, 2.0)",  # one more, as is allowed
    "(True, 2.0) (False, 2.0) (False, 2.0) 0.0",  # the last that is free, and no other
    "(False, 2.0) (True, 4.0) 0.0",  # not asked for again at once; then what the other had
    "3.0",  # all but the one it was placed with
)


def test_cpus_that_are_free_are_taken_and_given_back() -> None:
    with cluster({"num_cpus": 4}) as found:
        ended = subprocess.run([sys.executable, "-c", ASK, found.address], capture_output=True, text=True, timeout=300)
        assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.splitlines() == list(SEEN)
