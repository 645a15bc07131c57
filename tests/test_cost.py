"""The cost model: arithmetic that can be done by hand, and what this project measured."""

from __future__ import annotations

import dataclasses

import pytest

from likra_ray import cost

LOAD = cost.Load(
    trials=10, heads=3, examples=100, example_tokens=20.0, tables=7, questions=50, question_tokens=30.0,
    prefix_tokens=500.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "trained", "scored"),
    [
        ({}, 4 * 1e9 * 6_000, 2 * 1e9 * 14_000),
        ({"heads": 6}, 4 * 1e9 * 12_000, 2 * 1e9 * 14_000),
        ({"tables": 0}, 4 * 1e9 * 6_000, 0.0),
        ({"prefix_tokens": 0.0}, 4 * 1e9 * 6_000, 2 * 1e9 * 10_500),
        ({"questions": 0}, 4 * 1e9 * 6_000, 2 * 1e9 * 3_500),
        ({"trials": 1000}, 4 * 1e9 * 6_000, 2 * 1e9 * 14_000),
    ],
)
def test_operations(changed: dict[str, float], trained: float, scored: float) -> None:
    assert dataclasses.replace(LOAD, **changed).operations(1e9) == (trained, scored)  # type: ignore[arg-type]


def test_a_frozen_base_saves_a_third() -> None:
    assert cost.training_operations(1e9, 10.0) * 1.5 == cost.training_operations(1e9, 10.0, frozen=False) == 6e10


def test_hours() -> None:
    work, start = cost.gpu_hours(LOAD, parameters=1e9, rate=1e12, reached=0.5, gpus=4, start_seconds=90.0)
    assert work == pytest.approx(5.2e13 / 5e11 / 3600)
    assert start == pytest.approx(10 * 4 * 90 / 3600)
