"""What a sweep over a 7B and a 70B base would cost, by GPU; and the same arithmetic beside what was measured here.

    python -m benchmarks.cost_model                    the tables of docs/scale.md
    python -m benchmarks.cost_model --dollars 3        another price of a GPU hour

No GPU was measured: peaks are the vendor's, the share of them that is reached is an assumption (--reached), and hours
change in inverse proportion to it.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

from likra_ray import cost
from likra_ray.dry_run import REACHED


class Gpu(NamedTuple):
    """What the vendor's data sheet says."""

    name: str
    peak: float
    """bf16 operations per second, dense, on tensor cores."""
    memory: float
    """Bytes."""


GPUS = (
    Gpu("L4", 121e12, 24e9),  # NVIDIA L4 data sheet: 242 TFLOPS with sparsity
    Gpu("L40S", 362e12, 48e9),  # NVIDIA L40S data sheet: 733 with sparsity, 362 without
    Gpu("A100 80 GB", 312e12, 80e9),  # NVIDIA A100 data sheet
    Gpu("H100 SXM", 989e12, 80e9),  # NVIDIA H100 data sheet: 1,979 with sparsity
    Gpu("H200", 989e12, 141e9),  # NVIDIA H200 data sheet: as the H100
)

FULL = 0.8
"""Share of a GPU's memory that weights may take; the rest is for activations, adapters and the allocator."""
START, READ = 30.0, 1e9
"""Seconds of a trial's start (measured on CPU: 20 to 30, docs/LOG.md), and bytes of weights read per second after it
(one NVMe disk or a network file system; an assumption)."""

STUDY = cost.Load(
    trials=27, heads=36, examples=1024, example_tokens=32.0, tables=36 * 8 + 1, questions=1000, question_tokens=39.0,
    prefix_tokens=134.0,
)  # fmt: skip
"""Three rates, three shares of near-misses, three seeds: 27 negative heads, 9 positive ones that trials share, each at
8 volumes to 1,024; 1,000 questions of ARC-Easy with 5 shots, tokens as SmolLM2's tokenizer counts them."""

RATE = {"fp32": 178e9, "bf16": 403e9}
"""Matrix products on the machine of benchmarks/RESULTS.md, operations per second; fp32 by MKL, the slower library."""
SHARE = {"fp32": REACHED, "bf16": 0.5}
"""Of that rate, in operations as they are counted: a dry run's for fp32, whose rate it measures; less in bf16, where
what is no matrix product takes as long as before (an assumption, held to what was measured below)."""
PARAMETERS = 134.5e6
"""Of SmolLM2-135M."""


class Seen(NamedTuple):
    """A row of benchmarks/RESULTS.md."""

    what: str
    dtype: str
    a_second: float
    tokens: float
    """Of one of them on ARC-Easy, as the platform reads it (shared parts once)."""
    trained: bool


SEEN = (
    Seen("examples trained, fp32, batch 8", "fp32", 6.57, 35.0, True),
    Seen("examples trained, fp32, batch 32", "fp32", 7.99, 31.7, True),
    Seen("examples trained, bf16, batch 8", "bf16", 9.23, 35.0, True),
    Seen("examples trained, bf16, batch 32", "bf16", 11.91, 31.7, True),
    Seen("options scored, fp32, 0-shot", "fp32", 66.1, 9.7, False),
    Seen("options scored, fp32, 5-shot", "fp32", 60.7, 10.0, False),
    Seen("options scored, fp32, 25-shot", "fp32", 36.9, 11.7, False),
    Seen("options scored, bf16, 0-shot", "bf16", 110.5, 9.7, False),
    Seen("options scored, bf16, 5-shot", "bf16", 92.8, 10.0, False),
    Seen("options scored, bf16, 25-shot", "bf16", 53.7, 11.7, False),
)
"""Tokens: counted by SmolLM2's tokenizer on the benchmark's own questions; the prefix is shared by 100 questions."""


def gpus_for(parameters: float, gpu: Gpu) -> int:
    """The smallest power of two whose memories hold the base's weights in bf16 (ZeRO-3 partitions them)."""
    count = 1
    while 2.0 * parameters > FULL * count * gpu.memory:
        count *= 2
    return count


def estimate(parameters: float, *, reached: float, dollars: float) -> list[str]:
    """A row for each GPU."""
    rows = []
    for gpu in GPUS:
        gpus = gpus_for(parameters, gpu)
        start = START + 2.0 * parameters / READ
        work, begun = cost.gpu_hours(
            STUDY, parameters=parameters, rate=gpu.peak, reached=reached, gpus=gpus, start_seconds=start
        )
        shown = f"{gpus} | {work:.1f} | {begun:.1f} | {dollars * (work + begun):.0f}"
        rows.append(f"| {parameters / 1e9:.0f}B | {gpu.name} | {gpu.peak / 1e12:.0f} | {shown} |")
    return rows


def check(seen: Seen) -> str:
    """A row: what the model says against what was measured."""
    of = cost.training_operations if seen.trained else cost.scoring_operations
    predicted = RATE[seen.dtype] * SHARE[seen.dtype] / of(PARAMETERS, seen.tokens)
    return f"| {seen.what} | {seen.a_second:.1f} | {predicted:.1f} | {predicted / seen.a_second:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reached", type=float, default=0.3, help="share of a GPU's peak")
    parser.add_argument("--dollars", type=float, default=2.0, help="of a GPU hour")
    given = parser.parse_args()
    trained, scored = STUDY.operations(7e9)
    print(f"7B: {trained / 1e15:.1f} PFLOP to train, {scored / 1e15:.1f} to score; 70B: ten times that\n")
    print("| base | GPU | peak, TFLOP/s | GPUs a trial | GPU-hours at work | GPU-hours in starts | dollars |")
    print("|---|---|---|---|---|---|---|")
    for parameters in (7e9, 70e9):
        print("\n".join(estimate(parameters, reached=given.reached, dollars=given.dollars)))
    print("\n| measured on CPU | a second | model, a second | model / measured |\n|---|---|---|---|")
    for seen in SEEN:
        print(check(seen))


if __name__ == "__main__":
    main()
