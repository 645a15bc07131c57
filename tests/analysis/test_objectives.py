"""What a sweep optimises, and who wins."""

from __future__ import annotations

import math

import pytest

from likra_ray.analysis.objectives import OBJECTIVES, best, objective_value
from likra_ray.errors import InputError
from likra_ray.records import TrialResult
from likra_ray.spec import Objective

NAN = math.nan


def trial(
    key: str, likra: dict[int, float], *, sft: dict[int, float] | None = None, status: str = "done"
) -> TrialResult:
    metrics = {"likra/accuracy": likra, "likra/accuracy_norm": {v: a / 2 for v, a in likra.items()}}
    if sft is not None:
        metrics["sft/accuracy"] = sft
    return TrialResult(
        key=key, name=key, status=status, reason=None, spec={}, sampled={}, heads={}, evaluation="e",
        curves={}, metrics=metrics, phase={}, trained={}, seconds={},
    )  # fmt: skip


def test_names_are_those_of_the_spec() -> None:
    assert set(OBJECTIVES) == set(Objective.__args__)


@pytest.mark.parametrize(
    ("metric", "volume", "value"),
    [
        ("accuracy", None, 0.75),
        ("accuracy", 64, 0.5),
        ("accuracy", 0, 0.25),
        ("accuracy", 48, NAN),
        ("accuracy_norm", None, 0.375),
        ("gain_over_sft", None, 0.125),
        ("gain_over_sft", 64, NAN),
        ("negatives", None, 128.0),
        ("negatives", 64, 64.0),
        ("negatives", 48, NAN),
    ],
)
def test_value(metric: str, volume: int | None, value: float) -> None:
    result = trial("a", {0: 0.25, 64: 0.5, 128: 0.75}, sft={0: 0.5, 128: 0.625, 256: 0.9})
    assert objective_value(result, metric, volume) == pytest.approx(value, nan_ok=True)


@pytest.mark.parametrize("metric", OBJECTIVES)
def test_failed_and_empty_trials_have_no_value(metric: str) -> None:
    assert math.isnan(objective_value(trial("a", {64: 0.5}, sft={64: 0.5}, status="failed"), metric))
    assert math.isnan(objective_value(trial("a", {}), metric))


def test_unknown_metric_is_refused() -> None:
    with pytest.raises(InputError, match="metric: got 'loss'"):
        objective_value(trial("a", {64: 0.5}), "loss")


A, B, C = trial("A", {64: 0.5}), trial("B", {128: 0.8}), trial("C", {128: 0.7})
SAME_AS_B = trial("B2", {128: 0.8})
NO_NUMBER, FAILED = trial("nan", {512: NAN}), trial("failed", {16: 0.99}, status="failed")


@pytest.mark.parametrize(
    ("results", "objective", "winners"),
    [
        ([A, B, C], {"accuracy": "max"}, "B"),
        ([A, B, C], {"accuracy": "min"}, "A"),
        ([A, B, C], {"negatives": "min"}, "A"),
        ([C, B, A], {"accuracy": "max", "negatives": "min"}, "B A"),
        ([A, B, C], {"negatives": "min", "accuracy": "max"}, "A B"),
        ([A, B, SAME_AS_B], {"accuracy": "max"}, "B B2"),
        ([B, C, SAME_AS_B], {"accuracy": "max", "negatives": "min"}, "B B2"),
        ([NO_NUMBER, FAILED, C], {"accuracy": "max"}, "C"),
        ([NO_NUMBER, FAILED, C], {"negatives": "min"}, "C"),
        ([A], {"gain_over_sft": "max"}, ""),
        ([NO_NUMBER, FAILED], {"accuracy": "max"}, ""),
        ([], {"accuracy": "max"}, ""),
    ],
)
def test_best(results: list[TrialResult], objective: dict[str, str], winners: str) -> None:
    assert " ".join(result.key for result in best(results, objective)) == winners
