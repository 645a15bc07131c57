"""Takes a trial's exported heads, makes them a logged model of its run in MLflow: `models:/<id>` loads and ranks.

No pickle, and no code in the model: its MLmodel file names the module of this package that loads it (likra_ray.ranker),
beside it lie the files of an export. The base is named, never logged. docs/design/mlflow.md says why.
"""

from __future__ import annotations

import json
import platform
import tempfile
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from likra_ray.reporting.mlflow_inputs import QuestionSet

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Metric, Run
    from mlflow.models import Model
    from mlflow.tracking import MlflowClient

LOADER = "likra_ray.ranker"
"""The module that MLflow imports to load one."""
HEADS = "heads"
"""Folder of the export inside the model."""
NEEDS = ("mlflow", "torch", "transformers", "peft", "safetensors")
"""Packages that loading one takes besides this one, which is on no index: a name there could be anybody's."""

DIGEST, TRIAL = "likra_ray.mirrored", "likra_ray.trial"


class Heads(NamedTuple):
    """What a model is made of."""

    name: str
    trial: str
    """Key."""
    digest: str
    """Changes with the trial's result and with the version that exports it."""


def find(client: MlflowClient, experiment: str, run_id: str, heads: Heads) -> LoggedModel | None:
    """The run's model with this digest, finished or begun; any other that was logged by us is deleted.

    There is another where a result changed, or where a silent server obeyed a request that was given up and repeated.
    """
    there = client.search_logged_models([experiment], filter_string=f"source_run_id = '{run_id}'")
    ours = sorted(
        (model for model in there if DIGEST in model.tags),
        key=lambda model: (str(model.status) != "READY", model.creation_timestamp),
    )
    kept = next((model for model in ours if model.tags[DIGEST] == heads.digest), None)
    for model in ours:
        if kept is None or model.model_id != kept.model_id:
            client.delete_logged_model(model.model_id)
    return kept


def write(
    client: MlflowClient, run: Run, heads: Heads, files: Callable[[], Mapping[str, bytes]], asked: QuestionSet
) -> None:
    """Log the heads as a model of the run that trained them. May be repeated, wherever it was cut off.

    files: makes those of an export, by path, and is called only where they are written; none: there is no model.
    asked: the questions behind the accuracies that stand with it. The model is READY when all is there.
    """
    experiment, run_id = run.info.experiment_id, run.info.run_id
    found = find(client, experiment, run_id, heads)
    if found is not None and str(found.status) == "READY":
        return
    made = files()
    if not made:
        return
    about = json.loads(made["likra.json"])
    if found is None:
        params = {f"volume.{role}": str(volume) for role, volume in about["volumes"].items()}
        params |= {name: str(about[name]) for name in ("base", "base_identity", "weight", "sweep", "trial")}
        tags = {DIGEST: heads.digest, TRIAL: heads.trial}
        found = client.create_logged_model(experiment, heads.name, run_id, tags, params, "likra heads")
    with tempfile.TemporaryDirectory() as folder:
        for name, data in made.items():
            path = Path(folder, HEADS, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        Path(folder, "requirements.txt").write_text("".join(f"{one}\n" for one in _requirements()))
        _described(found, about, size=sum(map(len, made.values()))).save(str(Path(folder, "MLmodel")))
        client.log_model_artifacts(found.model_id, folder)
    _link(client, run, found.model_id, asked)
    client.finalize_logged_model(found.model_id, "READY")


def _described(model: LoggedModel, about: Mapping[str, Any], *, size: int) -> Model:
    """The MLmodel file. about: likra.json; size: of the export, in bytes."""
    from mlflow.models import Model, ModelSignature
    from mlflow.pyfunc import FLAVOR_NAME
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array

    text, number = DataType.string, DataType.double
    signature = ModelSignature(
        inputs=Schema([ColSpec(text, "prompt"), ColSpec(Array(text), "options")]),
        outputs=Schema([ColSpec(Array(number), "scores"), ColSpec(text, "answer")]),
        params=ParamSchema([ParamSpec("arm", text, "likra"), ParamSpec("weight", number, float(about["weight"]))]),
    )
    described = Model(
        artifact_path=model.name,
        run_id=model.source_run_id,
        model_id=model.model_id,
        model_uuid=model.model_id,
        signature=signature,
        model_size_bytes=size,
    )
    config, version = {"base": about["base"]}, platform.python_version()
    return described.add_flavor(FLAVOR_NAME, loader_module=LOADER, data=HEADS, config=config, python_version=version)


def _requirements() -> list[str]:
    """As pip reads them, without the local part of a version (2.13.0+cpu), which no index has."""
    return [f"{name}=={metadata.version(name).partition('+')[0]}" for name in NEEDS]


def _link(client: MlflowClient, run: Run, model_id: str, asked: QuestionSet) -> None:
    """Let the run show the model, and the model the accuracy of every arm at its last volume.

    The points are the run's own, of the same moment, value and step: MLflow keeps them once for the run.
    """
    from mlflow.entities import LoggedModelOutput, Metric

    points: list[Metric] = []
    for name in sorted(run.data.metrics):
        if name.endswith("/accuracy") and not name.startswith("best/"):
            last = max(client.get_metric_history(run.info.run_id, name), key=lambda one: (one.step, one.timestamp))
            at = {"dataset_name": asked.name, "dataset_digest": asked.digest, "model_id": model_id}
            points.append(Metric(name, last.value, last.timestamp, last.step, **at, run_id=run.info.run_id))
    if points:
        client.log_batch(run.info.run_id, metrics=points)
    outputs = run.outputs.model_outputs if run.outputs is not None else []
    if model_id not in {output.model_id for output in outputs}:
        step = max((point.step for point in points), default=0)
        client.log_outputs(run.info.run_id, [LoggedModelOutput(model_id, step)])
