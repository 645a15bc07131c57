"""Attention by trees is attention under the row's mask, and is what happens where a model can do it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from small import fresh, lopsided, shots
from test_packing import CPU, TREES
from test_scoring import random_model

from likra_ray.heads import adapters, attention
from likra_ray.heads.packing import ROW_TOKENS, pack, token_logprobs
from likra_ray.heads.scoring import plant, score

ATTENDS = {
    "llama": True,
    "mistral": True,
    "qwen2": True,
    "qwen3": True,
    "gemma": True,
    "gemma3": True,
    "gpt2": True,
    "mistral, window of 16": False,
    "qwen2, window of 16 in one layer": False,
    "llama, eager attention": False,
    "gemma2, softcap": False,
}
"""By architecture: whether its attention goes by trees."""


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Sizes of the batches that scaled_dot_product_attention is asked for."""
    seen: set[int] = set()
    asked = torch.nn.functional.scaled_dot_product_attention

    def watched(query: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        seen.add(query.shape[0])
        return asked(query, *rest, **named)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    return seen


@pytest.mark.parametrize("name", ATTENDS)
@pytest.mark.parametrize("count", [0, 2], ids=lambda count: f"{count} shots")
def test_scores_by_trees_are_scores_under_the_mask(tiny: Any, batches: set[int], name: str, count: int) -> None:
    by_mask = random_model(name)
    by_trees = copy.deepcopy(by_mask)
    attention.install(by_trees)
    given = {"shots": shots()[:count], "row_tokens": ROW_TOKENS}
    expected = score(by_mask, tiny.tokenizer, lopsided(), **given)
    assert batches <= {1}
    found = score(by_trees, tiny.tokenizer, lopsided(), **given)
    np.testing.assert_allclose(found.logprob, expected.logprob, rtol=0, atol=5e-4)
    trees = len(plant(tiny.tokenizer, lopsided(), shots()[:count]).trees)
    assert trees > 1
    assert (max(batches, default=1) == trees) == ATTENDS[name]


def test_gradients_by_trees_are_gradients_under_the_mask(batches: set[int]) -> None:
    base = fresh().model
    assert attention.by_trees(base), "a base that is loaded attends by trees"
    model = adapters.attach(base, rank=4, alpha=8, targets=("q_proj", "v_proj", "down_proj"), seed=0)
    chosen = adapters.choose(model, "positive")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in chosen:
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)

    def gradients() -> torch.Tensor:
        loss = token_logprobs(model, pack(TREES), device=CPU).sum()
        return torch.cat([part.reshape(-1) for part in torch.autograd.grad(loss, chosen)]).double()

    by_trees = gradients()
    assert batches == {len(TREES)}
    base.set_attn_implementation("sdpa")
    by_mask = gradients()
    assert float((by_trees - by_mask).norm() / by_mask.norm()) < 1e-6
