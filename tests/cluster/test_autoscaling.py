"""A cluster that starts machines when trials need them: Ray's own autoscaler; its machines are raylets of this one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from own_ray import cluster, free_port, run, sets

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.timeout(1200)]


def autoscaling(port: int) -> dict[str, Any]:
    """What `ray up` would write on the head, for machines that are raylets: none at first, two of one CPU at most."""
    from ray.util import get_node_ip_address

    lists = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands",
             "head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files", "rsync_exclude",
             "rsync_filter")  # fmt: skip
    return {
        "cluster_name": "grows",
        "max_workers": 2,
        "idle_timeout_minutes": 9,
        "upscaling_speed": 1.0,
        "provider": {
            "type": "fake_multinode",
            "use_node_id_as_ip": True,  # they all have one address
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "gcs_address": f"{get_node_ip_address()}:{port}",
        },
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "small": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
        },
        "head_node_type": "ray.head.default",
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        **{name: [] for name in lists},
    }


@pytest.fixture
def growing(tmp_path: Path) -> Iterator[Any]:
    port = free_port()
    file = tmp_path / "autoscaling.yaml"
    file.write_text(json.dumps(autoscaling(port)))
    head = {"num_cpus": 0, "gcs_server_port": port, "autoscaling_config": str(file)}
    with cluster(head, RAY_FAKE_CLUSTER="1", AUTOSCALER_UPDATE_INTERVAL_S="1") as found:
        yield found


def machines(found: Any) -> list[dict[str, Any]]:
    """All machines there ever were."""
    return list(found.global_state.node_table())


def test_a_sweep_runs_on_machines_that_are_started_for_it(growing: Any, tmp_path: Path) -> None:
    output = tmp_path / "out"
    never = run("sweep", output, growing.address, *sets("trial.resources.workers=4"))
    _, said = never.communicate(timeout=250)
    assert never.returncode == 2, said
    assert "got 4; allowed: at most 2, as the cluster's 3 machines, with all it may start, hold (2 CPU in all)" in said
    assert len(machines(growing)) == 1

    varied = ["search={near_miss_share: {choices: [0.0, 1.0]}}", "budget={trials: 2, refinements: 0, minutes: 8}"]
    sweep = run("sweep", output, growing.address, *sets(*varied, "trial.volumes=[0, 8]"))
    out, said = sweep.communicate(timeout=800)
    assert sweep.returncode == 0, said[-3000:]
    assert len(json.loads((output / "smoke/sweep.json").read_text())["trials"]) == 2
    started = [machine for machine in machines(growing) if machine["Resources"].get("CPU") == 1]
    assert len(started) == 2, "one machine for each of the trials that run at once"
