"""Progress is reported once a second at most, nothing that stays is lost, and ranks report equally often."""

from __future__ import annotations

from typing import Any

import pytest

from likra_ray import news
from likra_ray.news import EVERY, News, events


class Time:
    """A clock that is turned by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def step(examples: int) -> dict[str, Any]:
    return {"role": "positive", "examples": examples, "of": 64, "loss": 1.0 / examples}


def told(count: int, seconds: float) -> tuple[list[list[Any]], list[bool]]:
    """Reports of a head of `count` steps of so many seconds each with volumes at powers of two, and what was agreed."""
    clock, sent, asked = Time(), [], []

    def agreed(mine: bool) -> bool:
        asked.append(mine)
        return mine

    teller = News(sent.append, agreed, clock=clock)
    for number in range(1, count + 1):
        clock.now += seconds
        teller.tell(step(number), passing=number & (number - 1) != 0)
    teller.flush()
    return [[event["examples"] for event in report[news.NEWS]] for report in sent], asked


@pytest.mark.parametrize(("seconds", "reports"), [(0.0, 1), (EVERY / 4, 17), (EVERY, 64), (3 * EVERY, 64)])
def test_reports_are_as_many_as_seconds_and_no_volume_is_lost(seconds: float, reports: int) -> None:
    sent, asked = told(64, seconds)
    assert abs(len(sent) - reports) <= 1
    examples = [number for report in sent for number in report]
    assert examples == sorted(set(examples)), "in order, each once"
    assert {1, 2, 4, 8, 16, 32, 64} <= set(examples)
    assert len(asked) == 64, "ranks are asked at every event, whether it is time or not"


def test_what_is_past_gives_way_to_what_follows() -> None:
    assert told(7, 0.0)[0] == [[1, 2, 4, 7]]


def test_a_rank_sends_when_rank_0_does_whatever_its_own_clock_says() -> None:
    answers = [False, True, False]
    sent: list[dict[str, Any]] = []
    teller = News(sent.append, lambda mine: answers.pop(0), clock=Time())
    for number in (1, 2, 3):
        teller.tell(step(number))
    assert [len(report[news.NEWS]) for report in sent] == [2]
    teller.flush()
    teller.flush()
    assert [len(report[news.NEWS]) for report in sent] == [2, 1], "an empty report is none"


def test_a_report_of_the_objective_tells_no_event() -> None:
    assert events({"accuracy": 0.3}) == []


def test_what_happened_before_a_failure_of_every_rank_is_told() -> None:
    sent: list[dict[str, Any]] = []
    teller = News(sent.append, lambda mine: mine, clock=Time())
    with teller.told(ArithmeticError):
        teller.tell(step(1))
    with pytest.raises(ArithmeticError), teller.told(ArithmeticError):
        teller.tell(step(2))
        raise ArithmeticError
    with pytest.raises(KeyError), teller.told(ArithmeticError):  # of one rank alone: the others do not report now
        teller.tell(step(3))
        raise KeyError
    assert [[event["examples"] for event in report[news.NEWS]] for report in sent] == [[1], [2]]
