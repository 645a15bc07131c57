"""lm-evaluation-harness asks a trial's arms the sweep's own questions and finds the platform's accuracies."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finished import finished_trial
from lm_eval_task import task
from mlflow.tracking import MlflowClient
from typer.testing import CliRunner

from likra_ray import export, report, results
from likra_ray.analysis.arms import arm_scores, credit, normalised
from likra_ray.errors import InputError
from likra_ray.heads.scoring import solved
from likra_ray.ledger import Ledger
from likra_ray.records import Metric
from likra_ray.reporting.tracking import Mirror

pytest.importorskip("lm_eval", reason="lm-eval is not installed: pip install -e '.[bench]'")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ledger, Path]:
    """A finished trial, and a folder with its evaluation as a task of lm-eval."""
    folder = tmp_path_factory.mktemp("lm_eval")
    book = finished_trial(folder / "out")
    before = solved(book.material.shots)
    rows = [
        {"prompt": before + one.prompt, "texts": [option.text for option in one.options],
         "correct": [option.kind for option in one.options].index("correct")}
        for one in book.material.evaluate
    ]  # fmt: skip
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "own_questions.yaml").write_text(task("own_questions", folder / "data.jsonl"))
    return book, folder


def platform(book: Ledger, arm: str, metric: Metric) -> float:
    found = results.tables(book.storage, book.done[0])
    tables = {"base": found.base, "positive": found.positive[16], "negative": found.negative[16]}
    return float(np.mean(credit(normalised(arm_scores(arm, tables), found.base, metric), found.base)))


def harness(**model_args: Any) -> dict[str, Any]:
    import lm_eval
    from lm_eval.tasks import TaskManager

    import likra_ray.lm_eval  # noqa: F401  # registers the model

    folder = model_args.pop("tasks_in")
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    found = lm_eval.simple_evaluate(
        model="likra", model_args=model_args, tasks=["own_questions"], task_manager=manager, bootstrap_iters=0
    )
    return dict(found["results"]["own_questions"])


@pytest.mark.parametrize("arm", ["base", "sft", "likra", "base_likra"])
def test_accuracies_equal_the_platforms(finished: tuple[Ledger, Path], arm: str) -> None:
    book, folder = finished
    theirs = harness(sweep="smoke", arm=arm, output=book.storage.root, tasks_in=folder)
    assert theirs["acc,none"] == pytest.approx(platform(book, arm, "acc"))
    assert theirs["acc_norm,none"] == pytest.approx(platform(book, arm, "acc_norm"))


@pytest.mark.parametrize(("name", "value"), [("volum", 8), ("wieght", 0.1), ("weight", "x")])
def test_a_word_that_nobody_knows_is_no_setting(finished: tuple[Ledger, Path], name: str, value: Any) -> None:
    from likra_ray.lm_eval import LikraLM

    book, _ = finished
    with pytest.raises(InputError, match=f"--model_args: {name}: got "):
        LikraLM(sweep="smoke", output=book.storage.root, **{name: value})
    assert LikraLM(sweep="smoke", output=book.storage.root, batch_size=1, device="cpu").arm == "likra"


@pytest.fixture(scope="module")
def mirrored(finished: tuple[Ledger, Path]) -> tuple[Any, dict[str, Any], list[dict[str, str]]]:
    """The trial's run in MLflow's own words, what `report --json` prints, and the report's learning curves."""
    book, folder = finished
    uri = f"sqlite:///{folder}/mlflow.db"
    book.begin(Mirror(uri, "smoke"), uri)
    book.close(interrupted=False)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("smoke")
    [run] = client.search_runs([experiment.experiment_id], f"tags.`likra_ray.trial` = '{book.done[0].key}'")
    printed = CliRunner().invoke(report.app, ["smoke", "--output", book.storage.root, "--json"])
    assert printed.exit_code == 0, printed.output
    with Path(book.storage.root, "smoke/data/learning_curves.csv").open(encoding="utf-8") as lines:
        shown = list(csv.DictReader(lines))
    return (client, run.info.run_id), json.loads(printed.stdout), shown


@pytest.mark.parametrize("arm", ["sft", "likra", "base_likra"])
def test_a_number_is_the_same_wherever_it_stands(finished: tuple[Ledger, Path], mirrored: Any, arm: str) -> None:
    """result.json, what --json prints, MLflow, the report, lm-eval."""
    book, folder = finished
    (client, run), printed, shown = mirrored
    [record] = [point.accuracy for point in book.done[0].curves[arm] if point.volume == 16]
    theirs = harness(sweep="smoke", arm=arm, output=book.storage.root, tasks_in=folder)
    history = client.get_metric_history(run, f"{arm}/accuracy")
    [json_point] = [one for one in printed["configurations"][0]["curves"][arm] if one["volume"] == 16]
    [row] = [row for row in shown if (row["arm"], row["volume"]) == (arm, "16")]
    everywhere = {
        "json": json_point["accuracy"],
        "mlflow": {one.step: one.value for one in history}[16],
        "report": float(row["accuracy"]),
        "lm-eval": theirs["acc,none"],
    }
    assert everywhere == {place: pytest.approx(record, abs=1e-12) for place in everywhere}
    interval = [point.interval for point in book.done[0].curves[arm] if point.volume == 16][0]
    assert (float(row["low"]), float(row["high"])) == pytest.approx(json_point["interval"], abs=1e-12)
    assert json_point["interval"] == pytest.approx(list(interval), abs=0.05), "another resampling of the same answers"


def test_exported_heads_and_every_kind_of_request(finished: tuple[Ledger, Path]) -> None:
    from lm_eval.api.instance import Instance

    from likra_ray.lm_eval import LikraLM

    book, folder = finished
    export.export(book, "best", folder / "heads")
    model = LikraLM.create_from_arg_string(f"folder={folder / 'heads'},arm=sft")
    [(whole, _)] = model.loglikelihood([Instance("loglikelihood", {}, ("", "Q: so?"), 0)])
    assert model.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, ("Q: so?",), 0)]) == [whole]
    # A space at the end of a context is the continuation's.
    pair, moved = (Instance("loglikelihood", {}, args, 0) for args in (("Q:", " so?"), ("Q: ", "so?")))
    assert model.loglikelihood([pair]) == model.loglikelihood([moved])
    [text] = model.generate_until([Instance("generate_until", {}, ("Q:", {"until": ["\n"], "max_gen_toks": 5}), 0)])
    assert text == model.likra.write("Q:", tokens=5, arm="sft").split("\n")[0]


def test_the_command_is_lm_evals(finished: tuple[Ledger, Path]) -> None:
    book, folder = finished
    given = [
        "run", "--model", "likra", "--model_args", f"sweep=smoke,arm=likra,output={book.storage.root}",
        "--tasks", "own_questions", "--include_path", str(folder),
    ]  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-m", "likra_ray.lm_eval", *given], capture_output=True, text=True, check=False, cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    row = next(line for line in ended.stdout.splitlines() if "own_questions" in line)
    assert f"{platform(book, 'likra', 'acc'):.4f}".rstrip("0") in row
    wrong = subprocess.run(
        [sys.executable, "-m", "likra_ray.lm_eval", *given[:4], "sweep=absent", *given[5:]],
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip
    assert wrong.returncode == 2 and wrong.stderr.splitlines()[-1].startswith("error: "), wrong.stderr
    assert "sweep: got 'absent'" in wrong.stderr
