"""Sweeps and trials as a user runs them: real Ray, Tune, Optuna, DeepSpeed and MLflow, the random 2-layer base."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from typer.testing import CliRunner

from likra_ray import plan as plans
from likra_ray import settings, sweep, trial
from likra_ray.heads.store import HeadStore
from likra_ray.ledger import Ledger, open_ledger
from likra_ray.records import KINDS, TrialResult
from likra_ray.storage import Storage
from likra_ray.study import OBSERVED

ROOT = Path(__file__).parents[1]
SMOKE = str(ROOT / "search_spaces/smoke.yaml")

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(400)]


def command(module: str, folder: Path, *arguments: str) -> list[str]:
    """The command line a user types, with output and MLflow store in `folder`."""
    tracking = ["--tracking-uri", f"sqlite:///{folder}/mlflow.db"] if module == "sweep" else []
    return [sys.executable, "-m", f"likra_ray.{module}", SMOKE, "--output", str(folder / "out"), *tracking, *arguments]


def run(module: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(module, folder, *arguments), cwd=folder, capture_output=True, text=True, timeout=380, check=False
    )


def sets(*values: str) -> list[str]:
    return [part for value in values for part in ("--set", value)]


def at(result: TrialResult) -> list[str]:
    """The settings of a trial, as a user fixes them."""
    return sets(*(f"trial.{field}={value}" for field, value in result.sampled.items()))


def ledger(folder: Path, *overrides: str) -> Ledger:
    found = settings.load(SMOKE, overrides).sweep
    return open_ledger(Storage(str(folder / "out")), found, plans.gather(found), resume=True)


@pytest.fixture
def finished(
    smoke_sweep: tuple[Path, subprocess.CompletedProcess[str]],
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    return smoke_sweep


class TestFinishedSweep:
    """One smoke sweep, looked at from every side."""

    Finished = tuple[Path, subprocess.CompletedProcess[str]]

    def test_ends_well_and_says_what_it_found(self, finished: Finished) -> None:
        folder, ended = finished
        assert ended.returncode == 0, ended.stderr[-3000:]
        for said in (
            "[driver] 3 of 3",
            ": accuracy sft 8:",
            ": accuracy likra 8:",
            "likra",
            "base_likra",
            "none found",
            "mlflow ui --backend-store-uri",
            "out/smoke",
        ):
            assert said in ended.stdout, said

    def test_records_every_trial(self, finished: Finished) -> None:
        folder, _ = finished
        record = json.loads((folder / "out/smoke/sweep.json").read_text())
        assert record["status"] == "done" and len(record["trials"]) == 3
        results = ledger(folder).results
        assert [result.status for result in results] == ["done"] * 3
        for result in results:
            volumes = [point.volume for point in result.curves["likra"]]
            assert volumes == [v for v in (0, 8, 16, 32) if v <= result.sampled["negatives"]]
            assert result.curves["likra"][0].accuracy == pytest.approx(0.2)  # five options, all tied: chance
            assert TrialResult.from_json(result.to_json()).curves == result.curves

    def test_trains_the_shared_positive_head_once(self, finished: Finished) -> None:
        folder, _ = finished
        results = ledger(folder).results
        assert len({result.heads["positive"] for result in results}) == 1
        assert sum(result.trained["positive"] for result in results) == 32

    def test_optuna_asks_nothing_twice_and_hears_smaller_volumes(self, finished: Finished) -> None:
        folder, _ = finished
        study = optuna.load_study(study_name="smoke", storage=f"sqlite:///{folder}/out/smoke/optuna.db")
        complete = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
        points = [tuple(sorted(t.params.items())) for t in complete]
        assert len(points) == len(set(points))
        observed = [t for t in complete if OBSERVED in t.user_attrs]
        assert len(complete) - len(observed) == 3
        passed = {
            (result.sampled["near_miss_share"], point.volume)
            for result in ledger(folder).results
            for point in result.curves["likra"][1:]
        }
        assert {(t.params["near_miss_share"], round(2 ** t.params["log2_negatives"])) for t in complete} == passed

    def test_mlflow_mirrors_it(self, finished: Finished) -> None:
        from mlflow.tracking import MlflowClient

        folder, _ = finished
        client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
        experiment = client.get_experiment_by_name("smoke")
        runs = client.search_runs([experiment.experiment_id])
        parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
        children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
        assert len(parents) == 1 and len(children) == 3
        assert {run.info.status for run in runs} == {"FINISHED"}
        by_key = {result.key: result for result in ledger(folder).results}
        for run_ in children:
            result = by_key[run_.data.tags["likra_ray.trial"]]
            history = client.get_metric_history(run_.info.run_id, "likra/accuracy")
            assert {m.step: m.value for m in history} == result.metrics["likra/accuracy"]
            assert client.list_artifacts(run_.info.run_id, "scores")
        assert {a.path for a in client.list_artifacts(parents[0].info.run_id)} >= {"critical_phase.json", "sweep.json"}

    def test_the_same_command_trains_nothing(self, finished: Finished) -> None:
        folder, _ = finished
        before = {path: path.stat().st_mtime_ns for path in (folder / "out/heads").rglob("*") if path.is_file()}
        began = time.monotonic()
        again = run("sweep", folder)
        assert again.returncode == 0, again.stderr[-3000:]
        assert "nothing is trained" in again.stdout and "likra" in again.stdout
        assert time.monotonic() - began < 60
        assert before == {path: path.stat().st_mtime_ns for path in (folder / "out/heads").rglob("*") if path.is_file()}

    def test_json_alone_on_standard_output(self, finished: Finished) -> None:
        folder, _ = finished
        again = run("sweep", folder, "--json")
        printed = json.loads(again.stdout)
        book = ledger(folder)
        assert printed["status"] == "done" and printed["sweep"] == "smoke"
        assert [one["key"] for one in printed["trials"]] == [result.key for result in book.results]
        assert [one["name"] for one in printed["configurations"]] == [one.name for one in book.findings()]
        assert Path(printed["locations"]["report"]).is_file()
        assert "likra_ray" not in again.stdout.splitlines()[0] and "Headline" in again.stderr
        one = json.loads(run("trial", folder, *at(book.results[0]), "--json").stdout)
        assert one["key"] == book.results[0].key and one["curves"]["likra"]
        foreseen = json.loads(run("sweep", folder, "--dry-run", "--json").stdout)
        assert foreseen["trials"] == 3 and foreseen["fields"]["name"] == {"value": "smoke", "origin": "smoke.yaml"}

    def test_another_sweep_of_that_name_is_refused(self, finished: Finished) -> None:
        folder, _ = finished
        other = run("sweep", folder, "--set", "trial.learning_rate=0.002")
        assert other.returncode == 2
        assert "trial.learning_rate" in other.stderr and "--output" in other.stderr and other.stderr.count("\n") == 1

    def test_a_trial_finds_its_heads_in_the_store(self, finished: Finished) -> None:
        folder, _ = finished
        ended = run("trial", folder, *at(ledger(folder).results[0]), "--set", "name=alone")
        assert ended.returncode == 0, ended.stderr[-3000:]
        [path] = (folder / "out/alone/trials").glob("*/result.json")
        assert TrialResult.from_json(path.read_text()).trained == {"positive": 0, "negative": 0}

    def test_negatives_by_the_bases_own_score(self, finished: Finished) -> None:
        """The base scores the training questions first; the positive head is the sweep's, the negative one is new."""
        folder, _ = finished
        [counted] = (folder / "out/heads").glob("positive-*/answer_tokens.json")
        counted.unlink()  # as in a store that an older version left
        hard = ["trial.negative_source.near_miss_from=most_plausible", "trial.negatives=8", "name=hard"]
        ended = run("trial", folder, *[part for value in hard for part in ("--set", value)])
        assert ended.returncode == 0, ended.stderr[-3000:]
        [path] = (folder / "out/hard/trials").glob("*/result.json")
        result = TrialResult.from_json(path.read_text())
        assert result.trained == {"positive": 0, "negative": 8}
        assert 0 == result.answer_tokens["positive"][0] < result.answer_tokens["positive"][32]
        assert list((folder / "out/heads").glob("base-*/scores/training-*/0.arrow"))


