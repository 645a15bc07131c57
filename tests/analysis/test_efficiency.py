"""The ratio inside a phase: which stretch, which numbers, and none without a phase."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from made_curves import NO_PHASE, VOLUMES, curve, exact, noisy, phase

from likra_ray.analysis.curves import efficiency_ratio
from likra_ray.analysis.efficiency import at_volumes, phase_ratio, rounded_outward
from likra_ray.errors import InputError


@pytest.mark.parametrize(
    ("onset", "end", "stretch"),
    [(40.0, 100.0, (32, 128)), (32.0, 128.0, (32, 128)), (2.0, 20.0, (0, 32)), (100.0, 900.0, (64, 256))],
)
def test_rounded_outward(onset: float, end: float, stretch: tuple[int, int]) -> None:
    assert rounded_outward(onset, end, np.array(VOLUMES)) == stretch


def test_the_phase_is_one_step_of_efficiency_ratio() -> None:
    rng = np.random.default_rng(1)
    likra = curve(noisy([0.25, 0.3, 0.3, 0.5, 0.7, 0.7], questions=400, seeds=1, rng=rng))
    sft = curve(noisy([0.3, 0.3, 0.3, 0.4, 0.45, 0.5], questions=400, seeds=1, rng=rng), arm="sft")
    found = phase_ratio(likra, sft, phase(64.0), rng=np.random.default_rng(0))
    assert (found.start, found.end) == (32, 128)
    cut = [at_volumes(one, [32, 128]) for one in (likra, sft)]
    assert found.ratio == efficiency_ratio(cut[0], cut[1], rng=np.random.default_rng(0))[0]
    assert found.ratio is not None and found.ratio.bounded and 1.5 < found.ratio.ratio < 5.0
    assert found.reason.startswith("From 32 to 128 examples")


def test_volumes_only_one_arm_has_are_not_used() -> None:
    likra, sft = curve(exact([0.2, 0.2, 0.3, 0.6, 0.7, 0.7])), curve(exact([0.3, 0.4, 0.5]), (0, 16, 128), arm="sft")
    found = phase_ratio(likra, sft, phase(64.0), rng=np.random.default_rng(0))
    assert (found.start, found.end) == (16, 128)


def test_nothing_without_a_phase_or_without_sft_around_it() -> None:
    likra, rng = curve(exact([0.2, 0.2, 0.3, 0.6, 0.7, 0.7])), np.random.default_rng(0)
    none = phase_ratio(likra, likra, NO_PHASE, rng=rng)
    assert none.ratio is None and "No critical phase" in none.reason
    sft = curve(exact([0.3, 0.4]), (0, 16), arm="sft")
    outside = phase_ratio(likra, sft, phase(64.0), rng=rng)
    assert outside.ratio is None and "both sides" in outside.reason
    with pytest.raises(InputError, match="the same questions"):
        phase_ratio(likra, dataclasses.replace(likra, question_ids=("a",) * 100), phase(64.0), rng=rng)
