"""Any causal LM: saved to a folder as a user has it, resolved, adapted, trained, scored as the definition scores it.

Tiny models from transformers' own configurations with random weights. Those whose attention does not go by mask and
positions are refused by name: a packed row would be read as one long text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import LEARNING_RATE, MANNER, evaluation, ignore, lopsided, pairs, shots
from small import order as small_order
from test_scoring import SMALL, TOLERANCE

from likra_ray.errors import InputError
from likra_ray.heads import adapters, reading
from likra_ray.heads import base as bases
from likra_ray.heads.orders import ALL_LINEAR, HeadOrder
from likra_ray.heads.packing import TooLong
from likra_ray.heads.produce import Producer
from likra_ray.heads.scoring import prefix_cache, score_naive
from likra_ray.heads.store import HeadStore
from likra_ray.heads.tokens import Encoded
from likra_ray.storage import Storage


def small(*without: str, **fields: Any) -> dict[str, Any]:
    return {name: value for name, value in SMALL.items() if name not in without} | fields


GPT = {"vocab_size": 257, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 2048}
EXPERTS = {"num_experts_per_tok": 1}
MLP, FC = {"gate_proj", "up_proj", "down_proj"}, {"fc1", "fc2"}
READABLE: dict[str, tuple[str, dict[str, Any], set[str]]] = {
    "llama": ("LlamaConfig", SMALL, MLP),
    "mistral": ("MistralConfig", SMALL, MLP),
    "mixtral": ("MixtralConfig", small(num_local_experts=2, **EXPERTS), {"q_proj", "v_proj"}),
    "qwen2": ("Qwen2Config", SMALL, MLP),
    "qwen3": ("Qwen3Config", small(head_dim=8), MLP),
    "gemma2": ("Gemma2Config", small(head_dim=8), MLP),
    "gemma3": ("Gemma3TextConfig", small(head_dim=8), MLP),
    "gpt2": ("GPT2Config", GPT, {"c_fc", "c_attn"}),
    "gpt-neox (pythia)": ("GPTNeoXConfig", small("num_key_value_heads"), {"dense_h_to_4h", "dense_4h_to_h"}),
    "gpt-j": ("GPTJConfig", {**GPT, "rotary_dim": 4}, {"fc_in", "fc_out"}),
    "opt": (
        "OPTConfig",
        small("intermediate_size", "num_key_value_heads", ffn_dim=48, word_embed_proj_dim=32),
        FC,
    ),
    "falcon": ("FalconConfig", small("num_key_value_heads"), {"dense_h_to_4h", "query_key_value"}),
    "phi": ("PhiConfig", SMALL, FC),
    "phi3": ("Phi3Config", SMALL, {"gate_up_proj", "down_proj"}),
    "olmo2": ("Olmo2Config", SMALL, MLP),
    "smollm3": ("SmolLM3Config", SMALL, MLP),
    "granite": ("GraniteConfig", SMALL, MLP),
    "starcoder2": ("Starcoder2Config", SMALL, {"c_fc", "c_proj"}),
}
"""Configuration, and layers to adapt by the names this architecture has for them."""

UNREADABLE: dict[str, tuple[str, dict[str, Any], str]] = {
    "gpt-neo": (
        "GPTNeoConfig",
        {"vocab_size": 257, "hidden_size": 32, "num_layers": 2, "num_heads": 4, "window_size": 16}
        | {"attention_types": [[["global", "local"], 1]]},
        "weighs tokens by their place in the row",
    ),
    "bloom": (
        "BloomConfig",
        {"vocab_size": 257, "hidden_size": 32, "n_layer": 2, "n_head": 4},
        "takes no position_ids",
    ),
    "mpt": ("MptConfig", {"vocab_size": 257, "d_model": 32, "n_layers": 2, "n_heads": 4}, "takes no position_ids"),
    "falcon with alibi": ("FalconConfig", small("num_key_value_heads", alibi=True), "weighs tokens by their place"),
    "mamba": (
        "MambaConfig",
        {"vocab_size": 257, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
        "takes no",
    ),
    "lfm2 with convolutions": (
        "Lfm2Config",
        small(layer_types=["conv", "full_attention"]),
        "has layers of conv",
    ),
}


def made(kind: str, fields: dict[str, Any], folder: Path) -> str:
    """A random model of this sort as a folder with the byte tokenizer."""
    import transformers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, kind)(**fields))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(4)  # so that a wrong mask or position shows
    model.save_pretrained(folder)
    bases.load(bases.resolve(bases.RANDOM_TINY)).tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("name", READABLE)
def test_a_head_is_trained_and_scored(name: str, tmp_path: Path) -> None:
    kind, fields, targets = READABLE[name]
    found = bases.resolve(made(kind, fields, tmp_path / "base"))
    there = bases.linear_layers(found)
    assert there is not None and targets <= there
    loaded = bases.load(found)
    bases.check(found, loaded.model)
    manner = MANNER.__class__(**{**MANNER.__dict__, "targets": tuple(sorted(targets))})
    producer = Producer(loaded, HeadStore(Storage(str(tmp_path / "out"))), manner, seed=0, roles=("positive",))
    order = HeadOrder(key="head", fields={}, role="positive", pairs=pairs("positive", 8), volumes=(0, 8),
                      learning_rate=LEARNING_RATE)  # fmt: skip
    asked = evaluation()
    producer.base_table("base", asked)
    producer.head(order, asked, ignore)
    for key, volume in (("base", 0), ("head", 8)):
        table = producer.store.table(key, asked.key, volume)
        assert table is not None
        adapters.write(producer.model, "positive", producer.store.load("head", volume))
        adapters.choose(producer.model, "positive")
        expected = score_naive(producer.model, loaded.tokenizer, lopsided(), shots=shots()[:1])
        np.testing.assert_allclose(table.logprob, expected.logprob, atol=2 * TOLERANCE)
    first, last = (producer.store.table(key, asked.key, n) for key, n in (("base", 0), ("head", 8)))
    assert first is not None and last is not None
    assert np.abs(first.logprob - last.logprob).max() > 0.01, "the head moved"


RATES = {"opt": {"dropout": 0.5, "layerdrop": 0.5}, "falcon": {"hidden_dropout": 0.5, "attention_dropout": 0.5}}


@pytest.mark.parametrize("name", RATES)
def test_recomputing_drops_nothing_out(name: str, tmp_path: Path) -> None:
    """These layers drop out by themselves where they say that they are training, and a recomputing one says so."""
    kind, fields, targets = READABLE[name]
    base = bases.resolve(made(kind, fields | RATES[name], tmp_path / "base"))
    heads = []
    for number, recomputes in enumerate((False, True, True)):
        manner = replace(MANNER, targets=tuple(sorted(targets)), activation_checkpointing=recomputes)
        store = HeadStore(Storage(str(tmp_path / str(number))))
        torch.manual_seed(number)
        Producer(bases.load(base), store, manner, seed=0, roles=("positive",)).head(
            small_order("positive", 0, 8), evaluation(), ignore
        )
        heads.append(store.load("positive-small", 8))
    plain, *recomputed = heads
    for one in recomputed:
        assert max(float((one[name] - plain[name]).abs().max()) for name in plain) < 1e-6


def random_texts(lengths: Sequence[int]) -> list[list[Encoded]]:
    """For each length a prompt of as many tokens, with two answers."""
    generator = torch.Generator().manual_seed(0)

    def some(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, 250, (count,), generator=generator).tolist())

    prompts = [(5, 6, *some(length - 2)) for length in lengths]
    return [[Encoded((*prompt, *some(3)), len(prompt)) for _ in range(2)] for prompt in prompts]


def scored(model: Any, texts: list[list[Encoded]]) -> tuple[np.ndarray, np.ndarray]:
    """Log p of every answer in one row, and alone."""
    with torch.no_grad():
        packed = reading._packed(model, texts, torch.device("cpu")).numpy()
        alone = [reading._alone(model, text, torch.device("cpu")) for group in texts for text in group]
    return packed, np.array(alone)


def test_a_window_within_a_composite_configuration_is_kept(tmp_path: Path) -> None:
    """A model of texts and pictures has its text's configuration inside its own."""
    text = small(head_dim=8, num_hidden_layers=6, sliding_window=48, vocab_size=300)
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    fields = {"text_config": text, "vision_config": {**vision, "image_size": 28, "patch_size": 14}}
    tokens = {"image_token_index": 299, "boi_token_index": 298, "eoi_token_index": 297, "mm_tokens_per_image": 4}
    loaded = bases.load(bases.resolve(made("Gemma3Config", fields | tokens, tmp_path / "base")))
    bases.check(loaded, loaded.model)  # type: ignore[arg-type]
    for length in (20, 80, 150):
        packed, alone = scored(loaded.model, random_texts([length, length]))
        np.testing.assert_allclose(packed, alone, atol=2 * TOLERANCE)


LONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "learned positions": ("GPT2Config", {**GPT, "n_positions": 64}, "max_position_embeddings"),
    "rotary ones": ("LlamaConfig", small(max_position_embeddings=64), "max_position_embeddings"),
    "rotary ones of the longest text": (
        "Phi3Config",
        small(max_position_embeddings=256, original_max_position_embeddings=64, pad_token_id=0)
        | {"rope_parameters": {"rope_type": "longrope", "rope_theta": 10000.0}
           | {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}},
        "original_max_position_embeddings",
    ),
}  # fmt: skip
"""Configuration, and its field that says 64 tokens."""


@pytest.mark.parametrize("name", LONG)
def test_a_text_that_the_base_reads_otherwise_is_refused(name: str, tmp_path: Path) -> None:
    kind, fields, field = LONG[name]
    model = bases.load(bases.resolve(made(kind, fields, tmp_path / "base"))).model
    packed, alone = scored(model, random_texts([30, 61]))
    np.testing.assert_allclose(packed, alone, atol=2 * TOLERANCE)
    said = f"base: {field}: got '{{}} tokens of one text, solved examples included'; allowed: at most 64"
    with pytest.raises(TooLong, match=said.format(102)):
        reading._packed(model, random_texts([30, 100]), torch.device("cpu"))
    with pytest.raises(TooLong, match=said.format(90)):
        prefix_cache(model, tuple(range(90)), torch.device("cpu"))


