"""A trial's worker is stopped, then another is killed, in the middle of heads; a stored head was damaged before."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

import pytest
from injure import contents, manifests, run, sets, start, wait_for, workers

from likra_ray.records import TrialResult

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.timeout(1800)]

FIRST, LAST = 64, 512
LONG = sets("search={}", f"trial.volumes=[0, {FIRST}, {LAST}]", "questions.train.limit=560", "trial.batch_size=2")
STALL = 1.5
"""Minutes; more than a worker takes to import what it needs on a machine that is busy with other tests."""


def result(folder: Path) -> TrialResult:
    [path] = (folder / "out/smoke/trials").glob("*/result.json")
    return TrialResult.from_json(path.read_text())


def test_damaged_stopped_and_killed_a_trial_ends_as_if_undisturbed(tmp_path: Path) -> None:
    calm, hurt = tmp_path / "calm", tmp_path / "hurt"
    ended = run("trial", calm, *LONG)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert result(calm).retried == [] == result(calm).repaired

    # The first volume of the positive head lies there, one bit of it flipped.
    [(manifest, _)] = manifests(calm, "positive", FIRST).items()
    head = manifest.parents[2].relative_to(calm)
    shutil.copytree(calm / head / "volumes", hurt / head / "volumes", ignore=shutil.ignore_patterns(str(LAST)))
    [state] = (calm / head).glob(f"optimizer-{FIRST}-*")
    shutil.copy(state, hurt / head)
    torn = hurt / head / f"volumes/{FIRST}/adapter_model.safetensors"
    data = bytearray(torn.read_bytes())
    data[-1] ^= 1
    torn.write_bytes(data)
    planted = manifests(hurt)

    with start("trial", hurt, *LONG, *sets(f"trial.resources.stall_minutes={STALL}")) as process:
        made = hurt / head / f"volumes/{FIRST}/manifest.json"
        wait_for(lambda: made.exists() and made.stat().st_mtime_ns != planted[made], process, hurt)
        [stopped] = workers(process)
        stopped.suspend()
        assert not manifests(hurt, "positive", LAST), "stopped too late"
        began = time.monotonic()
        wait_for(lambda: not stopped.is_running(), process, hurt)
        print(f"a stopped worker was gone after {time.monotonic() - began:.1f} s, with a limit of {STALL * 60:.0f} s")

        wait_for(lambda: manifests(hurt, "negative", FIRST), process, hurt)
        [killed] = workers(process)
        killed.send_signal(signal.SIGKILL)
        assert not manifests(hurt, "negative", LAST), "killed too late"
        began = time.monotonic()
        wait_for(lambda: any(one.pid != killed.pid for one in workers(process)), process, hurt)
        print(f"another worker stood {time.monotonic() - began:.1f} s after the kill")
        assert process.wait(timeout=600) == 0, (hurt / "stderr").read_text()[-3000:]

    found = result(hurt)
    assert ["hung" in said for said in found.retried] == [True, False] and "died" in found.retried[1]
    assert found.repaired == [str(torn.relative_to(hurt / "out"))]
    assert found.trained == {"positive": 0, "negative": LAST - FIRST}, "it did not go on from the last volume"
    # Adapters, score tables, and Adam's states by the checksums in their names.
    kinds = (".safetensors", ".arrow", ".sha256", "manifest.json")
    assert contents(hurt, *kinds) == contents(calm, *kinds)
    assert found.curves == result(calm).curves
