"""Numbers as people read them: a table each."""

from __future__ import annotations

import math

import pytest

from likra_ray.analysis.estimates import Estimate, missing
from likra_ray.reporting import words

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("value", "text"),
    [(512, "512"), (0.0005, "0.0005"), (12.34, "12.3"), (123.4, "123"), (1.2e6, "1.2e+06"), (0.0, "0"), (-3.0, "-3"),
     (NAN, "-"), (INF, "∞"), (-INF, "-∞")],
)  # fmt: skip
def test_number(value: float, text: str) -> None:
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("value", "ends", "digits", "text"),
    [(0.27, (0.19, 0.35), 2, ".27 [.19, .35]"), (63.0, (48.2, 84.6), None, "63 [48.2, 84.6]"),
     (63.0, (NAN, NAN), None, "63"), (2.9, (1.1, INF), None, "2.9 [1.1, ∞]"), (0.5, (-INF, 0.6), 2, ".50 [-∞, .60]"),
     (NAN, (NAN, NAN), 2, "-")],
)  # fmt: skip
def test_with_interval(value: float, ends: tuple[float, float], digits: int | None, text: str) -> None:
    assert words.with_interval(value, ends, digits=digits) == text


def test_an_estimate_that_is_missing_is_a_dash() -> None:
    assert words.estimate(missing("no phase")) == "-"
    assert words.estimate(Estimate(value=0.5, interval=(0.4, 0.6), questions=3, seeds=1), digits=2) == ".50 [.40, .60]"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (0.0005, "0.0005"),
        (1.0, "1"),
        ([0, 16, 0.5], "[0, 16, 0.5]"),
        (None, "none"),
        ("own", "own"),
        ([{"source": "atlas", "split": None}], "[{source: atlas}]"),
    ],
)
def test_setting(value: object, text: str) -> None:
    assert words.setting(value) == text


def test_count() -> None:
    assert [words.count(number, "seed") for number in (0, 1, 2876)] == ["0 seeds", "1 seed", "2,876 seeds"]


def test_context() -> None:
    assert words.context({"learning_rate": 5e-4, "near_miss_from": "own"}) == "learning_rate=0.0005 near_miss_from=own"
    assert words.context({}) == ""
