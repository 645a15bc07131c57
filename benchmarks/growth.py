"""How the cost of scoring and training grows: measured, fitted, plotted to benchmarks/growth.png."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import timing, workloads
from benchmarks.setting import Setting
from likra_ray.heads import scoring
from likra_ray.heads.base import LoadedBase
from likra_ray.records import Question

PICTURE = Path(__file__).with_name("growth.png")
Sweep = tuple[str, tuple[int, ...], Callable[[int], timing.Work]]


def section(setting: Setting) -> list[str]:
    """The table and its picture. A step's cost per unit is how much one more costs there, in the axis's unit."""
    if not setting.sizes.growth:
        return ["## Growth", "", "Not measured in a quick look."]
    rows, drawn = [], []
    for name, counts, work in sweeps(setting.loaded, setting.asked):
        works = {str(count): work(count) for count in counts}
        found = timing.side_by_side(works, repeats=setting.sizes.repeats)
        seconds = [found[str(count)] for count in counts]
        drawn.append((name, counts, seconds))
        steps = np.diff(seconds) / np.diff(counts)
        slope, intercept = np.polyfit(counts, seconds, 1)
        away = np.abs(np.polyval((slope, intercept), counts) / seconds - 1.0).max()
        shown = ", ".join(f"{count}: {second:.2f}" for count, second in zip(counts, seconds, strict=True))
        rows.append(f"| {name} | {shown} | {slope:.3g} | {away:.0%} | {steps[-1] / steps[0]:.2f} |")
    draw(drawn)
    return [
        "## Growth",
        "",
        "Seconds, and a straight line through them: what one more costs, how far the worst point lies off the line, "
        "and what one more costs at the end of the axis over what it costs at its start (1: linear, above 1: a knee).",
        "",
        "| axis | measured: seconds | one more, s | off the line | last step over first |",
        "|---|---|---|---|---|",
        *rows,
        "",
        "![growth](growth.png)",
    ]


def sweeps(loaded: LoadedBase, asked: workloads.Questions) -> list[Sweep]:
    """Each axis: its name, its values, and the work at a value."""
    evaluate = list(asked.evaluate)
    five = [question for question in evaluate if len(question.options) >= 4][:40]

    def scored(questions: Sequence[Question], shots: int = 5) -> timing.Work:
        return lambda: scoring.score(loaded.model, loaded.tokenizer, list(questions), shots=asked.train[:shots])

    def trained(volume: int, heads: int = 1) -> timing.Work:
        pairs = workloads.answers(asked.train, volume)
        own = workloads.smollm2()
        trainer = workloads.Trainer(own, workloads.taught(own, pairs), batch_size=8)
        return lambda: [trainer.train() for _ in range(heads)]

    def scored_often(heads: int) -> timing.Work:
        once = scored(evaluate[:20])
        return lambda: [once() for _ in range(heads)]

    return [
        ("questions, 5-shot", (20, 40, 80, 160), lambda count: scored(evaluate[:count])),
        ("options a question, 40 questions, 5-shot", (2, 3, 4), lambda count: scored([_cut(q, count) for q in five])),
        ("shots, 20 questions", (0, 5, 10, 15, 25), lambda count: scored(evaluate[:20], count)),
        ("examples a head learns", (16, 32, 48, 64), trained),
        ("score tables (volumes, heads) of 20 questions", (1, 2, 4, 8), scored_often),
        ("heads of 16 examples trained", (1, 2, 4), lambda heads: trained(16, heads)),
    ]


def _cut(question: Question, options: int) -> Question:
    """The question with its correct option and so many in all."""
    correct = [option for option in question.options if option.kind == "correct"][:1]
    wrong = [option for option in question.options if option.kind != "correct"]
    return dataclasses.replace(question, options=tuple([*correct, *wrong][:options]))


def draw(drawn: Sequence[tuple[str, Sequence[int], Sequence[float]]]) -> None:
    """A small picture for each axis, from 0, with its straight line."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, grid = pyplot.subplots(2, 3, figsize=(12, 6.5), layout="constrained")
    all_axes: Any = grid.ravel()
    for axes, (name, counts, seconds) in zip(all_axes, drawn, strict=True):
        line = np.polyfit(counts, seconds, 1)
        ends = np.array([0, counts[-1]])
        axes.plot(ends, np.polyval(line, ends), color="#9da7b1", linewidth=1)
        axes.plot(counts, seconds, "o", color="#0b62a4")
        axes.set(xlabel=name, ylabel="seconds", xlim=(0, None), ylim=(0, None))
    figure.savefig(PICTURE, dpi=110)
    pyplot.close(figure)
