"""A trial with baselines as a user runs it: real Ray and DeepSpeed, the random 2-layer base."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from likra_ray import results
from likra_ray.heads.orders import BASELINES, ROLES
from likra_ray.heads.store import HeadStore
from likra_ray.records import TrialResult
from likra_ray.storage import Storage

SMOKE = str(Path(__file__).parents[1] / "search_spaces/smoke.yaml")

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(400)]


def run(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    given = [part for value in overrides for part in ("--set", value)]
    command = [sys.executable, "-m", "likra_ray.trial", SMOKE, "--output", str(folder / "out"), *given]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=380, check=False)


def newest(folder: Path) -> TrialResult:
    files = sorted((folder / "out/smoke/trials").glob("*/result.json"), key=lambda file: file.stat().st_mtime)
    return TrialResult.from_json(files[-1].read_text())


def test_every_baseline_is_a_head_a_curve_and_metrics_of_the_trial(tmp_path: Path) -> None:
    baselines = f"trial.baselines=[{', '.join(BASELINES)}]"
    ended = run(tmp_path, baselines)
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = newest(tmp_path)
    assert found.status == "done"
    for role in (*ROLES, *BASELINES):
        assert found.trained[role] == 32
        assert found.heads[role].startswith(f"{role}-")
        assert f"{role} head: 32 of 32 examples" in ended.stdout
    for name in BASELINES:
        assert [point.volume for point in found.curves[name]] == [0, 8, 16, 32]
        assert found.curves[name][0].accuracy == found.curves["base"][0].accuracy
        assert found.metrics[f"{name}/accuracy"].keys() == {0, 8, 16, 32}

    # A trial that differs in beta makes the heads that have one again, and asks the base nothing new.
    storage = Storage(str(tmp_path / "out"))
    base = f"heads/{found.heads['base']}/scores"
    tables = storage.names(base)
    assert sum(name.startswith("pairs-") for name in tables) == 2, "32 pairs are one block, and kto's mismatched"
    again = run(tmp_path, baselines, "trial.beta=0.5")
    assert again.returncode == 0, again.stderr[-3000:]
    other = newest(tmp_path)
    assert {role for role, examples in other.trained.items() if examples} == {"npo", "dpo", "kto", "orpo"}
    assert storage.names(base) == tables
    assert set(results.tables(storage, other).others) == set(BASELINES)
    assert HeadStore(storage).load_optimizer(other.heads["dpo"], 8) is not None
