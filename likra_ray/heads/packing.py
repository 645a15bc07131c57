"""Several trees of tokens in one row: nothing is padded, what paths begin with alike is computed once.

A tree is the texts of one or several prompts, each a path, laid on one another as far as they are alike. All trees of
a row lie behind one another in a batch of one; a mask lets a token see the prefix of the row (cached keys and values)
and its own path up to itself, and positions count along the path, so every path is computed as if it stood alone:

    prefix | what A's paths share  rest of A1  rest of A2 | what B's paths share  rest of B1 ...

The last token of a path is predicted, and predicts nothing: it is not read. An option of one token costs nothing.

A batch of one also lets `logits_to_keep` choose positions freely, so the vocabulary is projected only where an
answer token is predicted. Works for every transformers causal LM that takes a 4-D attention mask.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch

from likra_ray.errors import InputError
from likra_ray.heads import attention
from likra_ray.heads.attention import Blocks, blocks
from likra_ray.heads.tokens import Encoded

ROW_TOKENS = 1024
"""Tokens per row at most, unless one tree is larger: matrix products are fuller than with 512, memory is bounded
(measured on 2 cores, docs/LOG.md, 2026-11-25)."""

PLACES = 32
"""Places whose logits go through softmax at once (measured for a vocabulary of 49,152, docs/LOG.md, 2026-11-25)."""


TREE_TOKENS = 128
"""Tokens of a merged tree at most: attention is computed between all tokens of a tree (docs/LOG.md, 2026-11-27)."""

ALIKE = 2
"""Tokens two trees begin with alike, to be merged: one, of most English questions, saves nothing in scoring, where it
lies in the prefix, and makes trees larger (measured with 1 and 3, docs/LOG.md, 2026-11-27)."""


class Nodes(NamedTuple):
    """A tree as a row reads it: N tokens, each behind those it follows."""

    tokens: list[int]
    """(N,) ids."""
    depths: list[int]
    """(N,) tokens before it on its path."""
    parents: list[int]
    """(N,) the token before it on its path, by its place; -1 for a first one."""
    places: list[list[int]]
    """For each path, where its tokens but the last lie among the N."""


@dataclass(frozen=True)
class Tree:
    """Paths: computed once as far as they begin alike."""

    paths: tuple[tuple[int, ...], ...]
    """Ids of each."""
    scored_from: tuple[int, ...]
    """For each path, index of the first token scored; at least 1."""

    @cached_property
    def nodes(self) -> Nodes:
        """Shared beginnings laid on one another; in the order in which paths first reach them."""
        known: dict[tuple[int, int], int] = {}  # (node before, id) -> node
        tokens: list[int] = []
        parents: list[int] = []
        depths: list[int] = []
        places = []
        for path in self.paths:
            node, walked = -1, []
            for depth, token in enumerate(path[:-1]):
                found = known.setdefault((node, token), len(tokens))
                if found == len(tokens):
                    tokens.append(token)
                    parents.append(node)
                    depths.append(depth)
                node = found
                walked.append(node)
            places.append(walked)
        return Nodes(tokens, depths, parents, places)

    def visible(self) -> torch.Tensor:
        """(N, N) bool: token sees token; those of its own path, up to itself."""
        sees = np.eye(self.size, dtype=bool)
        for node, parent in enumerate(self.nodes.parents):
            if parent >= 0:
                sees[node] |= sees[parent]
        return torch.from_numpy(sees)

    @property
    def size(self) -> int:
        """Tokens it takes in a row."""
        return len(self.nodes.tokens)


def shared(texts: Sequence[Encoded]) -> int:
    """Tokens that all texts of one prompt begin with, before any of their answers."""
    common = len(os.path.commonprefix([text.tokens for text in texts]))
    return min(common, *(text.answer_start for text in texts))


def grow(texts: Sequence[Encoded], *, cut: int = 0) -> Tree:
    """Texts as a tree, a path for each in order; loss and scores are of their answers' tokens.

    cut: tokens at the start that another row holds (the cached prefix).
    """
    return Tree(
        paths=tuple(text.tokens[cut:] for text in texts), scored_from=tuple(text.answer_start - cut for text in texts)
    )


def merged(trees: Sequence[Tree]) -> Tree:
    """One tree with the paths of all, tree by tree."""
    return Tree(
        paths=tuple(path for tree in trees for path in tree.paths),
        scored_from=tuple(first for tree in trees for first in tree.scored_from),
    )


def alike(trees: Sequence[Tree], *, tree_tokens: int = TREE_TOKENS, least: int = ALIKE) -> list[list[int]]:
    """Indices of trees to be merged: neighbours, in the order of their tokens, that begin with `least` of them alike.

    What is merged has at most `tree_tokens` tokens. Groups come by the first of their trees.
    """
    begin = [tree.paths[0][:-1] for tree in trees]
    groups: list[list[int]] = []
    size = 0
    last: tuple[int, ...] = ()
    for i in sorted(range(len(trees)), key=lambda i: (begin[i], i)):
        saved = len(os.path.commonprefix([last, begin[i]]))
        if not groups or saved < least or size + trees[i].size - saved > tree_tokens:
            groups.append([])
            size = saved = 0
        groups[-1].append(i)
        size += trees[i].size - saved
        last = begin[i]
    return sorted(groups, key=min)


def in_rows(sizes: Sequence[int], *, row_tokens: int = ROW_TOKENS) -> list[list[int]]:
    """Indices of neighbours that share a row of at most `row_tokens` tokens, in order; a larger one is alone."""
    rows: list[list[int]] = []
    room = 0
    for index, size in enumerate(sizes):
        if not rows or size > room:
            rows.append([])
            room = row_tokens
        rows[-1].append(index)
        room -= size
    return rows


class Row(NamedTuple):
    """What one forward pass reads, on the CPU."""

    tokens: torch.Tensor
    """(1, T) int64."""
    positions: torch.Tensor
    """(1, T) int64: along each path, the prefix counted."""
    visible: torch.Tensor
    """(1, 1, T, P + T) bool: row sees column; the first P columns are the prefix."""
    trees: Blocks
    """Where each tree lies in the row, and what its tokens see of it: `visible` without strangers."""
    predicting: torch.Tensor
    """(K,) int64: places in the row at which an answer token is predicted, increasing."""
    source: torch.Tensor
    """(A,) int64: for each scored token, which of the K places predicts it."""
    target: torch.Tensor
    """(A,) int64: the id of each scored token."""
    path: torch.Tensor
    """(A,) int64: the number of its path, counted over all trees of the row."""
    paths: int
    """Paths in the row."""


def pack(trees: Sequence[Tree], *, prefix: int = 0) -> Row:
    """Lay trees in one row behind `prefix` cached tokens. Raises ValueError where nothing is to be scored."""
    tokens: list[int] = []
    positions: list[int] = []
    scored: list[tuple[int, int, int]] = []  # (place that predicts, id, path)
    paths = 0
    for number, tree in enumerate(trees):
        start = len(tokens)
        for path, scored_from, places in zip(tree.paths, tree.scored_from, tree.nodes.places, strict=True):
            if not 1 <= scored_from < len(path):
                raise ValueError(f"tree {number}: scored_from {scored_from} of {len(path)} tokens")
            scored += [(start + places[i - 1], path[i], paths) for i in range(scored_from, len(path))]
            paths += 1
        tokens += tree.nodes.tokens
        positions += [prefix + depth for depth in tree.nodes.depths]
    if not scored:
        raise ValueError("nothing to score: no tree, or no path")
    within = [tree.visible() for tree in trees]
    predictors, targets, owners = np.array(scored, dtype=np.int64).T.copy()
    predicting, source = np.unique(predictors, return_inverse=True)
    before = torch.ones(len(tokens), prefix, dtype=torch.bool)
    return Row(
        tokens=torch.tensor([tokens]),
        positions=torch.tensor([positions]),
        visible=torch.cat([before, torch.block_diag(*within)], dim=1)[None, None],
        trees=blocks(within, prefix),
        predicting=torch.from_numpy(predicting),
        source=torch.from_numpy(source.reshape(-1)),
        target=torch.from_numpy(targets),
        path=torch.from_numpy(owners),
        paths=paths,
    )


def token_logprobs(model: Any, row: Row, *, device: torch.device, cache: Any = None) -> torch.Tensor:
    """(A,) fp32, nats: log p of every scored token of the row, differentiable; model, cache: as `token_logits`.

    A few places at a time go through softmax, so that what it makes of their logits stays in the processor's cache.
    """
    order = torch.argsort(row.source, stable=True)
    source, target = row.source[order], row.target[order].to(device)
    counts = torch.bincount(source // PLACES, minlength=-(-len(row.predicting) // PLACES)).tolist()
    chunks = _logits(model, row, device, cache).split(PLACES)
    found = [
        chunk.float().log_softmax(dim=-1)[places, ids]
        for chunk, places, ids in zip(
            chunks, (source % PLACES).to(device).split(counts), target.split(counts), strict=True
        )
    ]
    return torch.cat(found)[torch.argsort(order).to(device)]


def token_logits(model: Any, row: Row, *, device: torch.device, cache: Any = None) -> torch.Tensor:
    """(K, vocabulary) fp32: logits at every place of the row that predicts a scored token, differentiable.

    model: called as a transformers causal LM (bare, under PEFT or in an engine); cache: keys and values of the
    prefix, extended in place by the call (the caller crops it).
    """
    return _logits(model, row, device, cache).float()


def _logits(model: Any, row: Row, device: torch.device, cache: Any) -> torch.Tensor:
    inner = getattr(model, "module", model)  # a DeepSpeed engine's `config` is DeepSpeed's
    check_length(inner, int(row.positions.max()) + 1)
    reach = _reach(inner.config.get_text_config(), row)
    trees = {attention.ARGUMENT: row.trees.to(device)} if reach is None and attention.by_trees(inner) else {}
    output = model(
        input_ids=row.tokens.to(device),
        position_ids=row.positions.to(device),
        attention_mask=_mask(inner, row, device, reach),
        logits_to_keep=row.predicting.to(device),
        past_key_values=cache,
        use_cache=cache is not None,
        **trees,
    )
    logits: torch.Tensor = output.logits[0]
    return logits


class TooLong(InputError):
    """A text that the base does not read as it is."""


def check_length(model: Any, longest: int) -> None:
    """Raise TooLong where a text has more tokens than the base has positions, or so many that rotary embeddings, which
    look at the longest of all texts in a row, would be other ones for the others too. longest: tokens."""
    config = model.config.get_text_config()
    most = {"max_position_embeddings": getattr(config, "max_position_embeddings", None)}
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "longrope":
        name = "original_max_position_embeddings"
        most[name] = rope.get(name) or getattr(config, name, None)
    for field, positions in most.items():
        if positions is not None and longest > positions:
            read = f"{longest} tokens of one text, solved examples included"
            raise TooLong(where="base", field=field, value=read, allowed=f"at most {positions}")


def _reach(config: Any, row: Row) -> int | None:
    """Tokens back that some layers see at most; None where that is the whole of every path."""
    kinds = set(getattr(config, "layer_types", None) or ())
    window = getattr(config, "sliding_window", None) if not kinds or "sliding_attention" in kinds else None
    return window if window is not None and window <= int(row.positions.max()) else None


def _mask(model: Any, row: Row, device: torch.device, reach: int | None) -> Any:
    """`visible` as this model takes it: within its sliding window, by kind of layer, to be added where that is asked.

    Given a 4-D mask, transformers applies neither a window nor, in eager attention, a truth value as -inf.
    """
    kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or ())
    full = row.visible.to(device)
    near = full
    if reach is not None:
        positions = row.positions[0]
        columns = torch.cat([torch.arange(full.shape[-1] - len(positions)), positions])
        near = full & (positions[:, None] - columns[None, :] < reach).to(device)
    if "sliding_attention" not in kinds:
        return _added(near, model)
    return {"full_attention": _added(full, model), "sliding_attention": _added(near, model)}


def _added(seen: torch.Tensor, model: Any) -> torch.Tensor:
    if model.config._attn_implementation != "eager":
        return seen
    least = torch.finfo(model.dtype).min
    return torch.zeros(seen.shape, dtype=model.dtype, device=seen.device).masked_fill_(~seen, least)
