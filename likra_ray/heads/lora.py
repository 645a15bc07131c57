"""A LoRA update, added to what the frozen layer gives, by oneDNN there and back (heads/products.py).

    y = output + s B (A x)

Its products are thousands long and some eight columns wide. Autograd's own backward pass multiplies g^T by A x, five
times slower than (A x)^T by g, and each sum is a pass of its own. PEFT's layers go through here (`install`), and so
do several heads in one row (heads/together.py).
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora.layer import Linear as PeftLinear

from likra_ray.heads import products
from likra_ray.heads.products import plus_times, times


class _Updated(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        output: torch.Tensor,
        down: torch.Tensor,
        up: torch.Tensor,
        scale: float,
        own: torch.Tensor | None,
    ) -> torch.Tensor:
        inner = times(x, down)
        if own is not None:
            inner = inner * own
        ctx.save_for_backward(x, inner, down, up, own)
        ctx.scale = scale
        return plus_times(output, inner, up * scale)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, inner, down, up, own = ctx.saved_tensors
        (of_y,) = gradients
        of_inner = times(of_y, (up * ctx.scale).t())
        if own is not None:
            of_inner = of_inner * own
        of_x = times(of_inner, down.t()) if ctx.needs_input_grad[0] else None
        of_down = times(_by_column(of_inner), _by_column(x))
        of_up = times(_by_column(inner), _by_column(of_y)).t() * ctx.scale
        return of_x, of_y, of_down, of_up, None, None


def _by_column(tokens: torch.Tensor) -> torch.Tensor:
    """(..., n) as (n, tokens)."""
    return tokens.flatten(end_dim=-2).t()


def updated(
    x: torch.Tensor,
    output: torch.Tensor,
    down: torch.Tensor,
    up: torch.Tensor,
    scale: float,
    own: torch.Tensor | None = None,
) -> torch.Tensor:
    """output + scale B (A x), in the dtype of `output`, with all gradients.

    x: (..., in); output: (..., out), the layer's own; down: (rank, in), A; up: (out, rank), B; own: (tokens, rank), by
    which A x is multiplied: 0 where a rank is not of the token's head.
    """
    if products.available() and products.suited(x, output, down, up):
        found: torch.Tensor = _Updated.apply(x, output, down, up, scale, own)
        return found
    inner = torch.nn.functional.linear(x.to(down.dtype), down)
    if own is not None:
        inner = inner * own.to(inner.dtype)
    return (output + torch.nn.functional.linear(inner, up) * scale).to(output.dtype)


class LoraLinear(PeftLinear):
    """PEFT's layer, by `updated` where one plain adapter acts in what oneDNN computes."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        role = self.active_adapters[0] if len(self.active_adapters) == 1 else ""
        if args or kwargs or self.disable_adapters or self.merged or not self._plain(role):
            return super().forward(x, *args, **kwargs)
        down: Any = self.lora_A[role].weight
        up: Any = self.lora_B[role].weight
        if not products.suited(x, down, up):
            return super().forward(x)
        return updated(x, self.base_layer(x), down, up, self.scaling[role])

    def _plain(self, role: str) -> bool:
        """Whether a role is LoRA without dropout, bias or variant, and whole in this process (not ZeRO-3's part)."""
        return (
            role in self.lora_A
            and role not in self.lora_variant
            and isinstance(self.lora_dropout[role], torch.nn.Identity)
            and self.lora_B[role].bias is None
            and not hasattr(self.lora_A[role].weight, "ds_id")
        )


def install(model: Any) -> None:
    """Let the adapters of a model, attached before, go through `updated`, where oneDNN is available."""
    if products.available():
        for module in model.modules():
            if type(module) is PeftLinear:
                module.__class__ = LoraLinear
