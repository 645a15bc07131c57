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


def end_processes(ray_folder: Path, *, named: Sequence[str] = ()) -> None:
    """SIGKILL to all processes whose environment says that their Ray lies in this folder, but this one and parents.

    named: only those with one of these in their command line.
    """
    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid not in mine and process.environ().get("RAY_TMPDIR") == str(ray_folder):
                line = " ".join(process.cmdline())
                if not named or any(name in line for name in named):
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
def cluster(head: Mapping[str, Any], **environment: str) -> Iterator[Any]:
    """Ray's Cluster with this head node; `environment` is seen by what is started inside."""
    with folder() as path:
        ours = {**SETTINGS, "RAY_TMPDIR": str(path), **environment}
        before = {name: os.environ.get(name) for name in (*ours, "RAY_ADDRESS")}
        os.environ.update(ours)
        os.environ.pop("RAY_ADDRESS", None)
        try:
            from ray.cluster_utils import Cluster

            found = Cluster(
                initialize_head=True,
                head_node_args={"include_dashboard": False, "temp_dir": str(path / "ray"), **head},
                shutdown_at_exit=False,
            )
            yield found
        finally:
            end_processes(path)
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


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
