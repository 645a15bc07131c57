"""Takes findings, draws learning curves and what an added example was worth; PNG of one finding for its trial.

The functions `draw_...` draw on an empty figure (drawing.Drawing, once their other arguments are bound).
"""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from likra_ray.analysis.findings import Finding
from likra_ray.analysis.phrases import rests_on
from likra_ray.records import CriticalPhase, CurvePoint
from likra_ray.reporting import drawing, words
from likra_ray.reporting.drawing import GRID, INK, SOFT, look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

MAIN_ARMS = ("likra", "base_likra", "sft")
"""The arms of the first picture; every other arm has a small one of its own beside these."""

TICK_ROOM = 0.075
"""Share of a full-width axis that a label of three digits takes; labels stand at least so far apart."""


class VolumeAxis(NamedTuple):
    """log2 of the volume; volume 0 stands one step of the grid left of the first volume above it."""

    volumes: tuple[int, ...]
    zero: float

    def place(self, volume: float) -> float:
        """On the axis; nothing stands left of volume 0."""
        return max(math.log2(volume), self.zero) if volume > 0 else self.zero

    def label(self, axes: Axes, *, width: float = 1.0) -> None:
        """Ticks as close as `width`, the share of the figure the axes take, has room for, and the limits."""
        first, last = self.place(self.volumes[0]), self.place(self.volumes[-1])
        room = TICK_ROOM * (last - first) / width
        kept = [self.volumes[-1]]
        for volume in (self.volumes[0], *self.volumes[1:-1]):
            if all(abs(self.place(volume) - self.place(other)) >= room for other in kept):
                kept.append(volume)
        axes.set_xticks([self.place(volume) for volume in kept], [str(volume) for volume in kept])
        axes.set_xlim(first - 0.2, last + 0.2)


def volume_axis(volumes: Sequence[int]) -> VolumeAxis:
    """The axis of these volumes, in any order."""
    ordered = tuple(sorted(set(volumes)))
    logs = [math.log2(volume) for volume in ordered if volume > 0]
    zero = logs[0] - (min(logs[1] - logs[0], 1.0) if len(logs) > 1 else 1.0) if logs else 0.0
    return VolumeAxis(ordered, zero)


def measured(curve: Sequence[CurvePoint]) -> list[CurvePoint]:
    """The points that have an accuracy."""
    return [point for point in curve if not math.isnan(point.accuracy)]


def draw_learning_curves(figure: FigureBase, *, finding: Finding) -> None:
    """Accuracy by volume of MAIN_ARMS with 95 % bands, the base, chance, and every critical phase found."""
    axes = drawing.gridded(figure.add_subplot())
    arms = {arm: measured(finding.curves[arm]) for arm in MAIN_ARMS if arm in finding.curves}
    axis = volume_axis([point.volume for curve in arms.values() for point in curve])
    for arm in arms:
        if arm in finding.phase:
            _phase(axes, finding.phase[arm], axis, look(arm).colour)
    for arm, curve in arms.items():
        band(axes, curve, axis, arm)
    _levels(axes, finding)
    axis.label(axes)
    axes.set_xlabel("examples each head has learnt from")
    axes.set_ylabel("accuracy")
    drawing.legend(figure, axes, 3)


def draw_small_curves(figure: FigureBase, *, cells: Sequence[tuple[str, Finding, str]]) -> None:
    """Two a row: (title, finding, arm): the arm with its band and phase, Likra and SFT of that finding thin beside it.

    An arm that has volume 0 alone (PMI of the base) is a level.
    """
    shared = None
    columns, rows = 2, math.ceil(len(cells) / 2)
    axis = volume_axis([point.volume for _, one, arm in cells for other in (arm, "likra", "sft")
                        for point in one.curves.get(other, ())])  # fmt: skip
    for index, (title, finding, arm) in enumerate(cells):
        axes = drawing.gridded(figure.add_subplot(rows, columns, index + 1, sharey=shared))
        shared = shared or axes
        for other in ("likra", "sft"):
            if other != arm and other in finding.curves:
                curve = measured(finding.curves[other])
                places, values = [axis.place(point.volume) for point in curve], [point.accuracy for point in curve]
                axes.plot(places, values, color=look(other).colour, linewidth=1, label=look(other).label)
        if arm in finding.phase:
            _phase(axes, finding.phase[arm], axis, look(arm).colour)
        band(axes, measured(finding.curves[arm]), axis, arm)
        axes.set_title("\n".join(narrow(title)), fontsize=drawing.LETTERS, loc="left", color=INK)
        axis.label(axes, width=0.42)
        if index % columns:
            axes.tick_params(labelleft=False)
    figure.supxlabel("examples each head has learnt from", fontsize=drawing.LETTERS)
    figure.supylabel("accuracy", fontsize=drawing.LETTERS)


def small_height(titles: Sequence[str]) -> float:
    """Inches that `draw_small_curves` needs for cells of these titles."""
    lines = [len(narrow(title)) for title in titles]
    return 0.5 + sum(1.55 + 0.19 * max(lines[first : first + 2]) for first in range(0, len(lines), 2))


def narrow(title: str, width: int = 24) -> list[str]:
    """The lines of a title in half a picture's width; what is too long for one is broken after its ``=``."""
    words = [word.replace("=", "= ", 1) if len(word) > width else word for word in title.split()]
    return textwrap.wrap(" ".join(words), width)


