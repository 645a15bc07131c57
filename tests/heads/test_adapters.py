"""Two adapters on one base: fresh they are the base, they come from the seed alone, and they keep apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from small import fresh, lopsided, shots

from likra_ray.heads import adapters
from likra_ray.heads.orders import ROLES, Role
from likra_ray.heads.scoring import score
from likra_ray.heads.store import ADAPTER, HeadStore
from likra_ray.storage import Storage

TARGETS = ("gate_proj", "up_proj", "down_proj")


def attached(seed: int = 0, *, rank: int = 4, targets: tuple[str, ...] = TARGETS) -> Any:
    return adapters.attach(fresh().model, rank=rank, alpha=8, targets=targets, seed=seed)


def moved(tensors: dict[str, torch.Tensor], seed: int = 0) -> dict[str, torch.Tensor]:
    """The same names with other values."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(tensor.shape, generator=generator) * 0.3 for name, tensor in tensors.items()}


@pytest.mark.parametrize("role", ROLES)
def test_a_fresh_head_is_the_base_bit_for_bit(tiny: Any, role: Role) -> None:
    model = attached()
    adapters.choose(model, role)
    found = score(model, tiny.tokenizer, lopsided(), shots=shots())
    base = score(tiny.model, tiny.tokenizer, lopsided(), shots=shots())
    assert found.logprob.tobytes() == base.logprob.tobytes()


def test_a_head_that_moved_is_not_the_base(tiny: Any) -> None:
    model = attached()
    base = score(tiny.model, tiny.tokenizer, lopsided())
    adapters.write(model, "negative", moved(adapters.read(model, "negative")))
    adapters.choose(model, "positive")
    assert score(model, tiny.tokenizer, lopsided()).logprob.tobytes() == base.logprob.tobytes()
    adapters.choose(model, "negative")
    assert abs(score(model, tiny.tokenizer, lopsided()).logprob - base.logprob).max() > 0.01
    with model.disable_adapter():
        assert score(model, tiny.tokenizer, lopsided()).logprob.tobytes() == base.logprob.tobytes()


def test_beginnings_come_from_seed_and_role_alone() -> None:
    torch.manual_seed(1)
    first = attached(seed=0)
    torch.manual_seed(2)
    again, other = attached(seed=0), attached(seed=1)
    marks = {(seed, role): adapters.fingerprint(adapters.read(model, role))
             for seed, model in (("0", first), ("0 again", again), ("1", other)) for role in ROLES}  # fmt: skip
    for role in ROLES:
        assert marks["0", role] == marks["0 again", role]
    assert len(set(marks.values())) == 4, "two seeds, two roles"


def test_global_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    attached()
    assert torch.equal(torch.rand(3), expected)


def test_a_is_drawn_and_b_is_zero() -> None:
    model = attached(rank=3)
    for role in ROLES:
        tensors = adapters.read(model, role)
        assert len(tensors) == 2 * 2 * len(TARGETS), "A and B, two layers"
        for name, tensor in tensors.items():
            assert bool(tensor.any()) == (".lora_A." in name), name
            assert 3 in tensor.shape
            assert tensor.dtype == torch.float32
            assert role not in name


@pytest.mark.parametrize("role", ROLES)
def test_choose_leaves_only_its_own_to_train(role: Role) -> None:
    model = attached()
    for one in ROLES:  # the other first, then this one
        adapters.choose(model, one)
    chosen = adapters.choose(model, role)
    training = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert training == {name for name, _ in model.named_parameters() if f".{role}." in name}
    assert {id(p) for p in chosen} == {id(p) for p in model.parameters() if p.requires_grad}
    model(input_ids=torch.tensor([[1, 2, 3]])).logits.sum().backward()
    touched = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert touched == training


@pytest.mark.parametrize("role", ROLES)
def test_what_is_written_is_read(role: Role) -> None:
    model = attached()
    other: Role = "negative" if role == "positive" else "positive"
    untouched = adapters.fingerprint(adapters.read(model, other))
    tensors = moved(adapters.read(model, role))
    adapters.write(model, role, tensors)
    back = adapters.read(model, role)
    assert adapters.fingerprint(back) == adapters.fingerprint(tensors)
    assert adapters.fingerprint(adapters.read(model, other)) == untouched
    next(iter(back.values())).zero_()  # a copy: the model keeps what it has
    assert adapters.fingerprint(adapters.read(model, role)) == adapters.fingerprint(tensors)


