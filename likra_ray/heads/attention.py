"""Attention within each tree of a packed row, in place of attention over the whole row under a mask.

Tokens of different trees never see one another, so under a mask most of a row's T x T products are computed to be
thrown away. Here the trees lie side by side in a batch (padded here alone, to the largest tree of the row) behind the
prefix they share, and query heads that share keys are one longer sequence: T x (prefix + one tree) products. It gives
what transformers' own scaled_dot_product_attention gives under the row's mask, up to rounding (tests).

Scores on a CPU are made of small trees by two plain products and a softmax: the kernel behind
scaled_dot_product_attention takes 3 ms of a row and layer with 32 trees of 31 tokens, most of it not arithmetic. A long
prefix is attended to once for all trees, without a mask or a copy for each: what a token found there counts, in the
softmax over its tree, as one more column whose logit is the log-sum-exp of the prefix's (docs/LOG.md, 2026-11-28,
evening).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

NAME = "likra_trees"
"""Of this attention among transformers' attention functions."""

ARGUMENT = "trees"
"""The keyword of a forward pass that says where a row's trees lie; without it attention is transformers' own."""

SMALL = 128
"""Tokens of the largest tree of a row that is scored by plain products: above, the kernel is as fast and needs less
memory (docs/LOG.md, 2026-11-28, evening)."""

NEAR = 32
"""Tokens of a prefix at most that every tree attends to with its own: for two tokens the kernel alone took as long as
all products of the trees (same entry); where it begins to pay was not measured finer."""

MANY = 16
"""Products in a batch at least: with four threads or more for each, MKL cuts a product in parts and makes other bits,
and a table must not tell how many threads there were. So it does not below 64 (measured to there; same entry)."""


class Order(NamedTuple):
    """Vectors of a row as they lie there and as the trees lie in a batch; H = K G heads, C columns near a token."""

    queries: torch.Tensor
    """(N * K * G * L,) int64: for each place of the batch, which of the row's vectors, token by token, T * H."""
    queries_back: torch.Tensor
    """(T * H,) int64: for each vector of the row, its place in the batch."""
    keys: torch.Tensor
    """(N * K * C,) int64: which of the keys as they lie, T * K token by token; behind a prefix, where a cache made
    them, K * (P + T) head by head."""
    hidden: torch.Tensor
    """(N, 1, 1, L, C) fp32: 0 where a token sees a column, else -inf."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Where the trees of a row lie: N trees, the largest of L tokens, behind P of prefix; T tokens in the row."""

    places: torch.Tensor
    """(N * L,) int64: a tree's tokens in the row, tree by tree; 0 where a tree is shorter."""
    back: torch.Tensor
    """(T,) int64: where each token of the row lies among those."""
    visible: torch.Tensor
    """(N, 1, L, P + L) bool: token sees column; padding sees itself, so that no row of it is empty."""
    _orders: dict[tuple[int, int], Order] = field(default_factory=dict, repr=False)
    """What `order` has made, by (K, G)."""

    def to(self, device: torch.device) -> Blocks:
        return Blocks(self.places.to(device), self.back.to(device), self.visible.to(device))

    @property
    def prefix(self) -> int:
        """P"""
        return self.visible.shape[3] - self.visible.shape[2]

    @property
    def apart(self) -> int:
        """Columns attended to apart from a token's tree: all of a prefix, unless it is short."""
        return self.prefix if self.prefix > NEAR else 0

    def order(self, kinds: int, group: int) -> Order:
        """For K = `kinds` key heads, each of G = `group` query heads; made once for all layers."""
        if (kinds, group) not in self._orders:
            self._orders[kinds, group] = self._order(kinds, group)
        return self._orders[kinds, group]

    def _order(self, kinds: int, group: int) -> Order:
        count, _, longest, _ = self.visible.shape
        kind, member = torch.arange(kinds), torch.arange(group)
        places = self.places.view(count, 1, 1, longest)
        tree, within = self.back // longest, self.back % longest
        head = (tree[:, None, None] * kinds + kind[:, None]) * group + member  # (T, K, G)
        keys = places[:, 0] * kinds + kind[:, None]
        if self.prefix:
            near = torch.arange(self.apart, self.prefix).expand(count, 1, -1)
            columns = torch.cat([near, self.prefix + places[:, 0]], dim=2)
            keys = kind[:, None] * (self.prefix + len(self.back)) + columns
        seen = self.visible[:, :, None, :, self.apart :]
        return Order(
            queries=(places * (kinds * group) + (kind[:, None] * group + member)[None, :, :, None]).reshape(-1),
            queries_back=(head * longest + within[:, None, None]).reshape(-1),
            keys=keys.reshape(-1),
            hidden=torch.zeros(seen.shape).masked_fill_(~seen, -torch.inf),
        )


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
    dropout, scale = given.get("dropout", 0.0), given.get("scaling")
    if dropout == 0.0 and _suited(query, key, value, trees):
        return by_products(query, key, value, trees, query.shape[3] ** -0.5 if scale is None else scale), None
    count, _, longest, _ = trees.visible.shape
    prefix = trees.prefix
    kinds = key.shape[1]  # key heads; the query heads of each are neighbours
    group, width = query.shape[1] // kinds, query.shape[3]

    def side_by_side(row: torch.Tensor) -> torch.Tensor:
        """(1, heads, T, D) -> (N, L, heads, D)"""
        return row[0].transpose(0, 1).index_select(0, trees.places).view(count, longest, row.shape[1], -1)

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
        dropout_p=dropout,
        scale=scale,
    )
    by_token = found.view(count, kinds, group, longest, -1).permute(0, 3, 1, 2, 4)
    return by_token.reshape(count * longest, kinds * group, -1).index_select(0, trees.back)[None], None


