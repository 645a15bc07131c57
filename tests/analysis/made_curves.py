"""Learning curves made by hand, and tables of simulated heads, for the tests of likra_ray.analysis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from score_tables import with_scores

from likra_ray.analysis.curves import SeedTables
from likra_ray.records import KINDS, CriticalPhase, LearningCurve, ScoreTable

VOLUMES = (0, 16, 32, 64, 128, 256)


def curve(outcomes: np.ndarray, volumes: Sequence[int] = VOLUMES, *, arm: str = "likra") -> LearningCurve:
    """A curve of (S, V, Q) outcomes; margins are twice the outcome less one."""
    given = np.asarray(outcomes, dtype=np.float64)
    return LearningCurve(
        arm=arm,
        metric="acc",
        question_ids=tuple(f"q{i}" for i in range(given.shape[2])),
        volumes=np.array(volumes),
        outcomes=given,
        margins=2.0 * given - 1.0,
    )


def exact(accuracies: Sequence[float], *, questions: int = 100, seeds: int = 1) -> np.ndarray:
    """(S, V, Q) outcomes with exactly these accuracies: the first questions are the ones answered."""
    right = np.arange(questions)[None, :] < np.rint(np.array(accuracies)[:, None] * questions)
    return np.repeat(right[None].astype(np.float64), seeds, axis=0)


def noisy(accuracies: Sequence[float], *, questions: int, seeds: int, rng: np.random.Generator) -> np.ndarray:
    """(S, V, Q) outcomes, independent, of these probabilities."""
    return (rng.random((seeds, len(accuracies), questions)) < np.array(accuracies)[:, None]).astype(np.float64)


def phase(midpoint: float = 64.0, gain: float = 0.3, *, spread: float = 1.25) -> CriticalPhase:
    """A phase that was found; intervals from a factor `spread` below to one above."""
    return CriticalPhase(
        found=True,
        reason="A logistic jump beats the rest.",
        onset=midpoint / 1.5,
        end=midpoint * 1.5,
        midpoint=midpoint,
        gain=gain,
        onset_interval=(midpoint / 1.5 / spread, midpoint / 1.5 * spread),
        end_interval=(midpoint * 1.5 / spread, midpoint * 1.5 * spread),
        midpoint_interval=(midpoint / spread, midpoint * spread),
        gain_interval=(gain - 0.05, gain + 0.05),
        questions=100,
        seeds=2,
    )


NO_PHASE = CriticalPhase(found=False, reason="The curve is no better explained by a jump.", questions=100, seeds=2)


def questions_of(count: int) -> ScoreTable:
    """A base's table of `count` questions: a correct option, a near-miss, two far ones; all scores 0."""
    kinds = np.tile(np.array([KINDS.index(kind) for kind in ("correct", "near_miss", "far", "far")]), count)
    sizes = np.full(4 * count, 2, dtype=np.int32)
    return ScoreTable(
        question_ids=tuple(f"q{i}" for i in range(count)),
        question=np.repeat(np.arange(count), 4).astype(np.int32),
        kind=kinds.astype(np.int8),
        logprob=np.zeros(4 * count),
        tokens=sizes,
        characters=3 * sizes,
        bytes=3 * sizes,
        meta={"head": "base"},
    )


def simulated_seed(seed: int, *, questions: int = 60, learnt: float = 3.0) -> SeedTables:
    """A positive head that learns a little and a negative head that learns wrong answers, by `learnt` nats, near 64."""
    empty, rng = questions_of(questions), np.random.default_rng([9, seed])
    difficulty = np.random.default_rng(9).normal(size=4 * questions)
    wrong = empty.kind != KINDS.index("correct")
    base = with_scores(empty, difficulty - 6.0, head="base")
    positive, negative = {}, {}
    for volume in VOLUMES[1:]:
        noise = rng.normal(size=(2, 4 * questions))
        positive[volume] = with_scores(base, base.logprob + 0.3 * ~wrong + 0.3 * noise[0], head="positive")
        jump = learnt / (1.0 + (64.0 / volume) ** 4)
        negative[volume] = with_scores(base, base.logprob + jump * wrong + 0.8 * noise[1], head="negative")
    return SeedTables(base=base, positive=positive, negative=negative)
