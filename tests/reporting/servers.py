"""A real `mlflow server` on loopback that tests start, stop, kill and freeze."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

START_SECONDS = 240
"""Longest wait for a first answer; on 2 busy cores it comes after about 20 s."""


class Server:
    """`mlflow server` over the SQLite store of a folder, run in that folder, always at the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Come up; returns when it answers. Who calls this calls `stop` in the end, also where it fails."""
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", "sqlite:///mlflow.db"]
        command += ["--workers", "1", "--host", "127.0.0.1", "--port", self.address.rpartition(":")[2]]
        lean = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "server.log").open("a") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=lean, stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + START_SECONDS
        while True:
            said = (self.folder / "server.log").read_text()
            assert self._process.poll() is None, said
            assert time.monotonic() < until, f"no answer in {START_SECONDS} s: {said}"
            with contextlib.suppress(urllib.error.URLError, OSError):
                urllib.request.urlopen(f"http://{self.address}/health", timeout=1).close()
                return
            time.sleep(0.2)

    def send(self, number: signal.Signals) -> None:
        """To all its processes: SIGSTOP leaves its port taking connections that nobody answers."""
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it; nothing happens where it has not started."""
        if self._process is None:
            return
        for one in (number, signal.SIGCONT):
            with contextlib.suppress(ProcessLookupError):
                self.send(one)
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self._process.wait()
        self._process = None
