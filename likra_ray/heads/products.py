"""Products with the base's frozen weights by oneDNN, in fp32 on x86 processors that are not Intel's.

torch carries two libraries and gives fp32 products to Intel's MKL alone. On an AMD processor with AVX-512 oneDNN makes
200 to 215 GFLOP/s of a row's shapes where MKL makes 165 to 190, of the vocabulary's 180 to 205 against 100 to 150
(docs/LOG.md, 2026-11-28). LoRA's products, long and some eight columns wide, gain more: three to five times where one
side is transposed. Weights stay as they lie, memory-mapped and plain; only sums are made in another order. What is not
fp32, not frozen or not on such a processor is left to torch and PEFT; Intel's were not at hand to be measured.
"""

from __future__ import annotations

import contextlib
import functools
import platform
from typing import Any

import torch


def times(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """As torch.nn.functional.linear without a gradient: (..., in) by (out, in), transposed in memory or not."""
    found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return found


def plus_times(other: torch.Tensor, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """other + x W^T in one pass over both, without a gradient."""
    found: torch.Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, other, weight, None, "add")
    return found


@functools.cache
def available() -> bool:
    """Whether oneDNN is used here: such a processor, a torch that carries it, operators that are what they seem."""
    if platform.machine().lower() not in ("x86_64", "amd64") or not torch.backends.mkldnn.is_available():
        return False
    if "GenuineIntel" in _processor():
        return False
    x, weight, bias = torch.ones(2, 3), torch.ones(4, 3), torch.ones(4)
    try:
        found = times(x, weight, bias), plus_times(torch.ones(2, 4), x, weight)
    except (AttributeError, RuntimeError, TypeError):
        return False
    return all(torch.equal(one, torch.full((2, 4), 4.0)) for one in found)


def _processor() -> str:
    """What the machine says of its processor, its vendor's name included."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as lines:  # Linux alone has it
        return next((line for line in lines if line.startswith("vendor_id")), "")
    return platform.processor()


def suited(*tensors: torch.Tensor | None) -> bool:
    """Whether operands are such that oneDNN computes what torch would have in fp32."""
    return not torch.is_autocast_enabled("cpu") and all(
        one is None or (one.dtype == torch.float32 and one.device.type == "cpu" and one.numel() > 0) for one in tensors
    )


class _Frozen(torch.autograd.Function):
    """x W^T + b, and the gradient of x alone."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(weight)
        return times(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return times(gradients[0], weight.t()), None, None


class FrozenLinear(torch.nn.Linear):
    """torch.nn.Linear, by oneDNN where its weight is frozen."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  # torch's name
        if self.takes(input):
            found: torch.Tensor = _Frozen.apply(input, self.weight, self.bias)
            return found
        return super().forward(input)

    def takes(self, x: torch.Tensor) -> bool:
        """Whether oneDNN computes this layer of x."""
        frozen = not any(parameter.requires_grad for parameter in self.parameters(recurse=False))
        return frozen and suited(x, self.weight, self.bias)


def install(model: Any) -> None:
    """Let the linear layers of a base that is loaded go through oneDNN, where it is available."""
    if available():
        for module in model.modules():
            if type(module) is torch.nn.Linear:
                module.__class__ = FrozenLinear
