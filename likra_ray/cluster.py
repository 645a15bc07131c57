"""What is asked of the running cluster: which machine the driver is on, and how many trials run at once.

docs/design/cluster.md says where what runs, and why.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import yaml

from likra_ray import placement
from likra_ray.errors import InputError, scrubbed
from likra_ray.spec import ResourcesSpec

log = logging.getLogger(__name__)

ATTEMPT_MEMORY = 400 * 2**20
"""Bytes a Tune actor reserves (measured: 420 MB resident, most of it shared). No CPU: even 0.01 of one would keep
the last of N one-CPU trials from fitting on N cores."""

HEAD = "node:__internal_head__"
"""Resource that Ray gives to the head alone."""

NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""Where Kubernetes tells a pod its namespace."""


def here() -> dict[str, str]:
    """Ray's label selector for this process's machine: what the driver starts there dies with it and no sooner."""
    import ray

    return {"ray.io/node-id": ray.get_runtime_context().get_node_id()}


def free_here() -> float:
    """CPUs of this process's machine that nobody holds."""
    from ray._private.state import available_resources_per_node

    [machine] = here().values()
    free: dict[str, dict[str, float]] = available_resources_per_node()  # type: ignore[no-untyped-call]
    return free.get(machine, {}).get("CPU", 0.0)


def machines() -> dict[str, dict[str, float]]:
    """What each machine that is up has, by its node id."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return {node["NodeID"]: node["Resources"] for node in nodes if node["Alive"]}


def places(resources: ResourcesSpec) -> int:
    """Trials the cluster holds at once, with machines it may start. Raises InputError, with both numbers, for none."""
    up = tuple(machines().values())
    head: placement.Machine = next((machine for machine in up if HEAD in machine), {})
    return placement.trials_at_once(placement.Cluster(up, head, *may_start()), resources)


def cpus_each(resources: ResourcesSpec, trials: int) -> float:
    """CPUs each worker may have while so many trials run and none is left to start (placement.cpus_each)."""
    return placement.cpus_each(list(machines().values()), resources, trials)


def not_placed(error: BaseException) -> bool:
    """Whether a trial's workers found no room within Ray Train's minute (RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S)."""
    return type(getattr(error, "controller_failure", None)).__name__ == "WorkerGroupStartupTimeoutError"


def attempts() -> int:
    """Tune actors the driver's machine holds. Raises InputError for none."""
    [driver] = here().values()
    memory = machines()[driver].get("memory", 0)
    if memory < ATTEMPT_MEMORY:
        raise InputError(
            where="cluster",
            field="memory that Ray has on the driver's machine",
            value=f"{memory / 2**20:.0f} MiB",
            allowed=f"at least {ATTEMPT_MEMORY // 2**20} MiB, for the actor that follows a trial",
        )
    return int(memory // ATTEMPT_MEMORY)


def may_start() -> tuple[tuple[placement.MachineType, ...], int]:
    """Types of machines the cluster's autoscaler may start, and how many in all; none where it cannot be asked."""
    config = _autoscaling()
    kinds = config.get("available_node_types", {}).values()
    types = tuple(placement.MachineType(kind["resources"], kind.get("max_workers", 0)) for kind in kinds)
    return types, config.get("max_workers", 0)


def _autoscaling() -> dict[str, Any]:
    """The autoscaler's configuration, {} where there is none here: Ray tells a driver nothing of it.

    On Kubernetes it is in the cluster's own resource; after `ray up`, in the file that the autoscaler beside the head
    was started with.
    """
    name = os.environ.get("RAY_CLUSTER_NAME")  # KubeRay sets it in every container of Ray's
    try:
        if name and NAMESPACE.exists():
            from ray.autoscaler._private.kuberay.autoscaling_config import AutoscalingConfigProducer

            ask = AutoscalingConfigProducer(name, NAMESPACE.read_text().strip())  # type: ignore[no-untyped-call]
            found = ask()
        else:
            path = _monitored()
            found = yaml.safe_load(path.read_text(encoding="utf-8")) if path else {}
    except Exception as error:
        why = scrubbed(f"{type(error).__name__}: {error}")
        log.warning("only machines that are up are counted: the autoscaler's configuration cannot be read (%s)", why)
        return {}
    return dict(found)


def _monitored() -> Path | None:
    """The file with which the autoscaler of this cluster was started, where it runs on this machine."""
    import psutil
    import ray

    address = f"--gcs-address={ray.get_runtime_context().gcs_address}"
    for process in psutil.process_iter(["cmdline"]):
        arguments = process.info["cmdline"] or []
        if address in arguments:
            for argument in arguments:
                if argument.startswith("--autoscaling-config="):
                    return Path(argument.partition("=")[2]).expanduser()
    return None
