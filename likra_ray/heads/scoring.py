"""Takes a model and questions, returns a ScoreTable: log p of every option, each shared part computed once.

The solved examples' keys and values are computed once for all questions, a prompt once for its options, the
vocabulary is projected at answer positions only; ranks share the rows. `score_naive` is the definition: one option,
one text, one pass; tests hold `score` to it (fp32: 5e-4 nat on an option's sum).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist

from likra_ray.heads.packing import (
    ROW_TOKENS,
    Tree,
    alike,
    check_length,
    grow,
    in_rows,
    merged,
    pack,
    shared,
    token_logprobs,
)
from likra_ray.heads.tokens import Encoded, encode, joined
from likra_ray.records import KINDS, Question, ScoreTable


def solved(shots: Sequence[Question]) -> str:
    """The text before every question: each shot with its correct answer, and the separator; "" without shots."""
    return joined(_answered(shots))


def _answered(shots: Sequence[Question]) -> list[tuple[str, str]]:
    return [(shot.prompt, shot.correct.text) for shot in shots]


class Forest(NamedTuple):
    """Every question of an evaluation in a tree behind one common prefix."""

    prefix: tuple[int, ...]
    """Ids all texts of the evaluation begin with."""
    trees: tuple[Tree, ...]
    """What follows the prefix; paths are options, those of prompts that begin alike in one tree."""
    options: tuple[np.ndarray, ...]
    """For each tree, (paths,) int64: the option that each path is, counted over all questions."""
    tokens: np.ndarray
    """(O,) int32: scored tokens of every option."""


def plant(tokenizer: Any, questions: Sequence[Question], shots: Sequence[Question] = ()) -> Forest:
    """Tokenise an evaluation. Raises ValueError without questions."""
    if not questions:
        raise ValueError("no questions to score")
    pairs = [(question.prompt, option.text) for question in questions for option in question.options]
    encoded = encode(tokenizer, pairs, shots=_answered(shots))
    by_question, start = [], 0
    for question in questions:
        by_question.append(encoded[start : start + len(question.options)])
        start += len(question.options)
    return plant_encoded(by_question)


def plant_encoded(by_question: Sequence[Sequence[Encoded]]) -> Forest:
    """The texts of each prompt, tokenised, as a forest. Raises ValueError without any."""
    if not by_question:
        raise ValueError("nothing to score")
    ends = [shared(options) for options in by_question]
    prompts = [options[0].tokens[:end] for options, end in zip(by_question, ends, strict=True)]
    common = os.path.commonprefix(prompts)
    prefix = tuple(common[: min(min(ends) - 1, len(common))])
    trees = [grow(options, cut=len(prefix)) for options in by_question]
    counts = [len(option.tokens) - option.answer_start for options in by_question for option in options]
    ends_at = np.cumsum([len(options) for options in by_question])
    options = [np.arange(end - len(tree.paths), end) for end, tree in zip(ends_at, trees, strict=True)]
    groups = alike(trees)
    return Forest(
        prefix=prefix,
        trees=tuple(merged([trees[i] for i in group]) for group in groups),
        options=tuple(np.concatenate([options[i] for i in group]) for group in groups),
        tokens=np.array(counts, dtype=np.int32),
    )


@torch.no_grad()
def score(
    model: Any,
    tokenizer: Any,
    questions: Sequence[Question],
    *,
    shots: Sequence[Question] = (),
    row_tokens: int = ROW_TOKENS,
) -> ScoreTable:
    """Log p of every option; on several ranks every rank calls it and gets the same table.

    model: a transformers causal LM, bare, under PEFT or in an engine. Raises ValueError on a log p that is not finite.
    """
    return score_forest(model, plant(tokenizer, questions, shots), questions, row_tokens=row_tokens)


@torch.no_grad()
def score_forest(
    model: Any, forest: Forest, questions: Sequence[Question], *, row_tokens: int = ROW_TOKENS
) -> ScoreTable:
    """`score` of an evaluation tokenised before, so that many heads share the tokenising."""
    device = next(iter(model.parameters())).device
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    rows = longest_first([tree.size for tree in forest.trees], row_tokens)
    sums = torch.zeros(len(forest.tokens), dtype=torch.float64, device=device)
    cache = prefix_cache(model, forest.prefix, device)
    for turn in range(0, len(rows), world):
        mine = turn + rank
        # Under ZeRO-3 ranks step together: one without a row of its own does the first again and drops the result.
        members = rows[mine] if mine < len(rows) else rows[0]
        row = pack([forest.trees[i] for i in members], prefix=len(forest.prefix))
        logprobs = token_logprobs(model, row, device=device, cache=cache).double()
        if cache is not None:
            cache.crop(-row.tokens.shape[1])
        if mine < len(rows):
            options = np.concatenate([forest.options[i] for i in members])
            index = torch.from_numpy(options).to(device)[row.path.to(device)]
            sums.index_add_(0, index, logprobs)
    if world > 1:
        dist.all_reduce(sums)
    return _table(questions, forest.tokens, sums.cpu().numpy())


def longest_first(sizes: Sequence[int], row_tokens: int = ROW_TOKENS) -> list[list[int]]:
    """Indices of the trees of each row, longest trees first."""
    order = sorted(range(len(sizes)), key=lambda i: (-sizes[i], i))
    return [[order[i] for i in row] for row in in_rows([sizes[i] for i in order], row_tokens=row_tokens)]


def prefix_cache(model: Any, prefix: tuple[int, ...], device: torch.device) -> Any:
    """Keys and values of the prefix; None where there is no prefix. Raises TooLong."""
    if not prefix:
        return None
    check_length(getattr(model, "module", model), len(prefix))
    from transformers import DynamicCache

    cache = DynamicCache()
    model(input_ids=torch.tensor([prefix], device=device), past_key_values=cache, use_cache=True, logits_to_keep=1)
    return cache


def _table(questions: Sequence[Question], tokens: np.ndarray, sums: np.ndarray) -> ScoreTable:
    options = [(index, option) for index, question in enumerate(questions) for option in question.options]
    bad = ~np.isfinite(sums)
    if bad.any():
        first = questions[options[int(np.argmax(bad))][0]].id
        raise ValueError(
            f"log p is not finite for {int(bad.sum())} of {len(sums)} options, first in question {first!r} or one that "
            "begins like it"
        )
    return ScoreTable(
        question_ids=tuple(question.id for question in questions),
        question=np.array([index for index, _ in options], dtype=np.int32),
        kind=np.array([KINDS.index(option.kind) for _, option in options], dtype=np.int8),
        logprob=sums,
        tokens=tokens,
        characters=np.array([len(option.text) for _, option in options], dtype=np.int32),
        bytes=np.array([len(option.text.encode()) for _, option in options], dtype=np.int32),
    )


@torch.no_grad()
def score_naive(
    model: Any, tokenizer: Any, questions: Sequence[Question], *, shots: Sequence[Question] = ()
) -> ScoreTable:
    """The definition `score` is held to: every option's whole text alone through the model, nothing shared."""
    device = next(iter(model.parameters())).device
    sums, counts = [], []
    for question in questions:
        for option in question.options:
            [(tokens, start)] = encode(tokenizer, [(question.prompt, option.text)], shots=_answered(shots))
            logits = model(input_ids=torch.tensor([tokens], device=device), use_cache=False).logits[0].float()
            logprobs = torch.log_softmax(logits, dim=-1)
            sums.append(sum(float(logprobs[i - 1, tokens[i]]) for i in range(start, len(tokens))))
            counts.append(len(tokens) - start)
    return _table(questions, np.array(counts, dtype=np.int32), np.array(sums))
