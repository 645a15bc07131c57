"""The report's command, and what the ledger hands it: a sweep's folder as one is left, its score tables invented."""

from __future__ import annotations

import json
from pathlib import Path

import invented
import pytest
from typer.testing import CliRunner

from likra_ray import ledger, material, outcomes, report, results
from likra_ray import plan as plans
from likra_ray.heads.store import HeadStore
from likra_ray.material import Material
from likra_ray.records import Option, Question, TrialResult
from likra_ray.spec import SweepSpec
from likra_ray.storage import Storage

SHARES = (0.0, 1.0)


def questions(prefix: str, count: int) -> tuple[Question, ...]:
    options = (("right", "correct"), ("near", "near_miss"), ("far", "far"), ("farther", "far"))
    return tuple(
        Question(id=f"{prefix}{number}", prompt=f"Question: {prefix} {number}?\nAnswer:",
                 options=tuple(Option(text=f"{text} {number}", kind=kind) for text, kind in options))  # type: ignore
        for number in range(count)
    )  # fmt: skip


MATERIAL = Material(base="random-tiny", identity="random-tiny-1", train=questions("t", 40), shots=(),
                    evaluate=questions("q", 120), others=(), left_out=(("x1", "asked twice"),))  # fmt: skip
SWEEP = SweepSpec.model_validate(
    {
        "name": "made-up",
        "base": "random-tiny",
        "trial": {"volumes": [0, *invented.VOLUMES], "learning_rate": 1e-3},
        "search": {"near_miss_share": {"choices": SHARES}, "seed": {"choices": [0]}},
    }
)


def ended(storage: Storage) -> list[TrialResult]:
    """Two trials that ended well, tables and all, and one that failed."""
    store = HeadStore(storage)
    found = []
    for share in SHARES:
        point = {"near_miss_share": share, "seed": 0}
        trial = SWEEP.trial_spec(point)
        plan = plans.trial_plan(MATERIAL, trial)
        tables = invented.seed_tables(0, jump=3.0 * share)
        store.save_table(plan.base_key, plan.evaluation_key, 0, tables.base)
        for role, by_volume in (("positive", tables.positive), ("negative", tables.negative)):
            for volume, table in by_volume.items():
                store.save_table(plan.heads[role].key, plan.evaluation_key, volume, table)  # type: ignore[index]
        found.append(
            results.done(trial, plan, tables, sampled=point, trained={"positive": 512, "negative": 512},
                         seconds={"all": 9.0}, tokens={})
        )  # fmt: skip
    return [*found, invented.failed()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("out")
    storage = Storage(str(path))
    material.write(MATERIAL, storage)
    found = ended(storage)
    for result in found:
        results.write(storage, SWEEP.name, result)
    record = {"spec": SWEEP.model_dump(mode="json"), "material": MATERIAL.name, "began": "2026-11-23T17:22:00+00:00",
              "status": "done", "trials": [result.key for result in found], "provenance": {"git": "abc"}}  # fmt: skip
    storage.write(f"{SWEEP.name}/sweep.json", json.dumps(record).encode())
    return path


def test_the_command_writes_report_figures_and_data(folder: Path) -> None:
    old = folder / "made-up/figures/of_an_older_report.png"
    old.parent.mkdir(parents=True, exist_ok=True)
    old.write_bytes(b"")
    run = CliRunner().invoke(report.app, ["made-up", "--output", str(folder)])
    assert run.exit_code == 0, run.output
    assert "Likra's accuracy jumps: " in run.output and "made-up/report.html and" in run.output
    html = (folder / "made-up/report.html").read_text()
    for said in ("Likra&#39;s accuracy jumps:", "near_miss_share", "asked twice", "the loss is [nan]", "abc"):
        assert said in html, said
    assert (folder / "made-up/figures/learning_curves.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "made-up/data/learning_curves.csv").read_text().startswith("configuration,arm,volume,accuracy,low")
    assert set(json.loads((folder / "made-up/critical_phase.json").read_text())) == {
        "near_miss_share=0",
        "near_miss_share=1",
    }
    assert not old.exists()


def test_the_ledger_makes_the_same_findings_once(folder: Path) -> None:
    book = ledger.load_sweep("made-up", str(folder))
    found = book.sweep_findings()
    assert found is not None and found is book.sweep_findings()
    assert [finding.name for finding in found.findings] == ["near_miss_share=0", "near_miss_share=1"]
    assert found.findings == tuple(book.findings())
    assert {(one.what, one.count) for one in found.left_out} >= {("questions", 1), ("trials", 1)}
    assert len(found.verdicts) == 5


@pytest.mark.parametrize("name", ["other", "../out", ".", ""])
def test_no_such_sweep_exits_2_with_one_line(name: str, folder: Path) -> None:
    run = CliRunner().invoke(report.app, [name, "--output", str(folder)])
    assert run.exit_code == 2
    assert run.stderr.count("\n") == 1 and "made-up" in run.stderr


def test_settings_say_where_they_come_from() -> None:
    found = {one.field: (one.value, one.origin) for one in outcomes.settings(SWEEP)}
    assert found["trial.learning_rate"] == (1e-3, "given")
    assert found["trial.near_miss_share"][1] == "searched"
    assert found["trial.batch_size"] == (8, "default")
    assert found["search.near_miss_share.choices"] == ([0.0, 1.0], "given")
    assert found["sampler"] == ("tpe", "default")


def test_trials_left_out_are_counted_by_reason(folder: Path) -> None:
    done = [result for result in ledger.load_sweep("made-up", str(folder)).results if result.status == "done"]
    twice = [invented.failed(key="a"), invented.failed(key="b"), invented.failed(key="c", reason="RuntimeError: x")]
    left = {one.reason: one.count for one in outcomes.trials_left_out([*done, *twice])}
    assert left == {"failed: ValueError: the loss is [nan]": 2, "failed: RuntimeError: x": 1}
    assert outcomes.trials_left_out(done) == []


def test_mlflow_has_the_same_files_at_the_sweeps_run(folder: Path, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    from likra_ray.reporting.tracking import Mirror

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    book = ledger.load_sweep("made-up", str(folder))
    book.replay(Mirror(uri, "made-up"), uri)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("made-up")
    runs = client.search_runs([experiment.experiment_id])
    parent = next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    assert len(runs) == 4
    there = {file.path for place in (None, "figures", "data")
             for file in client.list_artifacts(parent.info.run_id, place)}  # fmt: skip
    assert {"report.html", "figures/learning_curves.png", "data/learning_curves.csv", "critical_phase.json"} <= there
    assert parent.data.tags["verdict/SFT"] and parent.data.metrics["trials_failed"] == 1
    page = Path(client.download_artifacts(parent.info.run_id, "report.html", str(tmp_path))).read_bytes()
    assert page == (folder / "made-up/report.html").read_bytes()
