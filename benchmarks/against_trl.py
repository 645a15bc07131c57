"""Examples learnt per second beside trl's SFTTrainer and DPOTrainer."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from benchmarks import peers, timing, workloads
from benchmarks.setting import Setting, peer_head, peer_row
from likra_ray.heads import training


def section(setting: Setting) -> list[str]:
    """Examples per second against trl."""
    lines = [
        "## Training against trl",
        "",
        "LoRA of rank 8 on the MLPs, loss on the answer, set-up left out on both sides; trl pads (its padding-free",
        "batches need flash attention, which has no CPU kernels). Asked for a share of the matrix rate: fp32 45 %,",
        "bf16 20 %.",
        "",
        *peer_head("trl", "examples/s"),
    ]
    for batch_size, count in setting.sizes.examples.items():
        pairs = workloads.answers(setting.asked.train, count)
        lessons = workloads.taught(setting.loaded, pairs)
        seconds = in_turn(
            setting,
            lessons,
            batch_size,
            functools.partial(peers.sft_seconds, pairs=pairs, batch_size=batch_size),
        )
        operations = workloads.training_operations(setting.cost, lessons, batch_size)
        for name, dtype, target in (("fp32", torch.float32, 1.5), ("bf16", torch.bfloat16, None)):
            shares = operations.shares(seconds[name], setting.rates[dtype])
            what, peer = f"SFT, batch {batch_size}, {name}", (count / seconds["peer"], "fp32")
            lines.append(peer_row(what, peer, count / seconds[name], target, shares))
    return [*lines, dpo_line(setting)]


def dpo_line(setting: Setting) -> str:
    """The same for preferences; trl asks the reference at every step, the platform once, before, which is not timed."""
    batch_size, count = next(iter(setting.sizes.examples.items()))
    triples = workloads.preferences(setting.asked.train, count)
    lessons = workloads.preferred(setting.loaded, triples)
    seconds = in_turn(
        setting, lessons, batch_size, functools.partial(peers.dpo_seconds, pairs=triples, batch_size=batch_size)
    )
    what = f"DPO pairs, batch {batch_size}, fp32, the base's log-probabilities stored before"
    return peer_row(what, (count / seconds["peer"], "fp32"), count / seconds["fp32"], None, None)


def in_turn(
    setting: Setting, lessons: training.Lessons, batch_size: int, peer: Callable[[], float]
) -> dict[str, float]:
    """Median seconds of the peer's training, in its own process, and ours in fp32 and bf16, in turn, all warm."""
    exact, coarse = (
        workloads.Trainer(workloads.smollm2(), lessons, batch_size=batch_size, bf16=bf16) for bf16 in (False, True)
    )
    works: dict[str, timing.Work] = {
        "peer": lambda: setting.peer.submit(peer).result(),
        "fp32": exact.train,
        "bf16": coarse.train,
    }
    return timing.side_by_side(works, repeats=setting.sizes.repeats)
