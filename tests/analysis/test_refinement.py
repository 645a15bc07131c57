"""Which volumes a refinement measures next: a table of cases."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from likra_ray.analysis.refinement import finer_volumes
from likra_ray.records import CriticalPhase

GRID = (0, 16, 32, 64, 128, 256, 512)


def phase(onset: float, end: float, midpoint_interval: tuple[float, float]) -> CriticalPhase:
    return CriticalPhase(found=True, reason="", onset=onset, end=end, midpoint_interval=midpoint_interval)


CASES = {
    "the gaps the phase meets": (phase(40, 100, (50, 90)), GRID, 8, (48, 88)),
    "an interval wider than the phase counts": (phase(60, 70, (40, 140)), GRID, 8, (48, 88, 184)),
    "onset on a measured volume leaves the gap below it": (phase(64, 128, (70, 120)), GRID, 8, (88,)),
    "rounded to the batch": (phase(70, 120, (75, 110)), GRID, 32, (96,)),
    "a second round halves again": (phase(70, 120, (80, 110)), (0, 64, 88, 128), 8, (72, 104)),
    "from 0 the middle is in examples": (phase(4, 15, (5, 12)), (0, 16, 32), 4, (8,)),
    "no room is left": (phase(17, 31, (18, 30)), (0, 16, 24, 32), 8, ()),
    "narrow enough": (phase(50, 120, (70, 80)), GRID, 8, ()),
    "narrow, but between two volumes": (phase(70, 120, (90, 100)), GRID, 8, (88,)),
    "nothing located": (CriticalPhase(found=False, reason="no"), GRID, 8, ()),
}


@pytest.mark.parametrize("case", CASES)
def test_finer_volumes(case: str) -> None:
    located, measured, batch_size, expected = CASES[case]
    finer = finer_volumes(located, measured, batch_size=batch_size)
    assert finer.volumes == expected
    assert bool(finer.reason) == (not expected)


@pytest.mark.parametrize(
    ("located", "said"),
    [
        (CriticalPhase(found=False, reason="no"), "no critical phase"),
        (phase(20, 30, (23, 25)), "0.12 doublings"),
        (phase(17, 31, (18, 30)), "batches of 8"),
    ],
)
def test_says_why_there_is_nothing_to_do(located: CriticalPhase, said: str) -> None:
    measured: Sequence[int] = (0, 16, 24, 32)
    assert said in finer_volumes(located, measured, batch_size=8).reason
