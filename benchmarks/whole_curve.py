"""A whole learning curve of three arms beside one lm-eval run per volume and arm; and a grid, which needs no pass."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks import peers, timing, workloads
from benchmarks.setting import PEER_BATCHES, Setting, met, ours
from likra_ray.analysis.grids import weight_grid
from likra_ray.heads import scoring
from likra_ray.records import ScoreTable

HEADS_NEEDED = {"sft": 1, "likra": 2, "base_likra": 2}
SHARED_COLUMNS = ("question_ids", "question", "kind", "tokens", "characters", "bytes")
VOLUMES, WEIGHTS = (16, 32, 64, 128, 256, 512, 1024, 2048), tuple(np.linspace(0.0, 2.0, 21).tolist())


def main() -> None:
    """What one run is: a process, its imports, the model, the questions; prints the seconds of scoring."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--arc", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--questions", type=int, required=True)
    parser.add_argument("--ours", action="store_true", help="the platform's, not lm-eval's")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    asked = workloads.questions(given.arc)
    some, shots = asked.evaluate[: given.questions], asked.train[:5]
    if given.ours:
        loaded = workloads.smollm2()
        began = time.perf_counter()
        ours(loaded, list(some), shots)
        print(time.perf_counter() - began)
    else:
        print(peers.lm_eval_scores(PEER_BATCHES[5][-1], some, shots)[0])


def one_run(setting: Setting, count: int, *options: str) -> tuple[float, float]:
    """Seconds of a run before it scores, and of scoring one question."""
    command = [sys.executable, "-m", "benchmarks.whole_curve", "--questions", str(count), *options]
    command += ["--threads", str(torch.get_num_threads()), *(["--arc", str(setting.arc)] if setting.arc else [])]
    began = time.perf_counter()
    spoken = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    scoring = float(spoken.split()[-1])
    return time.perf_counter() - began - scoring, scoring / count


def section(setting: Setting) -> list[str]:
    """SFT, Likra and Base-Likra at eight volumes, 5-shot: score tables against one lm-eval run per volume and arm."""
    shots, count, few = setting.asked.train[:5], setting.sizes.ours_alone, setting.sizes.questions[5]
    start, each = one_run(setting, few)
    own_start, _ = one_run(setting, few, "--ours")
    runs, passes = len(VOLUMES) * len(HEADS_NEEDED), len(VOLUMES) * sum(HEADS_NEEDED.values())
    peer = runs * start + passes * each * count
    questions = list(setting.asked.evaluate[:count])
    repeats = setting.sizes.repeats
    forest = scoring.plant(setting.loaded.tokenizer, questions, shots)
    works: dict[str, timing.Work] = {
        "tokenise": lambda: scoring.plant(setting.loaded.tokenizer, questions, shots),
        "table": lambda: scoring.score_forest(setting.loaded.model, forest, questions),
    }
    seconds = timing.side_by_side(works, repeats=repeats)
    tables, table = 2 * len(VOLUMES) + 1, seconds["table"]
    whole = own_start + seconds["tokenise"] + tables * table
    grid, cells = grid_seconds(ours(setting.loaded, questions, shots))
    return [
        "## A whole learning curve, and a grid",
        "",
        f"SFT, Likra and Base-Likra at {len(VOLUMES)} volumes, 5-shot, {count} questions, heads trained before. As the "
        f"published code does it: {runs} lm-eval runs, each with its start ({start:.0f} s of process, imports and "
        f"model, measured once) and one forward for each head it needs ({each:.2f} s a question and head, measured on "
        f"{few} questions; SFT needs one head, the others two): {peer / 60:.0f} minutes, multiplied. Here: one start "
        f"({own_start:.0f} s), questions tokenised once ({seconds['tokenise']:.2f} s), {tables} score tables (two "
        f"heads at {len(VOLUMES)} volumes and the base) of {table:.1f} s, one measured {repeats} times: "
        f"{whole / 60:.1f} minutes, and every arm is arithmetic on them.",
        "",
        "| what | likra_ray | ratio | target |",
        "|---|---|---|---|",
        f"| whole learning curve | {whole / 60:.1f} min against {peer / 60:.0f} | {met(peer / whole, 40.0)} |",
        f"| grid of 8 x 8 volumes x 21 weights, {count} questions | {grid:.2f} s for {cells} cells, 0 passes | | "
        f"under 2 s: {'reached' if grid < 2.0 else 'missed'} |",
    ]


def grid_seconds(table: ScoreTable) -> tuple[float, int]:
    """Seconds of a grid, and its cells. Its tables are one table and noise, the same work as sixteen heads'."""
    rng = np.random.default_rng(0)
    columns = {name: getattr(table, name) for name in SHARED_COLUMNS}
    positive, negative = (
        {n: ScoreTable(**columns, logprob=table.logprob + rng.normal(size=table.logprob.size)) for n in VOLUMES}
        for _ in range(2)
    )
    found = timing.side_by_side({"grid": lambda: weight_grid(positive, negative, weights=WEIGHTS)}, repeats=3)
    return found["grid"], len(VOLUMES) ** 2 * len(WEIGHTS)


if __name__ == "__main__":
    main()
