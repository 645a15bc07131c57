"""Takes effects, importances and trials, draws them: what a setting changed, and what a sweep could choose between."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from likra_ray.analysis.near_miss import FactorEffect, FactorSlope
from likra_ray.analysis.pareto import Choice
from likra_ray.records import CurvePoint
from likra_ray.reporting import drawing, words
from likra_ray.reporting.drawing import GRID, INK, LETTERS, PAPER, SOFT, look
from likra_ray.reporting.figures import volume_axis

if TYPE_CHECKING:
    from matplotlib.figure import FigureBase

LETTERS_A_LINE = 52
"""That a line across the whole picture has room for."""

BEHIND = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1.0}
"""The ground under letters that lines may run behind."""


def effect_in_words(effect: FactorEffect) -> str:
    """``near_miss_share 0 → 1, Likra (learning_rate=0.0005)``."""
    change = f"{effect.field} {words.setting(effect.low)} → {words.setting(effect.high)}, {look(effect.arm).label}"
    context = words.context(effect.context)
    return f"{change} ({context})" if context else change


def draw_effects(figure: FigureBase, *, pairs: Sequence[FactorEffect]) -> None:
    """A row for each effect that has an estimate: what changed, above; the difference in accuracy with its bar."""
    axes = drawing.gridded(figure.add_subplot(), "x")
    place = 0.0
    for pair in shown_effects(pairs):
        lines = textwrap.wrap(effect_in_words(pair), LETTERS_A_LINE)
        place += len(lines)
        axes.text(0.0, place - 0.1, "\n".join(lines), transform=axes.get_yaxis_transform(), va="bottom", bbox=BEHIND)
        style, (low, high) = look(pair.arm), (100 * end for end in pair.accuracy.interval)
        value = 100 * pair.accuracy.value
        bar = [[max(value - low, 0.0)], [max(high - value, 0.0)]] if not math.isnan(low) else None
        axes.errorbar([value], [place + 0.35], xerr=bar, fmt=style.marker, color=style.colour, capsize=4, linewidth=2,
                      markersize=6)  # fmt: skip
        place += 1.0
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_ylim(place, -0.1)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=6)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("change of accuracy, points")


def shown_effects(pairs: Sequence[FactorEffect]) -> list[FactorEffect]:
    """Those whose difference in accuracy is a number."""
    return [pair for pair in pairs if not math.isnan(pair.accuracy.value)]


def effects_height(pairs: Sequence[FactorEffect]) -> float:
    """Inches that `draw_effects` needs."""
    lines = sum(1 + len(textwrap.wrap(effect_in_words(pair), LETTERS_A_LINE)) for pair in shown_effects(pairs))
    return 0.7 + 0.2 * max(lines, 4)


class Level(NamedTuple):
    """Accuracy of one configuration where one field has this value."""

    field: str
    arm: str
    context: str
    level: float
    point: CurvePoint


def draw_levels(figure: FigureBase, *, slope_levels: Sequence[Sequence[Level]]) -> None:
    """Accuracy by the value of one field: a line for each arm and context, with 95 % bars."""
    axes = drawing.gridded(figure.add_subplot())
    styles = ("-", "--", ":", "-.")
    contexts = list(dict.fromkeys(one[0].context for one in slope_levels))
    step = min((b.level - a.level for one in slope_levels for a, b in zip(one, one[1:], strict=False)), default=1.0)
    for number, line in enumerate(slope_levels):
        style, context = look(line[0].arm), line[0].context
        shift = 0.06 * step * (number - (len(slope_levels) - 1) / 2) / max(len(slope_levels) / 2, 1)
        accuracy = [one.point.accuracy for one in line]
        below = [max(one.point.accuracy - one.point.interval[0], 0.0) for one in line]
        above = [max(one.point.interval[1] - one.point.accuracy, 0.0) for one in line]
        where = f"{context}, at {line[0].point.volume}".removeprefix(", ")
        label = "\n".join(textwrap.wrap(f"{style.label} {where}", 40))
        turn = contexts.index(context)
        axes.errorbar([one.level + shift for one in line], accuracy, yerr=[below, above], color=style.colour,
                      marker=style.marker, markerfacecolor=PAPER if turn % 2 else style.colour, markersize=5.5,
                      linestyle=styles[turn % len(styles)], capsize=3, linewidth=1.8, label=label)  # fmt: skip
    axes.set_xlabel(slope_levels[0][0].field)
    axes.set_ylabel("accuracy")
    levels = sorted({one.level for line in slope_levels for one in line})
    axes.set_xticks(drawing.shown_ticks(levels, 6), [f"{level:g}" for level in drawing.shown_ticks(levels, 6)])
    drawing.legend(figure, axes, 1 if contexts != [""] else 2)


def levels_height(slopes: Sequence[FactorSlope]) -> float:
    """Inches that `draw_levels` needs."""
    return 2.9 + 0.35 * len(slopes)


def draw_importances(figure: FigureBase, *, importances: Mapping[str, Mapping[str, float]]) -> None:
    """A bar for each searched field, an axes for each objective; the share of the objective's variance beside it."""
    for number, (objective, shares) in enumerate(importances.items()):
        axes = figure.add_subplot(len(importances), 1, number + 1)
        for place, (field, value) in enumerate(shares.items()):
            axes.barh(place, 100 * value, height=0.32, color=look("likra").colour)
            axes.text(0, place - 0.24, f"{field}: {100 * value:.0f} %", va="bottom")
        axes.set_ylim(len(shares) - 0.6, -0.75)
        axes.set_xlim(0, 100)
        axes.set_yticks([])
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.set_title(f"share of the variance of {objective}", fontsize=LETTERS, loc="left", color=SOFT)


