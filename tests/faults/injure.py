"""Commands as a user types them, and what it takes to injure them: their worker processes, and a moment to wait for."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from left_running import killed_after

ROOT = Path(__file__).parents[2]
SMOKE = str(ROOT / "search_spaces/smoke.yaml")
PATIENCE = 600
"""Seconds a test waits for its moment; a process that starts takes up to a minute where the machine is busy."""


def command(module: str, folder: Path, *arguments: str) -> list[str]:
    """A command with its output and MLflow store in `folder`."""
    tracking = ["--tracking-uri", f"sqlite:///{folder}/mlflow.db"] if module == "sweep" else []
    return [sys.executable, "-m", f"likra_ray.{module}", SMOKE, "--output", str(folder / "out"), *tracking, *arguments]


def run(module: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    given, pipe = command(module, folder, *arguments), subprocess.PIPE
    process = subprocess.Popen(given, cwd=folder, stdout=pipe, stderr=pipe, text=True)
    with killed_after(process):
        said = process.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(given, process.returncode, *said)


@contextlib.contextmanager
def start(module: str, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The same, not waited for, and killed with all below it in the end.

    What it says goes to files, so that it never waits for a reader.
    """
    folder.mkdir(exist_ok=True)
    with (folder / "stdout").open("a") as out, (folder / "stderr").open("a") as err:
        process = subprocess.Popen(command(module, folder, *arguments), cwd=folder, stdout=out, stderr=err, text=True)
    with killed_after(process):
        yield process


def sets(*values: str) -> list[str]:
    return [part for value in values for part in ("--set", value)]


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The Ray Train workers that live below a command; one that is stopped lives."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if "RayTrainWorker" in child.name() or "RayTrainWorker" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


def wait_for(happens: Callable[[], Any], process: subprocess.Popen[str], folder: Path) -> Any:
    """What `happens` returns once that is true. Fails where the command ends before, or nothing comes."""
    began = time.monotonic()
    while not (found := happens()):
        said = (folder / "stderr").read_text()[-3000:]
        assert process.poll() is None, f"it ended: {said}"
        assert time.monotonic() - began < PATIENCE, f"still waiting: {said}"
        time.sleep(0.02)
    return found


def manifests(folder: Path, role: str = "*", volume: int | str = "*") -> dict[Path, int]:
    """When each finished volume in the folder was written, nanoseconds."""
    found = folder.glob(f"out/heads/{role}-*/volumes/{volume}/manifest.json")
    return {path: path.stat().st_mtime_ns for path in found}


def contents(folder: Path, *kinds: str) -> dict[str, bytes]:
    """All bytes of the files of heads that end so, by their path in the store."""
    heads = folder / "out/heads"
    return {str(path.relative_to(heads)): path.read_bytes() for kind in kinds for path in heads.rglob(f"*{kind}")}


def children(client: Any, experiment: str) -> tuple[list[Any], list[Any]]:
    """Parents and children of an experiment in MLflow."""
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    below = [run for run in found if "mlflow.parentRunId" in run.data.tags]
    return [run for run in found if run not in below], below
