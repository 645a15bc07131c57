"""Pictures decode, have the size they say, and show what they must."""

from __future__ import annotations

import dataclasses
import io

import invented
import numpy as np
import pytest
from matplotlib import image

from likra_ray.reporting.figures import DOTS_PER_INCH, INCHES, LOOKS, efficiency_ladder, learning_curves


def pixels(png: bytes) -> np.ndarray:
    assert png.startswith(b"\x89PNG")
    return np.asarray(image.imread(io.BytesIO(png), format="png"))[:, :, :3]


def has_colour(picture: np.ndarray, colour: str) -> bool:
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return bool((np.abs(picture - wanted).max(axis=-1) < 0.02).sum() > 50)


@pytest.mark.parametrize(("jump", "found"), [(3.0, True), (0.0, False)])
def test_learning_curves(jump: float, found: bool) -> None:
    finding = invented.finding(jump=jump)
    assert finding.phase["likra"].found is found
    picture = pixels(learning_curves(finding, title="invented [a] $title"))
    assert picture.shape[:2] == (round(INCHES[1] * DOTS_PER_INCH), round(INCHES[0] * DOTS_PER_INCH))
    assert all(has_colour(picture, look.colour) for look in LOOKS.values())


def test_efficiency_ladder() -> None:
    picture = pixels(efficiency_ladder(invented.finding()))
    assert picture.shape[:2] == (round(INCHES[1] * DOTS_PER_INCH), round(INCHES[0] * DOTS_PER_INCH))
    assert has_colour(picture, LOOKS["likra"].colour)
    assert has_colour(picture, LOOKS["sft"].colour)


def test_a_curve_with_holes_or_volume_0_alone_is_drawn() -> None:
    finding = invented.finding(seeds=1)
    first, second, *rest = finding.curves["likra"]
    holes = dict(finding.curves) | {"likra": (first, dataclasses.replace(second, accuracy=float("nan")), *rest)}
    pixels(learning_curves(dataclasses.replace(finding, curves=holes), title="holes"))
    alone = {arm: curve[:1] for arm, curve in finding.curves.items()}
    finding = dataclasses.replace(finding, curves=alone, efficiency=dict.fromkeys(finding.efficiency, ()))
    pixels(learning_curves(finding, title="volume 0 alone"))
    pixels(efficiency_ladder(finding))
