"""Takes pieces of work, returns how long they took: side by side in turn, so that a machine's drift meets all alike."""

from __future__ import annotations

import contextlib
import functools
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from likra_ray.heads import products

Work = Callable[[], Any]


def side_by_side(works: Mapping[str, Work], *, repeats: int, warm: bool = True) -> dict[str, float]:
    """Median seconds of each piece of work, done in turn `repeats` times; warm: once before, not counted.

    A work that returns a float has timed itself (its set-up left out), and that is what counts.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    if warm:
        for work in works.values():
            work()
    for _ in range(repeats):
        for name, work in works.items():
            began = time.perf_counter()
            own = work()
            seconds[name].append(own if isinstance(own, float) else time.perf_counter() - began)
    return {name: statistics.median(found) for name, found in seconds.items()}


def matrix_rate(dtype: torch.dtype, *, rows: int = 512) -> float:
    """FLOP per second of products of the model's own shapes, there and back: (rows, 576) by (576, 1536).

    By the faster of the two libraries torch carries.
    """
    x = torch.randn(rows, 576).to(dtype)
    up, down = torch.randn(1536, 576).to(dtype), torch.randn(576, 1536).to(dtype)
    times = 40

    def work(product: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        for _ in range(times):
            product(product(x, up), down)

    ways = [torch.nn.functional.linear, *([products.times] if products.available() and dtype == torch.float32 else [])]
    found = side_by_side({str(way): functools.partial(work, way) for way in ways}, repeats=5)
    return times * 4 * rows * 576 * 1536 / min(found.values())


def machine() -> str:
    """What it ran on, without its name."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as lines:  # Linux only; elsewhere platform's word stands
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    flags = torch.backends.cpu.get_cpu_capability()
    return f"{model}, {torch.get_num_threads()} threads, {flags}"
