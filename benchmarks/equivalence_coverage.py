"""How honest the intervals of analysis/equivalence.py are: by planting curves whose answers are known.

    python -m benchmarks.equivalence_coverage        200 draws a cell: two minutes, one core
    python -m benchmarks.equivalence_coverage 20     as many draws

Likra is planted as a phase from chance, SFT as a steady rise. `needed`: share of the 95 % intervals that hold the
examples needed for .50 and .60 by Likra and for .55 by SFT; `error`: median distance of the estimates, in doublings;
`worth`: share of the intervals that hold what a negative is worth at 128, which SFT's run bounds from below only.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np

from likra_ray.analysis.equivalence import data_equivalence, isotonic, reached, volumes_needed
from likra_ray.analysis.planted import Plant, planted_curve, planted_mean
from likra_ray.records import LearningCurve

VOLUMES = (0, 16, 32, 64, 128, 256, 512, 1024)
LIKRA = Plant(volumes=VOLUMES, start=0.25, gain=0.4, midpoint=80.0, width=1.5, tied_at_zero=0.25)
SFT = Plant(volumes=VOLUMES, family="log_linear", start=0.45, gain=0.15)
ASKED = (0.50, 0.60)
ASKED_OF_SFT = 0.55
WORTH_AT = 128
CELLS = ((1, 0.0), (2, 0.0), (3, 0.0), (2, 0.2), (3, 0.2), (5, 0.2), (3, 0.4))
"""Seeds, and doublings by which their midpoints scatter."""


def truth(plant: Plant) -> np.ndarray:
    """(V,) mean accuracy over seeds, whose midpoints scatter."""
    rng = np.random.default_rng(1)
    midpoints = plant.midpoint * 2.0 ** (plant.seed_spread * rng.standard_normal(2000))
    return np.asarray(np.mean([planted_mean(plant, midpoint=float(one)) for one in midpoints], axis=0))


def examples(curve: np.ndarray, level: float) -> float:
    """Examples at which a true curve has an accuracy."""
    return float(reached(np.array(VOLUMES), isotonic(curve[None]), np.array([level]))[0])


def drawn(arm: str, plant: Plant, questions: int, seeds: int, rng: np.random.Generator) -> LearningCurve:
    """One planted curve."""
    outcomes = planted_curve(plant, questions=questions, seeds=seeds, rng=rng)
    ids = tuple(f"q{number}" for number in range(questions))
    return LearningCurve(arm=arm, metric="acc", question_ids=ids, volumes=np.array(VOLUMES), outcomes=outcomes,
                         margins=outcomes)  # fmt: skip


def cell(questions: int, seeds: int, spread: float, draws: int) -> str:
    """One line of the table."""
    likra = replace(LIKRA, seed_spread=spread)
    curves = truth(likra), truth(SFT)
    wanted = [*[examples(curves[0], level) for level in ASKED], examples(curves[1], ASKED_OF_SFT)]
    worth = examples(curves[1], float(curves[0][VOLUMES.index(WORTH_AT)])) / WORTH_AT - 1.0
    held, errors, worths = np.zeros(len(wanted)), [], 0
    for number in range(draws):
        rng = np.random.default_rng([number, questions, seeds, int(100 * spread)])
        arms = [drawn("likra", likra, questions, seeds, rng), drawn("sft", SFT, questions, seeds, rng)]
        found = volumes_needed(arms[0], [(level, "") for level in ASKED], rng=rng)
        found += volumes_needed(arms[1], [(ASKED_OF_SFT, "")], rng=rng)
        held += [low <= true <= high for (low, high), true in zip((f.interval for f in found), wanted, strict=True)]
        errors.append([abs(np.log2((f.volume or np.nan) / true)) for f, true in zip(found, wanted, strict=True)])
        row = next(row for row in data_equivalence(arms[0], arms[1], rng=rng) if row.volume == WORTH_AT)
        worths += row.interval[0] <= worth <= row.interval[1]
    needed = " ".join(f"{100 * share:.0f}" for share in held / draws)
    error = " ".join(f"{median:.2f}" for median in np.nanmedian(errors, axis=0))
    return f"{questions:9d} {seeds:5d} {spread:6.1f}   {needed:11s}   {error:14s}   {100 * worths / draws:.0f}"


def main() -> None:
    """Print the table."""
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print("questions seeds spread   needed, %     error            worth, %")
    for questions in (300, 1000):
        for seeds, spread in CELLS:
            print(cell(questions, seeds, spread, draws), flush=True)


if __name__ == "__main__":
    main()
