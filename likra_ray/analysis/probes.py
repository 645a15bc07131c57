"""Takes one score table and scores of its options, returns probes question by question: numerators and denominators.

Every function takes (O,) scores, larger = more plausible, and raises InputError on a shape mismatch or a question
without options. A question with a NaN score among what a probe reads is NaN there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from likra_ray.analysis.arms import CORRECT, credit, question_starts, tied_share
from likra_ray.records import KINDS, Kind, ScoreTable

BINS = 15
"""Equal-width bins of the calibration error: as many as Guo et al. (arXiv 1706.04599) use."""


class Parts(NamedTuple):
    """A probe is the sum of the numerators over the sum of the denominators."""

    numerator: np.ndarray
    """(Q,); NaN: not measured."""
    denominator: np.ndarray
    """(Q,): how much a question has to say; 0: nothing."""


def score_sum(scores: np.ndarray, table: ScoreTable, kind: Kind, *, per_token: bool = False) -> Parts:
    """Mean score of the options of a kind: nats per option, or per token (all nats over all tokens)."""
    starts = question_starts(scores, table)
    mine = table.kind == KINDS.index(kind)
    weight = np.where(mine, table.tokens if per_token else 1, 0).astype(np.float64)
    return Parts(np.add.reduceat(np.where(mine, scores, 0.0), starts), np.add.reduceat(weight, starts))


def on_top(scores: np.ndarray, table: ScoreTable, kind: Kind) -> Parts:
    """Share of questions whose top option is of a kind, ties shared."""
    shares = tied_share(scores, table, KINDS.index(kind))
    return Parts(shares, np.ones(len(shares)))


def pairs(scores: np.ndarray, table: ScoreTable, wrong: Kind) -> Parts:
    """AUROC: of the (correct, wrong) pairs of a question, those in which the correct option scores higher; ties count
    half. Pairs weigh alike, whichever question they belong to; a pair with a NaN score is left out."""
    starts = question_starts(scores, table)
    usable, questions = ~np.isnan(scores), len(table.question_ids)
    right, count = np.zeros(questions), np.zeros(questions)
    longest = int(np.diff(np.append(starts, len(scores))).max())
    for step in range(1, longest):  # pairs of options `step` rows apart: few rows per question, all questions at once
        same = table.question[step:] == table.question[:-step]
        both = same & usable[step:] & usable[:-step]
        later, earlier = slice(step, None), slice(None, -step)
        for first, second in ((later, earlier), (earlier, later)):
            chosen = both & (table.kind[first] == CORRECT) & (table.kind[second] == KINDS.index(wrong))
            difference = scores[first][chosen] - scores[second][chosen]
            where = table.question[first][chosen]
            right += np.bincount(where, (difference > 0) + 0.5 * (difference == 0), minlength=questions)
            count += np.bincount(where, minlength=questions)
    return Parts(right, count)


def pairs_by_pair(scores: np.ndarray, table: ScoreTable, wrong: Kind) -> float:
    """`pairs` as its definition reads, pair by pair, in one number: the reference the fast one is tested against."""
    ranked = []
    for question in range(len(table.question_ids)):
        rows = np.flatnonzero(table.question == question)
        for correct in rows[table.kind[rows] == CORRECT]:
            for other in rows[table.kind[rows] == KINDS.index(wrong)]:
                difference = scores[correct] - scores[other]
                if not np.isnan(difference):
                    ranked.append(1.0 if difference > 0 else 0.5 if difference == 0 else 0.0)
    return float(np.mean(ranked)) if ranked else float("nan")


def softmax(scores: np.ndarray, table: ScoreTable) -> np.ndarray:
    """(O,) probabilities of each question's options, exp(score) over the question's sum of it; NaN with any NaN."""
    starts = question_starts(scores, table)
    above = np.exp(scores - np.maximum.reduceat(scores, starts)[table.question])
    return np.asarray(above / np.add.reduceat(above, starts)[table.question])


def brier(scores: np.ndarray, table: ScoreTable) -> Parts:
    """Multi-class Brier score (1950): squared distance of the option softmax from the truth, summed over the options of
    a question, 0 to 2. Several correct options share the truth."""
    starts = question_starts(scores, table)
    correct = (table.kind == CORRECT).astype(np.float64)
    count = np.add.reduceat(correct, starts)[table.question]
    truth = np.divide(correct, count, out=np.zeros(len(correct)), where=count > 0)
    distances = np.add.reduceat((softmax(scores, table) - truth) ** 2, starts)
    return Parts(distances, np.ones(len(starts)))


def calibration_error(scores: np.ndarray, table: ScoreTable) -> float:
    """Expected calibration error: mean over questions of |accuracy - confidence| of the bin a question falls in.

    Confidence is the softmax probability of the top option; BINS equal-width bins of [0, 1], 1 in the last; ties share
    credit. Questions with a NaN score are left out; NaN if none is left.
    """
    starts = question_starts(scores, table)
    confidence = np.maximum.reduceat(softmax(scores, table), starts)
    right = credit(scores, table)
    used = ~np.isnan(confidence)
    if not used.any():
        return float("nan")
    bins = np.minimum((confidence[used] * BINS).astype(np.int64), BINS - 1)
    gap = np.bincount(bins, right[used] - confidence[used], minlength=BINS)
    return float(np.abs(gap).sum() / used.sum())


def brier_by_question(scores: np.ndarray, table: ScoreTable) -> np.ndarray:
    """(Q,) `brier` as its definition reads, question by question: the reference the fast one is tested against."""
    found = []
    for question in range(len(table.question_ids)):
        rows = table.question == question
        exponentials = np.exp(scores[rows])
        correct = table.kind[rows] == CORRECT
        truth = correct / correct.sum() if correct.any() else np.zeros(len(correct))
        found.append(float(np.sum((exponentials / exponentials.sum() - truth) ** 2)))
    return np.array(found)


def calibration_error_by_bin(scores: np.ndarray, table: ScoreTable) -> float:
    """`calibration_error` as its definition reads, bin by bin: the reference the fast one is tested against."""
    answers: list[list[tuple[float, float]]] = [[] for _ in range(BINS)]
    right = credit(scores, table)
    for question in range(len(table.question_ids)):
        mine = scores[table.question == question]
        if not np.isnan(mine).any():
            confidence = float(np.max(np.exp(mine)) / np.exp(mine).sum())
            answers[min(int(confidence * BINS), BINS - 1)].append((float(right[question]), confidence))
    total = sum(len(bin_) for bin_ in answers)
    gaps = [abs(np.mean([a for a, _ in bin_]) - np.mean([c for _, c in bin_])) * len(bin_) for bin_ in answers if bin_]
    return float(sum(gaps) / total) if total else float("nan")
