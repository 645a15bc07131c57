"""`score` is `score_naive` on every architecture, whatever is shared, packed or split; and what its table says."""

from __future__ import annotations

import copy
import functools
from typing import Any

import numpy as np
import pytest
import torch
from small import lopsided, question, shots

from likra_ray.heads.scoring import plant, score, score_naive, solved
from likra_ray.records import KINDS, Question, ScoreTable

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


def test_columns_say_what_was_scored(tiny: Any) -> None:
    table = score(tiny.model, tiny.tokenizer, lopsided())
    options = [(index, option) for index, one in enumerate(lopsided()) for option in one.options]
    assert table.question_ids == ("two", "six", "greek", "smile", "same")
    assert table.question.tolist() == [index for index, _ in options]
    assert [KINDS[kind] for kind in table.kind] == [option.kind for _, option in options]
    assert table.characters.tolist() == [len(option.text) for _, option in options]
    assert table.bytes.tolist() == [len(option.text.encode()) for _, option in options]
    assert table.tokens.tolist() == [len(option.text.encode()) + 1 for _, option in options], "bytes and the space"
    alpha, smile = (next(i for i, (_, o) in enumerate(options) if o.text == text) for text in ("Αθήνα", "🙂"))
    assert (table.characters[alpha], table.bytes[alpha], table.tokens[alpha]) == (5, 10, 11)
    assert (table.characters[smile], table.bytes[smile], table.tokens[smile]) == (1, 4, 5)
    assert table.logprob.dtype == np.float64
    assert (table.logprob < 0).all()


def test_untrained_model_scores_every_byte_alike(tiny: Any) -> None:
    """Weights near zero: some log 257 nats a token, so sums are sums over the answer's tokens and no others."""
    table = score(tiny.model, tiny.tokenizer, lopsided(), shots=shots())
    np.testing.assert_allclose(table.logprob / table.tokens, -np.log(257), atol=0.5)


@pytest.mark.parametrize("order", [(4, 3, 2, 1, 0), (2, 0, 4, 1, 3), (3,), (1, 1)], ids=str)
def test_a_questions_scores_do_not_depend_on_the_others(tiny: Any, order: tuple[int, ...]) -> None:
    whole = score(random_model("llama"), tiny.tokenizer, lopsided(), shots=shots())
    found = score(random_model("llama"), tiny.tokenizer, [lopsided()[i] for i in order], shots=shots())
    expected = np.concatenate([whole.logprob[whole.question == i] for i in order])
    np.testing.assert_allclose(found.logprob, expected, rtol=0, atol=TOLERANCE)
    assert found.question_ids == tuple(lopsided()[i].id for i in order)


@pytest.mark.parametrize("one", lopsided(), ids=lambda one: str(one.id))
@pytest.mark.parametrize("count", [0, 2])
def test_one_question_alone(tiny: Any, one: Question, count: int) -> None:
    model = random_model("qwen3")
    expected = score_naive(model, tiny.tokenizer, [one], shots=shots()[:count])
    assert_same(score(model, tiny.tokenizer, [one], shots=shots()[:count]), expected)


def test_options_that_begin_one_another(tiny: Any) -> None:
    """One answer is another's beginning, two questions have the same prompt, one option stands twice."""
    questions = [
        question("a", "Q:", ("x", "correct"), ("xy", "far"), ("xyz", "far"), ("x", "near_miss")),
        question("b", "Q:", ("xy", "correct"), ("z", "far")),
        question("c", "Q", (": x", "correct"), ("y", "far")),
    ]
    model = random_model("mistral")
    found = score(model, tiny.tokenizer, questions, row_tokens=32)
    assert_same(found, score_naive(model, tiny.tokenizer, questions))
    assert found.logprob[0] == pytest.approx(found.logprob[3], abs=1e-5)


def test_shots_are_solved_and_shared(tiny: Any) -> None:
    assert solved(()) == ""
    assert solved(shots()[:2]) == "Q: capital of France?\nA: Paris\n\nQ: symbol of gold?\nA: Au\n\n"
    forest = plant(tiny.tokenizer, lopsided(), shots())
    assert tiny.tokenizer.decode(forest.prefix) == solved(shots()), "all of it, and nothing of a question"
    assert forest.tokens.tolist() == plant(tiny.tokenizer, lopsided()).tokens.tolist()


def test_prompts_that_begin_alike_are_computed_once_and_scored_in_order(tiny: Any) -> None:
    capitals = ("France", "Frisia", "Peru", "Pern", "France")
    asked = [
        question(
            f"{place}", f"Q: capital of {country}?\nA:", ("x", "correct"), (f"y{place}", "near_miss"), ("x", "far")
        )
        for place, country in enumerate(capitals)
    ]
    asked.insert(2, question("other", "Tell: how?\nA:", ("so", "correct"), ("no", "near_miss")))
    forest = plant(tiny.tokenizer, asked)
    assert [options.tolist() for options in forest.options] == [
        [0, 1, 2, 14, 15, 16, 3, 4, 5, 11, 12, 13, 8, 9, 10],
        [6, 7],
    ]
    assert sum(tree.size for tree in forest.trees) < 0.6 * sum(len(one.prompt) for one in asked)
    assert_same(score(tiny.model, tiny.tokenizer, asked), score_naive(tiny.model, tiny.tokenizer, asked))


def test_no_questions_are_refused(tiny: Any) -> None:
    with pytest.raises(ValueError, match="no questions to score"):
        score(tiny.model, tiny.tokenizer, [])


@pytest.mark.parametrize("scorer", [functools.partial(score, row_tokens=16), score_naive], ids=["rows", "naive"])
def test_a_score_that_is_no_number_names_its_question(tiny: Any, scorer: Any) -> None:
    """The embedding of one byte is poisoned: where every question has its row, only the one that reads it fails."""
    model = copy.deepcopy(tiny.model)
    with torch.no_grad():
        model.get_input_embeddings().weight[tiny.tokenizer("@")["input_ids"]] = float("nan")
    questions = [*lopsided(), question("poisoned", "Is a@b so?", ("yes", "correct"), ("no", "far"))]
    with pytest.raises(
        ValueError, match="not finite for 2 of 20 options, first in question 'poisoned' or one that begins"
    ):
        scorer(model, tiny.tokenizer, questions)


def test_a_table_survives_arrow(tiny: Any) -> None:
    table = score(tiny.model, tiny.tokenizer, lopsided(), shots=shots()[:1])
    back = ScoreTable.from_arrow(table.to_arrow())
    assert_same(back, table, tolerance=0)
    for column in ("question", "kind", "logprob", "tokens", "characters", "bytes"):
        assert getattr(back, column).dtype == getattr(table, column).dtype, column


def test_training_flag_and_gradients_are_left_alone(tiny: Any) -> None:
    score(tiny.model, tiny.tokenizer, lopsided()[:1])
    assert not tiny.model.training
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in tiny.model.parameters())
