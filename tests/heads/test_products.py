"""Products by oneDNN are torch's and PEFT's own up to rounding, there and back; what is not for it is theirs."""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.lora.layer import Linear as PeftLinear
from small import MANNER, evaluation, fresh, order

from likra_ray.heads import adapters, attention, lora, products
from likra_ray.heads.base import LoadedBase
from likra_ray.heads.produce import Producer
from likra_ray.heads.store import HeadStore
from likra_ray.storage import Storage

pytestmark = pytest.mark.skipif(
    not products.available(), reason="not for this processor: torch's own products are used"
)

IN, OUT, RANK = 48, 80, 8

X: dict[str, Callable[[], torch.Tensor]] = {
    "a row": lambda: drawn(1, 37, IN),
    "a batch": lambda: drawn(3, 5, IN),
    "two axes": lambda: drawn(9, IN),
    "one token": lambda: drawn(1, 1, IN),
    "not contiguous": lambda: drawn(1, IN, 21).transpose(1, 2),
    "every second": lambda: drawn(1, 40, IN)[:, ::2],
}


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every product that oneDNN is asked for."""
    seen: list[int] = []
    times = products.times

    def watched(*given: Any) -> torch.Tensor:
        seen.append(1)
        return times(*given)

    monkeypatch.setattr(products, "times", watched)
    monkeypatch.setattr(lora, "times", watched)
    return seen


def linear(*, bias: bool = False) -> tuple[torch.nn.Linear, torch.nn.Linear]:
    """A frozen layer as torch computes it, and the same installed."""
    theirs = torch.nn.Linear(IN, OUT, bias=bias)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(drawn(*parameter.shape))
    theirs.requires_grad_(False)
    installed = copy.deepcopy(theirs)
    products.install(installed)
    assert type(installed) is products.FrozenLinear
    return theirs, installed


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert found.shape == expected.shape and found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=5e-5)


@pytest.mark.parametrize("bias", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize("name", X)
def test_a_frozen_layer_gives_what_torch_gives(asked: list[int], name: str, bias: bool) -> None:
    theirs, installed = linear(bias=bias)
    x = X[name]().requires_grad_()
    expected, found = theirs(x), installed(x)
    close(found, expected)
    weights = drawn(*expected.shape, seed=1)
    close(*(torch.autograd.grad((y * weights).sum(), x)[0] for y in (found, expected)))
    assert len(asked) == 2, "one product there, one back"
    with torch.no_grad():
        close(installed(x), expected)


def test_what_is_not_for_onednn_is_torchs_own_bit_for_bit(asked: list[int]) -> None:
    theirs, installed = linear(bias=True)
    x = X["a row"]()
    for under in (contextlib.nullcontext(), torch.autocast("cpu", dtype=torch.bfloat16)):
        double = [copy.deepcopy(layer).double() for layer in (theirs, installed)]
        with under:
            assert torch.equal(double[1](x.double()), double[0](x.double()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(installed(x), theirs(x))
    assert torch.equal(installed(x[:, :0]), theirs(x[:, :0]))
    installed.bias.requires_grad_(True)
    found = installed(x)
    assert torch.equal(found, theirs(x))
    assert found.requires_grad
    assert not asked


def adapted(*, bias: bool = False) -> tuple[Any, Any]:
    """A LoRA layer as PEFT computes it, and the same installed; two adapters, far from where they begin."""
    from peft import LoraConfig, get_peft_model

    _, base = linear(bias=bias)
    config = LoraConfig(r=RANK, lora_alpha=24, target_modules=["0"], lora_dropout=0.0)
    theirs = get_peft_model(torch.nn.Sequential(base), config, adapter_name="positive")  # type: ignore[arg-type]
    theirs.add_adapter("negative", config)
    adapters.choose(theirs, "positive")
    with torch.no_grad():
        for number, (name, parameter) in enumerate(theirs.named_parameters()):
            if ".lora_" in name:
                parameter.copy_(drawn(*parameter.shape, seed=number) * 0.3)
    installed = copy.deepcopy(theirs)
    lora.install(installed)
    adapters.choose(installed, "positive")
    assert [type(model.base_model.model[0]) for model in (theirs, installed)] == [PeftLinear, lora.LoraLinear]
    return theirs, installed


@pytest.mark.parametrize("bias", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize("name", X)
def test_a_lora_layer_gives_what_peft_gives(asked: list[int], name: str, bias: bool) -> None:
    theirs, installed = adapted(bias=bias)
    for role in ("positive", "negative"):
        found: list[list[torch.Tensor]] = []
        for model in (installed, theirs):
            x = X[name]().requires_grad_()
            chosen = adapters.choose(model, role)
            y = model(x)
            loss = (y * drawn(*y.shape, seed=1)).sum()
            found.append([y.detach(), *torch.autograd.grad(loss, [x, *chosen])])
        assert len(found[0]) == 4
        for one, expected in zip(*found, strict=True):
            close(one, expected)
    assert asked


@pytest.mark.parametrize("axes", [(9,), (1, 9)], ids=["two axes", "a row"])
def test_heads_side_by_side_get_what_autograd_gives(asked: list[int], axes: tuple[int, ...]) -> None:
    """The update of tokens of two heads from their stacked matrices, beside torch's own of the same."""
    own = torch.tensor([0, 0, 1, 0, 1, 1, 1, 0, 1])[:, None] == torch.arange(2).repeat_interleave(RANK)[None]
    found: list[list[torch.Tensor]] = []
    for double in (False, True):
        given = [drawn(*axes, IN), drawn(*axes, OUT), drawn(2 * RANK, IN), drawn(OUT, 2 * RANK)]
        leaves = [(one.double() if double else one).requires_grad_() for one in given]
        y = lora.updated(*leaves, 1.5, own.to(leaves[0].dtype))
        found.append([y, *torch.autograd.grad((y * drawn(*axes, OUT, seed=1)).sum(), leaves)])
    assert len(asked) == 5, "one there, four back, and none of the doubles'; that which adds is another operator"
    for one, exact in zip(*found, strict=True):
        close(one.double(), exact)


