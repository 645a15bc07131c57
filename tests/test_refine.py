"""Rounds of refinement and how they end, without Ray: a stand-in for the ledger, which the sweep tests run for real."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from likra_ray.records import CriticalPhase, CurvePoint
from likra_ray.refine import rounds

GRID = (0, 16, 32, 64, 128)
Point = dict[str, Any]


def result(seed: int, volumes: tuple[int, ...], status: str = "done", batch_size: int = 8) -> SimpleNamespace:
    curve = [CurvePoint(volume=v, accuracy=0.5, interval=(0.4, 0.6), questions=100, seeds=1) for v in volumes]
    return SimpleNamespace(
        key=f"{seed}-{len(volumes)}", status=status, sampled={"seed": seed}, trained={"negative": 8},
        spec={"volumes": list(volumes), "batch_size": batch_size}, curves={"likra": curve, "base_likra": curve},
    )  # fmt: skip


class Book:
    """What `rounds` asks of a ledger; Likra's phase is always between 33 and 60, its midpoint known to a doubling."""

    def __init__(self, *trials: SimpleNamespace, rounds: int) -> None:
        self.results = list(trials)
        self.refined: list[str] = []
        self.refinements: list[dict[str, Any]] = []
        self.ended: str | None = None
        self.sweep = SimpleNamespace(budget=SimpleNamespace(refinements=rounds))

    def findings(self) -> list[SimpleNamespace]:
        phase = CriticalPhase(found=True, reason="", onset=33.0, end=60.0, midpoint_interval=(33.0, 66.0))
        latest: dict[int, str] = {one.sampled["seed"]: one.key for one in self.results if one.status == "done"}
        return [SimpleNamespace(name="one", trials=tuple(latest.values()), phase={"likra": phase, "base_likra": phase})]

    def headline(self) -> SimpleNamespace:
        return self.findings()[0]

    def add_refinement(self, record: dict[str, Any]) -> None:
        self.refinements.append(record)

    def end_refinement(self, reason: str) -> None:
        self.ended = reason


def runs(book: Book, asked: list[Point], *, status: Callable[[int], str | None]) -> Callable[[list[Point]], None]:
    """A measure that ends each seed's trial with this status; None: it is cut short before."""

    def measure(points: list[Point]) -> None:
        for point in points:
            asked.append(point)
            how = status(point["seed"])
            if how is not None:
                ended = result(point["seed"], tuple(point["volumes"]), how)
                book.results = [one for one in book.results if one.key != ended.key] + [ended]
                book.refined.append(ended.key)

    return measure


def refined(book: Book, status: Callable[[int], str | None], seconds: float = 100.0) -> tuple[bool, list[Point]]:
    """Whether a reason is given why there is no further round, and the points of all rounds."""
    asked: list[Point] = []
    for points in rounds(book, left=lambda: seconds):  # type: ignore[arg-type]
        runs(book, asked, status=status)(points)
    return book.ended is not None, asked


def test_every_seed_measures_every_round_until_none_is_finer() -> None:
    book = Book(result(0, GRID), result(1, GRID), rounds=2)
    whole, asked = refined(book, lambda seed: "done")
    assert whole and [point["seed"] for point in asked] == [0, 1, 0, 1]
    assert asked[0]["volumes"] == [0, 16, 32, 48, 64, 88, 128] and 40 in asked[2]["volumes"]
    assert [one["failed"] for one in book.refinements] == [0, 0] and "as fine as batches of 8 allow" in book.ended


def test_a_round_that_fails_ends_refinement_and_not_the_sweep() -> None:
    book = Book(result(0, GRID), rounds=2)
    whole, asked = refined(book, lambda seed: "failed")
    assert whole and len(asked) == 1
    assert book.refinements[0]["failed"] == 1 and book.ended == "no trial of its last round ended well"


def test_a_round_cut_short_is_kept_and_completed_by_the_next() -> None:
    """All three are one of the rounds that the budget allows."""
    book = Book(result(0, GRID), result(1, GRID), rounds=1)
    for ends in ((), (0,)):
        whole, _ = refined(book, lambda seed, ends=ends: "done" if seed in ends else None)  # type: ignore[misc]
        assert not whole and book.ended is None
    whole, asked = refined(book, lambda seed: "done")
    assert whole and asked == [{"seed": 1, "volumes": [0, 16, 32, 48, 64, 88, 128]}]
    assert [one["cut_short"] for one in book.refinements] == [True, True, False]
    assert book.ended == "1 rounds, as budget.refinements allows"


@pytest.mark.parametrize("ends", [(), (0,)])
def test_a_round_that_the_minutes_cut_short_did_not_fail(ends: tuple[int, ...]) -> None:
    book, left = Book(result(0, GRID), result(1, GRID), rounds=2), [100.0, 0.0]
    asked: list[Point] = []
    for points in rounds(book, left=lambda: left.pop(0)):  # type: ignore[arg-type]
        runs(book, asked, status=lambda seed: "done" if seed in ends else None)(points)
    assert len(asked) == 2 and book.ended == "budget.minutes are used up" and not left


def test_the_trials_own_batch_size_counts() -> None:
    book = Book(result(0, GRID, batch_size=16), rounds=1)
    _, asked = refined(book, lambda seed: "done")
    assert asked[0]["volumes"] == [0, 16, 32, 48, 64, 96, 128]


@pytest.mark.parametrize(("rounds", "seconds", "said"), [(0, 100.0, "0 rounds"), (2, 0.0, "budget.minutes")])
def test_a_budget_that_is_used_up_measures_nothing(rounds: int, seconds: float, said: str) -> None:
    book = Book(result(0, GRID), rounds=rounds)
    whole, asked = refined(book, lambda seed: "done", seconds)
    assert whole and not asked and said in book.ended
