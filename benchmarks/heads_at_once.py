"""Heads trained in one batch against the same heads one after the other: when does sharing the base's pass pay?

    python -m benchmarks.heads_at_once                          random-tiny and SmolLM2-135M, a table in Markdown
    python -m benchmarks.heads_at_once --quick                  random-tiny, few steps: seconds on a CPU
    python -m benchmarks.heads_at_once --device cuda --heads 1 4 --batches 8 --bases smollm2-135m

Both ways take turns, so that a machine that slows down slows both; medians of the rounds after one not counted.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks import timing, workloads
from likra_ray.heads import adapters, allocation, base, together, training
from likra_ray.heads.engines import PlainEngine
from likra_ray.heads.orders import BASELINES, ROLES, Role
from likra_ray.heads.tokens import encode
from likra_ray.questions import curriculum, sources

NAMES: tuple[Role, ...] = (*ROLES, *BASELINES)
"""Adapters have the names of roles; what they learn here is plain likelihood, each from another order."""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bases", nargs="+", default=["random-tiny", "smollm2-135m"])
    parser.add_argument("--heads", nargs="+", type=int, default=[1, 2, 4, 8], help=f"each at most {len(NAMES)}")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 32], help="examples per head and step")
    parser.add_argument("--steps", type=int, default=4, help="per measurement")
    parser.add_argument("--rounds", type=int, default=5, help="measurements each way")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="of the base")
    parser.add_argument("--quick", action="store_true", help="random-tiny, 1 and 2 heads, batches 1 and 8, 3 rounds")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.bases, arguments.heads, arguments.batches = ["random-tiny"], [1, 2], [1, 8]
        arguments.steps, arguments.rounds = 2, 3
    if max(arguments.heads) > len(NAMES):
        parser.error(f"--heads: {max(arguments.heads)}; allowed: at most {len(NAMES)}")
    torch.set_num_threads(arguments.threads)
    if arguments.device == "cpu":
        allocation.keep_freed()  # as the platform's workers do
    print(f"{timing.machine()}, {arguments.device}, torch {torch.__version__}, {arguments.dtype}; "
          f"{arguments.steps} steps, medians of {arguments.rounds}\n")  # fmt: skip
    print("| base | batch | heads | tokens per step | apart, s | at once, s | gain |")
    print("|---|---|---|---|---|---|---|")
    for name in arguments.bases:
        loaded = base.load(base.resolve(name), dtype=arguments.dtype)
        model = adapters.attach(
            loaded.model.to(arguments.device), rank=8, alpha=8, targets=("gate_proj", "up_proj", "down_proj"), seed=0,
            roles=NAMES[: max(arguments.heads)],
        )  # fmt: skip
        for batch in arguments.batches:
            taught = curricula(loaded.tokenizer, max(arguments.heads), batch * arguments.steps)
            for count in arguments.heads:
                apart, at_once = measured(model, taught[:count], batch, arguments.rounds)
                merged = [tree for one in taught[:count] for tree in workloads.merged_batches(one, batch)]
                tokens = sum(tree.size for tree in merged) // arguments.steps
                print(f"| {name} | {batch} | {count} | {tokens} | {apart:.3f} | {at_once:.3f} "
                      f"| {apart / at_once:.2f}x |", flush=True)  # fmt: skip


def curricula(tokenizer: Any, heads: int, examples: int) -> list[training.Lessons]:
    """Correct answers of the atlas, in another order for each head."""
    pool = sources.load("atlas", split="train").questions
    found = []
    for seed in range(heads):
        chosen = curriculum.positives(pool, seed=seed)[:examples]
        found.append(training.one_answer(encode(tokenizer, [(one.prompt, one.answer) for one in chosen])))
    return found


def measured(model: Any, taught: Sequence[training.Lessons], batch: int, rounds: int) -> tuple[float, float]:
    """Median seconds of all heads apart, and at once."""
    heads = list(zip(NAMES, taught, strict=False))

    def apart() -> None:
        for head in heads:
            epoch(model, [head], batch)

    found = timing.side_by_side({"apart": apart, "at once": lambda: epoch(model, heads, batch)}, repeats=rounds)
    return found["apart"], found["at once"]


def epoch(model: Any, heads: Sequence[tuple[Role, training.Lessons]], batch: int) -> None:
    """Every head through its lessons once; one head takes the way a single head takes."""
    roles = [role for role, _ in heads]
    with contextlib.ExitStack() as stack:
        adapters.choose(model, roles[0])
        divide = stack.enter_context(together.side_by_side(model, roles)) if len(heads) > 1 else None
        runs = [
            training.HeadRun(
                name=role,
                engine=PlainEngine(model, adapters.parameters(model, role), 1e-4),
                lessons=lessons,
                start=0,
                volumes=(len(lessons.trees),),
                on_volume=lambda seen: None,
                on_step=lambda step: None,
            )
            for role, lessons in heads
        ]
        training.train(runs, batches=training.Batches(batch, 1), divide=divide)
    if next(model.parameters()).is_cuda:
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
