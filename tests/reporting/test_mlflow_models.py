"""The heads of a sweep's best trial as a logged model: it loads, ranks as the platform does, and stands there once.

A real trial on the random base, a real SQLite store, a real server.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from finished import finished_trial
from servers import Server

from likra_ray import exported
from likra_ray.errors import InputError
from likra_ray.ledger import Ledger, load_sweep
from likra_ray.likra_model import LikraModel
from likra_ray.reporting.tracking import Mirror
from likra_ray.sweep_runs import question_sets

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep whose one trial has ended, not told to MLflow."""
    folder = tmp_path_factory.mktemp("output")
    finished_trial(folder)
    return folder


@pytest.fixture(scope="module")
def store(output: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The sweep's end, told to a SQLite store."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    book = load_sweep("smoke", str(output))
    book.begin(Mirror(uri, "smoke"), uri)
    book.close(interrupted=False)
    assert book._lacks is None
    return uri


@pytest.fixture(scope="module")
def book(output: Path, store: str) -> Ledger:
    return load_sweep("smoke", str(output))


def client(uri: str) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(uri)


def models(uri: str) -> list[Any]:
    """Every model of the sweep's experiment."""
    found = client(uri)
    return list(found.search_logged_models([found.get_experiment_by_name("smoke").experiment_id]))


def loaded(uri: str, model: str, **options: Any) -> Any:
    """As a reader of MLflow loads it, who knows nothing of this package."""
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        return mlflow.pyfunc.load_model(f"models:/{model}", **options)
    finally:
        mlflow.set_tracking_uri(before)


def ranks_as_the_platform(book: Ledger, model: Any, folder: Path) -> None:
    """Scores and answers of the logged model are LikraModel's, for every arm; and they are not all the same."""
    for name, data in exported.files(book.storage, book.sweep, book.material, book.done[0]).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    own = LikraModel.from_folder(folder)
    questions = book.material.evaluate[:4]
    rows = pandas.DataFrame(
        {"prompt": [one.prompt for one in questions], "options": [[o.text for o in one.options] for one in questions]},
        index=[7, 5, 3, 1],
    )
    for params in (None, {"arm": "sft"}, {"arm": "likra", "weight": 0.5}):
        said = model.predict(rows, params=params)
        assert list(said.index) == [7, 5, 3, 1]
        for (_, row), question in zip(said.iterrows(), questions, strict=True):
            expected = own.rank(question.prompt, [option.text for option in question.options], **(params or {}))
            np.testing.assert_array_equal(row["scores"], expected)
            assert row["answer"] == question.options[int(expected.argmax())].text
            assert np.ptp(expected) > 0


def test_the_best_trials_heads_load_and_rank(book: Ledger, store: str, tmp_path: Path) -> None:
    [logged] = models(store)
    ranks_as_the_platform(book, loaded(store, logged.model_id), tmp_path / "heads")


def test_it_is_its_trials_and_shows_its_accuracies(book: Ledger, store: str) -> None:
    [logged] = models(store)
    run = client(store).get_run(logged.source_run_id)
    result = book.done[0]
    assert run.data.tags["likra_ray.trial"] == result.key
    assert [one.model_id for one in run.outputs.model_outputs] == [logged.model_id]
    _, asked = question_sets(book.sweep, book.material)
    shown = {metric.key: (metric.value, metric.step, metric.dataset_digest) for metric in logged.metrics}
    curves = {name.removesuffix("/accuracy"): by for name, by in result.metrics.items() if name.endswith("/accuracy")}
    assert {"base", "sft", "likra"} <= set(curves)
    assert shown == {f"{arm}/accuracy": (by[max(by)], max(by), asked.digest) for arm, by in curves.items()}
    assert logged.params["base"] == "random-tiny" and logged.params["volume.negative"] == "16"
    history = client(store).get_metric_history(run.info.run_id, "likra/accuracy")
    assert sorted(point.step for point in history) == [0, 8, 16], "a point of the run stands twice"


def test_there_is_no_pickle_and_no_code_and_no_base(book: Ledger, store: str) -> None:
    [logged] = models(store)
    folder = Path(logged.artifact_location.removeprefix("file://"))
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    names -= {"registered_model_meta"}  # left by MLflow's own load_model in a local store
    heads = {f"heads/{name}" for name in exported.files(book.storage, book.sweep, book.material, book.done[0])}
    assert names == heads | {"MLmodel", "requirements.txt"}
    assert {Path(name).suffix for name in names} <= {".safetensors", ".json", ".md", ".txt", ""}
    told = (folder / "MLmodel").read_text() + (folder / "requirements.txt").read_text()
    assert book.storage.root not in told and str(Path.home()) not in told


def test_another_base_is_refused(store: str, tmp_path: Path) -> None:
    import torch

    from likra_ray.heads import base as bases

    other = bases.load(bases.resolve("random-tiny"))
    with torch.no_grad():
        other.model.lm_head.weight.mul_(2)
    other.model.save_pretrained(tmp_path)
    other.tokenizer.save_pretrained(tmp_path)
    [logged] = models(store)
    with pytest.raises(InputError, match="the base these heads were trained on, random-tiny-1"):
        loaded(store, logged.model_id, model_config={"base": str(tmp_path)})


def test_descriptions_say_what_was_found(book: Ledger, store: str) -> None:
    found = client(store)
    experiment = found.get_experiment_by_name("smoke")
    short = experiment.tags["mlflow.note.content"]
    whole = found.get_run(load_sweep("smoke", book.storage.root)._record["mlflow_run"]).data.tags["mlflow.note.content"]
    assert "\n" not in short and short.startswith("Last finished sweep: **smoke**, ended 20")
    what = book.sweep_findings()
    assert what is not None and len(what.verdicts) == 5
    for verdict in what.verdicts:
        assert verdict.sentence in whole
    for text in (short, whole):
        assert "Likra's accuracy jumps: **" in text
    assert whole.startswith("Likra sweep smoke on random-tiny: ")


def replay(output: Path, uri: str) -> Ledger:
    """The same command once more."""
    again = load_sweep("smoke", str(output))
    again.replay(Mirror(uri, "smoke"), uri)
    assert again._lacks is None
    return again


def test_told_again_it_stands_once_and_what_was_cut_off_is_finished(output: Path, store: str) -> None:
    """Cut off: begun and never finished; and a second one, which a silent server made of a request given up."""
    [logged] = models(store)
    replay(output, store)
    assert [one.model_id for one in models(store)] == [logged.model_id]

    found = client(store)
    foreign = found.create_logged_model(logged.experiment_id, "a-users-own", logged.source_run_id)
    found.delete_logged_model(logged.model_id)
    begun = [
        found.create_logged_model(logged.experiment_id, logged.name, logged.source_run_id, dict(logged.tags))
        for _ in range(2)
    ]
    replay(output, store)
    there = {one.model_id: str(one.status) for one in models(store)}
    assert there == {begun[0].model_id: "READY", foreign.model_id: "PENDING"}
    found.delete_logged_model(foreign.model_id)
    outputs = found.get_run(logged.source_run_id).outputs.model_outputs
    assert [one.model_id for one in outputs].count(begun[0].model_id) == 1
    assert loaded(store, begun[0].model_id).predict(pandas.DataFrame({"prompt": ["Q:"], "options": [["a", "b"]]})).size


def test_another_result_is_another_model(output: Path, store: str) -> None:
    [before] = models(store)
    path = next(output.glob("smoke/trials/*/result.json"))
    kept = path.read_bytes()
    changed = json.loads(kept)
    changed["seconds"]["all"] = 2.0
    path.write_text(json.dumps(changed))
    try:
        replay(output, store)
        [after] = models(store)
        assert after.model_id != before.model_id and str(after.status) == "READY"
    finally:
        path.write_bytes(kept)


def test_torn_heads_hold_nothing_up(output: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The sweep ends, all else is told, and there is no model."""
    shutil.copytree(output, tmp_path / "output")
    book = load_sweep("smoke", str(tmp_path / "output"))
    torn = next((tmp_path / "output/heads").glob("negative-*/volumes/16/adapter_model.safetensors"))
    torn.write_bytes(torn.read_bytes()[:-1])
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    book.begin(Mirror(uri, "smoke"), uri)
    book.close(interrupted=False)
    assert book._lacks is None and models(uri) == []
    assert "are not in MLflow" in caplog.text


def test_a_file_of_questions_is_named_without_its_folder(book: Ledger) -> None:
    from likra_ray.question_spec import SourceSpec

    questions = book.sweep.questions.model_copy(
        update={
            "train": (SourceSpec(source="/home/somebody/mine.jsonl", folder="/mnt/secret"), SourceSpec(source="arc"))
        }
    )
    train, evaluate = question_sets(book.sweep.model_copy(update={"questions": questions}), book.material)
    assert train.name == "mine.jsonl and arc" and evaluate.name == "atlas"
    assert "somebody" not in repr(train) and "secret" not in repr(train)
    assert train.digest == book.material.digests["train"][:36] != evaluate.digest
    assert train.profile["num_rows"] == len(book.material.train)
    assert sum(train.profile[kind] for kind in ("correct", "near_miss", "far")) == train.profile["options"]


@pytest.mark.timeout(600)
def test_all_of_it_behind_a_server(server: Server, output: Path, store: str, tmp_path: Path) -> None:
    """Inputs, descriptions and the model over HTTP, with the server's own artifacts; told twice; loaded from there."""
    uri = f"http://{server.address}"
    for _ in range(2):
        book = replay(output, uri)
    [logged] = models(uri)
    assert str(logged.status) == "READY" and not logged.artifact_location.startswith("file:")
    ranks_as_the_platform(book, loaded(uri, logged.model_id), tmp_path / "heads")
    run = client(uri).get_run(logged.source_run_id)
    assert [one.model_id for one in run.outputs.model_outputs] == [logged.model_id]
    assert sorted(one.tags[0].value for one in run.inputs.dataset_inputs) == ["evaluate", "train"]
    there = {metric.key: metric.value for metric in logged.metrics}
    [direct] = models(store)
    assert there == {metric.key: metric.value for metric in direct.metrics}
    points = client(uri).get_metric_history(run.info.run_id, "likra/accuracy")
    assert sorted(point.step for point in points) == [0, 8, 16]
    assert dataclasses.asdict(book.done[0])["key"] == logged.params["trial"]
