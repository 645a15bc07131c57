"""What the tests of MLflow share."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A real `mlflow server`, up, over the store of the test's folder."""
    process = Server(tmp_path)
    try:
        process.start()
        yield process
    finally:
        process.stop(signal.SIGKILL)
