"""Takes a finding, returns pictures of it as PNG: learning curves, and what an added example was worth."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from likra_ray.analysis.findings import Finding
from likra_ray.records import CurvePoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INCHES = (8.0, 5.2)
DOTS_PER_INCH = 160
"""Pictures are 1280 x 832; the letters are still read at half of that."""


class Look(NamedTuple):
    """How an arm is drawn; colours of Okabe & Ito (2008), told apart by every common colour vision, and by marker."""

    label: str
    colour: str
    marker: str


LOOKS = {
    "likra": Look("Likra", "#0072B2", "o"),
    "base_likra": Look("Base-Likra", "#CC79A7", "D"),
    "sft": Look("SFT", "#E69F00", "s"),
}
BASE_COLOUR, CHANCE_COLOUR = "#000000", "#777777"


def learning_curves(finding: Finding, *, title: str) -> bytes:
    """PNG: accuracy by volume of every arm in LOOKS with 95 % bands, the base, chance, and Likra's critical phase.

    The axis is log2; volume 0 stands one step left of the first volume.
    """
    figure, axes = _canvas(title)
    arms = {arm: _measured(finding.curves[arm]) for arm in LOOKS if arm in finding.curves}
    volumes = sorted({point.volume for curve in arms.values() for point in curve})
    zero = _place_of_zero(volumes)
    _phase(axes, finding, zero)
    for arm, curve in arms.items():
        look = LOOKS[arm]
        places = [_place(point.volume, zero) for point in curve]
        low, high = ([point.interval[end] for point in curve] for end in (0, 1))
        axes.fill_between(places, low, high, color=look.colour, alpha=0.15, linewidth=0)
        accuracy = [point.accuracy for point in curve]
        axes.plot(places, accuracy, color=look.colour, marker=look.marker, markersize=6, linewidth=2, label=look.label)
    _levels(axes, finding)
    _volume_axis(axes, volumes, zero)
    axes.set_ylabel("accuracy")
    return _png(figure, axes, _caption(finding, "bands"))


def efficiency_ladder(finding: Finding) -> bytes:
    """PNG: accuracy gained per added example on each step between neighbouring volumes, Likra and SFT, 95 % bars.

    The axis is linear around 0 and logarithmic beyond, since the worth of an example falls by powers of ten.
    """
    figure, axes = _canvas(f"What an added example is worth: {finding.name}")
    names: list[str] = []
    smallest = math.inf
    for arm, shift in (("likra", -0.13), ("sft", 0.13)):
        steps = [step for step in finding.efficiency[arm] if not math.isnan(step.per_example)]
        for step in steps:
            if _step_name(step.start, step.end) not in names:
                names.append(_step_name(step.start, step.end))
        places = [names.index(_step_name(step.start, step.end)) + shift for step in steps]
        gained = [step.per_example for step in steps]
        below = [max(step.per_example - step.per_example_interval[0], 0.0) for step in steps]
        above = [max(step.per_example_interval[1] - step.per_example, 0.0) for step in steps]
        look = LOOKS[arm]
        axes.errorbar(
            places, gained, yerr=[below, above], fmt=look.marker, color=look.colour, capsize=4, linewidth=2,
            markersize=7, label=look.label,
        )  # fmt: skip
        smallest = min([smallest, *(width for width in (*below, *above) if width > 0)])
    unit = "accuracy per added example"
    if math.isfinite(smallest):
        linear = 10.0 ** math.ceil(math.log10(smallest))
        axes.set_yscale("symlog", linthresh=linear)
        unit += f" (logarithmic beyond {linear:g})"
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.axhline(0, color=BASE_COLOUR, linewidth=1)
    axes.set_xticks(range(len(names)), names)
    axes.set_xlabel("from which to which number of examples per head")
    axes.set_ylabel(unit)
    return _png(figure, axes, _caption(finding, "bars"))


def _canvas(title: str) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=12, loc="left", wrap=True, pad=34)
    axes.tick_params(labelsize=11)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Figure, axes: Axes, caption: str) -> bytes:
    axes.xaxis.label.set_fontsize(12)
    axes.yaxis.label.set_fontsize(12)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=5, frameon=False, fontsize=11, columnspacing=1.2)
    figure.supxlabel(caption, fontsize=10, x=0.01, ha="left", color="#333333")
    sink = io.BytesIO()
    figure.savefig(sink, format="png")
    return sink.getvalue()


def _measured(curve: Sequence[CurvePoint]) -> list[CurvePoint]:
    return [point for point in curve if not math.isnan(point.accuracy)]


def _place_of_zero(volumes: Sequence[int]) -> float:
    """One step of the grid left of the first volume above 0, in log2."""
    logs = [math.log2(volume) for volume in volumes if volume > 0]
    return logs[0] - (logs[1] - logs[0] if len(logs) > 1 else 1.0) if logs else 0.0


def _place(volume: float, zero: float) -> float:
    """On the axis; nothing stands left of volume 0."""
    return max(math.log2(volume), zero) if volume > 0 else zero


def _volume_axis(axes: Axes, volumes: Sequence[int], zero: float) -> None:
    shown = volumes if len(volumes) <= 12 else [*volumes[:1], *volumes[1::2]]
    axes.set_xticks([_place(volume, zero) for volume in shown], [str(volume) for volume in shown])
    axes.set_xlim(zero - 0.2, _place(volumes[-1], zero) + 0.2)
    axes.set_xlabel("examples each head has learnt from")


def _levels(axes: Axes, finding: Finding) -> None:
    """The base's accuracy, and chance: what Likra has at volume 0, where all its scores tie."""
    base = finding.curves["base"][0].accuracy
    axes.axhline(base, color=BASE_COLOUR, linestyle="--", linewidth=1.5, label=f"base {base:.2f}")
    start = finding.curves["likra"][0]
    if start.volume == 0:
        chance = start.accuracy
        axes.axhline(chance, color=CHANCE_COLOUR, linestyle=":", linewidth=1.5, label=f"chance {chance:.2f}")


