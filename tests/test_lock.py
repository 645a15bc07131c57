"""A sweep has one driver; its lock dies with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from likra_ray import lock
from likra_ray.errors import InputError
from likra_ray.storage import Storage

HOLD = """
import sys
from likra_ray import lock
from likra_ray.storage import Storage
with lock.held(Storage(sys.argv[1]), "mine"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("remote", [False, True])
def test_a_second_driver_is_told_who_the_first_is_until_it_dies(tmp_path: Path, own_cache: Path, remote: bool) -> None:
    root = "memory://bucket/out" if remote else str(tmp_path / "out")
    storage = Storage(root)
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    said = f"one driver at a time; it runs already: host .*, pid {other.pid}, since 2"
    with pytest.raises(InputError, match=said), lock.held(storage, "mine"):
        pass
    with lock.held(storage, "another"):
        pass
    other.kill()
    other.wait()
    with lock.held(storage, "mine"):
        assert f"pid {os.getpid()}" in lock.place(storage, "mine").read_text()
    assert (own_cache in lock.place(storage, "mine").parents) is remote
    with lock.held(storage, "mine"):
        pass
