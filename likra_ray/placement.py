"""How many trials machines hold: arithmetic on what each machine has, free of Ray.

`cluster.py` asks a running cluster for the numbers. A trial is `workers` equal processes which may lie on any machines,
each whole on one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from likra_ray.errors import InputError
from likra_ray.spec import ResourcesSpec

UNIT = 10_000
"""Ray counts in ten-thousandths of a CPU or GPU (its FixedPoint): in floats ten workers of 0.1 do not fit on 1."""

Machine = Mapping[str, float]
"""What one machine has, by Ray's names: CPU, GPU, ..."""


class MachineType(NamedTuple):
    """Machines the cluster may start."""

    machine: Machine
    most: int
    """Of this type at once, those that are up included."""


class Cluster(NamedTuple):
    """What trials can be placed on."""

    up: tuple[Machine, ...]
    """Every machine that is up, the head included."""
    head: Machine
    """The one that stays."""
    types: tuple[MachineType, ...] = ()
    """What an autoscaler may start; () where there is none."""
    most: int = 0
    """Machines of all types at once."""


def needs(resources: ResourcesSpec) -> dict[str, float]:
    """What one worker needs."""
    return {name: each for name, each in (("CPU", resources.cpus), ("GPU", resources.gpus)) if each}


def workers_on(machine: Machine, need: Mapping[str, float]) -> int:
    """Workers one machine holds. Below 1, a GPU is never a share of two; above 1, Ray gives whole ones only."""
    counts = []
    for name, each in need.items():
        have, share = round(machine.get(name, 0) * UNIT), max(1, round(each * UNIT))
        if name == "GPU" and share < UNIT:
            counts.append(have // UNIT * (UNIT // share))
        elif name == "GPU" and share % UNIT:
            counts.append(0)
        else:
            counts.append(have // share)
    return min(counts)


def fullest(cluster: Cluster, need: Mapping[str, float]) -> list[Machine]:
    """The machines that hold most workers at once: those that are up, or the head and the best that may be started."""
    started: list[Machine] = []
    for kind in sorted(cluster.types, key=lambda kind: workers_on(kind.machine, need), reverse=True):
        started += [kind.machine] * min(kind.most, cluster.most - len(started))
    grown = [cluster.head, *started]
    return max(list(cluster.up), grown, key=lambda machines: _workers(machines, need))


def trials_at_once(cluster: Cluster, resources: ResourcesSpec) -> int:
    """Trials that run at the same time, started machines included. Raises InputError, with both numbers, for none."""
    need = needs(resources)
    machines = fullest(cluster, need)
    workers = _workers(machines, need)
    if workers < resources.workers:
        each = " and ".join(f"{amount:g} {name}" for name, amount in need.items())
        there = ", ".join(f"{sum(machine.get(name, 0) for machine in machines):g} {name}" for name in need)
        may = ", with all it may start," if cluster.types else ""
        raise InputError(
            where="search space",
            field=f"trial.resources.workers of {each} each",
            value=resources.workers,
            allowed=f"at most {workers}, as the cluster's {len(machines)} machines{may} hold ({there} in all)",
        )
    return workers // resources.workers


WIDEST = 4
"""Times its CPUs that a worker is given at most: rows of some hundred tokens keep few threads busy."""


def cpus_each(machines: Sequence[Machine], resources: ResourcesSpec, trials: int) -> float:
    """CPUs for each worker where so many trials run on these machines and no more will: twice or `WIDEST` times
    `resources.cpus` where some would else be idle. Trials on GPUs, or on parts of a CPU, keep theirs."""
    for times in (WIDEST, 2):
        wider = resources.model_copy(update={"cpus": resources.cpus * times})
        whole = resources.cpus % 1 == 0 and not resources.gpus
        if whole and _workers(machines, needs(wider)) // resources.workers >= trials:
            return wider.cpus
    return resources.cpus


def _workers(machines: Iterable[Machine], need: Mapping[str, float]) -> int:
    return sum(workers_on(machine, need) for machine in machines)
