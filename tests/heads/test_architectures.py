"""Any causal LM: saved to a folder as a user has it, resolved, adapted, trained, scored as the definition scores it.

Tiny models from transformers' own configurations with random weights. Those whose attention does not go by mask and
positions are refused by name: a packed row would be read as one long text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import LEARNING_RATE, MANNER, evaluation, ignore, lopsided, pairs, shots
from test_scoring import SMALL, TOLERANCE

from likra_ray.errors import InputError
from likra_ray.heads import adapters, reading
from likra_ray.heads import base as bases
from likra_ray.heads.orders import ALL_LINEAR, HeadOrder
from likra_ray.heads.produce import Producer
from likra_ray.heads.scoring import score_naive
from likra_ray.heads.store import HeadStore
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
