"""A LoRA layer of PEFT whose forward and backward pass are six products by oneDNN (heads/products.py).

    y = W x + b + s B (A x)

Autograd's own way makes the same in more steps: it adds the update and the two gradients of x in passes of their own,
and multiplies g^T by A x, long and thin, some five times slower than (A x)^T by g.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora.layer import Linear as PeftLinear

from likra_ray.heads import products
from likra_ray.heads.products import plus_times, times


class Adapted(torch.autograd.Function):
    """The layer above; gradients of x, A and B."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        """x: (..., in); weight: (out, in); down: (rank, in), A; up: (out, rank), B."""
        inner = times(x, down)
        ctx.save_for_backward(x, inner, weight, down, up)
        ctx.scale = scale
        return plus_times(times(x, weight, bias), inner, up * scale)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, inner, weight, down, up = ctx.saved_tensors
        (of_y,) = gradients
        of_inner = times(of_y, (up * ctx.scale).t())
        of_x = plus_times(times(of_y, weight.t()), of_inner, down.t()) if ctx.needs_input_grad[0] else None
        tokens = of_inner.flatten(end_dim=-2)
        of_down = times(tokens.t(), x.flatten(end_dim=-2).t())
        of_up = times(inner.flatten(end_dim=-2).t(), of_y.flatten(end_dim=-2).t()).t() * ctx.scale
        return of_x, None, None, of_down, of_up, None


class Linear(PeftLinear):
    """PEFT's layer, by `Adapted` where one plain adapter acts on a frozen layer in fp32."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        role = self.active_adapters[0] if len(self.active_adapters) == 1 else ""
        if args or kwargs or self.disable_adapters or self.merged or not self._plain(role):
            return super().forward(x, *args, **kwargs)
        base: Any = self.base_layer
        down: Any = self.lora_A[role].weight
        up: Any = self.lora_B[role].weight
        if not base.takes(x) or not products.ours(down, up):
            return super().forward(x)
        found: torch.Tensor = Adapted.apply(x, base.weight, base.bias, down, up, self.scaling[role])
        return found

    def _plain(self, role: str) -> bool:
        """Whether a role is LoRA without dropout, bias or variant, whole in this process."""
        return (
            role in self.lora_A
            and role not in self.lora_variant
            and isinstance(self.lora_dropout[role], torch.nn.Identity)
            and self.lora_B[role].bias is None
            and isinstance(self.base_layer, products.Linear)
            and not hasattr(self.lora_A[role].weight, "ds_id")
        )


def install(model: Any) -> None:
    """Let the adapters of a model, attached before, go through `Adapted`, where oneDNN is available."""
    if products.available():
        for module in model.modules():
            if type(module) is PeftLinear:
                module.__class__ = Linear