def band(axes: Axes, curve: Sequence[CurvePoint], axis: VolumeAxis, arm: str) -> None:
    """A curve in its arm's look with its 95 % band; a level where it has volume 0 alone."""
    style = look(arm)
    if len(curve) == 1 and curve[0].volume == 0:
        axes.axhline(curve[0].accuracy, color=style.colour, linewidth=2, label=style.label)
        if not math.isnan(curve[0].interval[0]):
            axes.axhspan(*curve[0].interval, color=style.colour, alpha=0.15, linewidth=0)
        return
    places = [axis.place(point.volume) for point in curve]
    low, high = ([point.interval[end] for point in curve] for end in (0, 1))
    axes.fill_between(places, low, high, color=style.colour, alpha=0.15, linewidth=0)
    values = [point.accuracy for point in curve]
    axes.plot(places, values, color=style.colour, marker=style.marker, markersize=5, linewidth=2, label=style.label)


def _levels(axes: Axes, finding: Finding) -> None:
    """The base's accuracy, and chance: what Likra has at volume 0, where all its scores tie."""
    base = finding.curves["base"][0].accuracy
    axes.axhline(base, color=INK, linestyle="--", linewidth=1.3, label=f"base {words.share(base, 2)}")
    start = finding.curves["likra"][0]
    if start.volume == 0:
        chance = start.accuracy
        axes.axhline(chance, color=SOFT, linestyle=":", linewidth=1.5, label=f"chance {words.share(chance, 2)}")


def _phase(axes: Axes, phase: CriticalPhase, axis: VolumeAxis, colour: str) -> None:
    """From onset to end shaded, the midpoint a line, its interval a bar at the bottom; nothing where none is."""
    if not phase.found or phase.onset is None or phase.end is None or phase.midpoint is None:
        return
    axes.axvspan(axis.place(phase.onset), axis.place(phase.end), color=colour, alpha=0.14, linewidth=0)
    if phase.midpoint_interval is not None:
        low, high = (axis.place(volume) for volume in phase.midpoint_interval)
        axes.plot([low, high], [0.015, 0.015], transform=axes.get_xaxis_transform(), color=colour, linewidth=4)
    axes.axvline(axis.place(phase.midpoint), color=colour, linestyle="-.", linewidth=1.2)


PER_EXAMPLE, PER_DOUBLING = "per example", "per doubling"


def draw_efficiency(figure: FigureBase, *, finding: Finding, unit: str = PER_EXAMPLE) -> None:
    """The ladder: accuracy gained on each step between neighbouring volumes, a row a step, with 95 % bars, MAIN_ARMS.

    unit: PER_EXAMPLE, in points per 100 examples, on an axis linear around 0 and logarithmic beyond, since the worth
    of an example falls by powers of ten; or PER_DOUBLING, in points.
    """
    axes = drawing.gridded(figure.add_subplot(), "x")
    arms = [arm for arm in MAIN_ARMS if arm in finding.efficiency]
    rows = sorted({(step.start, step.end) for arm in arms for step in finding.efficiency[arm]})
    widths: list[float] = []
    scale = 1e4 if unit == PER_EXAMPLE else 100.0
    for place, arm in enumerate(arms):
        found = [(step.start, step.end, step.per_example, *step.per_example_interval) if unit == PER_EXAMPLE else
                 (step.start, step.end, step.per_doubling, *step.per_doubling_interval)
                 for step in finding.efficiency[arm]]  # fmt: skip
        found = [step for step in found if not math.isnan(step[2])]
        shift = (place - (len(arms) - 1) / 2) * 0.22
        below = [scale * max(step[2] - step[3], 0.0) for step in found]
        above = [scale * max(step[4] - step[2], 0.0) for step in found]
        places = [rows.index((step[0], step[1])) + shift for step in found]
        style = look(arm)
        axes.errorbar([scale * step[2] for step in found], places, xerr=[below, above], fmt=style.marker,
                      color=style.colour, capsize=3, linewidth=1.8, markersize=5, label=style.label)  # fmt: skip
        widths += [width for width in (*below, *above) if width > 0]
    if unit == PER_EXAMPLE and widths:
        _logarithmic_beyond(axes, 10.0 ** math.ceil(math.log10(min(widths))))
    axes.axvline(0, color=SOFT, linewidth=1)
    axes.set_yticks(range(len(rows)), [f"{start} to {end}" for start, end in rows])
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    per = "per 100 added examples" if unit == PER_EXAMPLE else "per doubling"
    axes.set_xlabel(f"points of accuracy gained {per}")
    drawing.legend(figure, axes, 3)


def ladder_height(finding: Finding) -> float:
    """Inches that `draw_efficiency` needs."""
    return 1.3 + 0.45 * len({(step.start, step.end) for arm in MAIN_ARMS for step in finding.efficiency.get(arm, ())})


def _logarithmic_beyond(axes: Axes, linear: float) -> None:
    """A symmetric logarithmic axis with at most seven labels."""
    axes.set_xscale("symlog", linthresh=linear)
    reach = max(abs(end) for end in axes.get_xlim())
    powers = [linear * 10.0**power for power in range(math.ceil(math.log10(reach / linear)) + 1)]
    powers = powers[:: math.ceil(len(powers) / 3)]
    axes.set_xticks([*(-power for power in reversed(powers)), 0.0, *powers])
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.axvspan(-linear, linear, color=GRID, alpha=0.25, linewidth=0)


def learning_curves(finding: Finding, *, title: str) -> bytes:
    """PNG of `draw_learning_curves`, with what it rests on and Likra's verdict below."""
    phases = {arm: finding.phase[arm] for arm in ("likra",)}
    caption = f"{rests_on(finding.questions, len(finding.seeds))}; bands: 95 %. {_verdicts(phases)}"
    drawn = functools.partial(draw_learning_curves, finding=finding)
    return drawing.png(drawn, title=title, caption=caption)


def _verdicts(phases: Mapping[str, CriticalPhase]) -> str:
    """Where each arm's phase lies."""
    return " ".join(f"{look(arm).label}: {words.phase_in_words(phase).rstrip('.')}." for arm, phase in phases.items())
