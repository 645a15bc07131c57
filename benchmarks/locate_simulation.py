"""How often the critical phase is found, where, and how honest its intervals are: by planting what is to be found.

    python -m benchmarks.locate_simulation                  all tables, into docs/locate.md: about ten minutes, one core
    python -m benchmarks.locate_simulation --quick          a tenth of the draws, printed only
    python -m benchmarks.locate_simulation --only coverage  one part: phases, alarms, harder, coverage, margins

Every planted midpoint is drawn anew between 64 and 256 examples, so that no figure rests on where the volumes stand.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from likra_ray.analysis import fits
from likra_ray.analysis.critical_phase import checkpoint_covariance, locate, locate_margin
from likra_ray.analysis.planted import NULL_FAMILIES, Plant, planted_curve, planted_margins, planted_mean
from likra_ray.records import CriticalPhase

PAGE = Path(__file__).parents[1] / "docs" / "locate.md"
BEGIN, END = "<!-- figures: written by benchmarks/locate_simulation.py -->", "<!-- end of figures -->"
MIDPOINTS = (6.0, 8.0)
"""log2 examples between which planted midpoints are drawn: inside the volumes 16 ... 1024 on both sides."""
ALARMS = 0.05
"""False alarms the bound on the power allows, as the requirement does."""
ONE_SIDED = 1.644854
"""Standard normal quantile at 95 %."""
MARGIN_SPREAD, MARGIN_TAILS = 2.0, 3.0
"""Nats and degrees of freedom of planted margins: variance three times the squared scale, infinite kurtosis."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One row of a table: what is planted, and how often."""

    name: str
    plant: Plant
    questions: int = 300
    seeds: int = 1
    draws: int = 100
    margins: bool = False
    """Plant margins, in nats, instead of outcomes."""
    midpoints: tuple[float, float] = MIDPOINTS
    """log2 examples; of a null family without a midpoint, without meaning."""


class Measured(NamedTuple):
    """What became of a cell's draws."""

    draws: int
    found: int
    errors: np.ndarray
    """(found,) midpoint, doublings from the planted one, absolute."""
    covered: dict[str, float]
    """Share of the found whose interval holds the planted onset, midpoint, end, gain."""
    widths: np.ndarray
    """(found,) of the midpoint's interval, doublings."""


PHASE_HEAD = (
    "| gain | width | questions | seeds | found | bound | questions for 95 % | midpoint error: median | 90 % |\n"
    "|---|---|---|---|---|---|---|---|---|"
)
COVERAGE_HEAD = (
    "| width | runs differ by | seeds | found | onset | midpoint | end | gain | midpoint's interval is wide |\n"
    "|---|---|---|---|---|---|---|---|---|"
)
FOUND_HEAD = (
    "| phase | seeds | found | midpoint error: median | 90 % | midpoint's interval covers |\n|---|---|---|---|---|---|"
)
ALARM_HEAD = "| no phase | seeds | called a phase |\n|---|---|---|"


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the draws; nothing is written")
    parser.add_argument("--only", choices=sorted(PARTS), help="one part; nothing is written")
    arguments = parser.parse_args()
    began = time.process_time()
    parts = [arguments.only] if arguments.only else list(PARTS)
    text = "\n\n".join(PARTS[part](0.1 if arguments.quick else 1.0) for part in parts)
    text += f"\n\nAll of it: {time.process_time() - began:.0f} s of processor time."
    print(text)
    if not arguments.quick and not arguments.only:
        before, rest = PAGE.read_text().split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}")


def measure(cell: Cell, share: float = 1.0) -> Measured:
    """Plants and locates, a `share` of the cell's draws. A draw is the same whatever was drawn before it."""
    draws = max(int(round(cell.draws * share)), 4)
    pairs = [one(cell, draw) for draw in range(draws)]
    found = [(plant, phase) for plant, phase in pairs if phase.found]
    errors = [abs(np.log2(phase.midpoint / plant.midpoint)) for plant, phase in found if phase.midpoint]
    widths = [
        np.log2(phase.midpoint_interval[1] / phase.midpoint_interval[0])
        for _, phase in found
        if phase.midpoint_interval
    ]
    covered = {
        name: float(np.mean([holds(phase, name, true) for plant, phase in found for true in [truths(plant)[name]]]))
        if found
        else float("nan")
        for name in ("onset", "midpoint", "end", "gain")
    }
    return Measured(draws, len(found), np.array(errors), covered, np.array(widths))


