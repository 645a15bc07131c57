"""Pictures decode, have the size they say, show what they must, and are the same bytes each time."""

from __future__ import annotations

import dataclasses
import functools
import io
import re

import invented
import invented_sweep
import numpy as np
import pytest
from matplotlib import image

from likra_ray.analysis.findings import Finding
from likra_ray.reporting import drawing, effect_figures, figures, likelihood_figures
from likra_ray.reporting.drawing import DOTS_PER_INCH, LETTERS, WIDTH, look
from likra_ray.reporting.figures import MAIN_ARMS, PER_DOUBLING, learning_curves, volume_axis


@pytest.fixture(scope="module")
def finding() -> Finding:
    return invented_sweep.finding(3.0)


def pixels(png: bytes) -> np.ndarray:
    assert png.startswith(b"\x89PNG")
    return np.asarray(image.imread(io.BytesIO(png), format="png"))[:, :, :3]


def has_colour(picture: np.ndarray, colour: str) -> bool:
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return bool((np.abs(picture - wanted).max(axis=-1) < 0.02).sum() > 50)


def svg(drawn: drawing.Drawing) -> str:
    return drawing.svg(drawn, name="x", title='a <title> & "more"')


@pytest.mark.parametrize(("jump", "found"), [(3.0, True), (0.0, False)])
def test_learning_curves(jump: float, found: bool) -> None:
    finding = invented.finding(jump=jump)
    assert finding.phase["likra"].found is found
    picture = pixels(learning_curves(finding, title="invented [a] $title$ {b"))
    assert picture.shape[1] == round(WIDTH * DOTS_PER_INCH)
    assert all(has_colour(picture, look(arm).colour) for arm in MAIN_ARMS)


def test_efficiency_ladder(finding: Finding) -> None:
    drawn = functools.partial(figures.draw_efficiency, finding=finding)
    picture = pixels(drawing.png(drawn, title="ladder", caption="", height=figures.ladder_height(finding)))
    assert picture.shape[1] == round(WIDTH * DOTS_PER_INCH)
    assert all(has_colour(picture, look(arm).colour) for arm in MAIN_ARMS)


def test_a_curve_with_holes_or_volume_0_alone_is_drawn() -> None:
    finding = invented.finding(seeds=1)
    first, second, *rest = finding.curves["likra"]
    holes = dict(finding.curves) | {"likra": (first, dataclasses.replace(second, accuracy=float("nan")), *rest)}
    pixels(learning_curves(dataclasses.replace(finding, curves=holes), title="holes"))
    alone = {arm: curve[:1] for arm, curve in finding.curves.items()}
    finding = dataclasses.replace(finding, curves=alone, efficiency=dict.fromkeys(finding.efficiency, ()))
    pixels(learning_curves(finding, title="volume 0 alone"))
    drawn = functools.partial(figures.draw_efficiency, finding=finding)
    pixels(drawing.png(drawn, title="no step", caption="", height=figures.ladder_height(finding)))


def test_svg_is_one_element_without_style_metadata_or_script(finding: Finding) -> None:
    text = svg(functools.partial(figures.draw_learning_curves, finding=finding))
    assert text.startswith("<svg viewBox=") and text.rstrip().endswith("</svg>") and text.count("<svg") == 1
    assert 'aria-label="a &lt;title&gt; &amp; &quot;more&quot;"' in text
    assert not re.search(r"<(style|metadata|script|\?xml|!DOCTYPE)", text)
    assert ">accuracy</text>" in text, "text is text"


def test_svg_ids_are_its_own_and_all_are_there(finding: Finding) -> None:
    text = svg(functools.partial(figures.draw_learning_curves, finding=finding))
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids)) and all(one.startswith("x-") for one in ids)
    assert {one for pair in re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', text) for one in pair if one} <= set(ids)


def test_svg_colours_are_the_style_sheets_in_light_and_dark(finding: Finding) -> None:
    text = svg(functools.partial(figures.draw_learning_curves, finding=finding))
    assert not re.findall(r"#[0-9a-f]{6}\b", text)
    used = set(re.findall(r"var\(--([0-9a-f]{6})\)", text))
    assert {look(arm).colour[1:] for arm in MAIN_ARMS} <= used
    for dark in (False, True):
        assert used <= set(re.findall(r"--([0-9a-f]{6}):#[0-9a-f]{6};", drawing.style_sheet(dark=dark)))


DRAWINGS = {
    "curves": lambda finding: functools.partial(figures.draw_learning_curves, finding=finding),
    "small": lambda finding: functools.partial(figures.draw_small_curves, cells=[("a", finding, "pmi_base"),
                                                                                 ("b " * 40, finding, "dpo")]),
    "ladder": lambda finding: functools.partial(figures.draw_efficiency, finding=finding, unit=PER_DOUBLING),
    "likelihoods": lambda finding: functools.partial(likelihood_figures.draw_likelihoods,
                                                     likelihoods=finding.likelihoods),
    "effects": lambda finding: functools.partial(effect_figures.draw_effects, pairs=invented_sweep.effects().pairs),
    "importances": lambda finding: functools.partial(effect_figures.draw_importances,
                                                     importances={"accuracy": {"a": 0.9, "b": 0.1}}),
    "parallel": lambda finding: functools.partial(effect_figures.draw_parallel,
                                                  axes_values={"a": [1, 1000], "b": ["x", "y"], "goal": [0.5, 0.6]}),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWINGS)
def test_no_letter_is_too_small_for_a_phone(name: str, finding: Finding) -> None:
    """A picture of 360 points is 366 pixels wide there, so that points are pixels."""
    text = svg(DRAWINGS[name](finding))
    sizes = [float(size) for size in re.findall(r"font(?:-size)?: (?:\w+ )*?([\d.]+)px", text)]
    assert sizes and min(sizes) >= LETTERS >= 10
    assert 'viewBox="0 0 360 ' in text


@pytest.mark.parametrize("name", ["curves", "small", "parallel"])
def test_the_same_drawing_is_the_same_bytes(name: str, finding: Finding) -> None:
    drawn = DRAWINGS[name](finding)
    assert svg(drawn) == svg(drawn)
    assert drawing.png(drawn, title="t", caption="c") == drawing.png(drawn, title="t", caption="c")


def test_labels_of_the_volume_axis_stand_apart() -> None:
    from matplotlib.figure import Figure

    volumes = [0, 16, 32, 64, 72, 80, 88, 96, 104, 112, 128, 256, 512]
    axes = Figure().add_subplot()
    axis = volume_axis(volumes[::-1])
    axis.label(axes)
    places = sorted(axes.get_xticks())
    labels = {text.get_text() for text in axes.get_xticklabels()}
    assert {"0", "16", "64", "512"} <= labels and len(labels) <= 12
    assert min(np.diff(places)) >= 0.06 * (places[-1] - places[0])
    assert axis.place(0) == pytest.approx(3.0), "one doubling left of 16"


def test_arms_of_one_picture_are_told_apart() -> None:
    looks = list(drawing.LOOKS.values())
    assert len({one.marker for one in looks}) == len(looks)
    assert all(one.colour in drawing.DARK for one in looks)
    assert drawing.look("unheard of").label == "unheard of"


@pytest.mark.parametrize(
    ("title", "lines"),
    [
        ("DPO", ["DPO"]),
        ("learning_rate=0.0005 near_miss_share=1", ["learning_rate=0.0005", "near_miss_share=1"]),
        ("near_miss_from=most_plausible seed=0", ["near_miss_from=", "most_plausible seed=0"]),
    ],
)
def test_narrow(title: str, lines: list[str]) -> None:
    assert figures.narrow(title) == lines
