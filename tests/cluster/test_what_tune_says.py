"""What Tune does not say, or says otherwise, of a trial: in a process of its own, with real Ray and Tune."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from own_ray import SMOKE, cluster

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

NOT_FREE = """
import os, sys, time
from types import SimpleNamespace

import ray
from ray import tune
from likra_ray import tuning

ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
points = [{"number": number} for number in range(3)]
ended = []
driver = SimpleNamespace(
    book=SimpleNamespace(remaining=0), searched=False, expect=lambda count, given=0: None, started=lambda point: None,
    progressed=lambda point, result: None, ended=lambda point, failed: ended.append((point["number"], failed)),
)

def attempt(config):
    os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = "1"
    hangs = tuning.point(config)["number"] == 0
    try:
        tune.report({"accuracy": 0.5, "done": hangs})
    finally:  # Tune ends a function where it reports
        time.sleep(3600 * hangs)

asked = tuning.Points(tuning.Search(driver, iter([points])), at_once=1)
tune.Tuner(
    tune.with_resources(attempt, {"CPU": 1}),
    tune_config=tune.TuneConfig(search_alg=asked, num_samples=-1, reuse_actors=True, time_budget_s=200),
    run_config=tune.RunConfig(storage_path=sys.argv[2], callbacks=[tuning.Told(driver, asked)], verbose=0),
).fit()
assert ended == [(0, False), (1, True), (2, False)], ended
"""


def run(script: str, *arguments: str) -> None:
    command = [sys.executable, "-c", script, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert ended.returncode == 0, ended.stderr[-3000:]


def test_a_trial_whose_actor_does_not_come_free_has_failed_and_the_next_runs(tmp_path: Path) -> None:
    """The one before it hangs in the actor that it was to take over: Tune drops it without a word to anyone."""
    with cluster({"num_cpus": 1}) as found:
        run(NOT_FREE, found.address, str(tmp_path / "tune"))


REFUSED = """
import os, signal, sys
from likra_ray import settings
from likra_ray.ledger import Ledger
from likra_ray.sweep import run_sweep

address, space, output, *given = sys.argv[1:]
os.environ["RAY_ADDRESS"] = address
book, ended = Ledger.end_trial, []

def refused_once(self, result):
    ended.append(result.key)
    if len(ended) == 1:
        raise OSError(5, "Input/output error", "sweep.json")
    book(self, result)

Ledger.end_trial = refused_once
sweep = settings.load(space, given).sweep
at = {"output": output, "tracking_uri": f"sqlite:///{output}.db"}
before = signal.getsignal(signal.SIGINT)
try:
    run_sweep(sweep, **at)
except OSError as error:
    assert error.errno == 5 and error.filename == "sweep.json", error
else:
    raise AssertionError("nothing was raised")
assert len(ended) == 1 and signal.getsignal(signal.SIGINT) is before
run_sweep(sweep, **at, resume=True)
"""


def test_what_the_driver_raises_ends_the_sweep_as_it_is_and_books_no_trial_twice(tmp_path: Path) -> None:
    output = tmp_path / "out"
    given = ["search={seed: {choices: [0, 1]}}", "sampler=grid", "budget={trials: 2, refinements: 0}"]
    with cluster({"num_cpus": 1}) as found:
        run(REFUSED, found.address, SMOKE, str(output), *given)
    record: dict[str, Any] = json.loads((output / "smoke/sweep.json").read_text())
    assert record["status"] == "done" and len(record["trials"]) == len(set(record["trials"])) == 2
