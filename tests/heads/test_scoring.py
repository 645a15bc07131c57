"""`score` is `score_naive`, on every architecture, whatever is shared, packed or split; and its table says what it says."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch

from likra_ray.heads.scoring import plant, score, score_naive, solved
from likra_ray.records import KINDS, Question, ScoreTable
from small import lopsided, question, shots

TOLERANCE = 5e-4
"""Nats on an option's sum, fp32 (scoring.py)."""

SMALL = {
    "vocab_size": 257,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "bos_token_id": 256,
    "eos_token_id": 256,
    "pad_token_id": 256,
}
GEMMA = {**SMALL, "head_dim": 8, "hidden_activation": "gelu_pytorch_tanh"}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", SMALL),
    "llama, eager attention": ("LlamaConfig", {**SMALL, "attn_implementation": "eager"}),
    "mistral": ("MistralConfig", SMALL),
    "mistral, window of 16": ("MistralConfig", {**SMALL, "sliding_window": 16}),
    "qwen2": ("Qwen2Config", SMALL),
    "qwen2, window of 16 in one layer": (
        "Qwen2Config",
        {**SMALL, "use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1},
    ),
    "qwen3": ("Qwen3Config", {**SMALL, "head_dim": 8}),
    "gemma": ("GemmaConfig", GEMMA),
    "gemma2, softcap": ("Gemma2Config", {**GEMMA, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0}),
    "gemma3": ("Gemma3TextConfig", GEMMA),
    "gemma3, window of 16": (
        "Gemma3TextConfig",
        {**GEMMA, "sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "gemma2, window of 16": ("Gemma2Config", {**GEMMA, "sliding_window": 16}),
    "gpt2": ("GPT2Config", {"vocab_size": 257, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 2048}),
}


@functools.cache
def random_model(name: str) -> Any:
    """Weights ten times the usual, so that a wrong mask or position shows."""
    import transformers

    kind, fields = ARCHITECTURES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = getattr(transformers, kind)(**{**fields, "attn_implementation": None})
        attention = fields.get("attn_implementation")
        model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(10)
    return model.eval().requires_grad_(False)


def assert_same(found: ScoreTable, expected: ScoreTable, tolerance: float = TOLERANCE) -> None:
    assert found.question_ids == expected.question_ids
    for column in ("question", "kind", "tokens", "characters", "bytes"):
        np.testing.assert_array_equal(getattr(found, column), getattr(expected, column), err_msg=column)
    np.testing.assert_allclose(found.logprob, expected.logprob, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("count", [0, 1, 3], ids=lambda count: f"{count} shots")
def test_score_is_the_definition(tiny: Any, name: str, count: int) -> None:
    model = random_model(name)
    expected = score_naive(model, tiny.tokenizer, lopsided(), shots=shots()[:count])
    assert np.ptp(expected.logprob) > 10, "all options alike: nothing would be seen"
    for row_tokens in (16, 64, 512):
        found = score(model, tiny.tokenizer, lopsided(), shots=shots()[:count], row_tokens=row_tokens)
        assert_same(found, expected)
