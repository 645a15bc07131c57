"""The benchmark of the driver still runs, and what it copies in is there; its figures are in docs/scale.md."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from benchmarks import cost_model, driver_scale

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def test_a_few_made_up_trials_and_many_copied(tmp_path: Path) -> None:
    found = driver_scale.measure(4, tmp_path, with_tune=False, whole=False, filled=20)
    page = driver_scale.page([found])
    for part in driver_scale.PARTS:
        assert any(line.startswith(f"| 4 | {part} |") for line in page)
    assert found.meter.cpu["MLflow"] > 0 and found.meter.cpu["files for MLflow"] > 0
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        told = "SELECT COUNT(DISTINCT value) FROM tags WHERE key = 'likra_ray.trial'"
        assert database.execute(told).fetchone() == (24,)
    with sqlite3.connect(tmp_path / "scale/optuna.db") as database:
        done = "SELECT COUNT(*) FROM trials WHERE state = 'COMPLETE'"
        assert database.execute(done).fetchone()[0] >= 44
    assert len(list((tmp_path / "scale/trials").glob("*/result.json"))) == 4


def test_the_cost_model_prints_a_row_for_each_gpu_and_each_measurement() -> None:
    for parameters in (7e9, 70e9):
        assert len(cost_model.estimate(parameters, reached=0.3, dollars=2.0)) == len(cost_model.GPUS)
    assert [cost_model.gpus_for(7e9, gpu) for gpu in cost_model.GPUS] == [1, 1, 1, 1, 1]
    assert [cost_model.gpus_for(70e9, gpu) for gpu in cost_model.GPUS] == [8, 4, 4, 4, 2]
    assert all(0.5 < float(cost_model.check(seen).split(" | ")[-1].strip(" |")) < 1.2 for seen in cost_model.SEEN)
