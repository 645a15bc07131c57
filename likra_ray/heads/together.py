"""Several heads in one forward pass: each adapter sees its own stretch of the row, the frozen base all of it at once.

A packed row keeps trees apart already, so the trees of several heads can lie in one row, each head's behind one
another. What is left to do is the LoRA layer's: of the stacked matrices

    A = [A_1; A_2; ...]  (sum of ranks, in)        B = [B_1, B_2, ...]  (out, sum of ranks)

a token keeps of A x only the ranks of its own head, before B. That is two products whatever the number of heads (a
loop over heads starts as many kernels as training them apart does), and N times the LoRA arithmetic, which is small
beside the base's while the sum of ranks is small beside its width. A token that is not a head's adds exactly zero to
that head's gradient.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from likra_ray.heads import adapters
from likra_ray.heads.orders import Role

Divide = Callable[[Sequence[int]], None]
"""Told before every forward pass how many tokens of its row are each head's, in the order of the heads."""


@contextlib.contextmanager
def side_by_side(model: Any, roles: Sequence[Role]) -> Iterator[Divide]:
    """While the block runs, adapter h of `roles` acts on the h-th stretch of a row, and all of them train.

    model: from `adapters.attach`, whose adapters have one rank and one scale; rows are (1, T, width). The division
    stands until the next one, so layers that are recomputed in the backward pass read the same. Afterwards the
    adapters that were active are so again; whoever trains one next chooses it.
    """
    from peft.tuners.lora import LoraLayer

    from likra_ray.heads.lora import updated

    layers: list[Any] = [module for module in model.modules() if isinstance(module, LoraLayer)]
    before = [list(layer.active_adapters) for layer in layers]
    ranks = torch.tensor([layers[0].r[role] for role in roles])
    device = next(iter(model.parameters())).device
    own = torch.empty(0)  # (T, sum of ranks): 1 where the rank is of the token's head, else 0

    def divide(sizes: Sequence[int]) -> None:
        nonlocal own
        heads = torch.arange(len(roles))
        token, rank = heads.repeat_interleave(torch.tensor(sizes)), heads.repeat_interleave(ranks)
        own = (token[:, None] == rank[None, :]).to(device, torch.float32)

    def add_updates(layer: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        down = torch.cat([layer.lora_A[role].weight for role in roles])
        up = torch.cat([layer.lora_B[role].weight for role in roles], dim=1)
        return updated(inputs[0], output, down, up, layer.scaling[roles[0]], own)

    chosen = [parameter for role in roles for parameter in adapters.parameters(model, role).values()]
    hooks = []
    try:
        for layer in layers:
            layer.set_adapter([])
            hooks.append(layer.register_forward_hook(add_updates))
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        for parameter in chosen:
            parameter.requires_grad_(True)
        yield divide
    finally:
        for hook in hooks:
            hook.remove()
        for layer, active in zip(layers, before, strict=True):
            layer.set_adapter(active)
