"""The front: what no other choice beats, by its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from likra_ray.analysis.findings import Finding
from likra_ray.analysis.pareto import Choice, choices, front, front_by_definition
from likra_ray.records import CurvePoint


def choice(volume: int, accuracy: float, name: str = "a") -> Choice:
    point = CurvePoint(volume=volume, accuracy=accuracy, interval=(accuracy, accuracy), questions=10, seeds=1)
    return Choice(name, point)


@pytest.mark.parametrize(
    ("offered", "kept"),
    [
        ([], []),
        ([(64, 0.5)], [(64, 0.5)]),
        ([(64, 0.5), (128, 0.5)], [(64, 0.5)]),
        ([(64, 0.5), (128, 0.4), (256, 0.6)], [(64, 0.5), (256, 0.6)]),
        ([(256, 0.9), (64, 0.5), (64, 0.7), (128, 0.6)], [(64, 0.7), (256, 0.9)]),
    ],
)
def test_front(offered: list[tuple[int, float]], kept: list[tuple[int, float]]) -> None:
    assert [(one.point.volume, one.point.accuracy) for one in front([choice(*one) for one in offered])] == kept


def test_of_equals_the_first_is_kept() -> None:
    assert [one.configuration for one in front([choice(64, 0.5, "b"), choice(64, 0.5, "a")])] == ["b"]


def test_front_is_what_its_definition_says() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        volumes, accuracies = rng.choice([16, 32, 64, 128], size=12), rng.permutation(12) / 12
        offered = [choice(int(volume), float(value)) for volume, value in zip(volumes, accuracies, strict=True)]
        assert front(offered) == front_by_definition(offered)


def test_choices_leave_out_volume_0_and_what_was_not_measured() -> None:
    curve = (choice(0, 0.25).point, choice(16, math.nan).point, choice(32, 0.5).point)
    finding = Finding(name="f", settings={}, trials=(), seeds=(0,), questions=10, curves={"likra": curve}, phase={},
                      efficiency={}, ratio=())  # fmt: skip
    assert choices([finding]) == [Choice("f", curve[2])]
