"""Examples learnt per second beside trl's SFTTrainer and DPOTrainer."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks import peers, workloads
from benchmarks.setting import Setting, met
from likra_ray.heads import base
from likra_ray.heads.base import LoadedBase


def section(setting: Setting) -> list[str]:
    """Examples per second against trl."""
    lines = [
        "## Training against trl",
        "",
        "LoRA of rank 8 on the MLPs, loss on the answer, set-up left out on both sides; trl pads (its padding-free",
        "batches need flash attention, which has no CPU kernels). Asked for a share of the matrix rate: fp32 45 %,",
        "bf16 20 %.",
        "",
        "| what | trl, examples/s | likra_ray, examples/s | ratio | target | share of matrix rate |",
        "|---|---|---|---|---|---|",
    ]
    for batch_size, count in setting.sizes.examples.items():
        pairs = workloads.answers(setting.asked.train, count)
        own = base.load(base.resolve("smollm2-135m"))
        trainer = workloads.Trainer(own, workloads.taught(own, pairs), batch_size=batch_size)
        seconds = in_turn(
            setting,
            trainer,
            functools.partial(peers.sft_seconds, pairs=pairs, batch_size=batch_size),
        )
        operations = workloads.training_operations(setting.cost, trainer.lessons)
        for name, dtype, target in (("fp32", torch.float32, 1.5), ("bf16", torch.bfloat16, None)):
            share = operations / seconds[name] / setting.rates[dtype]
            lines.append(
                f"| SFT, batch {batch_size}, {name} | {count / seconds['peer']:.2f} (fp32) | "
                f"{count / seconds[name]:.2f} | {met(seconds['peer'] / seconds[name], target)} | {share:.0%} |"
            )
    return [*lines, dpo_line(setting)]


def dpo_line(setting: Setting) -> str:
    """The same for preferences; trl asks the reference at every step, the platform once, before, which is not timed."""
    batch_size, count = next(iter(setting.sizes.examples.items()))
    triples = workloads.preferences(setting.asked.train, count)
    own = base.load(base.resolve("smollm2-135m"))
    trainer = workloads.Trainer(own, workloads.preferred(own, triples), batch_size=batch_size)
    seconds = in_turn(setting, trainer, functools.partial(peers.dpo_seconds, pairs=triples, batch_size=batch_size))
    ratio = met(seconds["peer"] / seconds["fp32"], None)
    return (
        f"| DPO pairs, batch {batch_size}, fp32, the base's log-probabilities stored before | "
        f"{count / seconds['peer']:.2f} | {count / seconds['fp32']:.2f} | {ratio} | |"
    )


def in_turn(setting: Setting, trainer: workloads.Trainer, peer: Callable[[LoadedBase], float]) -> dict[str, float]:
    """Median seconds of the peer's training and ours in fp32 and bf16, in turn. peer: is given a base of its own."""
    trainer.train()
    seconds: dict[str, list[float]] = {"peer": [], "fp32": [], "bf16": []}
    for _ in range(setting.sizes.repeats):
        seconds["peer"].append(peer(base.load(base.resolve("smollm2-135m"))))
        for name in ("fp32", "bf16"):
            began = time.perf_counter()
            trainer.train(bf16=name == "bf16")
            seconds[name].append(time.perf_counter() - began)
    return {name: float(np.median(found)) for name, found in seconds.items()}
