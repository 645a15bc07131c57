"""Takes a planted truth, returns simulated outcomes: the test bench of the critical phase.

A question is right when a Gaussian of its own lies under the volume's threshold: the part of it that all checkpoints
share makes them correlated, as those of one training run are, while each volume's accuracy is the planted one exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.special import ndtri

from likra_ray.analysis.fits import TEN_TO_NINETY
from likra_ray.errors import InputError

Family = Literal["phase", "constant", "log_linear", "power", "saturating"]
FAMILIES: tuple[Family, ...] = get_args(Family)
NULL_FAMILIES: tuple[Family, ...] = FAMILIES[1:]
"""Curves without a critical phase: each added example is worth as much as the one before it, or less."""


@dataclass(frozen=True, kw_only=True)
class Plant:
    """A true learning curve and how its outcomes scatter."""

    volumes: tuple[int, ...] = (0, 16, 32, 64, 128, 256, 512, 1024)
    """Increasing; 0 may be among them and stands one doubling before the next in log_linear."""
    family: Family = "phase"
    """phase: logistic in log2 n. Null: constant; log_linear; power: start + c n^0.3; saturating: 1 - exp(-n / tau)."""
    start: float = 0.45
    """Accuracy at the start of the curve (constant: everywhere)."""
    gain: float = 0.25
    """Accuracy gained: between the asymptotes of phase and saturating, between the ends of log_linear and power."""
    midpoint: float = 100.0
    """Examples: phase: half of the gain is reached here; saturating: tau is a midpoint / ln 2, half of it here too."""
    width: float = 1.0
    """Doublings from 10 % to 90 % of the phase's gain."""
    dip: float = 0.0
    """Accuracy lost around half of the midpoint's volume on the way: a Gaussian one doubling wide, none at n = 0."""
    tied_at_zero: float | None = None
    """Credit of every question at volume 0, as a Likra arm has it (chance); None: outcomes as at any volume."""
    seed_spread: float = 0.0
    """Standard deviation, in doublings, of the midpoint between seeds."""
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
    else:
        rise = 1.0 - np.exp2(-volumes / centre)
    hollow = np.exp(-0.5 * (doublings + 1.0) ** 2)
    return np.asarray(plant.start + plant.gain * rise - plant.dip * hollow)


def planted_curve(plant: Plant, *, questions: int, seeds: int, rng: np.random.Generator) -> np.ndarray:
    """(S, V, Q) outcomes, 0 or 1 (volume 0: `tied_at_zero` where given), of the planted curve.

    Raises InputError where the plant asks for an accuracy outside [0, 1] or shares of variance above 1.
    """
    own = 1.0 - plant.shared - plant.run
    if min(own, plant.shared, plant.run) < 0.0:
        allowed = "shared + run within [0, 1]"
        raise InputError(where="planted curve", field="shared, run", value=(plant.shared, plant.run), allowed=allowed)
    difficulty = rng.standard_normal(questions)
    outcomes = np.empty((seeds, len(plant.volumes), questions))
    for seed in range(seeds):
        midpoint = plant.midpoint * 2.0 ** (plant.seed_spread * rng.standard_normal())
        accuracy = planted_mean(plant, midpoint=midpoint)
        if accuracy.min() < 0.0 or accuracy.max() > 1.0:
            raise InputError(where="planted curve", field="accuracy", value=accuracy.tolist(), allowed="within [0, 1]")
        latent = np.sqrt(plant.shared) * difficulty + np.sqrt(plant.run) * rng.standard_normal(questions)
        latent = latent + np.sqrt(own) * rng.standard_normal((len(plant.volumes), questions))
        outcomes[seed] = latent < ndtri(accuracy)[:, None]
    if plant.tied_at_zero is not None and plant.volumes[0] == 0:
        outcomes[:, 0, :] = plant.tied_at_zero
    return outcomes
