"""Takes score tables, returns what an arm makes of them: scores, credit, margins.

An arm is arithmetic, no model runs here. The arms are those of arXiv 2503.14391 (L+ - w L-; its baselines L0 and L+)
and of its authors' code (L0 - w L-, L+ - w L0), and one head alone for every other objective; PMI takes
off what an option is worth after a bare "Answer:", under the same head (arXiv 2104.08315); see ARMS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, get_args

import numpy as np

from likra_ray.errors import InputError
from likra_ray.records import KINDS, METRICS, Kind, Metric, ScoreTable
from likra_ray.spec import Baseline

BASELINES: tuple[Baseline, ...] = get_args(Baseline)
CORRECT = KINDS.index("correct")
NEAR_MISS = KINDS.index("near_miss")


class Arm(NamedTuple):
    """plus - weight * minus: which head is for an option, which against it."""

    plus: str
    minus: str | None
    weighted: bool = True
    """False: minus is taken once, whatever the weight of Likra's negative head."""

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads whose tables the arm needs."""
        return (self.plus,) if self.minus is None else (self.plus, self.minus)


ARMS: dict[str, Arm] = {
    "base": Arm("base", None),
    "sft": Arm("positive", None),
    "likra": Arm("positive", "negative"),
    "base_likra": Arm("base", "negative"),
    "positive_over_base": Arm("positive", "base"),
    **{baseline: Arm(baseline, None) for baseline in BASELINES},
    "pmi_base": Arm("base", "base_prior", weighted=False),
    "pmi_sft": Arm("positive", "positive_prior", weighted=False),
}

UNTRAINED: dict[str, str] = {
    "positive": "base",
    "negative": "base",
    **dict.fromkeys(BASELINES, "base"),
    "positive_prior": "base_prior",
}
"""Whose table stands for a head at volume 0, by head; a head not named here is never trained and has volume 0 alone."""

COUNTS: dict[str, str] = {
    "base": "nothing is learnt",
    "sft": "at n the head has seen n correct answers",
    "likra": "at n one head has seen n correct answers and the other n wrong ones, in two runs of n examples",
    "base_likra": "at n the one trained head has seen n wrong answers and no correct one",
    "positive_over_base": "at n the one trained head has seen n correct answers",
    "mixture": "at n the head has seen n pairs, n correct answers and n wrong ones, and learns both alike",
    "unlikelihood": "at n the head has seen n pairs: the correct answer made likelier, the wrong one less likely",
    "npo": "at n the head has seen n pairs: n wrong answers to move away from, n correct ones to retain",
    "dpo": "at n the head has seen n pairs, the correct answer preferred to the wrong one",
    "kto": "at n the head has seen n pairs as 2n answers judged one by one, n desirable and n undesirable",
    "orpo": "at n the head has seen n pairs: the correct answer learnt, and its odds raised over the wrong one's",
    "pmi_base": "nothing is learnt; what the base gives an option without the question is taken off",
    "pmi_sft": "as sft; what the same head gives an option without the question is taken off",
}
"""What the volume axis counts for every arm; a pair is a question's correct answer and one wrong one of it."""


class KindMeans(NamedTuple):
    """Mean log-probability of the options of each kind, in nats; NaN where a table has none of that kind."""

    per_option: dict[Kind, float]
    """Mean over options of the option's sum."""
    per_token: dict[Kind, float]
    """All nats of the kind's options over all their tokens: long options weigh more."""


def find_arm(name: str) -> Arm:
    """The arm of that name. Raises InputError for a name not in ARMS."""
    if name not in ARMS:
        raise InputError(where="arms", field="arm", value=name, allowed=", ".join(ARMS))
    return ARMS[name]


def check_same_questions(tables: Sequence[ScoreTable]) -> None:
    """Raises InputError, naming both tables by their meta, unless all hold the same questions, options and kinds.

    Same order too: arms subtract row by row. Character and byte counts are part of the option, token counts are not.
    """
    for other in tables[1:]:
        first = tables[0]
        if first.question_ids != other.question_ids:
            differs = "question_ids"
        else:
            columns = ("question", "kind", "characters", "bytes")
            unequal = (c for c in columns if not np.array_equal(getattr(first, c), getattr(other, c)))
            differs = next(unequal, "")
        if differs:
            raise InputError(
                where="score tables",
                field=differs,
                value=[dict(first.meta), dict(other.meta)],
                allowed="tables of the same questions and options in the same order",
            )


def arm_scores(arm: str, tables: Mapping[str, ScoreTable | None], *, weight: float = 1.0) -> np.ndarray:
    """(O,) float64, nats, larger = more plausible: plus - weight * minus of the arm, option by option.

    tables: by head (base, positive, negative, dpo, ...); those the arm does not need are not read. A NaN
    log-probability stays NaN in the score.
    Raises InputError: unknown arm, a table the arm needs is missing or None, tables of different questions, weight not
    finite.
    """
    found = find_arm(arm)
    if not np.isfinite(weight):
        raise InputError(where="arms", field="weight", value=weight, allowed="a finite number")
    needed: list[ScoreTable] = []
    for head in found.heads:
        table = tables.get(head)
        if table is None:
            raise InputError(where=f"arm {arm}", field=head, value=None, allowed=f"the score table of the {head} head")
        needed.append(table)
    check_same_questions(needed)
    scores = needed[0].logprob.astype(np.float64)
    if found.minus is None:
        return scores
    return scores - needed[1].logprob * (weight if found.weighted else 1.0)


