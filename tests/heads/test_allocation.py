"""Memory a process frees is its own again without a page fault, where the C library can do that."""

from __future__ import annotations

import subprocess
import sys

import pytest

from likra_ray.heads import allocation

FAULTS = """
import resource, sys, torch
from likra_ray.heads import allocation
if sys.argv[1] == "keep" and not allocation.keep_freed():
    sys.exit(3)
def once():
    torch.ones(16 * 1024 * 1024)  # 64 MiB, above what glibc keeps by itself
for _ in range(16):  # its allocator takes some turns until a block comes back to the same place
    once()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    once()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    ended = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True)
    if ended.returncode == 3:
        pytest.skip("this C library has no mallopt, or refuses it")
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout)


def test_what_is_freed_is_not_mapped_anew() -> None:
    assert faults("keep") < 100
    if sys.platform == "linux":
        assert faults("let go") > 100, "else the setting changes nothing and can go"


def test_a_c_library_without_the_setting_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocation.ctypes, "CDLL", lambda _: object())
    assert not allocation.keep_freed()
