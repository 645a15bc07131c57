"""One driver per sweep: a lock that dies with its process.

It is a lock of the operating system (flock) on a file in the sweep's folder. Where the output is remote there is no
such lock, and the file lies in this machine's cache folder: it then guards against a second driver on this machine
only. The file stays; what counts is whether a living process holds it.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from likra_ray.errors import InputError
from likra_ray.storage import Storage, here


def place(storage: Storage, sweep: str) -> Path:
    """Where a sweep's lock lies."""
    if storage.is_local:
        return Path(storage.path(f"{sweep}/driver.lock"))
    return here(storage, sweep, "locks").with_suffix(".lock")


@contextlib.contextmanager
def held(storage: Storage, sweep: str) -> Iterator[None]:
    """Be the sweep's only driver for the length of the block. Raises InputError, naming who is, at once."""
    path = place(storage, sweep)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise InputError(
                where=str(path),
                field="sweep",
                value=sweep,
                allowed=f"one driver at a time; it runs already: {file.read().strip()}",
            ) from None
        file.truncate(0)
        since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        file.write(f"host {socket.gethostname()}, pid {os.getpid()}, since {since}\n")
        file.flush()
        yield