def normalised(scores: np.ndarray, table: ScoreTable, metric: Metric) -> np.ndarray:
    """(O,) nats (acc), nats per character (acc_norm, the ARC figure) or per UTF-8 byte (acc_bytes), as in lm-eval.

    Raises InputError: unknown metric, shape mismatch, an option of length zero.
    """
    _check_shape(scores, table)
    if metric == "acc":
        return scores
    lengths = {"acc_norm": table.characters, "acc_bytes": table.bytes}
    if metric not in lengths:
        raise InputError(where="arms", field="metric", value=metric, allowed=", ".join(METRICS))
    if np.any(lengths[metric] <= 0):
        empty = int(np.argmax(lengths[metric] <= 0))
        raise InputError(where=metric, field=f"option {empty}", value=0, allowed="a length above zero")
    return np.asarray(scores / lengths[metric])


def credit(scores: np.ndarray, table: ScoreTable) -> np.ndarray:
    """(Q,) float64 in [0, 1]: of the options tied at the top, the share that is correct.

    Ties are exact equality of floats: at volume 0 both heads equal the base bit for bit, every Likra ratio (w = 1)
    is exactly 0 and credit is chance. A NaN score anywhere in a question makes its credit NaN.
    Raises InputError: shape mismatch, a question without options.
    """
    return tied_share(scores, table, CORRECT)


def tied_share(scores: np.ndarray, table: ScoreTable, kind: int) -> np.ndarray:
    """(Q,) in [0, 1]: of the options tied at the top, the share that is of this kind (index into KINDS).

    NaN and errors as in `credit`.
    """
    starts = question_starts(scores, table)
    best = np.maximum.reduceat(scores, starts)
    on_top = scores == best[table.question]
    tied = np.add.reduceat(on_top.astype(np.float64), starts)
    wanted = np.add.reduceat((on_top & (table.kind == kind)).astype(np.float64), starts)
    return np.asarray(np.divide(wanted, tied, out=np.full(len(starts), np.nan), where=~np.isnan(best)))


def credit_by_question(scores: np.ndarray, table: ScoreTable) -> np.ndarray:
    """`credit` as its definition reads, question by question: the reference the fast one is tested against."""
    shares = []
    for question in range(len(table.question_ids)):
        mine = scores[table.question == question]
        kinds = table.kind[table.question == question]
        if np.isnan(mine).any():
            shares.append(float("nan"))
        else:
            top = [kind for score, kind in zip(mine, kinds, strict=True) if score == mine.max()]
            shares.append(sum(kind == CORRECT for kind in top) / len(top))
    return np.array(shares, dtype=np.float64)


def margin(scores: np.ndarray, table: ScoreTable) -> np.ndarray:
    """(Q,) in the unit of the scores: best correct minus best wrong option; positive = answered rightly.

    NaN where a question has a NaN score, no correct or no wrong option. Raises InputError as `credit` does.
    """
    starts = question_starts(scores, table)
    correct = table.kind == CORRECT
    best_correct = np.maximum.reduceat(np.where(correct, scores, -np.inf), starts)
    best_wrong = np.maximum.reduceat(np.where(correct, -np.inf, scores), starts)
    correct_count = np.add.reduceat(correct.astype(np.int64), starts)
    count = np.add.reduceat(np.ones(len(scores), dtype=np.int64), starts)
    both = (correct_count > 0) & (correct_count < count)
    return np.asarray(np.subtract(best_correct, best_wrong, out=np.full(len(starts), np.nan), where=both))


def mean_logprob(table: ScoreTable) -> KindMeans:
    """Mean log-probability by kind, per option and per token, in nats; a NaN score makes its kind's mean NaN."""
    per_option: dict[Kind, float] = {}
    per_token: dict[Kind, float] = {}
    for index, kind in enumerate(KINDS):
        mine = table.kind == index
        nats = float(table.logprob[mine].sum())
        options, tokens = int(mine.sum()), int(table.tokens[mine].sum())
        per_option[kind] = nats / options if options else float("nan")
        per_token[kind] = nats / tokens if tokens else float("nan")
    return KindMeans(per_option, per_token)


def question_starts(scores: np.ndarray, table: ScoreTable) -> np.ndarray:
    """(Q,) row at which each question's options start. Raises InputError: shape mismatch, question without options."""
    _check_shape(scores, table)
    counts = np.bincount(table.question, minlength=len(table.question_ids))
    if len(counts) == 0 or np.any(counts == 0):
        value = table.question_ids[int(np.argmin(counts))] if len(counts) else ()
        raise InputError(where="score table", field="question_ids", value=value, allowed="questions with options")
    return np.concatenate(([0], np.cumsum(counts)[:-1]))


def _check_shape(scores: np.ndarray, table: ScoreTable) -> None:
    if scores.shape != table.logprob.shape:
        allowed = f"one score per option of the table, {table.logprob.shape}"
        raise InputError(where="arms", field="scores", value=scores.shape, allowed=allowed)
