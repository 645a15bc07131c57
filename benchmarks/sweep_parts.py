"""How fast the parts of a sweep are on this machine, beside the naive definition and the machine's own limit.

    make bench                                        writes benchmarks/RESULTS.md
    python -m benchmarks.sweep_parts --questions 8    a quick look

Peers are measured beside it in a benchmark of their own; a timing here is never a test.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from likra_ray.heads import adapters, base, scoring, training
from likra_ray.heads.engines import PlainEngine
from likra_ray.heads.tokens import encode
from likra_ray.questions import curriculum, sources

REPEATS = 3
"""Of each measurement; the median is written."""


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=40, help="evaluated questions, five options each")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    loaded = base.load(base.resolve("smollm2-135m"))
    parameters = loaded.model.num_parameters()
    rate = matrix_rate()
    rows = [f"| fp32 matrix product 1024 x 576 x 1536 | {rate / 1e9:.0f} GFLOP/s | 100 % |"]
    questions = sources.keep(sources.load("atlas", split="test").questions, arguments.questions)
    pool = sources.load("atlas", split="train").questions
    for shots in (0, 5):
        rows += scoring_rows(loaded, questions, pool[:shots], rate / (2 * parameters))
    rows += training_rows(loaded, pool, rate / (4 * parameters))
    arguments.write.write_text(page(rows, arguments))
    print(arguments.write.read_text())


def median_seconds(work: Callable[[], Any]) -> float:
    """Median wall clock of a piece of work, after one run not counted."""
    work()
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def matrix_rate() -> float:
    """FLOP per second of the model's own matrix shape, fp32."""
    x, w = torch.randn(1024, 576), torch.randn(1536, 576)
    times = 50
    return times * 2 * 1024 * 576 * 1536 / median_seconds(lambda: [x @ w.T for _ in range(times)])


def scoring_rows(loaded: Any, questions: list[Any], shots: tuple[Any, ...], tokens_at_limit: float) -> list[str]:
    """Options per second, packed at several row lengths and naive; the share of the limit counts each token once."""
    model, tokenizer = loaded
    options = sum(len(question.options) for question in questions)
    forest = scoring.plant(tokenizer, questions, shots)
    tokens = sum(tree.size for tree in forest.trees) + len(forest.prefix)
    naive = median_seconds(lambda: scoring.score_naive(model, tokenizer, questions[:4], shots=shots))
    naive_rate = sum(len(question.options) for question in questions[:4]) / naive
    rows = [f"| score_naive, {len(shots)}-shot | {naive_rate:.1f} options/s | |"]
    for row_tokens in (128, 256, 512, 1024):
        seconds = median_seconds(lambda n=row_tokens: scoring.score_forest(model, forest, questions, row_tokens=n))
        rows.append(
            f"| score, {len(shots)}-shot, rows of {row_tokens} tokens | {options / seconds:.1f} options/s "
            f"({options / seconds / naive_rate:.1f}x naive) | {tokens / seconds / tokens_at_limit:.0%} |"
        )
    return rows


def training_rows(loaded: Any, pool: tuple[Any, ...], tokens_at_limit: float) -> list[str]:
    """Training examples per second; the limit counts a forward and the gradient of the activations."""
    model = adapters.attach(loaded.model, rank=8, alpha=8, targets=("gate_proj", "up_proj", "down_proj"), seed=0)
    rows = []
    for batch_size in (8, 32):
        volume = 4 * batch_size
        pairs = [(example.prompt, example.answer) for example in curriculum.positives(pool, seed=0)[:volume]]
        examples = encode(loaded.tokenizer, pairs)
        named = dict(zip(adapters.parameters(model, "positive"), adapters.choose(model, "positive"), strict=True))
        engine = PlainEngine(model, named, 1e-4)

        def epoch(engine: PlainEngine = engine, examples: Any = examples, volume: int = volume) -> None:
            run = training.HeadRun(
                name="positive",
                engine=engine,
                lessons=training.one_answer(examples),
                start=0,
                volumes=(0, volume),
                on_volume=lambda seen: None,
                on_step=lambda step: None,
            )
            training.train([run], batches=training.Batches(volume // 4, 1))

        seconds = median_seconds(epoch)
        tokens = sum(len(example.tokens) for example in examples)
        rows.append(
            f"| training, batch {batch_size}, LoRA r=8 on the MLPs | {volume / seconds:.1f} examples/s "
            f"| {tokens / seconds / tokens_at_limit:.0%} |"
        )
    return rows


def page(rows: list[str], arguments: argparse.Namespace) -> str:
    """RESULTS.md."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    return "\n".join(
        [
            "# Measured speed of the parts of a sweep",
            "",
            f"{datetime.date.today()}, {platform.machine()}, {arguments.threads} threads, Python "
            f"{platform.python_version()}, {versions}; SmolLM2-135M fp32, {arguments.questions} atlas questions of "
            f"five options; medians of {REPEATS}. `make bench` repeats it.",
            "",
            "| what | rate | share of the matrix-product limit |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    main()