def one(cell: Cell, draw: int) -> tuple[Plant, CriticalPhase]:
    """One planted curve, and what was located in it."""
    rng = np.random.default_rng([draw, cell.seeds, cell.questions])
    plant = replace(cell.plant, midpoint=float(np.exp2(rng.uniform(*cell.midpoints))))
    if cell.margins:
        values = planted_margins(
            plant, questions=cell.questions, seeds=cell.seeds, spread=MARGIN_SPREAD, tails=MARGIN_TAILS, rng=rng
        )
        return plant, locate_margin(plant.volumes, values, rng=rng)
    return plant, locate(
        plant.volumes, planted_curve(plant, questions=cell.questions, seeds=cell.seeds, rng=rng), rng=rng
    )


def truths(plant: Plant) -> dict[str, float]:
    """What the intervals should hold: examples, and accuracy or nats."""
    half = 2.0 ** (0.5 * plant.width)
    return {
        "onset": plant.midpoint / half,
        "midpoint": plant.midpoint,
        "end": plant.midpoint * half,
        "gain": plant.gain,
    }


def holds(phase: CriticalPhase, name: str, true: float) -> bool:
    """Whether the interval holds the truth."""
    low, high = getattr(phase, f"{name}_interval")
    return bool(low <= true <= high)


def distance(plant: Plant, *, questions: int, seeds: int) -> float:
    """How far the plant is from the nearest saturating curve: sqrt((a - b)' covariance^-1 (a - b)).

    The saturating curve has the level, gain and tau that make it least. The covariance is that of 8,000 simulated
    questions.
    """
    rng = np.random.default_rng(0)
    covariance = checkpoint_covariance(planted_curve(plant, questions=8000, seeds=seeds, rng=rng)) * 8000 / questions
    volumes = np.array(plant.volumes, dtype=np.float64)
    taus = np.exp2(np.arange(0.0, 14.0, 0.02))[:, None]
    missing = np.full(len(taus), np.nan)
    saturating = fits.Shapes(-np.expm1(-volumes / taus), missing, missing)
    found = fits.fit(planted_mean(plant)[None], fits.project(saturating, covariance))
    return float(np.sqrt(max(found.misfit[0], 0.0)))


def best_power(distances: float | np.ndarray) -> float:
    """The largest chance any test with ALARMS false alarms has to tell curves that far apart; the mean over several.

    Neyman and Pearson (1933): of two known mean curves with one known covariance, it is the likelihood ratio's. A real
    test has to find the curves out, and can only do worse.
    """
    return float(np.mean(ndtr(distances - ONE_SIDED)))


def distances(cell: Cell) -> np.ndarray:
    """(5,) over the midpoints a cell draws."""
    midpoints = np.exp2(np.linspace(*cell.midpoints, 5))
    plants = [replace(cell.plant, midpoint=float(midpoint)) for midpoint in midpoints]
    return np.array([distance(plant, questions=cell.questions, seeds=cell.seeds) for plant in plants])


def questions_needed(cell: Cell) -> int:
    """Questions with which the bound reaches 95 %: distances grow with their square root. Two digits."""
    apart = distances(cell) / np.sqrt(cell.questions)
    wanted = next(n for n in np.geomspace(10, 1e7, 1401) if best_power(apart * np.sqrt(n)) >= 0.95)
    return int(float(f"{wanted:.1e}"))


