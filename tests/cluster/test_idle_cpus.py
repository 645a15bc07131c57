"""What is free on a running Ray goes to a trial that runs alone; what another holds does not."""

from __future__ import annotations

import subprocess
import sys

from own_ray import cluster

ASK = """
import ray, sys
from likra_ray.cluster import cpus
from likra_ray.spec import ResourcesSpec

ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
one = ResourcesSpec()
print(cpus(one, 1), cpus(one, 2), cpus(one, 5), cpus(one, None))

@ray.remote(num_cpus=1)
class Other:
    def there(self):
        return True

other = Other.remote()
ray.get(other.there.remote())
print(cpus(one, 1), cpus(one, 2))
"""


def test_cpus_that_another_holds_are_not_given() -> None:
    with cluster({"num_cpus": 4}) as found:
        ended = subprocess.run([sys.executable, "-c", ASK, found.address], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-3000:]
    idle, beside = ([float(number) for number in line.split()] for line in ended.stdout.splitlines())
    assert idle == [4, 2, 1, 1]
    assert beside == [1, 2], "four are not free; two are"