def importances_height(importances: Mapping[str, Mapping[str, float]]) -> float:
    """Inches that `draw_importances` needs."""
    return 0.1 + sum(0.4 + 0.45 * len(shares) for shares in importances.values())


def draw_pareto(figure: FigureBase, *, offered: Sequence[Choice], front: Sequence[Choice]) -> None:
    """Accuracy by negatives: every choice a dot, those none beats joined, with 95 % bars."""
    axes = drawing.gridded(figure.add_subplot())
    axis = volume_axis([choice.point.volume for choice in offered])
    axes.plot([axis.place(choice.point.volume) for choice in offered], [choice.point.accuracy for choice in offered],
              linestyle="", marker="o", markersize=4, color=SOFT, alpha=0.55, label="every choice")  # fmt: skip
    points = [choice.point for choice in front]
    places = [axis.place(point.volume) for point in points]
    values = [point.accuracy for point in points]
    style = look("likra")
    axes.step([*places, axis.place(axis.volumes[-1])], [*values, values[-1]], where="post", color=style.colour,
              linewidth=1.5)  # fmt: skip
    below = [max(point.accuracy - point.interval[0], 0.0) for point in points]
    above = [max(point.interval[1] - point.accuracy, 0.0) for point in points]
    axes.errorbar(places, values, yerr=[below, above], fmt=style.marker, color=style.colour, capsize=3, markersize=6,
                  linewidth=1.8, label="none is better with as few")  # fmt: skip
    axis.label(axes)
    axes.set_xlabel("negatives")
    axes.set_ylabel("Likra's accuracy")
    drawing.legend(figure, axes, 2)


def draw_parallel(figure: FigureBase, *, axes_values: Mapping[str, Sequence[Any]]) -> None:
    """One line a trial through its settings, each a horizontal axis, to the objective at the foot, which colours it.

    axes_values: by field, the value of every trial; the last field is the objective, a number.
    """
    import matplotlib

    axes = figure.add_subplot()
    fields = list(axes_values)
    scales = [_scale(axes_values[field]) for field in fields]
    colours = matplotlib.colormaps["plasma"]
    for trial, goal in enumerate(scales[-1].places):
        path = [scale.places[trial] for scale in scales]
        axes.plot(path, range(len(fields)), color=colours(0.3 + 0.55 * goal), linewidth=1.6, alpha=0.9)
    for row, (field, scale) in enumerate(zip(fields, scales, strict=True)):
        axes.axhline(row, color=GRID, linewidth=1.2, zorder=0)
        axes.text(0, row - 0.28, field, ha="left", va="center", weight="bold", bbox=BEHIND)
        for place, text in _apart(scale.ticks):
            side = "left" if place < 0.08 else "right" if place > 0.92 else "center"
            inward = {"left": 0.012, "right": -0.012, "center": 0.0}[side]
            axes.text(place + inward, row + 0.12, text, ha=side, va="top", color=SOFT, bbox=BEHIND)
            axes.plot([place], [row], marker="|", markersize=8, color=SOFT)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(len(fields) - 0.55, -0.5)
    axes.set_axis_off()


def parallel_height(fields: int) -> float:
    """Inches that `draw_parallel` needs."""
    return 0.2 + 0.75 * fields


class _Scale(NamedTuple):
    """One axis of `draw_parallel`: where each trial lies, and what is written where, both from 0 to 1."""

    places: list[float]
    ticks: list[tuple[float, str]]


def _scale(values: Sequence[Any]) -> _Scale:
    """Numbers by size, by their logarithm where they span a factor of 8 and none is 0; words in their order."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if not numbers:
        names = sorted({words.setting(value) for value in values})
        where = {name: index / max(len(names) - 1, 1) for index, name in enumerate(names)}
        return _Scale([where[words.setting(value)] for value in values], [(where[name], name) for name in names])
    low, high = min(values), max(values)
    logarithmic = low > 0 and high / low >= 8
    ends = (math.log(low), math.log(high)) if logarithmic else (float(low), float(high))

    def place(value: float) -> float:
        return ((math.log(value) if logarithmic else value) - ends[0]) / (ends[1] - ends[0]) if high > low else 0.5

    distinct = sorted(set(values))
    shown = distinct if len(distinct) <= 6 else [low, high]
    return _Scale([place(value) for value in values], [(place(value), words.number(value)) for value in shown])


def _apart(ticks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """The last label, and from the left those that run into none already there."""
    kept = [ticks[-1]]
    for place, text in ticks[:-1]:
        if all(abs(place - other) >= 0.012 * (len(text) + len(name) + 1) for other, name in kept):
            kept.append((place, text))
    return kept
