"""Fixtures of more than one folder. Heavy packages are imported where a test asks for them, not here."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from likra_ray.heads.base import LoadedBase


@pytest.fixture(scope="session", autouse=True)
def own_cluster() -> None:
    """Ray on this machine for each test that needs it, also where a cluster runs here already."""
    os.environ["RAY_ADDRESS"] = "local"


@pytest.fixture(scope="session")
def tiny() -> LoadedBase:
    """The random base, shared by all tests: put no adapter on it, those that do load one of their own."""
    from likra_ray.heads import base

    return base.load(base.resolve(base.RANDOM_TINY))


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder for one test, so that what it converts is not found by others."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("LIKRA_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def smoke_sweep(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A folder in which the sweep of smoke.yaml ran, with real Ray, and how its command ended: read it, add to it, but
    leave what is there. out/: what it wrote; mlflow.db: its MLflow store."""
    folder = tmp_path_factory.mktemp("smoke")
    space = Path(__file__).parents[1] / "search_spaces/smoke.yaml"
    command = [sys.executable, "-m", "likra_ray.sweep", str(space), "--output", str(folder / "out")]
    command += ["--tracking-uri", f"sqlite:///{folder}/mlflow.db"]
    return folder, subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=380)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """An S3 protocol server on loopback with one empty bucket, for the whole session."""
    import s3_server

    with s3_server.serving() as endpoint:
        yield endpoint


@pytest.fixture
def s3(s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A root of one's own on that server, reached as a user would: by the environment."""
    import s3_server

    s3_server.use(s3_endpoint, tmp_path, monkeypatch)
    return f"s3://{s3_server.BUCKET}/{uuid.uuid4().hex}"
