"""How many trials fit, and what is said where none does."""

from __future__ import annotations

import pytest

from likra_ray.errors import InputError
from likra_ray.placement import Cluster, MachineType, cpus_each, trials_at_once
from likra_ray.spec import ResourcesSpec

HEAD = {"CPU": 0.0, "memory": 2e9}
CPUS2, CPUS8 = {"CPU": 2.0}, {"CPU": 8.0}
ONE_GPU, FOUR_GPUS = {"CPU": 8.0, "GPU": 1.0}, {"CPU": 16.0, "GPU": 4.0}


def up(*machines: dict[str, float]) -> Cluster:
    return Cluster(machines, machines[0])


def growing(*types: tuple[dict[str, float], int], most: int, others: tuple[dict[str, float], ...] = ()) -> Cluster:
    return Cluster((HEAD, *others), HEAD, tuple(MachineType(*kind) for kind in types), most)


FITTING = [
    ("one trial per core", up(CPUS2), {}, 2),
    ("half a core each", up(CPUS2), {"cpus": 0.5}, 4),
    ("a tenth of a core each, which is 19 in floats", up(CPUS2), {"cpus": 0.1}, 20),
    ("two workers of a core", up(CPUS2), {"workers": 2}, 1),
    ("two workers on two machines", up({"CPU": 1.0}, {"CPU": 1.0}), {"workers": 2}, 1),
    ("three cores, two workers: one core stays free", up({"CPU": 3.0}), {"workers": 2}, 1),
    ("four trials of a quarter of one GPU", up(ONE_GPU), {"gpus": 0.25}, 4),
    ("a third of a GPU", up(ONE_GPU), {"gpus": 0.3333}, 3),
    ("three tenths: no GPU is shared by more than three", up(FOUR_GPUS), {"gpus": 0.3}, 12),
    ("six tenths: one on each GPU, not six on four", up(FOUR_GPUS), {"gpus": 0.6}, 4),
    ("CPUs end before GPUs do", up(ONE_GPU), {"gpus": 0.25, "cpus": 4}, 2),
    ("one trial of four GPUs on a machine", up(FOUR_GPUS), {"gpus": 1, "workers": 4}, 1),
    ("one trial of four GPUs over two machines", up(HEAD, {"CPU": 8, "GPU": 2.0}, {"CPU": 8, "GPU": 2.0}),
     {"gpus": 1, "workers": 4}, 1),
    ("a worker of two GPUs lies on one machine", up(ONE_GPU, ONE_GPU, FOUR_GPUS), {"gpus": 2}, 2),
    ("nothing is up, three may be started", growing((ONE_GPU, 3), most=8), {"gpus": 1}, 3),
    ("the cluster's own limit is lower", growing((ONE_GPU, 3), (FOUR_GPUS, 2), most=4), {"gpus": 1}, 10),
    ("the best types come first", growing((CPUS8, 2), (ONE_GPU, 3), most=2), {"gpus": 0.5}, 4),
    ("what is up is one of what may be started", growing((ONE_GPU, 3), most=8, others=(ONE_GPU,)), {"gpus": 1}, 3),
    ("what is up is more than the file says", growing((ONE_GPU, 1), most=1, others=(FOUR_GPUS,)), {"gpus": 1}, 4),
    ("a gang over machines that may be started", growing((ONE_GPU, 8), most=8), {"gpus": 1, "workers": 4}, 2),
    ("a type whose room nobody says holds nothing", growing(({}, 8), most=8, others=(CPUS2,)), {}, 2),
]  # fmt: skip


@pytest.mark.parametrize(("cluster", "resources", "trials"), [c[1:] for c in FITTING], ids=[c[0] for c in FITTING])
def test_trials_that_fit(cluster: Cluster, resources: dict[str, float], trials: int) -> None:
    assert trials_at_once(cluster, ResourcesSpec(**resources)) == trials


NEVER = [
    ("no such machine", up(CPUS2), {"gpus": 1},
     "of 1 CPU and 1 GPU each: got 1; allowed: at most 0, as the cluster's 1 machines hold (2 CPU, 0 GPU in all)"),
    ("too many workers", up(CPUS2), {"workers": 8},
     "workers of 1 CPU each: got 8; allowed: at most 2, as the cluster's 1 machines hold (2 CPU in all)"),
    ("cores that lie on two machines", up(CPUS2, CPUS2), {"cpus": 4}, "of 4 CPU each: got 1; allowed: at most 0"),
    ("one and a half GPUs: Ray gives whole ones", up(FOUR_GPUS), {"gpus": 1.5}, "GPU each: got 1; allowed: at most 0"),
    ("more than may be started", growing((ONE_GPU, 3), most=8), {"gpus": 1, "workers": 4},
     "got 4; allowed: at most 3, as the cluster's 4 machines, with all it may start, hold (24 CPU, 3 GPU in all)"),
]  # fmt: skip


@pytest.mark.parametrize(("cluster", "resources", "said"), [c[1:] for c in NEVER], ids=[c[0] for c in NEVER])
def test_what_never_fits_is_said_with_both_numbers(cluster: Cluster, resources: dict[str, float], said: str) -> None:
    with pytest.raises(InputError) as refused:
        trials_at_once(cluster, ResourcesSpec(**resources))
    assert said in str(refused.value)


IDLE = [
    ("one trial where two fit", (CPUS2,), {}, 1, 2),
    ("as many as fit", (CPUS2,), {}, 2, 1),
    ("more than fit", (CPUS2,), {}, 3, 1),
    ("three where eight fit: two CPUs stay idle", (CPUS8,), {}, 3, 2),
    ("no more than four times", (CPUS8,), {}, 1, 4),
    ("parts of a CPU stay parts", (CPUS2,), {"cpus": 0.5}, 1, 0.5),
    ("CPUs of one machine, not of two", (CPUS2, CPUS2), {}, 1, 2),
    ("the machine with most", (CPUS2, CPUS8), {"cpus": 2}, 1, 8),
    ("both of a trial's workers", (CPUS8,), {"workers": 2}, 1, 4),
    ("nothing is up that holds one", (HEAD,), {}, 1, 1),
    ("on GPUs CPUs are not what lacks", (FOUR_GPUS,), {"gpus": 1}, 1, 1),
]  # fmt: skip


@pytest.mark.parametrize(("machines", "resources", "trials", "cpus"), [c[1:] for c in IDLE], ids=[c[0] for c in IDLE])
def test_few_trials_get_cpus_that_would_be_idle(
    machines: tuple[dict[str, float], ...], resources: dict[str, float], trials: int, cpus: float
) -> None:
    assert cpus_each(machines, ResourcesSpec(**resources), trials) == cpus
