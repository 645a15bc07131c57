"""What is owed to a store: order, patience, and that neither one bad write nor a silent store holds anybody up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from likra_ray.reporting import outbox
from likra_ray.reporting.outbox import Outbox


class Clock:
    """Time that passes only where something takes it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def box(clock: Clock) -> Outbox:
    return Outbox("http://me:hidden@host:5000", clock=clock, sleep=clock.pass_by)


def takes(clock: Clock, seconds: float, then: Exception | None = None) -> Callable[[], None]:
    def write() -> None:
        clock.pass_by(seconds)
        if then is not None:
            raise then

    return write


def test_what_is_owed_is_written_in_order_and_once(box: Outbox) -> None:
    told: list[str] = []
    for name in ("a", "b", "a"):
        box.put(name, lambda name=name: told.append(name))  # type: ignore[misc]
    box.deliver()
    box.deliver()
    assert told == ["b", "a"] and box.owed == []


def test_one_that_always_fails_stands_in_nobodys_way(box: Outbox, clock: Clock) -> None:
    box.put("bad", takes(clock, 0.0, ValueError("never")))
    box.put("good", takes(clock, 0.0))
    box.deliver()
    assert box.owed == ["good", "bad"]
    box.deliver()
    assert box.owed == ["bad"]
    assert not box.flush(60.0)
    assert box.owed == ["bad"] and box.reason == "never"


def test_a_silent_store_costs_a_tenth_of_the_time(box: Outbox, clock: Clock) -> None:
    spent = 0.0
    box.put("a", takes(clock, 5.0, TimeoutError("timed out")))
    began = clock.now
    while clock.now - began < 1000.0:
        before = clock.now
        box.deliver()
        spent += clock.now - before
        clock.pass_by(1.0)
    assert 50.0 <= spent <= 110.0


def test_arrears_are_worked_off_a_few_seconds_at_a_time(box: Outbox, clock: Clock) -> None:
    for number in range(100):
        box.put(str(number), takes(clock, 1.0))
    began = clock.now
    box.deliver()
    assert clock.now - began == outbox.EVENT_SECONDS and len(box.owed) == 95
    assert box.flush(10.0) and box.owed == []


@pytest.mark.parametrize(("patience", "most"), [(90.0, 95.0), (0.0, 5.0)])
def test_the_end_waits_so_long_and_no_longer(box: Outbox, clock: Clock, patience: float, most: float) -> None:
    for number in range(50):
        box.put(str(number), takes(clock, 5.0, TimeoutError("timed out at me:hidden")))
    began = clock.now
    assert not box.flush(patience)
    assert clock.now - began <= most and len(box.owed) == 50
    assert box.reason is not None and "hidden" not in box.reason


def test_a_store_that_comes_back_in_time_gets_all(box: Outbox, clock: Clock) -> None:
    back = clock.now + 60.0

    def write() -> None:
        if clock.now < back:
            raise ConnectionRefusedError("refused")

    for number in range(3):
        box.put(str(number), write)
    assert box.flush(90.0) and box.owed == []
