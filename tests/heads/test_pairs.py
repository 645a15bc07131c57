"""Pairs: who is mismatched with whom, which references are asked for and found, and what the loop is given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from small import BATCH, baseline, order

from likra_ray.heads import pairs
from likra_ray.heads.objectives import REFERENCED
from likra_ray.heads.orders import BASELINES, EvaluationOrder, Role
from likra_ray.heads.packing import alike
from likra_ray.heads.pairs import BLOCK, Pair, mismatched, pairs_of, reference_orders
from likra_ray.heads.scoring import score, score_naive
from likra_ray.records import ScoreTable


def some(count: int) -> list[Pair]:
    return [Pair(f"p{i}", f"c{i}", f"w{i}") for i in range(count)]


@pytest.mark.parametrize(
    ("count", "batch_size", "others"),
    [
        (4, 4, [3, 0, 1, 2]),
        (6, 3, [2, 0, 1, 5, 3, 4]),
        (7, 3, [2, 0, 1, 5, 3, 4]),
        (4, 2, [1, 0, 3, 2]),
        (1, 2, []),
    ],
)
def test_each_prompt_meets_the_answers_of_the_pair_before_it(count: int, batch_size: int, others: list[int]) -> None:
    found = mismatched(some(count), batch_size)
    assert found == [Pair(f"p{i}", f"c{j}", f"w{j}") for i, j in enumerate(others)]


def test_mismatched_pairs_are_those_of_trls_rotation() -> None:
    """trl shifts the completions of a batch by one; a batch of pairs is all its correct ones, then all its wrong."""
    batch = some(5)
    prompts = [pair.prompt for pair in batch] * 2
    completions = [pair.correct for pair in batch] + [pair.wrong for pair in batch]
    rotated = set(zip(prompts, [completions[-1], *completions[:-1]], strict=True))
    ours = {(pair.prompt, answer) for pair in mismatched(batch, 5) for answer in (pair.correct, pair.wrong)}
    assert ours == rotated


def test_a_batch_of_one_has_no_other() -> None:
    with pytest.raises(ValueError, match="at least 2 pairs"):
        mismatched(some(3), 1)


@pytest.mark.parametrize("role", BASELINES)
def test_a_longer_run_asks_for_the_same_blocks_and_more(role: Role) -> None:
    """70 pairs: one whole block and one that the curriculum's end cuts short."""
    asked = {last: reference_orders(baseline(role, 0, last), last, BATCH) for last in (4, 64, 68)}
    if role not in REFERENCED:
        assert not any(asked.values())
        return
    kinds = 2 if role == "kto" else 1
    assert [len(blocks) for blocks in asked.values()] == [kinds, kinds, 2 * kinds]
    assert asked[4] == asked[64]
    assert {block.key for block in asked[64]} < {block.key for block in asked[68]}
    assert [len(block.questions) for block in asked[68]] == [BLOCK, 6] + ([BLOCK, 4] if role == "kto" else [])
    assert all(not block.shots for block in asked[68])


def test_likras_heads_ask_for_nothing() -> None:
    assert reference_orders(order("negative", 0, 16), 16, BATCH) == []


def test_a_block_is_keyed_by_what_stands_in_it() -> None:
    one, other = baseline("dpo", 0, 8), baseline("npo", 0, 16)
    keys = {block.key for made in (one, other) for block in reference_orders(made, 8, BATCH)}
    assert len(keys) == 1, "another objective, another key, the same pairs"
    changed = replace(one, wrong=(*one.wrong[:-1], "another"))
    assert reference_orders(changed, 68, BATCH)[0].key in keys
    assert reference_orders(changed, 68, BATCH)[1] != reference_orders(one, 68, BATCH)[1]


@pytest.mark.parametrize("role", REFERENCED)
def test_the_reference_is_the_bases_log_probability_of_both_answers(tiny: Any, role: Role) -> None:
    asked: list[EvaluationOrder] = []

    def table(block: EvaluationOrder) -> ScoreTable:
        asked.append(block)
        return score(tiny.model, tiny.tokenizer, block.questions)

    made = baseline(role, 0, 8)
    found = pairs.lessons(made, 8, tokenizer=tiny.tokenizer, batch_size=BATCH, table=table)
    assert (found.objective, found.beta, len(found.trees)) == (role, made.beta, 8)
    assert asked == reference_orders(made, 8, BATCH)
    expected = [(pairs_of(made)[:8], found.reference)]
    if role == "kto":
        expected.append((mismatched(pairs_of(made), BATCH)[:8], found.mismatched_reference))
        assert len(found.mismatched) == 8
    else:
        assert found.mismatched == () and found.mismatched_reference is None
    for listed, reference in expected:
        assert reference is not None and reference.shape == (8, 2) and reference.dtype == torch.float64
        naive = score_naive(tiny.model, tiny.tokenizer, pairs._block(listed).questions)
        np.testing.assert_allclose(reference.numpy(), naive.logprob.reshape(8, 2), rtol=0, atol=5e-4)


def test_a_missing_reference_is_named(tiny: Any) -> None:
    with pytest.raises(RuntimeError, match="the base has no table pairs-"):
        pairs.lessons(baseline("dpo", 0, 8), 8, tokenizer=tiny.tokenizer, batch_size=BATCH, table=lambda _: None)


def test_the_prompt_is_in_a_tree_once(tiny: Any) -> None:
    made = baseline("orpo", 0, 8)
    found = pairs.lessons(made, 8, tokenizer=tiny.tokenizer, batch_size=BATCH, table=lambda _: None)
    for tree, pair in zip(found.trees, pairs_of(made)[:8], strict=True):
        assert [tiny.tokenizer.decode(path) for path in tree.paths] == [
            f"{pair.prompt} {pair.correct}", f"{pair.prompt} {pair.wrong}",
        ]  # fmt: skip
        assert tree.size <= sum(len(path) - 1 for path in tree.paths) - len(pair.prompt)
        scored = [tiny.tokenizer.decode(path[first:]) for path, first in
                  zip(tree.paths, tree.scored_from, strict=True)]  # fmt: skip
        assert scored == [f" {pair.correct}", f" {pair.wrong}"]


def test_a_batch_is_merged_out_of_its_order(tiny: Any) -> None:
    """So every test of a baseline's step and of Likra's heads is one of merged trees too."""
    lessons = pairs.lessons(baseline("orpo", 0, 8), 8, tokenizer=tiny.tokenizer, batch_size=BATCH, table=lambda _: None)
    assert alike(lessons.trees[:BATCH]) not in ([[0], [1], [2], [3]], [[0, 1, 2, 3]])
    assert len(alike(lessons.trees[:BATCH])) < BATCH


def test_a_pair_without_its_wrong_answer_is_refused() -> None:
    made = baseline("dpo", 0, 8)
    with pytest.raises(ValueError, match="shorter"):
        pairs_of(replace(made, wrong=made.wrong[:-1]))
