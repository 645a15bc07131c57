"""Invented score tables, and the findings and trial results they give; the analysis that makes them is the real one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from likra_ray.analysis.curves import SeedTables
from likra_ray.analysis.findings import Finding, find, metrics_by_volume
from likra_ray.records import ScoreTable, TrialResult

VOLUMES = (16, 32, 64, 128, 256, 512)
OPTIONS = 4


def table(logprob: np.ndarray) -> ScoreTable:
    """Scores of (Q, 4) options, the first correct, the second a near-miss, the others far."""
    questions = len(logprob)
    return ScoreTable(
        question_ids=tuple(f"q{number}" for number in range(questions)),
        question=np.repeat(np.arange(questions), OPTIONS).astype(np.int32),
        kind=np.tile(np.array([0, 1, 2, 2], dtype=np.int8), questions),
        logprob=logprob.ravel(),
        tokens=np.full(logprob.size, 2, dtype=np.int32),
        characters=np.full(logprob.size, 9, dtype=np.int32),
        bytes=np.full(logprob.size, 9, dtype=np.int32),
    )


def seed_tables(seed: int, *, questions: int = 120, jump: float = 3.0, learns: float = 0.6) -> SeedTables:
    """One seed: the negative head learns wrong answers at about 64 examples, by `jump` nats; 0 is no jump.

    learns: nats the positive head gives the correct answer at the last volume, more at each volume than before.
    """
    shared = np.random.default_rng(7)
    rng = np.random.default_rng(seed)
    base = shared.normal(size=(questions, OPTIONS)) - 8.0
    base[:, 0] += 0.8
    wrong = np.array([0.0, 1.0, 1.0, 1.0])
    positive, negative = {}, {}
    for volume in VOLUMES:
        noise = rng.normal(scale=1.2, size=(2, questions, OPTIONS))
        gained = learns * np.log2(volume) / np.log2(VOLUMES[-1])
        positive[volume] = table(base + gained * (1 - wrong) + 0.3 * noise[0])
        learnt = jump / (1.0 + (64.0 / volume) ** 4)
        negative[volume] = table(base + learnt * wrong + noise[1])
    return SeedTables(base=table(base), positive=positive, negative=negative)


def finding(*, seeds: int = 2, name: str = "learning_rate=0.0005 near_miss_share=1", **invented: Any) -> Finding:
    """What `seeds` invented seeds say together."""
    tables = {seed: seed_tables(seed, **invented) for seed in range(seeds)}
    return find(
        tables,
        name=name,
        settings={},
        trials=tuple(f"{seed:016x}" for seed in tables),
        weight=1.0,
        rng=np.random.default_rng(0),
    )


def trial(*, seed: int = 0, key: str = "00c0ffee00c0ffee", trained: Mapping[str, int] | None = None) -> TrialResult:
    """A trial that ended well."""
    tables = seed_tables(seed)
    found = find(
        {seed: tables}, name="invented", settings={}, trials=(key,), weight=1.0, rng=np.random.default_rng(seed)
    )
    return TrialResult(
        key=key,
        name=f"negatives={VOLUMES[-1]} seed={seed}",
        status="done",
        reason=None,
        spec={"seed": seed},
        sampled={"negatives": VOLUMES[-1], "seed": seed},
        heads={"base": "base", "positive": "positive-1", "negative": "negative-1"},
        evaluation="evaluation-1",
        curves={arm: list(points) for arm, points in found.curves.items()},
        metrics=metrics_by_volume(found, tables, weight=1.0),
        phase=dict(found.phase),
        trained=dict(trained or {"positive": 0, "negative": 512}),
        seconds={"start": 20.0, "train": 30.0, "score": 9.5, "all": 60.0},
    )


def failed(*, key: str = "badbadbadbadbad0", reason: str = "ValueError: the loss is [nan]") -> TrialResult:
    """A trial that did not end well."""
    return TrialResult(
        key=key,
        name="negatives=64 learning_rate=0.9",
        status="failed",
        reason=reason,
        spec={"seed": 0},
        sampled={"negatives": 64},
        heads={},
        evaluation="evaluation-1",
        curves={},
        metrics={},
        phase={},
        trained={},
        seconds={},
    )
