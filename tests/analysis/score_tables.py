"""Small score tables for the tests of likra_ray.analysis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from likra_ray.records import KINDS, Kind, ScoreTable

Option = tuple[Kind, float]


def table(questions: Sequence[Sequence[Option]], *, head: str = "base", tokens: int = 2) -> ScoreTable:
    """A table of (kind, log-probability) options; the i-th of a question has i + 1 characters, twice the bytes."""
    sizes = [len(options) for options in questions]
    options = [option for question in questions for option in question]
    characters = np.concatenate([np.arange(size) + 1 for size in sizes]).astype(np.int32)
    return ScoreTable(
        question_ids=tuple(f"q{i}" for i in range(len(questions))),
        question=np.repeat(np.arange(len(questions)), sizes).astype(np.int32),
        kind=np.array([KINDS.index(kind) for kind, _ in options], dtype=np.int8),
        logprob=np.array([logprob for _, logprob in options], dtype=np.float64),
        tokens=np.full(len(options), tokens, dtype=np.int32),
        characters=characters,
        bytes=characters * 2,
        meta={"head": head},
    )


def with_scores(like: ScoreTable, logprob: np.ndarray, *, head: str) -> ScoreTable:
    """The same questions under another head."""
    columns = {
        name: getattr(like, name) for name in ("question_ids", "question", "kind", "tokens", "characters", "bytes")
    }
    return ScoreTable(**columns, logprob=np.asarray(logprob, dtype=np.float64), meta={"head": head})


def lopsided(rng: np.random.Generator, questions: int = 60) -> ScoreTable:
    """Questions with 2 to 7 options, up to three of them correct, scores that often tie."""
    made: list[list[Option]] = []
    for _ in range(questions):
        size = int(rng.integers(2, 8))
        correct = int(rng.integers(1, min(size, 4)))
        kinds: list[Kind] = ["correct"] * correct
        kinds += ["near_miss" if wrong < 0.6 else "far" for wrong in rng.random(size - correct)]
        rng.shuffle(kinds)
        made.append([(kind, float(-rng.integers(0, 4))) for kind in kinds])
    return table(made)
