"""benchmarks/locate_simulation.py in small: what docs/locate.md says, roughly, and the bound it compares with."""

from __future__ import annotations

import pytest

from benchmarks.locate_simulation import Cell, best_power, distance, measure, questions_needed
from likra_ray.analysis.planted import Plant


def test_a_large_phase_is_found_where_it_is_and_its_intervals_hold() -> None:
    """docs/locate.md: found always, median error .07 doublings."""
    measured = measure(Cell(name="", plant=Plant(gain=0.4), draws=15))
    assert measured.found >= 14
    assert float(sorted(measured.errors)[measured.found // 2]) < 0.25
    assert min(measured.covered.values()) >= 0.7


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_nearest_curve_without_a_phase_is_rarely_called_one(seeds: int) -> None:
    """docs/locate.md: about 3 %; more than three of 15 then has a chance of one in a thousand."""
    plant = Plant(family="saturating", gain=0.3)
    assert measure(Cell(name="", plant=plant, draws=15, seeds=seeds, midpoints=(4.0, 6.0))).found <= 3


def power(plant: Plant, *, questions: int = 300, seeds: int = 1) -> float:
    return best_power(distance(plant, questions=questions, seeds=seeds))


def test_no_test_can_tell_a_saturating_curve_from_itself() -> None:
    assert power(Plant(family="saturating")) == pytest.approx(0.05, abs=0.005)


def test_the_bound_grows_with_questions_and_seeds_and_shrinks_with_width() -> None:
    plant, wider = Plant(gain=0.15, width=1.0), Plant(gain=0.15, width=2.0)
    assert 0.3 < power(plant, questions=100) < power(plant) < 1.0
    assert power(wider) < power(wider, seeds=3) < power(wider, seeds=5)
    assert power(wider) < power(plant)


def test_the_questions_needed_are_those_with_which_the_bound_is_reached() -> None:
    cell = Cell(name="", plant=Plant(gain=0.15, width=2.0), midpoints=(7.0, 7.0))
    assert power(Plant(gain=0.15, width=2.0, midpoint=128.0), questions=questions_needed(cell)) == pytest.approx(
        0.95, abs=0.01
    )