def phases(share: float) -> str:
    """Found, the bound on it, and the midpoint's error, over gain, width and seeds."""
    rows = []
    for gain in (0.05, 0.1, 0.15, 0.25, 0.4):
        for width in (0.5, 1.0, 2.0, 4.0):
            for seeds in (1, 2, 3, 5) if gain in (0.15, 0.25) and width <= 2.0 else (1, 3):
                rows.append(Cell(name=f"{gain} | {width}", plant=Plant(gain=gain, width=width), seeds=seeds))
    for gain, width, questions in (
        (0.15, 1.0, 600),
        (0.15, 2.0, 600),
        (0.15, 2.0, 1500),
        (0.1, 1.0, 1500),
        (0.25, 4.0, 1500),
        (0.25, 1.0, 200),
    ):
        rows.append(Cell(name=f"{gain} | {width}", plant=Plant(gain=gain, width=width), questions=questions))
    return "\n".join([PHASE_HEAD, *(phase_row(cell, share) for cell in rows)])


def phase_row(cell: Cell, share: float) -> str:
    measured = measure(cell, share)
    median, most = errors_in_words(measured)
    return (
        f"| {cell.name} | {cell.questions} | {cell.seeds} | {percent(measured.found, measured.draws)} | "
        f"{100 * best_power(distances(cell)):.0f} % | {questions_needed(cell):,} | {median} | {most} |"
    )


def errors_in_words(measured: Measured) -> tuple[str, str]:
    """Median and 90 % of the midpoint's error; empty where fewer than ten were found."""
    if measured.found < 10:
        return "", ""
    return f"{np.median(measured.errors):.2f}", f"{np.quantile(measured.errors, 0.9):.2f}"


def percent(part: int, whole: int) -> str:
    """A share in percent with its standard error."""
    rate = part / whole
    return f"{100 * rate:.0f} ± {100 * np.sqrt(max(rate * (1 - rate), 0.25 / whole) / whole):.0f} %"


def alarms(share: float) -> str:
    """How often a curve without a phase is called one."""
    plants: list[tuple[str, Plant, tuple[float, float]]] = [
        ("constant", Plant(family="constant"), MIDPOINTS),
        ("log-linear, gain .3", Plant(family="log_linear", gain=0.3), MIDPOINTS),
        ("power law, gain .3", Plant(family="power", gain=0.3), MIDPOINTS),
    ]
    for low, high in ((2.0, 4.0), (4.0, 6.0), (6.0, 8.0), (8.0, 10.0)):
        name = f"saturating, gain .3, half of it at {2**low:.0f}-{2**high:.0f}"
        plants.append((name, Plant(family="saturating", gain=0.3), (low, high)))
    rows = [
        Cell(name=name, plant=plant, midpoints=midpoints, seeds=seeds, draws=200)
        for seeds in (1, 3)
        for name, plant, midpoints in plants
    ]
    differ = Plant(family="saturating", gain=0.3, seed_spread=0.3, level_spread=0.02)
    rows.append(Cell(name="the same at 16-64, runs differ", plant=differ, midpoints=(4.0, 6.0), seeds=3, draws=200))
    return "\n".join([ALARM_HEAD, *(alarm_row(cell, share) for cell in rows)])


def alarm_row(cell: Cell, share: float) -> str:
    measured = measure(cell, share)
    return f"| {cell.name} | {cell.seeds} | {percent(measured.found, measured.draws)} |"