def test_a_first_layer_makes_no_gradient_that_nobody_asked_for(asked: list[int]) -> None:
    _, installed = adapted()
    y = installed(X["a row"]())
    before = len(asked)
    y.sum().backward()
    assert len(asked) - before == 3, "of A x, of A and of B"


def test_adapters_that_are_off_merged_or_not_plain_are_pefts(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, installed = adapted()
    x = X["a row"]()

    def refuse(*_: Any) -> torch.Tensor:
        raise AssertionError("this is PEFT's to compute")

    monkeypatch.setattr(lora, "updated", refuse)
    with pytest.raises(AssertionError, match="PEFT's"):
        installed(x)
    with installed.disable_adapter(), theirs.disable_adapter():
        assert torch.equal(installed(x), theirs(x))
    layers = [model.base_model.model[0] for model in (installed, theirs)]
    for layer in layers:
        layer.set_adapter(["positive", "negative"])
    assert torch.equal(installed(x), theirs(x)), "both adapters at once"
    for layer in layers:
        layer.set_adapter("positive")
        layer.lora_dropout["positive"] = torch.nn.Dropout(0.5).eval()
    assert torch.equal(installed(x), theirs(x)), "dropout"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(installed(x), theirs(x)), "bf16"
    for layer in layers:
        layer.merge(adapter_names=["positive"])
    assert torch.equal(installed(x), theirs(x)), "merged"


def test_a_base_that_is_loaded_and_its_adapters_are_installed() -> None:
    model = adapters.attach(fresh().model, rank=4, alpha=8, targets=("gate_proj", "down_proj"), seed=0)
    kinds = {name.rsplit(".", 1)[-1]: type(module) for name, module in model.named_modules()}
    assert (kinds["gate_proj"], kinds["q_proj"], kinds["lm_head"]) == (
        lora.LoraLinear,
        products.FrozenLinear,
        products.FrozenLinear,
    )


@pytest.mark.parametrize("tokens", [20, 99, 1000])
@pytest.mark.parametrize(("width", "out"), [(576, 1536), (1536, 576), (576, 192)])
def test_more_threads_make_the_same_bits(tokens: int, width: int, out: int) -> None:
    """A worker takes CPUs that fall idle in the middle of a head (idle.py): the head does not tell."""

    def made(threads: int) -> list[torch.Tensor]:
        torch.set_num_threads(threads)
        x, weights = drawn(1, tokens, width).requires_grad_(), drawn(tokens, out, seed=1)
        layer = torch.nn.Linear(width, out, bias=False).requires_grad_(False)
        layer.weight.copy_(drawn(out, width))
        products.install(layer)
        down, up = drawn(RANK, width).requires_grad_(), drawn(out, RANK).requires_grad_()
        y = lora.updated(x, layer(x), down, up, 0.5)
        return [y, *torch.autograd.grad((y * weights).sum(), (x, down, up))]

    before = torch.get_num_threads()
    try:
        one, *more = [made(threads) for threads in (1, 2, 4)]
    finally:
        torch.set_num_threads(before)
    for several in more:
        assert all(torch.equal(found, expected) for found, expected in zip(several, one, strict=True))


def wide() -> LoadedBase:
    """A base whose products, sums and attention are large enough to be shared out among threads."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=257, hidden_size=384, intermediate_size=1024, num_hidden_layers=3, num_attention_heads=6,
        num_key_value_heads=2, max_position_embeddings=8192, bos_token_id=256, eos_token_id=256,
    )  # fmt: skip
    model = LlamaForCausalLM(config).requires_grad_(False).eval()
    attention.install(model)
    products.install(model)
    return LoadedBase(model, fresh().tokenizer)


def test_a_head_whose_worker_takes_and_gives_back_cpus_is_the_same(tmp_path: Path) -> None:
    """Adapters, Adam's state and score tables, bit for bit; one, two and four threads, changed at every pass."""

    def made(name: str, threads: tuple[int, ...]) -> Path:
        base, turns = wide(), itertools.cycle(threads)
        base.model.register_forward_pre_hook(lambda *_: torch.set_num_threads(next(turns)))
        asked = order("negative", 0, 16, 32)
        made_by = Producer(base, HeadStore(Storage(str(tmp_path / name))), MANNER, seed=0, roles=("negative",))
        made_by.head(asked, evaluation(), lambda _: None)
        return tmp_path / name

    before = torch.get_num_threads()
    try:
        steady, restless = made("steady", (1,)), made("restless", (1, 2, 4))
    finally:
        torch.set_num_threads(before)
    files = sorted(path.relative_to(steady) for path in steady.rglob("*") if path.is_file())
    assert len([path for path in files if path.suffix in (".safetensors", ".arrow")]) >= 5
    for path in files:
        if path.suffix in (".safetensors", ".arrow"):
            assert (steady / path).read_bytes() == (restless / path).read_bytes(), path
