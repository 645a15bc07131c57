"""Takes likelihood estimates, draws what learning did to correct, near-miss and far options: SFT against Likra."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from likra_ray.analysis.estimates import Estimate
from likra_ray.analysis.likelihoods import LikelihoodEstimates
from likra_ray.records import KINDS, Kind
from likra_ray.reporting import drawing
from likra_ray.reporting.drawing import INK, LETTERS, look
from likra_ray.reporting.figures import VolumeAxis, volume_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

Likelihoods = Mapping[str, Sequence[LikelihoodEstimates]]
"""By view, in order of volume: Finding.likelihoods."""

KIND_LOOKS: dict[Kind, tuple[str, str, str]] = {
    "correct": ("correct", "#00805f", "o"),
    "near_miss": ("near-miss", "#c8500a", "^"),
    "far": ("far", "#7d4bc2", "s"),
}
"""By kind of option: label, colour, marker."""

LEVELS = {
    "positive_head": "SFT: log p, nats",
    "negative_head": "negative head: log p",
    "likra": "Likra: difference, nats",
}
"""The views whose options are drawn by kind, with what stands above."""

VIEW_ARMS = {"positive_head": "sft", "likra": "likra", "base_likra": "base_likra"}
"""The views compared by how well they tell options apart, and the arm whose look they have."""

Measure = Callable[[LikelihoodEstimates], Estimate]
MEASURES: dict[str, Measure] = {
    "near-miss on top, share": lambda point: point.near_miss_on_top,
    "AUROC, near-misses": lambda point: point.near_miss_auroc,
    "AUROC, far options": lambda point: point.far_auroc,
    "calibration error (ECE)": lambda point: point.calibration_error,
    "Brier score": lambda point: point.brier,
}
"""What each small picture of the second half shows."""


def draw_likelihoods(figure: FigureBase, *, likelihoods: Likelihoods) -> None:
    """Two columns: mean log-probability by kind for each view of LEVELS, then MEASURES for SFT, Likra, Base-Likra."""
    axis = volume_axis([point.volume for points in likelihoods.values() for point in points])
    cells: list[tuple[str, Callable[[Axes], None]]] = [
        (title, functools.partial(_kinds, points=likelihoods[view], axis=axis))
        for view, title in LEVELS.items()
        if likelihoods.get(view)
    ]
    cells += [
        (title, functools.partial(_views, likelihoods=likelihoods, measure=measure, axis=axis))
        for title, measure in MEASURES.items()
    ]
    found = []
    for index, (title, draw) in enumerate(cells):
        axes = drawing.gridded(figure.add_subplot(math.ceil(len(cells) / 2), 2, index + 1))
        draw(axes)
        axes.set_title(title, fontsize=LETTERS, loc="left", color=INK)
        axis.label(axes, width=0.42)
        found += [(handle, label) for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)]
    by_label = {label: handle for handle, label in reversed(found)}
    names = list(dict.fromkeys(label for _, label in found))
    figure.legend([by_label[name] for name in names], names, loc="outside upper left", ncols=3)
    figure.supxlabel("examples each head has learnt from", fontsize=LETTERS)


def likelihoods_height(likelihoods: Likelihoods) -> float:
    """Inches that `draw_likelihoods` needs."""
    cells = sum(bool(likelihoods.get(view)) for view in LEVELS) + len(MEASURES)
    return 1.1 + 1.55 * math.ceil(cells / 2)


def _kinds(axes: Axes, *, points: Sequence[LikelihoodEstimates], axis: VolumeAxis) -> None:
    """Mean score per option by kind; a kind no question offers is not there."""
    for kind in KINDS:
        label, colour, marker = KIND_LOOKS[kind]
        line(axes, axis, [(point.volume, point.per_option[kind]) for point in points], (label, colour, marker))


def _views(axes: Axes, *, likelihoods: Likelihoods, measure: Measure, axis: VolumeAxis) -> None:
    for view, arm in VIEW_ARMS.items():
        line(axes, axis, [(point.volume, measure(point)) for point in likelihoods.get(view, ())], look(arm))


def line(axes: Axes, axis: VolumeAxis, values: Sequence[tuple[int, Estimate]], style: tuple[str, str, str]) -> None:
    """Estimates by volume with a 95 % band where they have one; nothing where none is a number.

    style: label, colour, marker.
    """
    shown = [(axis.place(volume), found) for volume, found in values if not math.isnan(found.value)]
    if not shown:
        return
    label, colour, marker = style
    places = [place for place, _ in shown]
    low, high = ([found.interval[end] for _, found in shown] for end in (0, 1))
    axes.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.plot(places, [found.value for _, found in shown], color=colour, marker=marker, markersize=4, linewidth=1.6,
              label=label)  # fmt: skip