@pytest.mark.parametrize("name", ["llama", "gpt2", "phi"])
def test_all_linear_layers_by_peft_word(name: str, tmp_path: Path) -> None:
    kind, fields, targets = READABLE[name]
    found = bases.resolve(made(kind, fields, tmp_path / "base"))
    model = adapters.attach(bases.load(found).model, rank=2, alpha=4, targets=ALL_LINEAR, seed=0)
    adapted = {parameter.split(".lora_")[0].rsplit(".", 1)[-1] for parameter in adapters.parameters(model, "positive")}
    assert adapted == (bases.linear_layers(found) or set()) - {"lm_head"} >= targets


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_would_misread_a_row_is_refused(name: str, tmp_path: Path) -> None:
    kind, fields, said = UNREADABLE[name]
    found = bases.resolve(made(kind, fields, tmp_path / "base"))
    with pytest.raises(
        InputError, match="base: got .*base'; allowed: a causal LM whose attention goes by mask"
    ) as caught:
        bases.linear_layers(found)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["gpt-neo", "mpt", "falcon with alibi", "lfm2 with convolutions"])
def test_the_measurement_finds_what_the_rules_do_not_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the rules: the model itself shows it. A window needs a row longer than it, so GPT-Neo's is small here."""
    kind, fields, _ = UNREADABLE[name]
    fields = fields | ({"window_size": 4} if name == "gpt-neo" else {})
    loaded = bases.load(bases.resolve(made(kind, fields, tmp_path / "base")))
    monkeypatch.setattr(reading, "check_kind", lambda model: None)
    with pytest.raises(reading.Unreadable, match="as another than alone, by|cannot read rows"):
        reading.check(loaded.model)


def test_no_causal_model_is_one_line(tmp_path: Path) -> None:
    import transformers

    config = transformers.T5Config(vocab_size=257, d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=4)
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path / "base")
    with pytest.raises(InputError, match="base: got") as caught:
        bases.linear_layers(bases.resolve(str(tmp_path / "base")))
    assert "\n" not in str(caught.value)
