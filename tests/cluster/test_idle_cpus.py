"""CPUs that are free on a running Ray go to workers that are allowed more; what another holds does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from own_ray import cluster, rooms, run, sets, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

ASK = """
import ray, sys, time
from likra_ray import holdings
from likra_ray.heads import products
from likra_ray.idle import Cpus

ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
leases = holdings.leases()

def free(cpus):
    while ray.available_resources().get("CPU", 0.0) != cpus:
        time.sleep(0.1)
    return cpus

@ray.remote(num_cpus=1)
class Worker:
    def __init__(self, holder, same_bits=True):
        products.available = lambda: same_bits
        self.clock = 0.0
        self.cpus = Cpus(leases, holder, 1.0, clock=lambda: self.clock)
    def look(self, after=10.0):
        import torch
        self.clock += after
        self.cpus.look()
        assert torch.get_num_threads() == self.cpus.count
        return self.cpus.count

a, b = Worker.remote("a"), Worker.remote("b")
look = lambda worker, after=10.0: ray.get(worker.look.remote(after))

def until(worker, cpus):                 # on a busy machine Ray may need more than one look
    while look(worker) != cpus:
        time.sleep(0.1)
    return cpus

print("nobody allowed it", look(a), look(b))
holdings.allow(2)
print("as is allowed", until(a, 2), free(1), look(a))
holdings.allow(4)
print("the last that is free", until(b, 2), free(0), look(b), look(a))
holdings.release("b")
ray.kill(b)
print("what the other had", free(2), look(a, 0.1), until(a, 4), free(0))
holdings.allow(1)
print("given back", look(a), free(3))
holdings.allow(3)
print("and taken again", until(a, 2), free(2))
holdings.release("a")
ray.kill(a)
print("gone with its trial", free(4))
c = Worker.remote("c", same_bits=False)
print("at the start", look(c), free(2))
holdings.allow(4)
print("not in the middle, where bits would tell", look(c), free(2))
"""

SEEN = """nobody allowed it 1.0 1.0
as is allowed 2 1 2.0
the last that is free 2 0 2.0 2.0
what the other had 2 2.0 4 0
given back 1.0 3
and taken again 2 2
gone with its trial 4
at the start 2.0 2
not in the middle, where bits would tell 2.0 2
"""


def test_cpus_that_are_free_are_taken_and_given_back() -> None:
    with cluster({"num_cpus": 4}) as found:
        ended = subprocess.run([sys.executable, "-c", ASK, found.address], capture_output=True, text=True, timeout=300)
        assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout == SEEN


@pytest.mark.parametrize("module", ["trial", "sweep"])
def test_a_trial_that_runs_alone_takes_what_is_free(module: str, tmp_path: Path) -> None:
    """Of a sweep, the last; its controller is in Tune's actor, that of a single trial in an actor of Ray Train's."""
    one = sets("search={seed: {choices: [0]}}", "budget={trials: 1, refinements: 0}", "trial.batch_size=2")
    with cluster({"num_cpus": 4}) as found:
        process = run(module, tmp_path / "out", found.address, *one)
        wait_for(lambda: rooms(found) == [1.0, 3.0], process, seconds=300)
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said[-3000:]
        assert not rooms(found), "given back"
