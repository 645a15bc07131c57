"""Takes a planted truth, returns simulated outcomes: the test bench of the critical phase.

A question is right when a Gaussian of its own lies under the volume's threshold: the part of it that all checkpoints
share makes them correlated, as those of one training run are, while each volume's accuracy is the planted one exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.special import ndtri

from likra_ray.analysis.fits import TEN_TO_NINETY
from likra_ray.errors import InputError

Family = Literal["phase", "constant", "log_linear", "power", "saturating", "recovery"]
FAMILIES: tuple[Family, ...] = get_args(Family)
NULL_FAMILIES: tuple[Family, ...] = FAMILIES[1:5]
"""Curves without a critical phase: each added example is worth as much as the one before it, or less."""


@dataclass(frozen=True, kw_only=True)
class Plant:
    """A true learning curve and how its outcomes scatter."""

    volumes: tuple[int, ...] = (0, 16, 32, 64, 128, 256, 512, 1024)
    """Increasing; 0 may be among them and stands one doubling before the next in log_linear."""
    family: Family = "phase"
    """phase: logistic in log2 n. Null: constant; log_linear; power: start + c n^0.3; saturating: 1 - exp(-n / tau).

    recovery: no phase either, but no smooth curve: falls by `dip`, evenly per doubling, until the midpoint's volume,
    and rises evenly per doubling from there on, by `gain` until the last.
    """
    start: float = 0.45
    """Accuracy at the start of the curve (constant: everywhere)."""
    gain: float = 0.25
    """Accuracy gained: between the asymptotes of phase and saturating, between the ends of log_linear and power."""
    midpoint: float = 100.0
    """Examples: phase: half of the gain is reached here; saturating: tau is a midpoint / ln 2, half of it here too."""
    width: float = 1.0
    """Doublings from 10 % to 90 % of the phase's gain."""
    dip: float = 0.0
    """Accuracy lost around half of the midpoint's volume on the way: a Gaussian one doubling wide, none at n = 0.
    (recovery: see there.)"""
    drift: float = 0.0
    """Accuracy gained or, below 0, lost from the midpoint to the last volume, evenly per doubling."""
    tied_at_zero: float | None = None
    """Credit of every question at volume 0, as a Likra arm has it (chance); None: outcomes as at any volume."""
    seed_spread: float = 0.0
    """Standard deviation, in doublings, of the midpoint between seeds."""
    level_spread: float = 0.0
    """Standard deviation, in accuracy, of the whole curve's height between seeds."""
    shared: float = 0.5
    """Share of a question's latent variance that all volumes of all seeds have in common: its difficulty."""
    run: float = 0.2
    """Share that all volumes of one seed have in common; the rest is fresh at every checkpoint."""


def planted_mean(plant: Plant, *, midpoint: float | None = None) -> np.ndarray:
    """(V,) true accuracy at each volume; `midpoint` in place of the plant's own where given."""
    centre = plant.midpoint if midpoint is None else midpoint
    volumes = np.array(plant.volumes, dtype=np.float64)
    positive = volumes[volumes > 0]
    with np.errstate(divide="ignore"):
        doublings = np.log2(volumes / centre)  # -inf at 0: the logistic's lower asymptote
    if plant.family == "phase":
        rise = 1.0 / (1.0 + np.exp2(-doublings * TEN_TO_NINETY / np.log(2.0) / plant.width))
    elif plant.family == "constant":
        rise = np.zeros(len(volumes))
    elif plant.family == "log_linear":
        steps = np.log2(np.maximum(volumes, positive[0] / 2.0))
        rise = (steps - steps[0]) / (steps[-1] - steps[0])
    elif plant.family == "power":
        rise = (volumes**0.3 - volumes[0] ** 0.3) / (volumes[-1] ** 0.3 - volumes[0] ** 0.3)
    elif plant.family == "saturating":
        rise = 1.0 - np.exp2(-volumes / centre)
    else:
        rise = np.maximum(doublings, 0.0) / doublings[-1]
    hollow = np.exp(-0.5 * (doublings + 1.0) ** 2)
    if plant.family == "recovery":
        hollow = np.clip(
            np.log2(np.maximum(volumes, positive[0]) / positive[0]) / np.log2(centre / positive[0]), 0.0, 1.0
        )
    late = np.maximum(doublings, 0.0) / max(float(doublings[-1]), 1e-9)
    return np.asarray(plant.start + plant.gain * rise - plant.dip * hollow + plant.drift * late)


def planted_curve(plant: Plant, *, questions: int, seeds: int, rng: np.random.Generator) -> np.ndarray:
    """(S, V, Q) outcomes, 0 or 1 (volume 0: `tied_at_zero` where given), of the planted curve.

    Raises InputError where the plant asks for an accuracy outside [0, 1] or shares of variance above 1.
    """
    latent = _scatter(plant, rng.standard_normal, questions=questions, seeds=seeds)
    accuracy = _means_by_seed(plant, seeds, rng)
    if accuracy.min() < 0.0 or accuracy.max() > 1.0:
        raise InputError(where="planted curve", field="accuracy", value=accuracy.tolist(), allowed="within [0, 1]")
    return _tied(plant, (latent < ndtri(accuracy)[:, :, None]).astype(np.float64))


def planted_margins(
    plant: Plant, *, questions: int, seeds: int, spread: float, tails: float, rng: np.random.Generator
) -> np.ndarray:
    """(S, V, Q) margins in nats (volume 0: `tied_at_zero` where given): the plant's accuracies are read as mean nats.

    spread: scale, in nats, of Student's t with `tails` degrees of freedom between questions: 3 has heavy tails.
    """
    scatter = _scatter(plant, lambda size: rng.standard_t(tails, size), questions=questions, seeds=seeds)
    return _tied(plant, _means_by_seed(plant, seeds, rng)[:, :, None] + spread * scatter)


def _scatter(plant: Plant, noise: Callable[[tuple[int, ...]], np.ndarray], *, questions: int, seeds: int) -> np.ndarray:
    """(S, V, Q) noise: a question's difficulty, its part in one run, and what is fresh at every checkpoint."""
    own = 1.0 - plant.shared - plant.run
    if min(own, plant.shared, plant.run) < 0.0:
        allowed = "shared + run within [0, 1]"
        raise InputError(where="planted curve", field="shared, run", value=(plant.shared, plant.run), allowed=allowed)
    difficulty = np.sqrt(plant.shared) * noise((1, 1, questions)) + np.sqrt(plant.run) * noise((seeds, 1, questions))
    return np.asarray(difficulty + np.sqrt(own) * noise((seeds, len(plant.volumes), questions)))


def _means_by_seed(plant: Plant, seeds: int, rng: np.random.Generator) -> np.ndarray:
    """(S, V): each run's true curve, its midpoint and height drawn."""
    midpoints = plant.midpoint * np.exp2(plant.seed_spread * rng.standard_normal(seeds))
    heights = plant.level_spread * rng.standard_normal(seeds)
    curves = [planted_mean(plant, midpoint=midpoint) for midpoint in midpoints.tolist()]
    return np.array(curves) + heights[:, None]


def _tied(plant: Plant, outcomes: np.ndarray) -> np.ndarray:
    if plant.tied_at_zero is not None and plant.volumes[0] == 0:
        outcomes[:, 0, :] = plant.tied_at_zero
    return outcomes