def harder(share: float) -> str:
    """Curves a textbook would not draw: found and midpoint error of phases, false alarms of slow recoveries."""
    long = (0, *(16 * 2**step for step in range(11)))
    phase = Plant(gain=0.3)
    below = replace(phase, tied_at_zero=0.2, start=0.06)
    found = [
        Cell(name="from chance, tied at 0", plant=replace(phase, tied_at_zero=0.2, start=0.2)),
        Cell(name="dip of .08 before it, chance .25 at 0", plant=replace(phase, dip=0.08, tied_at_zero=0.25)),
        Cell(name="falls from .2 at 0 to .06, stays there, then the phase", plant=below),
        Cell(name="falls from .2 to .06, and on to .02, then the phase", plant=replace(below, dip=0.04)),
        Cell(name="the same, gain .25", plant=replace(below, gain=0.25, dip=0.04)),
        Cell(name="plateau to 16,384", plant=replace(phase, volumes=long)),
        Cell(name="drifts up by .06 after it", plant=replace(phase, drift=0.06)),
        Cell(name="drifts down by .06 after it", plant=replace(phase, drift=-0.06)),
        Cell(name="checkpoints strongly correlated", plant=replace(phase, shared=0.8, run=0.1)),
        Cell(name="checkpoints weakly correlated", plant=replace(phase, shared=0.1, run=0.1)),
    ]
    slow = replace(below, family="log_linear", gain=0.25)
    v_shaped = Plant(family="recovery", start=0.1, dip=0.06, gain=0.25, tied_at_zero=0.2)
    none = [
        Cell(name="falls from .2 to .06 and stays", plant=replace(slow, family="constant")),
        Cell(name="falls to .06, then rises steadily by .25", plant=slow),
        Cell(name="falls to .06, then by a power law by .25", plant=replace(slow, family="power")),
        Cell(name="falls to .06, then saturates at .31", plant=replace(slow, family="saturating")),
        Cell(name="falls to .10, on to .04, then rises steadily", plant=v_shaped, midpoints=(5.0, 6.5)),
        Cell(name="the same, three seeds", plant=v_shaped, midpoints=(5.0, 6.5), seeds=3),
        Cell(name="falls to .06, jumps back to .2", plant=replace(below, gain=0.14)),
        Cell(name="the same, three seeds", plant=replace(below, gain=0.14), seeds=3),
        Cell(name="falls to .06, rises steadily but for a hollow of .06", plant=replace(slow, dip=0.06)),
        Cell(name="saturates, then drifts down by .05", plant=Plant(family="saturating", gain=0.3, drift=-0.05)),
        Cell(name="constant, 60 questions", plant=Plant(family="constant"), questions=60),
        Cell(name="saturating, 60 questions", plant=Plant(family="saturating", gain=0.4), questions=60),
    ]
    rows = [
        FOUND_HEAD,
        *(found_row(replace(cell, seeds=seeds), share) for seeds in (1, 3) for cell in found),
    ]
    rows += ["", ALARM_HEAD, *(alarm_row(replace(cell, draws=200), share) for cell in none)]
    return "\n".join(rows)


def found_row(cell: Cell, share: float) -> str:
    measured = measure(cell, share)
    median, most = errors_in_words(measured)
    covered = f"{100 * measured.covered['midpoint']:.0f} %"
    return f"| {cell.name} | {cell.seeds} | {percent(measured.found, measured.draws)} | {median} | {most} | {covered} |"


def coverage(share: float) -> str:
    rows = []
    for width in (1.0, 2.0):
        for seeds in (1, 2, 3, 5):
            for spread in (0.0, 0.1, 0.3) if seeds > 1 else (0.0,):
                plant = Plant(gain=0.3, width=width, seed_spread=spread)
                rows.append(Cell(name=f"{width} | {spread}", plant=plant, seeds=seeds, draws=200))
    return "\n".join([COVERAGE_HEAD, *(coverage_row(cell, share) for cell in rows)])


def coverage_row(cell: Cell, share: float) -> str:
    measured = measure(cell, share)
    shares = " | ".join(f"{100 * measured.covered[name]:.0f} %" for name in ("onset", "midpoint", "end", "gain"))
    found, wide = percent(measured.found, measured.draws), np.median(measured.widths)
    return f"| {cell.name} | {cell.seeds} | {found} | {shares} | {wide:.2f} |"


def margins(share: float) -> str:
    """`locate_margin` on margins with heavy tails, in nats."""
    found = [
        Cell(name=f"phase of {gain} nats, width {width}", plant=Plant(start=-1.0, gain=gain, width=width), margins=True)
        for gain in (0.5, 1.0, 2.0)
        for width in (1.0, 2.0)
    ]
    none = [
        Cell(name=f"{family}, 2 nats", plant=Plant(family=family, start=-1.0, gain=2.0), margins=True)
        for family in NULL_FAMILIES
    ]
    rows = [FOUND_HEAD, *(found_row(cell, share) for cell in found)]
    rows += ["", ALARM_HEAD, *(alarm_row(replace(cell, draws=200), share) for cell in none)]
    return "\n".join(rows)


PARTS: dict[str, Callable[[float], str]] = {
    "phases": phases,
    "alarms": alarms,
    "harder": harder,
    "coverage": coverage,
    "margins": margins,
}

if __name__ == "__main__":
    main()
