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


WAYS = {
    "side by side": {"MANY": 10**9},
    "products": {"MANY": 1, "NEAR": 10**9},
    "products, prefix apart": {"MANY": 1, "NEAR": 0},
}
"""How trees are attended to, and what makes it so."""


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Trees that were attended to at once: sizes of the batches that scaled_dot_product_attention and products took."""
    seen: set[int] = set()
    asked, products = torch.nn.functional.scaled_dot_product_attention, attention.by_products

    def watched(query: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        seen.add(query.shape[0])
        return asked(query, *rest, **named)

    def watched_products(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, trees: Any, *rest: Any) -> Any:
        seen.add(len(trees.visible))
        return products(query, key, value, trees, *rest)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    monkeypatch.setattr(attention, "by_products", watched_products)
    return seen


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ATTENDS)
@pytest.mark.parametrize("count", [0, 2], ids=lambda count: f"{count} shots")
def test_scores_by_trees_are_scores_under_the_mask(
    tiny: Any, batches: set[int], monkeypatch: pytest.MonkeyPatch, name: str, count: int, way: str
) -> None:
    for setting, value in WAYS[way].items():
        monkeypatch.setattr(attention, setting, value)
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


def drawn(sizes: tuple[int, ...], prefix: int, dtype: torch.dtype, *, value_width: int = 16) -> tuple[Any, ...]:
    """Query, key and value of six heads, two of keys, and the trees they are of."""
    generator = torch.Generator().manual_seed(len(sizes))
    whole = [torch.rand(size, size, generator=generator) < 0.6 for size in sizes]
    trees = attention.blocks([(seen | torch.eye(len(seen), dtype=torch.bool)).tril() for seen in whole], prefix)
    tokens = sum(sizes)
    shapes = (1, 6, tokens, 16), (1, 2, prefix + tokens, 16), (1, 2, prefix + tokens, value_width)
    return *(torch.randn(shape, generator=generator).to(dtype) for shape in shapes), trees


SIZES = (9, 4, 1, 7, 9, 3, 2, 8)
CASES = {
    "no prefix": (SIZES, 0),
    "the longest prefix that is near": (SIZES, attention.NEAR),
    "the shortest that is apart": (SIZES, attention.NEAR + 1),
    "the largest tree": ((*SIZES, attention.SMALL), 140),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_products_are_attention_side_by_side(monkeypatch: pytest.MonkeyPatch, case: str, dtype: torch.dtype) -> None:
    query, key, value, trees = drawn(*CASES[case], dtype)
    with torch.no_grad():
        assert attention._suited(query, key, value, trees)
        found, _ = attention.attend(None, query, key, value, None, trees=trees)
        monkeypatch.setattr(attention, "_suited", lambda *_: False)
        expected, _ = attention.attend(None, query, key, value, None, trees=trees)
    assert found.dtype == dtype
    close = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 0.03}[dtype]
    torch.testing.assert_close(found, expected, rtol=0, atol=close)


@pytest.mark.parametrize("prefix", [0, 140])
def test_products_are_attention_side_by_side_for_narrow_values(monkeypatch: pytest.MonkeyPatch, prefix: int) -> None:
    """Behind a prefix the kernel takes no values narrower than keys, and scaled_dot_product_attention does."""
    query, key, value, trees = drawn(SIZES, prefix, torch.float32, value_width=8)
    with torch.no_grad():
        assert attention._suited(query, key, value, trees) == (prefix == 0)
        found, _ = attention.attend(None, query, key, value, None, trees=trees)
        monkeypatch.setattr(attention, "_suited", lambda *_: False)
        expected, _ = attention.attend(None, query, key, value, None, trees=trees)
    assert found.shape == (1, sum(SIZES), 6, 8)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("prefix", [0, 140])
def test_products_take_what_autocast_leaves_in_two_dtypes(prefix: int) -> None:
    """Queries and keys come out of a rotary embedding in fp32, values out of a product in bf16."""
    query, key, value, trees = drawn(SIZES, prefix, torch.float32)
    exact = attention.by_products(query, key, value, trees, 0.25)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = attention.by_products(query, key, value.bfloat16(), trees, 0.25)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, rtol=0, atol=0.03)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("prefix", [0, 5, 140])
def test_products_do_not_tell_how_many_threads_made_them(prefix: int, dtype: torch.dtype) -> None:
    """Bit for bit, as idle CPUs come and go in the middle of a table (likra_ray/idle.py); the fewest products."""
    *given, trees = drawn((49,) * 8, prefix, dtype)
    assert len(trees.visible) * given[1].shape[1] == attention.MANY
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 4, 32):
            torch.set_num_threads(threads)
            with torch.no_grad():
                found.append(attention.by_products(*given, trees, 0.25))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0], other) for other in found[1:])


def test_a_kernel_without_log_sum_exps_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    given = drawn(SIZES, 140, torch.float32)
    monkeypatch.setattr(attention, "prefix_apart", lambda: False)
    with torch.no_grad():
        assert not attention._suited(*given)


def test_the_kernel_for_prefixes_is_known_under_autocast_too() -> None:
    """A worker that computes in bf16 asks there first, and keeps the answer."""
    attention.prefix_apart.cache_clear()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert attention.prefix_apart()


UNSUITED = {
    "a gradient": ((8,) * 8, 0, True),
    "few trees": ((8,) * 7, 0, False),
    "a large tree": ((8,) * 8 + (129,), 0, False),
    "a large tree behind a larger prefix": ((8,) * 8 + (129,), 800, False),
}


@pytest.mark.parametrize("case", UNSUITED)
def test_products_are_left_to_the_kernel_where_they_are_unsuited(case: str) -> None:
    sizes, prefix, gradient = UNSUITED[case]
    query, key, value, trees = drawn(sizes, prefix, torch.float32)
    with torch.set_grad_enabled(gradient):
        assert not attention._suited(query, key, value, trees)


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
