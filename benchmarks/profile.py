"""Where the time of scoring and training goes, by kind of work: why a share of the matrix rate is what it is."""

from __future__ import annotations

from collections import Counter

import torch

from benchmarks import timing, workloads
from benchmarks.setting import Setting, ours

KINDS = {
    "matrix products": ("mm", "addmm", "linear", "matmul", "mkldnn::_linear_pointwise"),
    "attention": ("bmm", "_softmax"),
    "copies, casts, gathers": (
        "copy_", "_to_copy", "cat", "clone", "index_select", "index", "repeat", "contiguous", "gather", "embedding",
        "fill_", "zero_", "index_add_", "resize_", "slice_backward", "constant_pad_nd",
    ),
    "softmax": ("_log_softmax", "_log_softmax_backward_data", "logsumexp"),
    "pointwise": (
        "add", "add_", "sub", "mul", "mul_", "div", "neg", "silu", "silu_backward", "pow", "mean", "rsqrt", "sum",
        "gelu", "tanh", "sigmoid", "exp", "_fused_adam_", "sqrt", "cos", "sin", "where", 
        "masked_fill_",
    ),
}  # fmt: skip
"""Operators of torch by what they do; attention is all that has scaled_dot_product in its name, too."""


def section(setting: Setting) -> list[str]:
    """Shares of processor time, by torch's profiler."""
    questions = list(setting.asked.evaluate[: setting.sizes.ours_alone])
    pairs = workloads.answers(setting.asked.train, setting.sizes.examples[8])
    own = workloads.smollm2()
    trainer = workloads.Trainer(own, workloads.taught(own, pairs), batch_size=8)
    works: dict[str, timing.Work] = {
        "scoring, 0-shot, fp32": lambda: ours(setting.loaded, questions),
        "scoring, 0-shot, bf16": lambda: ours(setting.coarse, questions, bf16=True),
        "scoring, 5-shot, fp32": lambda: ours(setting.loaded, questions, setting.asked.train[:5]),
        "training, batch 8, fp32": trainer.train,
    }
    kinds = [*KINDS, "all else"]
    lines = [f"| what | {' | '.join(kinds)} |", "|---|" + "---|" * len(kinds)]
    for name, work in works.items():
        found = shares(work)
        lines.append(f"| {name} | {' | '.join(f'{found[kind]:.0%}' for kind in kinds)} |")
    return [
        "## Where the time goes",
        "",
        "Shares of the processor time of torch's operators. Some products are narrower than those whose rate is the "
        "measure (keys and values: 192 columns), so they do not reach all of it.",
        "",
        *lines,
    ]


def shares(work: timing.Work) -> Counter[str]:
    """By kind: share of the time spent in the operators themselves; warm."""
    work()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        work()
    spent: Counter[str] = Counter()
    for event in seen.key_averages():
        spent[kind_of(event.key.removeprefix("aten::"))] += event.self_cpu_time_total
    total = sum(spent.values())
    return Counter({kind: time / total for kind, time in spent.items()})


def kind_of(operator: str) -> str:
    if "scaled_dot_product" in operator:
        return "attention"
    return next((kind for kind, names in KINDS.items() if operator in names), "all else")
