"""The output folder's disk fills up in the middle of a sweep, is made larger, and the sweep is resumed."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from injure import manifests, run, sets, start, wait_for

from likra_ray.heads.store import HeadStore
from likra_ray.storage import Storage

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.timeout(1800)]

GIVEN = sets(
    "search={seed: {choices: [0, 1]}}", "sampler=grid", "budget={trials: 2, refinements: 0, minutes: 60}",
    "objective={accuracy: max}", "trial.volumes=[0, 64, 512]", "trial.batch_size=2", "questions.train.limit=560",
)  # fmt: skip


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder whose `out` is a disk of 4 MiB; a whole sweep needs about 2 of them."""
    out = tmp_path / "out"
    out.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(out)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no small disk can be mounted here: {made.stderr.strip()}")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "--lazy", str(out)], check=True)


def fill(file: Path) -> None:
    """Write until nothing fits any more."""
    with file.open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
        while ballast.write(b"0" * 4096):
            pass


def test_a_disk_that_fills_up_stops_the_sweep_and_costs_nothing(small: Path) -> None:
    with start("sweep", small, *GIVEN) as process:
        wait_for(lambda: manifests(small, "negative", 64), process, small)
        fill(small / "out/ballast")
        assert not manifests(small, "negative", 512), "filled too late"
        assert process.wait(timeout=600) == 1
    said = (small / "stderr").read_text()
    assert said.count("\n") == 1 and said.startswith(f"error: {small}/out/"), said
    assert "No space left on device" in said and "--resume" in said

    store, kept = HeadStore(Storage(str(small / "out"))), manifests(small)
    assert kept
    for manifest in kept:
        assert store.load(manifest.parents[2].name, int(manifest.parent.name)), manifest
    assert json.loads((small / "out/smoke/sweep.json").read_text())["spec"]["name"] == "smoke"
    assert not list((small / "out").rglob("*.tmp"))

    still = run("sweep", small, *GIVEN, "--resume")
    assert still.returncode == 2 and still.stderr.count("\n") == 1 and "No space left" in still.stderr

    subprocess.run(["mount", "-o", "remount,size=64m", str(small / "out")], check=True)
    assert os.statvfs(small / "out").f_bavail
    resumed = run("sweep", small, *GIVEN, "--resume")
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    record = json.loads((small / "out/smoke/sweep.json").read_text())
    assert record["status"] == "done" and len(record["trials"]) == 2
    now = manifests(small)
    assert {path: now[path] for path in kept} == kept, "a finished volume was written again"
