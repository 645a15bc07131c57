"""What a screen shows of trials that run."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from likra_ray.progress import Progress, curve, duration

CURVES = [
    ({}, "-"),
    ({"sft": {16: 0.5, 8: 0.25}}, "sft 8:.250 16:.500"),
    ({"sft": {8: 0.25}, "base_likra": {8: 0.2, 16: 0.3}}, "base_likra 8:.200 16:.300"),
    ({"sft": {8: 0.25, 16: 0.5}, "likra": {8: 1.0}}, "likra 8:1.00"),
    ({"positive_over_base": {8: 0.25}}, "-"),
]


@pytest.mark.parametrize(("curves", "shown"), CURVES)
def test_the_current_curve_is_likras_as_soon_as_there_is_one(curves: dict[str, dict[int, float]], shown: str) -> None:
    assert curve(curves) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(4.4, "4 s"), (99, "99 s"), (720, "12 min"), (12000, "3 h 20 min")])
def test_durations_are_read_at_a_glance(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_sweep_is_followed_from_trial_to_trial() -> None:
    progress = Progress(of=4)
    progress.start("a", "seed=0", 0.0)
    progress.start("b", "seed=1", 10.0)
    assert math.isnan(progress.left(20.0, 2)), "nothing has ended, so nothing is known"
    progress.hear("a", {"role": "positive", "examples": 8, "of": 32, "loss": 1.25})
    assert progress.running["a"].at == "positive head 8 of 32, loss 1.250"
    progress.hear("a", {"role": "positive", "scored": 8, "arms": {"sft": 0.25}})
    assert progress.running["a"].at == "positive head scored at 8"
    screen = Console(file=io.StringIO(), width=100)
    screen.print(progress.table(30.0, 2))
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert shown.startswith("0 of 4 trials ended, 2 running ")
    assert "seed=0" in shown and "30 s" in shown and "sft 8:.250" in shown
    assert progress.end("a", 100.0, counts=True) == 100.0
    # b has run 90 of the 100 s that a took; two more wait; two run at once.
    assert progress.left(100.0, 2) == pytest.approx((10 + 2 * 100) / 2)
    assert "about 2 min left" in str(progress.table(100.0, 2).title)
    progress.end("b", 200.0, counts=False)
    assert progress.ended == 1 and not progress.running
    assert progress.end("c", 300.0, counts=True) == 0.0, "its actor died before it began"
    assert progress.ended == 2 and progress.left(300.0, 2) == pytest.approx(2 * 145 / 2)
