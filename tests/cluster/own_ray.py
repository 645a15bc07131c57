"""A Ray cluster of several machines on this one, apart from every other Ray here: own folder, ports and processes.

Ray's AutoscalingCluster begins with `ray stop --force`, which ends every Ray of this machine, and reads a file that its
wheel lacks; so the autoscaler is started here by the parts it is made of.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
SMOKE = str(ROOT / "search_spaces/smoke.yaml")

SETTINGS = {"RAY_worker_niceness": "0", "RAY_AUTH_MODE": "disabled"}
"""Of every process of the cluster. At their usual nice 15 its workers would wait for all else on this machine."""


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for the sockets in it; ends every process that has it as Ray's folder."""
    path = Path(tempfile.mkdtemp(prefix="lr-"))
    try:
        yield path
    finally:
        end_processes(path)
        shutil.rmtree(path, ignore_errors=True)


def processes(ray_folder: Path, **environment: str) -> list[psutil.Process]:
    """All whose environment has this, and says that their Ray lies in this folder, but this process and its parents."""
    wanted = {"RAY_TMPDIR": str(ray_folder), **environment}.items()
    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid not in mine and wanted <= process.environ().items():
                found.append(process)
    return found


def end_processes(ray_folder: Path, *, named: Sequence[str] = ("",)) -> None:
    """SIGKILL to the processes of this folder that have one of these in their command line."""
    for process in processes(ray_folder):
        with contextlib.suppress(psutil.Error):
            if any(name in " ".join(process.cmdline()) for name in named):
                process.kill()


def end_rays(ray_folder: str) -> None:
    """`ray stop` for the Ray in this folder alone."""
    end_processes(Path(ray_folder), named=("gcs_server", "raylet", "/ray/dashboard", "monitor.py", "ray::"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def cluster(head: Mapping[str, Any], *, machines: int = 0, **environment: str) -> Iterator[Any]:
    """Ray's Cluster with this head and machines of one CPU; `environment` is seen by all that is started inside."""
    with folder() as path:
        ours = {**SETTINGS, "RAY_TMPDIR": str(path), **environment}
        before = {name: os.environ.get(name) for name in (*ours, "RAY_ADDRESS")}
        os.environ.update(ours)
        os.environ.pop("RAY_ADDRESS", None)
        try:
            from ray.cluster_utils import Cluster
            from ray.experimental import internal_kv

            node = {"include_dashboard": False, "temp_dir": str(path / "ray"), **head}
            found = patiently(path, lambda: Cluster(True, head_node_args=dict(node), shutdown_at_exit=False))
            for _ in range(machines):
                patiently(path, lambda: found.add_node(num_cpus=1))
            try:
                yield found
            finally:
                # Whoever asks these two for the server that is gone waits a minute, then Ray ends this process.
                found.global_state.disconnect()
                internal_kv._internal_kv_reset()
        finally:
            end_processes(path)
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


def patiently(ray_folder: Path, make: Callable[[], Any]) -> Any:
    """What `make` makes: again where a raylet did not start in the 30 s that Ray gives it, as beside other tests."""
    for last in (False, False, True):
        before = {process.pid for process in processes(ray_folder)}
        try:
            return make()
        except Exception as error:
            if last or "timed out during startup" not in str(error):
                raise
            for process in processes(ray_folder):
                if process.pid not in before:
                    process.kill()
    return None


def run(module: str, output: Path, address: str, *arguments: str) -> subprocess.Popen[str]:
    """A command of ours as a driver of the cluster at this address; its store of runs lies in the output's parent."""
    tracking = ["--tracking-uri", f"sqlite:///{output.parent}/mlflow.db"] if module == "sweep" else []
    return subprocess.Popen(
        [sys.executable, "-m", f"likra_ray.{module}", SMOKE, "--output", str(output), *tracking, *arguments],
        cwd=output.parent,
        env={**os.environ, "RAY_ADDRESS": address, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def actors(found: Any, *states: str) -> list[dict[str, Any]]:
    """Those of a cluster that are in these states or (none given) all there were, each with its `ActorClassName`.

    Tune makes the class of its actors within a function and reads it back from a pickle, which yields the class itself
    or, where the garbage collector was there before, a copy that has lost the function's name.
    """
    table = found.global_state.actor_table(None).values()
    named = [{**one, "ActorClassName": one["ActorClassName"].rpartition(".")[2]} for one in table]
    return [one for one in named if not states or one["State"] in states]


def rooms(found: Any) -> list[float]:
    """CPUs of every placement group that has some and stands, of any job."""
    groups = found.global_state.placement_group_table(None).values()
    there = [one["bundles"].values() for one in groups if one["state"] == "CREATED"]
    return sorted(cpus for bundles in there if (cpus := sum(bundle.get("CPU", 0.0) for bundle in bundles)))


def sets(*values: str) -> list[str]:
    return [part for value in values for part in ("--set", value)]


def wait_for(what: Callable[[], Any], process: subprocess.Popen[str], *, seconds: float, every: float = 0.02) -> Any:
    """The first true value of `what`; fails where the process ends before, or in this many seconds."""
    began = time.monotonic()
    while not (value := what()):
        if process.poll() is not None or time.monotonic() - began > seconds:
            process.send_signal(signal.SIGKILL)
            said = process.communicate()
            raise AssertionError(f"not seen in {seconds} s: {said[0][-1500:]}{said[1][-3000:]}")
        time.sleep(every)
    return value