def _phase(axes: Axes, finding: Finding, zero: float) -> None:
    """From onset to end in pale, the midpoint's interval darker, the midpoint as a line; the caption names it."""
    phase = finding.phase["likra"]
    if not phase.found or phase.onset is None or phase.end is None or phase.midpoint is None:
        return
    colour = LOOKS["likra"].colour
    onset, end, midpoint = (_place(volume, zero) for volume in (phase.onset, phase.end, phase.midpoint))
    axes.axvspan(onset, end, color=colour, alpha=0.08, linewidth=0)
    if phase.midpoint_interval is not None:
        low, high = (_place(volume, zero) for volume in phase.midpoint_interval)
        axes.axvspan(low, high, color=colour, alpha=0.16, linewidth=0)
    axes.axvline(midpoint, color=colour, linestyle="-.", linewidth=1.2)


def _caption(finding: Finding, intervals: str) -> str:
    """What the picture rests on, and Likra's verdict."""
    seeds = f"{len(finding.seeds)} seed{'s' if len(finding.seeds) > 1 else ''}"
    rests_on = f"n = {finding.questions} questions, {seeds}; {intervals}: 95 %."
    phase = finding.phase["likra"]
    if not phase.found or phase.onset is None or phase.end is None or phase.midpoint is None:
        return f"{rests_on} Likra: no critical phase found."
    midpoint = f"midpoint {phase.midpoint:.0f}"
    if phase.midpoint_interval is not None:
        midpoint += f" [{phase.midpoint_interval[0]:.0f}, {phase.midpoint_interval[1]:.0f}]"
    return f"{rests_on} Likra's critical phase: {phase.onset:.0f} to {phase.end:.0f}, {midpoint}."


def _step_name(start: int, end: int) -> str:
    return f"{start} to {end}"