def _suited(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, trees: Blocks) -> bool:
    """Whether `by_products` is used: for scores, on a CPU, of many small trees."""
    if query.device.type != "cpu" or torch.is_grad_enabled():
        return False
    count, _, longest, _ = trees.visible.shape
    if longest > SMALL or count * key.shape[1] < MANY:
        return False
    return trees.apart == 0 or (value.shape[3] == query.shape[3] and prefix_apart())


def by_products(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, trees: Blocks, scale: float
) -> torch.Tensor:
    """`attend` as plain products, at least in fp32, without a gradient; (1, T, H, D) in the dtype of `query`."""
    count, _, longest, _ = trees.visible.shape
    kinds, apart = key.shape[1], trees.apart
    heads, tokens, width = query.shape[1:]
    order = trees.order(kinds, heads // kinds)
    wide = torch.promote_types(query.dtype, torch.float32)

    def near(row: torch.Tensor) -> torch.Tensor:
        """(1, K, P + T, D) -> (N * K, C, D)"""
        vectors = row[0] if trees.prefix else row[0].transpose(0, 1)
        chosen = vectors.reshape(-1, row.shape[3]).index_select(0, order.keys)
        return chosen.view(count * kinds, -1, row.shape[3]).to(wide)

    with torch.autocast("cpu", enabled=False):
        asking = query[0].transpose(0, 1).reshape(-1, width).index_select(0, order.queries)
        scores = torch.bmm(asking.view(count * kinds, -1, width).to(wide).mul_(scale), near(key).transpose(1, 2))
        scores = scores.view(count, kinds, heads // kinds, longest, -1).add_(order.hidden)
        if apart:
            before, logit = _of_prefix(query, key[:, :, :apart], value[:, :, :apart], scale)
            logit = logit.reshape(-1).index_select(0, order.queries).view(*scores.shape[:-1], 1)
            scores = torch.cat([scores, logit.to(wide)], dim=-1)
        weights = scores.softmax(-1).view(count * kinds, heads // kinds * longest, -1)
        found = torch.bmm(weights[..., :-1] if apart else weights, near(value)).view(count * heads * longest, -1)
        found = found.index_select(0, order.queries_back).view(tokens, heads, -1)
        if apart:
            share = weights[..., -1].reshape(-1).index_select(0, order.queries_back).view(tokens, heads, 1)
            found.addcmul_(before.to(wide), share)
    return found[None].to(query.dtype)


def _of_prefix(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """What all tokens find in P columns that all of them see: (T, H, D), and the log-sum-exp of their logits, (T, H).

    query: (1, H, T, D); key, value: (1, K, P, D). Without a gradient.
    """
    _, heads, tokens, width = query.shape
    kinds = key.shape[1]
    shape = (kinds, heads // kinds, -1, width)
    found, logits = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query[0].unflatten(0, shape[:2]),
        key[0][:, None].expand(shape).to(query.dtype),
        value[0][:, None].expand(shape).to(query.dtype),
        scale=scale,
    )
    return found.permute(2, 0, 1, 3).reshape(tokens, heads, -1), logits.permute(2, 0, 1).reshape(tokens, heads)


@functools.cache
def prefix_apart() -> bool:
    """Whether torch's kernel gives log-sum-exps that are what they seem; its operator is not among documented ones."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, heads, 3, 8, generator=generator) for heads in (4, 2, 2))
    with torch.autocast("cpu", enabled=False):
        logits = query[0].unflatten(0, (2, 2)) @ key[0][:, None].transpose(2, 3)
        found = (logits.softmax(-1) @ value[0][:, None]).flatten(0, 1).transpose(0, 1)
        expected = found, logits.logsumexp(-1).flatten(0, 1).transpose(0, 1)
        try:
            return all(map(torch.allclose, _of_prefix(query, key, value, 1.0), expected))
        except (AttributeError, RuntimeError, TypeError):
            return False


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
