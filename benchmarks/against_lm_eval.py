"""Options scored per second beside lm-eval's `hf` model, whether both answer alike, and what bf16 does to scores."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import binomtest

from benchmarks import peers, timing, workloads
from benchmarks.setting import PEER_BATCHES, Setting, options_in, ours, peer_head, peer_row
from likra_ray.analysis.arms import credit, normalised
from likra_ray.heads import adapters, scoring
from likra_ray.heads.base import LoadedBase
from likra_ray.records import Question, ScoreTable


def section(setting: Setting) -> list[str]:
    """Options per second against lm-eval, 0, 5 and 25 shots, fp32 and bf16; the same answers."""
    lines = [
        "## Scoring against lm-eval's `hf` model",
        "",
        *peer_head("lm-eval", "options/s"),
    ]
    same: list[str] = []
    for shots, target in ((0, 3.5), (5, 15.0), (25, 50.0)):
        before = setting.asked.train[:shots]
        shared = list(setting.asked.evaluate[: setting.sizes.questions[shots]])
        batch, logprobs = best_lm_eval(setting, shared, before, PEER_BATCHES[shots])
        many = list(setting.asked.evaluate[: setting.sizes.ours_alone])
        forest = scoring.plant(setting.loaded.tokenizer, many, before)
        works: dict[str, timing.Work] = {
            "peer": lambda given=(batch, shared, before): lm_eval(setting, *given)[0],
            "fp32": lambda many=many, before=before: ours(setting.loaded, many, before),
            "bf16": lambda many=many, before=before: ours(setting.coarse, many, before, bf16=True),
        }
        seconds = timing.side_by_side(works, repeats=setting.sizes.repeats, warm=False)
        rate = {name: options_in(shared if name == "peer" else many) / found for name, found in seconds.items()}
        operations = workloads.scoring_operations(setting.cost, forest)
        for name, dtype, wanted in (("fp32", torch.float32, target), ("bf16", torch.bfloat16, None)):
            asked = 9.0 if (name, shots) == ("bf16", 0) else wanted
            shares = operations.shares(seconds[name], setting.rates[dtype])
            peer_rate = (rate["peer"], f"fp32, batch {batch}")
            lines.append(peer_row(f"{shots}-shot, {name}", peer_rate, rate[name], asked, shares))
        table = ours(setting.loaded, shared, before)
        same.append(f"| {shots} | {agreement(table, logprobs)} |")
    return [
        *lines,
        "",
        f"lm-eval scored {setting.sizes.questions} questions by shots, the platform {setting.sizes.ours_alone}; both "
        "costs grow linearly with questions (below). Tokenising is in both times. Asked for a share of the matrix "
        "rate: fp32 65 %, bf16 30 %.",
        "",
        "| shots | questions both scored | largest difference, nats | `acc` equal on | `acc_norm` equal on | ties |",
        "|---|---|---|---|---|---|",
        *same,
        "",
        *bf16_lines(setting),
    ]


def lm_eval(
    setting: Setting, batch_size: int, questions: list[Question], shots: tuple[Question, ...]
) -> tuple[float, np.ndarray]:
    """Seconds lm-eval scores in its own process, and its scores."""
    return setting.peer.submit(peers.lm_eval_scores, batch_size, questions, shots).result()


def best_lm_eval(
    setting: Setting, questions: list[Question], shots: tuple[Question, ...], batches: tuple[int, ...]
) -> tuple[int, np.ndarray]:
    """The batch size that serves lm-eval best, and its scores."""
    lm_eval(setting, batches[0], questions[:1], shots)  # imports, and a first pass, before anything is timed
    found = {batch: lm_eval(setting, batch, questions, shots) for batch in batches}
    best = min(found, key=lambda batch: found[batch][0])
    return best, found[best][1]


def agreement(table: ScoreTable, logprobs: np.ndarray) -> str:
    """Questions, largest difference, questions with the same credit under both metrics, ties."""
    cells = [f"{len(table.question_ids)}", f"{np.abs(table.logprob - logprobs).max():.1e}"]
    ties = 0
    for metric in ("acc", "acc_norm"):
        mine, theirs = (credit(normalised(one, table, metric), table) for one in (table.logprob, logprobs))
        cells.append(f"{int((mine == theirs).sum())} of {len(mine)}")
        ties += int(((mine % 1.0) != 0.0).sum())
    return " | ".join([*cells, str(ties)])


def bf16_lines(setting: Setting) -> list[str]:
    """What bf16 autocast does to scores, to their difference and to the top option."""
    questions = list(setting.asked.evaluate[: setting.sizes.top])
    pairs = workloads.answers(setting.asked.train, max(setting.sizes.examples.values()))
    own = workloads.smollm2()
    trainer = workloads.Trainer(own, workloads.taught(own, pairs), batch_size=8)
    trainer.train()
    tables: dict[tuple[str, bool], ScoreTable] = {}
    for bf16 in (False, True):
        tables["base", bf16] = ours(setting.coarse if bf16 else setting.loaded, questions, bf16=bf16)
        if bf16:
            adapters.cast_base(trainer.model)
        tables["head", bf16] = ours(LoadedBase(trainer.model, own.tokenizer), questions, bf16=bf16)
    exact, coarse = tables["base", False], tables["base", True]
    error = np.abs(exact.logprob - coarse.logprob)
    difference = [tables["head", bf16].logprob - tables["base", bf16].logprob for bf16 in (False, True)]
    moved = np.abs(difference[0] - difference[1])
    tops = [
        int((_tops(one, exact) == _tops(other, exact)).sum())
        for one, other in ((exact.logprob, coarse.logprob), difference)
    ]
    return [
        f"bf16 autocast moves an option's sum by {np.median(error):.3f} nats in the median, at most {error.max():.2f}; "
        f"a difference of two heads (the one trained on {len(pairs)} answers less the base) by {np.median(moved):.3f}, "
        f"at most {moved.max():.2f}. The top option stays the same on {_share(tops[0], len(questions))} (at least "
        f"99 % is asked), that of the difference on {_share(tops[1], len(questions))}. So fp32 stays the default for "
        "what decides.",
    ]


def _share(count: int, of: int) -> str:
    """A count in words, with its share and Wilson's 95 % interval."""
    interval = binomtest(count, of).proportion_ci(confidence_level=0.95, method="wilson")
    return f"{count:,} of {of:,} questions ({count / of:.1%}, 95 % interval [{interval.low:.1%}, {interval.high:.1%}])"


def _tops(scores: np.ndarray, table: ScoreTable) -> np.ndarray:
    """Of each question, the number of the option with the highest score."""
    return np.array([np.argmax(scores[table.question == i]) for i in range(len(table.question_ids))])
