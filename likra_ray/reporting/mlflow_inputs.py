"""Takes the question sets of a sweep, notes them in MLflow as the data sets its runs were given.

No question leaves the output folder: a data set in MLflow is a name, a digest of its content and a few counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Run
    from mlflow.tracking import MlflowClient

DIGEST_LENGTH = 36
"""MLflow's limit on the text of a digest, in characters."""
CONTEXT = "mlflow.data.context"
"""The tag whose value MLflow's pages show beside a data set: what a run did with it."""


@dataclass(frozen=True, kw_only=True)
class QuestionSet:
    """Questions as MLflow is told of them."""

    name: str
    """As ``atlas``; a file by its last part."""
    role: str
    """``train`` or ``evaluate``."""
    content: str
    """SHA-256 of every field of every question, in order."""
    sources: Sequence[Mapping[str, Any]]
    """Where they came from: source, split and limit; no folder of a machine."""
    profile: Mapping[str, int]
    """How many questions (``num_rows``) and options there are, and options of each kind."""

    @property
    def digest(self) -> str:
        """As much of the content's SHA-256 as MLflow keeps."""
        return self.content[:DIGEST_LENGTH]


def note(client: MlflowClient, run: Run, sets: Sequence[QuestionSet]) -> None:
    """Tell a run what it was given, what it was told before left out."""
    there = {(one.dataset.name, one.dataset.digest) for one in (run.inputs.dataset_inputs if run.inputs else ())}
    fresh = [_input(one) for one in sets if (one.name, one.digest) not in there]
    if fresh:
        client.log_inputs(run.info.run_id, fresh)


def _input(questions: QuestionSet) -> DatasetInput:
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array, Object, Property

    text = DataType.string
    option = Object([Property("text", text), Property("kind", text)])
    columns = Schema([ColSpec(text, "id"), ColSpec(text, "prompt"), ColSpec(Array(option), "options")])
    source = CodeDatasetSource({"sources": [dict(one) for one in questions.sources], "sha256": questions.content})
    data = Dataset(
        name=questions.name,
        digest=questions.digest,
        source_type="code",
        source=source.to_json(),
        schema=json.dumps({"mlflow_colspec": columns.to_dict()}),
        profile=json.dumps(dict(questions.profile)),
    )
    return DatasetInput(data, [InputTag(CONTEXT, questions.role)])
