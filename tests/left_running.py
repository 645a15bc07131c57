"""Nothing that a test started goes on after it, however the test ends."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterable, Iterator
from typing import Any

import psutil


@contextlib.contextmanager
def killed_after(*started: subprocess.Popen[Any]) -> Iterator[None]:
    """SIGKILL on any way out to those of these that still run, and to all below them."""
    try:
        yield
    finally:
        # Whoever was waited for has no pid any more: another process may have it.
        running = [process for process in started if process.poll() is None]
        below = [child for process in running for child in psutil.Process(process.pid).children(recursive=True)]
        for process in running:
            process.kill()
        kill(below)
        for process in running:
            process.wait()


def kill(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL; returns when all are gone, or after 30 s."""
    found = list(processes)
    for one in found:
        with contextlib.suppress(psutil.Error):
            one.kill()
    psutil.wait_procs(found, timeout=30)
