"""A sweep whose every result lies on S3, as a user runs it; while it runs: who listens where, and where secrets go.

One server, two commands: the second raises the budget with --resume and trains only what is missing.
"""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import s3_server
from left_running import killed_after

SMOKE = str(Path(__file__).parents[1] / "search_spaces/smoke.yaml")

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1500)]

PLANTED = {
    **s3_server.KEYS,
    "HF_TOKEN": "hf_plantedPlantedPlantedPlanted",
    "MLFLOW_TRACKING_PASSWORD": "planted-password-of-mlflow",
    "WANDB_API_KEY": "planted-key-of-another-service",
}
"""In the environment of both commands; none of these may stand anywhere afterwards."""


class Listener(NamedTuple):
    """A TCP port that somebody of the sweep's processes waits at."""

    process: str
    address: str


class Swept(NamedTuple):
    """What the two commands left."""

    root: str
    folder: Path
    ray: Path
    commands: list[subprocess.CompletedProcess[str]]
    listeners: set[Listener]


def listeners(process: psutil.Process) -> set[Listener]:
    """Of a process and all below it, now."""
    found = set()
    for one in [process, *process.children(recursive=True)]:
        try:
            for socket in one.net_connections("inet"):
                if socket.status == psutil.CONN_LISTEN:
                    found.add(Listener(one.name(), socket.laddr.ip))
        except psutil.Error:
            continue  # ended meanwhile
    return found


def run(module: str, environment: dict[str, str], folder: Path, *arguments: str) -> tuple[
    subprocess.CompletedProcess[str], set[Listener]
]:  # fmt: skip
    command = [sys.executable, "-m", f"likra_ray.{module}", *arguments]
    seen: set[Listener] = set()
    with (folder / "stdout").open("w+") as out, (folder / "stderr").open("w+") as err:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=err)
        with killed_after(process):
            while process.poll() is None:
                seen |= listeners(psutil.Process(process.pid))
                time.sleep(0.3)
        said = []
        for stream in (out, err):
            stream.seek(0)
            said.append(stream.read())
    return subprocess.CompletedProcess(command, process.returncode, *said), seen


@pytest.fixture(scope="module")
def swept(s3_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swept]:
    folder = tmp_path_factory.mktemp("swept")
    ray = tempfile.mkdtemp(prefix="lr")  # short: the paths of sockets may have 107 characters
    environment = {**os.environ, **s3_server.environment(s3_endpoint, folder), **PLANTED}
    environment |= {"LIKRA_CACHE": str(folder / "cache"), "RAY_ADDRESS": "local", "RAY_TMPDIR": ray}
    root = f"s3://{s3_server.BUCKET}/swept"
    given = [
        SMOKE, "--output", root, "--tracking-uri", f"sqlite:///{folder}/mlflow.db",
        "--set", "trial.resources.workers=2",
        "--set", "search={near_miss_share: {choices: [0.0, 1.0]}}", "--set", "trial.volumes=[0, 8]",
    ]  # fmt: skip
    commands, seen = [], set()
    try:
        for trials, more in ((1, []), (2, ["--resume"])):
            budget = f"budget={{trials: {trials}, minutes: 30, refinements: 0}}"
            ended, found = run("sweep", environment, folder, *given, "--set", budget, *more)
            commands.append(ended)
            seen |= found
        commands.append(run("report", environment, folder, "smoke", "--output", root)[0])
        yield Swept(root, folder, Path(ray), commands, seen)
    finally:
        shutil.rmtree(ray, ignore_errors=True)


@pytest.fixture
def objects(swept: Swept, s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """All that lies below the output folder."""
    import fsspec

    s3_server.use(s3_endpoint, tmp_path, monkeypatch)
    filesystem, path = fsspec.core.url_to_fs(swept.root)
    return {name.removeprefix(f"{path}/"): filesystem.cat_file(name) for name in filesystem.find(path)}


def test_both_commands_and_the_report_end_well(swept: Swept) -> None:
    for ended in swept.commands:
        assert ended.returncode == 0, ended.stderr[-3000:]
        assert swept.root in ended.stdout


def test_everything_lies_there_and_nothing_of_rays(swept: Swept, objects: dict[str, bytes]) -> None:
    assert {name.split("/")[0] for name in objects} == {"heads", "questions", "smoke"}
    assert {"smoke/sweep.json", "smoke/report.html", "smoke/critical_phase.json"} <= set(objects)
    assert not any(name.startswith("smoke/ray/") or name.endswith((".pkl", ".tmp")) for name in objects)
    record = json.loads(objects["smoke/sweep.json"])
    assert record["status"] == "done" and len(record["trials"]) == 2
    assert not (swept.folder / "results").exists()


def test_the_second_command_trains_what_is_missing(objects: dict[str, bytes]) -> None:
    record = json.loads(objects["smoke/sweep.json"])
    first, second = (json.loads(objects[f"smoke/trials/{key}/result.json"]) for key in record["trials"])
    assert first["trained"] == {"positive": 8, "negative": 8} and second["trained"] == {"positive": 0, "negative": 8}
    assert first["heads"]["positive"] == second["heads"]["positive"]


def test_all_that_listens_is_on_loopback(swept: Swept) -> None:
    """Ray's own processes, those of Tune and Train, torch's store and gloo, by the operating system's account."""
    assert {"gcs_server", "raylet"} <= {one.process for one in swept.listeners}
    assert any(one.process.startswith("ray::RayTrainWorker") for one in swept.listeners)
    wide = {one for one in swept.listeners if not ipaddress.ip_address(one.address.removeprefix("::ffff:")).is_loopback}
    assert not wide


def test_secrets_of_the_environment_are_nowhere(swept: Swept, objects: dict[str, bytes]) -> None:
    """On S3, in MLflow's database and artifacts, in Ray's logs, in the cache, on the screen."""
    places = dict(objects)
    for folder in (swept.folder, *swept.ray.glob("ray/session_*/logs")):
        places |= {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert any(name.endswith("mlflow.db") for name in places) and any("/logs/" in name for name in places)
    places |= {f"command {n}": (ended.stdout + ended.stderr).encode() for n, ended in enumerate(swept.commands)}
    for name, data in places.items():
        for secret in PLANTED.values():
            assert secret.encode() not in data, f"{secret} in {name}"