def test_what_is_gone_of_a_finished_sweep_is_made_again(finished: tuple[Path, Any], tmp_path: Path) -> None:
    """A table and the record of another trial: the same trials stand there again, and no adapter was written."""
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    book = ledger(tmp_path)
    first, *_, last = book.results
    tables = tmp_path / "out/heads" / first.heads["negative"] / "scores" / first.evaluation
    gone = [tables / "8.arrow", tmp_path / f"out/smoke/trials/{last.key}/result.json"]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/heads").rglob("*.safetensors")}
    for path in gone:
        path.unlink()
    report = subprocess.run(
        [sys.executable, "-m", "likra_ray.report", "smoke", "--output", str(tmp_path / "out")],
        capture_output=True, text=True, timeout=200, cwd=tmp_path,
    )  # fmt: skip
    assert report.returncode == 2 and "error: " in report.stderr.splitlines()[-1] and "--resume" in report.stderr
    resumed = run("sweep", tmp_path, "--resume")
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert all(path.is_file() for path in gone)
    again = ledger(tmp_path)
    assert sorted(again.trials) == sorted(book.trials) and len(again.done) == 3
    assert {one.key: one.curves for one in again.done} == {one.key: one.curves for one in ledger(finished[0]).results}
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_ctrl_c_in_a_trial_says_how_to_go_on(tmp_path: Path) -> None:
    long = sets("trial.volumes=[0, 8, 2048]", "questions.train.limit=2100", "search={}")
    process = subprocess.Popen(
        command("trial", tmp_path, *long), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    began = time.monotonic()
    while not list(tmp_path.glob("out/heads/positive-*/volumes/8/manifest.json")):
        assert process.poll() is None and time.monotonic() - began < 200, process.communicate()[1][-3000:]
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert (
        process.returncode == 130
        and said == "stopped; what had finished is kept: the same command goes on from there\n"
    )


def test_ctrl_c_then_resume_finishes_the_rest(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("sweep", tmp_path), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    record = tmp_path / "out/smoke/sweep.json"
    began = time.monotonic()
    while not (record.exists() and json.loads(record.read_text())["trials"]):
        assert process.poll() is None and time.monotonic() - began < 200, process.communicate()[1][-3000:]
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130 and "--resume" in said
    first = json.loads(record.read_text())
    assert first["status"] == "interrupted" and 1 <= len(first["trials"]) < 3
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/heads").rglob("manifest.json")}

    refused = run("sweep", tmp_path)
    assert refused.returncode == 2 and "--resume" in refused.stderr

    resumed = run("sweep", tmp_path, "--resume")
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    last = json.loads(record.read_text())
    assert last["status"] == "done" and len(last["trials"]) == 3
    assert last["trials"][: len(first["trials"])] == first["trials"]
    assert last["mlflow_run"] == first["mlflow_run"]
    assert all(path.stat().st_mtime_ns == at for path, at in kept.items()), "a finished volume was written again"


def test_a_failed_trial_is_recorded_the_sweep_goes_on_and_resume_tries_again(tmp_path: Path) -> None:
    """What fails is a write: a folder lies where an adapter belongs, until somebody clears it away."""
    varied = ["search={near_miss_share: {choices: [0.0, 1.0]}}", "budget.trials=2", "trial.resources.retries=0"]
    found = settings.load(SMOKE, varied).sweep
    material = plans.gather(found)
    head = plans.trial_plan(material, found.trial_spec({"near_miss_share": 1.0})).heads["negative"].key
    in_the_way = tmp_path / f"out/heads/{head}/volumes/16/adapter_model.safetensors"
    in_the_way.mkdir(parents=True)

    ended = run("sweep", tmp_path, *sets(*varied))
    assert ended.returncode == 0, ended.stderr[-3000:]
    by_status = {result.status: result for result in ledger(tmp_path, *varied).results}
    assert set(by_status) == {"done", "failed"}
    assert by_status["failed"].sampled == {"near_miss_share": 1.0}
    assert "IsADirectoryError" in str(by_status["failed"].reason)
    assert "FAILED" in ended.stdout and "IsADirectoryError" in ended.stdout

    in_the_way.rmdir()
    resumed = run("sweep", tmp_path, *sets(*varied), "--resume")
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert [result.status for result in ledger(tmp_path, *varied).results] == ["done", "done"]


def plant_a_jump(folder: Path, found: Ledger) -> None:
    """Write the negative head's score tables anew, so that Likra's accuracy jumps from .2 to .55 around 28."""
    [result] = found.results
    store = HeadStore(found.storage)
    base = store.table(result.heads["base"], result.evaluation, 0)
    assert base is not None
    questions = len(base.question_ids)
    for volume, accuracy in {8: 0.2, 16: 0.22, 32: 0.45, 64: 0.55, 128: 0.55}.items():
        positive = store.table(result.heads["positive"], result.evaluation, volume)
        assert positive is not None
        right = (np.arange(questions) * 37 % questions) < accuracy * questions
        chosen = (positive.kind == KINDS.index("correct")) == right[positive.question]
        planted = replace(positive, logprob=positive.logprob - chosen)
        store.save_table(result.heads["negative"], result.evaluation, volume, planted)


@pytest.mark.long
def test_a_located_phase_is_measured_at_finer_volumes(tmp_path: Path) -> None:
    """The phase is planted in the score tables, all else is real: the refinement trains and scores inside it."""
    fixed = [
        "trial.volumes=[0, 8, 16, 32, 64, 128]", "search={seed: {choices: [0]}}", "questions.evaluate.limit=100",
    ]  # fmt: skip
    first = run("sweep", tmp_path, *sets(*fixed, "budget={trials: 1, refinements: 0}"))
    assert first.returncode == 0, first.stderr[-3000:]
    plant_a_jump(tmp_path, ledger(tmp_path, *fixed, "budget={trials: 1, refinements: 0}"))
    wider = [*fixed, "budget={trials: 1, refinements: 1}"]
    again = run("sweep", tmp_path, "--resume", *sets(*wider))
    assert again.returncode == 0, again.stderr[-3000:]

    record = json.loads((tmp_path / "out/smoke/sweep.json").read_text())
    [round_] = record["refinements"]
    assert round_["arm"] == "likra" and round_["failed"] == 0 and len(record["trials"]) == 1
    assert set(round_["added_volumes"]) <= {24, 48, 88} and round_["added_volumes"]
    assert record["refinement_ended"].startswith("1 rounds") or "no critical phase" in record["refinement_ended"]
    coarse, fine = ledger(tmp_path, *wider).results
    assert {point.volume for point in fine.curves["likra"]} == {0, 8, 16, 32, 64, 128, *round_["added_volumes"]}
    assert coarse.heads == fine.heads
    assert "refined: likra at" in again.stdout

    alone = tmp_path / "alone"
    alone.mkdir()
    volume = round_["added_volumes"][-1]
    ended = run("trial", alone, *sets("search={}", f"trial.volumes=[0, {volume}]"))
    assert ended.returncode == 0, ended.stderr[-3000:]
    for key in (fine.heads["positive"], fine.heads["negative"]):
        stores = [HeadStore(Storage(str(folder / "out"))) for folder in (tmp_path, alone)]
        inside, by_itself = (store.load(key, volume) for store in stores)
        assert all(torch.equal(inside[name], by_itself[name]) for name in by_itself)


STOPPED = """
import sys
from rich.console import Console
from likra_ray import refine, settings
from likra_ray.sweep import run_sweep

def next_round(best, results):
    longest = max(results.values(), key=lambda one: len(one.spec["volumes"]))
    point = {**longest.sampled, "volumes": sorted({*longest.spec["volumes"], 1200})}
    return refine.Round(best.name, "likra", (1200,), [point], None)

refine.next_round = next_round
spec, resume = settings.load(sys.argv[1], sys.argv[3:]).sweep, sys.argv[2] == "resume"
try:
    run_sweep(spec, output="out", tracking_uri="sqlite:///mlflow.db", resume=resume, screen=Console(width=200))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.long
def test_ctrl_c_in_a_refinement_of_a_space_without_more_points_keeps_its_round(tmp_path: Path) -> None:
    """Two points, four trials in the budget; no phase lies here, so the round is made up. --resume completes it."""
    given = [
        "questions.train.limit=1700", "trial.batch_size=2", "trial.volumes=[0, 8, 1600]", "trial.positives=1600",
        "trial.negatives=8", "search={seed: {choices: [0, 1]}}", "budget={trials: 4, refinements: 1}",
        "objective={accuracy: max}", "sampler=grid",
    ]  # fmt: skip

    def started(how: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", STOPPED, SMOKE, how, *given], cwd=tmp_path, text=True, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip

    def rounds() -> tuple[list[bool], str, str | None]:
        record = json.loads((tmp_path / "out/smoke/sweep.json").read_text())
        return [one["cut_short"] for one in record["refinements"]], record["status"], record["refinement_ended"]

    first = started("new")
    assert first.stdout is not None
    assert any("at 4 volumes" in line for line in first.stdout), "the refinement never began"
    time.sleep(3)
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=120)
    assert first.returncode == 130 and rounds() == ([True], "interrupted", None)
    again = started("resume")
    said, _ = again.communicate(timeout=280)
    assert again.returncode == 0, said[-3000:]
    assert rounds() == ([True, False], "done", "1 rounds, as budget.refinements allows")


@pytest.mark.long
def test_controls_run_in_a_sweep_over_fields_within_fields(tmp_path: Path) -> None:
    """Shuffled labels, options in view and the prior at once; both trials share the positive head."""
    given = [
        "questions.options_visible=true", "trial.prior=true", "trial.volumes=[0, 8]", "trial.near_miss_share=0",
        "search={negative_source.far_from: {choices: [own, other_question]}, labels: {choices: [shuffled]}}",
        "sampler=grid", "budget={trials: 2, refinements: 0}", "objective={accuracy: max}",
    ]  # fmt: skip
    ended = run("sweep", tmp_path, *sets(*given))
    assert ended.returncode == 0, ended.stderr[-3000:]
    book = ledger(tmp_path, *given)
    assert {one.name for one in book.results} == {
        "far_from=own labels=shuffled",
        "far_from=other_question labels=shuffled",
    }
    assert len({one.heads["positive"] for one in book.results}) == 1
    assert len({one.heads["negative"] for one in book.results}) == 2
    for one in book.results:
        assert one.status == "done" and one.sampled.keys() == book.sweep.search.keys()
        assert set(one.answer_tokens) == {"positive", "negative"}
        assert all(tokens[0] == 0 < tokens[8] for tokens in one.answer_tokens.values())
        assert [point.volume for point in one.curves["pmi_sft"]] == [0, 8]
        assert one.curves["pmi_sft"][0].accuracy == one.curves["pmi_base"][0].accuracy
    heads = tmp_path / "out/heads"
    assert len(list(heads.glob(f"base-*/scores/{book.results[0].prior_evaluation}/0.arrow"))) == 1
    assert len(list(heads.glob(f"*/scores/{book.results[0].prior_evaluation}/8.arrow"))) == 1
    assert all("\nOptions:\n- " in question.prompt for question in book.material.evaluate)


@pytest.mark.long
def test_two_workers_under_zero_2_make_the_same_head_as_one(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    two = ["--set", "trial.resources.workers=2", "--set", "trial.zero_stage=2"]
    for folder, more in ((alone, []), (together, two)):
        folder.mkdir()
        ended = run("trial", folder, *more)
        assert ended.returncode == 0, ended.stderr[-3000:]
    first, second = (HeadStore(Storage(str(folder / "out"))) for folder in (alone, together))
    keys = [path.name for path in (alone / "out/heads").iterdir() if not path.name.startswith("base-")]
    assert len(keys) == 2
    for key in keys:
        one, two_ = first.load(key, 32), second.load(key, 32)
        for name, tensor in one.items():
            # fp32 sums in another order; Adam's first steps divide by small moments (measured: under 1e-6).
            torch.testing.assert_close(two_[name], tensor, rtol=0, atol=5e-6)


WRONG: list[tuple[Sequence[str], str]] = [
    (["--set", "trial.batch_siz=8"], "trial.batch_siz: got 8; allowed: one of volumes"),
    (["--set", "trial.volumes=[0, 12]"], "multiples of batch_size 8"),
    (["--set", "trial.volumes=[0, 8, 4096]"], "trial.volumes (positive head): got 4096; allowed: at most 199"),
    (["--set", "trial.near_miss_share=1.5"], "trial.near_miss_share"),
    (["--set", "trial.labels=true"], "trial.labels: got True; allowed: Input should be 'given' or 'shuffled'"),
    (["--set", "search={labels: {choices: [mixed]}}"], "search.labels: got {'labels': 'mixed'}; allowed: Input should"),
    (["--set", "search={negative_source.far_from: {choices: [moon]}}"], "search.negative_source.far_from: got {'neg"),
    (["--set", "questions.train=nowhere.jsonl"], "nowhere.jsonl"),
    (["--set", "questions.train=wikipedia"], "wikipedia"),
    (["--set", "base=no-such-base"], "base: got 'no-such-base'; allowed: smollm2-135m"),
    (["--set", "trial.resources.workers=8"], "trial.resources.workers of 1 CPU each: got 8; allowed: at most"),
    (["--output", "/dev/null/out"], "--output: got '/dev/null/out'"),
    (["--tracking-uri", "nonsense://host"], "--tracking-uri"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG)
def test_wrong_input_exits_2_with_one_line_and_trains_nothing(
    arguments: Sequence[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [SMOKE, "--output", "out", "--tracking-uri", "sqlite:///mlflow.db", *arguments]
    ended = CliRunner().invoke(sweep.app, given)
    assert ended.exit_code == 2, ended.output
    assert said in ended.stderr and ended.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("heads"))


def test_wrong_questions_exit_2_by_line_and_id(tmp_path: Path) -> None:
    rows = [{"id": "a", "prompt": "Q?", "options": [{"text": "x", "kind": "far"}, {"text": "y", "kind": "far"}]}]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    given = [SMOKE, "--output", str(tmp_path / "out"), "--set", f"questions.train={tmp_path}/mine.jsonl"]
    for app in (sweep.app, trial.app):
        ended = CliRunner().invoke(app, given)
        assert ended.exit_code == 2 and "mine.jsonl:1" in ended.stderr and ended.stderr.count("\n") == 1


@pytest.mark.parametrize("space", sorted((ROOT / "search_spaces").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_search_space_dry_runs(space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    ended = CliRunner().invoke(sweep.app, [str(space), "--dry-run", "--output", str(tmp_path / "out")])
    assert ended.exit_code == 0, ended.output
    assert "trial.learning_rate" in ended.stdout and "sampled" in ended.stdout
    assert not (tmp_path / "out").exists()
