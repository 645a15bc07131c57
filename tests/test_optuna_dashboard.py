"""Optuna's own dashboard opens a sweep's study: a real dashboard on loopback, asked over its API.

The study is made by the sweep's own code from invented results; no trial is trained.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from left_running import killed_after

from likra_ray import settings, study
from likra_ray.records import CurvePoint, TrialResult

SMOKE = Path(__file__).parents[1] / "search_spaces/smoke.yaml"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("optuna_dashboard") is None,
        reason="no optuna-dashboard here: pip install .[dashboard]",
    ),
]

START_SECONDS = 120
"""Longest wait for a first answer; on 2 busy cores it comes after about 5 s."""


def result(point: dict[str, Any], accuracies: dict[int, float]) -> TrialResult:
    curve = [CurvePoint(volume=v, accuracy=a, interval=(a, a), questions=9, seeds=1) for v, a in accuracies.items()]
    return TrialResult(
        key="k", name="k", status="done", reason=None, spec={}, sampled=point, heads={}, evaluation="e",
        curves={"likra": curve}, metrics={"likra/accuracy": accuracies}, phase={}, trained={}, seconds={},
    )  # fmt: skip


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A study as a sweep leaves it: two trials that ended, what they passed on the way, and one that failed."""
    found = f"sqlite:///{tmp_path}/optuna.db"
    sweep = settings.load(SMOKE, ["sampler=random"]).sweep
    opened, _ = study.open_study(sweep, found)
    for accuracy in (0.5, 0.75):
        asked = study.ask_new(opened, sweep)
        assert asked is not None
        point = study.point(asked)
        volumes = [volume for volume in sweep.trial.volumes if 0 < volume <= point["negatives"]]
        ended = result(point, {0: 0.25, **{volume: accuracy * volume / volumes[-1] for volume in volumes}})
        opened.tell(asked, [accuracy, float(point["negatives"])])
        study.observe(opened, sweep, ended)
    failed = study.ask_new(opened, sweep)
    assert failed is not None
    opened.tell(failed, state=study.TrialState.FAIL)
    return found


def answer(address: str, path: str) -> Any:
    with urllib.request.urlopen(f"http://{address}{path}", timeout=30) as said:
        return json.loads(said.read())


def test_the_dashboard_shows_the_study_as_it_is(url: str, tmp_path: Path) -> None:
    """Every trial, its state, its parameters and its values, equal to Optuna's own."""
    import optuna

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [str(Path(sys.executable).with_name("optuna-dashboard")), url, "--host", "127.0.0.1"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([*command, "--port", address.rpartition(":")[2]], stdout=log, stderr=log)
    with killed_after(process):
        until = time.monotonic() + START_SECONDS
        while True:
            assert process.poll() is None and time.monotonic() < until, (tmp_path / "log").read_text()
            with contextlib.suppress(urllib.error.URLError, OSError):
                [listed] = answer(address, "/api/studies")["study_summaries"]
                break
            time.sleep(0.2)
        shown = answer(address, f"/api/studies/{listed['study_id']}")
    kept = optuna.load_study(study_name="smoke", storage=url)
    assert listed["study_name"] == "smoke"
    assert shown["directions"] == [one.name.lower() for one in kept.directions]
    assert shown["objective_names"] == ["accuracy", "negatives"]
    assert len(shown["trials"]) == len(kept.trials) > 3
    states = {trial.state.name.capitalize() for trial in kept.trials}
    assert states == {"Complete", "Fail"}
    for row, trial in zip(shown["trials"], kept.trials, strict=True):
        assert (row["number"], row["state"]) == (trial.number, trial.state.name.capitalize())
        assert {one["name"] for one in row["params"]} == set(trial.params)
        if trial.values is not None:
            assert all(math.isclose(a, b) for a, b in zip(map(float, row["values"]), trial.values, strict=True))
