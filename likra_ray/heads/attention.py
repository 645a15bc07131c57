"""Attention within each tree of a packed row, in place of attention over the whole row under a mask.

Tokens of different trees never see one another, so under a mask most of a row's T x T products are computed to be
thrown away. Here the trees lie side by side in a batch (padded here alone, to the largest tree of the row) behind the
prefix they share, and query heads that share keys are one longer sequence: T x (prefix + one tree) products. It gives
what transformers' own scaled_dot_product_attention gives under the row's mask, up to rounding (tests).
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

NAME = "likra_trees"
"""Of this attention among transformers' attention functions."""

ARGUMENT = "trees"
"""The keyword of a forward pass that says where a row's trees lie; without it attention is transformers' own."""


class Blocks(NamedTuple):
    """Where the trees of a row lie: N trees, the largest of L tokens, behind P of prefix; T tokens in the row."""

    places: torch.Tensor
    """(N * L,) int64: a tree's tokens in the row, tree by tree; 0 where a tree is shorter."""
    back: torch.Tensor
    """(T,) int64: where each token of the row lies among those."""
    visible: torch.Tensor
    """(N, 1, L, P + L) bool: token sees column; padding sees itself, so that no row of it is empty."""

    def to(self, device: torch.device) -> Blocks:
        return Blocks(*(part.to(device) for part in self))


def blocks(within: Sequence[torch.Tensor], prefix: int) -> Blocks:
    """within: for each tree of a row, (tokens, tokens) bool, which of its tokens see which; all see the prefix."""
    lengths = torch.tensor([len(tree) for tree in within])
    longest = int(lengths.max())
    offset = torch.arange(longest)
    real = offset < lengths[:, None]  # (N, L)
    places = torch.where(real, (lengths.cumsum(0) - lengths)[:, None] + offset, 0)
    own = torch.eye(longest, dtype=torch.bool).repeat(len(within), 1, 1)
    for seen, tree in zip(own, within, strict=True):
        seen[: len(tree), : len(tree)] = tree
    before = torch.ones(len(within), longest, prefix, dtype=torch.bool)
    visible = torch.cat([before, own], dim=2)[:, None]
    return Blocks(places.reshape(-1), real.reshape(-1).nonzero().reshape(-1), visible)


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **given: Any,
) -> tuple[torch.Tensor, None]:
    """As transformers' attention functions: (1, H, T, D) query, (1, K, P + T, D) key, value; returns (1, T, H, D)."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    trees: Blocks | None = given.pop(ARGUMENT, None)
    if trees is None or given.get("position_bias") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **given)
    count, _, longest, columns = trees.visible.shape
    prefix = columns - longest
    kinds = key.shape[1]  # key heads; the query heads of each are neighbours
    group, width = query.shape[1] // kinds, query.shape[3]

    def side_by_side(row: torch.Tensor) -> torch.Tensor:
        """(1, heads, T, D) -> (N, L, heads, D)"""
        return row[0].transpose(0, 1).index_select(0, trees.places).view(count, longest, -1, width)

    def behind_prefix(whole: torch.Tensor) -> torch.Tensor:
        """(1, K, P + T, D) -> (N, K, P + L, D)"""
        own = side_by_side(whole[:, :, prefix:]).transpose(1, 2)
        return own if not prefix else torch.cat([whole[:, :, :prefix].expand(count, -1, -1, -1), own], dim=2)

    asking = side_by_side(query).view(count, longest, kinds, group, width).permute(0, 2, 3, 1, 4)
    found = torch.nn.functional.scaled_dot_product_attention(
        asking.reshape(count, kinds, group * longest, width),
        behind_prefix(key),
        behind_prefix(value),
        attn_mask=trees.visible.repeat(1, 1, group, 1),
        dropout_p=given.get("dropout", 0.0),
        scale=given.get("scaling"),
    )
    by_token = found.view(count, kinds, group, longest, -1).permute(0, 3, 1, 2, 4)
    return by_token.reshape(count * longest, kinds * group, -1).index_select(0, trees.back)[None], None


def install(model: Any) -> None:
    """Let a model that attends by scaled_dot_product_attention attend by trees where it is told of them."""
    from transformers import AttentionInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

    kinds = [one.kind for one in inspect.signature(model.forward).parameters.values()]
    if model.config._attn_implementation != "sdpa" or inspect.Parameter.VAR_KEYWORD not in kinds:
        return
    AttentionInterface.register(NAME, attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    model.set_attn_implementation(NAME)


def by_trees(model: Any) -> bool:
    """Whether a model, bare or under PEFT, attends by trees where it is told of them."""
    return bool(model.config._attn_implementation == NAME)
