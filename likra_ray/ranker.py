"""Heads that a sweep logged as a model in MLflow, loaded again: prompts and options in, scores out.

    model = mlflow.pyfunc.load_model("models:/m-0123456789abcdef0123456789abcdef")
    model.predict(pandas.DataFrame({"prompt": ["Question: ...?\\nAnswer:"], "options": [["Paris", "Lyon"]]}))
    model.predict(rows, params={"arm": "sft"})
    mlflow.pyfunc.load_model("models:/m-...", model_config={"base": "a folder with the base"})

MLflow finds this module by the name that stands in the model's MLmodel file (reporting/mlflow_models.py writes it).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from likra_ray.likra_model import LikraModel

if TYPE_CHECKING:
    from pandas import DataFrame


class Ranker:
    """What MLflow's own `predict` calls."""

    def __init__(self, model: LikraModel) -> None:
        self.model = model

    def predict(self, rows: DataFrame, params: Mapping[str, Any] | None = None) -> DataFrame:
        """A row for each of `rows`, with the columns ``scores`` and ``answer``.

        rows: columns ``prompt`` (text) and ``options`` (texts); params: ``arm`` and ``weight`` as LikraModel.rank takes
        them, by default Likra's and the weight the trial was scored with. scores: nats, one for each option in order,
        just what LikraModel.rank gives; answer: the option with the largest. Raises InputError for an arm whose heads
        are not here.
        """
        from pandas import DataFrame

        given = dict(params or {})
        asked = [(str(prompt), [str(option) for option in options])
                 for prompt, options in zip(rows["prompt"], rows["options"], strict=True)]  # fmt: skip
        scores = [self.model.rank(prompt, options, **given) for prompt, options in asked]
        answers = [options[int(found.argmax())] for (_, options), found in zip(asked, scores, strict=True)]
        return DataFrame({"scores": [found.tolist() for found in scores], "answer": answers}, index=rows.index)


def _load_pyfunc(folder: str, model_config: Mapping[str, Any]) -> Ranker:
    """What MLflow asks a module for. folder: an export; model_config: ``base``, a name, folder or .gguf.

    Raises InputError where the base is not the one the heads were trained on.
    """
    return Ranker(LikraModel.from_folder(folder, base=model_config["base"]))