@pytest.mark.parametrize("change", ["missing", "more", "renamed", "shape", "nothing"])
def test_tensors_of_another_model_are_refused(change: str) -> None:
    model = attached()
    tensors = adapters.read(model, "positive")
    before = adapters.fingerprint(tensors)
    first = next(iter(tensors))
    match change:
        case "missing":
            del tensors[first]
        case "more":
            tensors["base_model.model.lora_A.weight"] = torch.zeros(1)
        case "renamed":
            tensors[first.replace("layers.0", "layers.9")] = tensors.pop(first)
        case "shape":
            tensors[first] = torch.zeros(4, 1)
        case "nothing":
            tensors = {}
    with pytest.raises(ValueError, match="adapter positive: saved tensors differ from the model's"):
        adapters.write(model, "positive", tensors)
    assert adapters.fingerprint(adapters.read(model, "positive")) == before


def test_fingerprint_is_of_names_and_bits() -> None:
    one = {"a": torch.tensor([0.0, 1.0]), "b": torch.tensor([[2.0]])}
    same = {"b": torch.tensor([[2.0]]), "a": torch.tensor([9.0, 0.0, 1.0])[1:]}
    assert adapters.fingerprint(one) == adapters.fingerprint(same)
    others: list[dict[str, torch.Tensor]] = [
        {**one, "a": torch.tensor([-0.0, 1.0])},
        {**one, "a": torch.nextafter(one["a"], torch.tensor(2.0))},
        {"a": one["a"]},
        {"a": one["a"], "c": one["b"]},
        {"a": one["a"].double(), "b": one["b"]},
    ]
    marks = [adapters.fingerprint(other) for other in (one, *others)]
    assert len(set(marks)) == len(marks)


A, B = "layers.0.lora_A.weight", "layers.0.lora_B.weight"


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "did not train: it is empty or every B is zero"),
        ({A: torch.ones(2), B: torch.zeros(2)}, "did not train"),
        ({A: torch.ones(2)}, "did not train"),
        ({A: torch.tensor([1.0, float("inf")]), B: torch.ones(2)}, "not finite, first in layers.0.lora_A.weight"),
        ({A: torch.ones(2), B: torch.tensor([float("nan"), 1.0])}, "not finite, first in layers.0.lora_B.weight"),
    ],
)
def test_an_adapter_that_did_not_train_is_refused(tensors: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        adapters.check_trained(tensors)


def test_an_adapter_that_trained_passes() -> None:
    adapters.check_trained({A: torch.ones(2), B: torch.tensor([0.0, 1e-9])})


def test_targets_the_base_lacks_are_named_with_what_is_allowed() -> None:
    with pytest.raises(ValueError) as caught:
        attached(targets=("gate_proj", "c_fc", "proj"))
    line = str(caught.value)
    assert line.startswith("lora.targets: got ['c_fc', 'proj']; allowed:")
    for name in ("gate_proj", "up_proj", "down_proj", "q_proj", "k_proj", "v_proj", "o_proj"):
        assert f"'{name}'" in line


@pytest.mark.parametrize("role", ROLES)
def test_a_stored_adapter_is_one_that_peft_loads(tmp_path: Path, role: Role) -> None:
    """With nothing of ours: the base from a folder, the adapter from the volume's folder, the same logits, but for the
    order in which another library sums (heads/products.py)."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    fresh().model.save_pretrained(tmp_path / "base")
    model = attached()
    adapters.write(model, role, moved(adapters.read(model, role), seed=3))
    adapters.choose(model, role)
    store = HeadStore(Storage(str(tmp_path / "out")))
    store.save("head", 16, adapters.read(model, role), adapters.peft_config(model, role))

    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    loaded = PeftModel.from_pretrained(base, tmp_path / "out/heads/head/volumes/16").eval()
    tokens = torch.tensor([[5, 6, 7, 8, 9]])
    with torch.no_grad():
        torch.testing.assert_close(loaded(input_ids=tokens).logits, model(input_ids=tokens).logits, rtol=0, atol=1e-6)
        with loaded.disable_adapter():
            assert not torch.allclose(loaded(input_ids=tokens).logits, model(input_ids=tokens).logits, atol=1e-4)


def test_the_configuration_says_how_the_adapter_was_made(tmp_path: Path) -> None:
    model = attached(rank=6)
    config = json.loads(adapters.peft_config(model, "negative"))
    assert (config["r"], config["lora_alpha"], config["lora_dropout"], config["bias"]) == (6, 8, 0.0, "none")
    assert config["target_modules"] == sorted(TARGETS)
    assert config["inference_mode"] is True
    assert config["peft_type"] == "LORA"
    assert adapters.peft_config(model, "negative") == adapters.peft_config(attached(rank=6), "negative")
    saved = safetensors.torch.save(adapters.read(model, "negative"))
    assert ADAPTER.endswith(".safetensors")
    assert all(name.startswith("base_model.model.") for name in safetensors.torch.load(saved))
