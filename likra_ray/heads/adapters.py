"""LoRA adapters, one per head, on one frozen base: put on, chosen, read, written, and proved apart.

A second PEFT adapter can silently not train, or the first one's parameters can reach its optimizer
(huggingface/peft#1303, #3580): `choose` sets requires_grad itself, and `fingerprint` lets the caller prove that
training one head leaves the others bit-identical.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from likra_ray.heads.orders import ALL_LINEAR, ROLES, Role


def attach(
    model: Any, *, rank: int, alpha: float, targets: tuple[str, ...], seed: int, roles: Sequence[Role] = ROLES
) -> Any:
    """The base under PEFT with one adapter per role, each initialised from (seed, role) alone.

    A is uniform (Kaiming), B is zero, so a fresh head is the base bit for bit. Raises ValueError for targets the
    model lacks and without roles. The global random state is left alone.
    """
    from peft import LoraConfig, get_peft_model
    from transformers.pytorch_utils import Conv1D

    from likra_ray.heads import lora

    present = linear_layers(model)
    if targets == ALL_LINEAR:
        targets = tuple(sorted(present - {output_layer(model)}))
    missing = [target for target in targets if target not in present]
    if missing:
        raise ValueError(f"lora.targets: got {missing}; allowed: linear layers of this base: {sorted(present)}")
    adapted = None
    for role in roles:
        config = LoraConfig(
            r=rank,
            lora_alpha=alpha,  # type: ignore[arg-type]  # PEFT divides it, a float is right
            target_modules=list(targets),
            fan_in_fan_out=isinstance(next(_named(model, targets)), Conv1D),
            lora_dropout=0.0,
            bias="none",
            task_type="CAUSAL_LM",
        )
        with torch.random.fork_rng():
            torch.manual_seed(int.from_bytes(hashlib.sha256(f"{seed}/{role}".encode()).digest()[:6], "big"))
            if adapted is None:
                adapted = get_peft_model(model, config, adapter_name=role)
            else:
                adapted.add_adapter(role, config)
    if adapted is None:
        raise ValueError("no role to attach an adapter for")
    lora.install(adapted)
    return adapted.eval()


def linear_layers(model: Any) -> set[str]:
    """Last names of the layers an adapter may sit on; GPT-2's Conv1D is a linear layer by another name."""
    from transformers.pytorch_utils import Conv1D

    return {name.rsplit(".", 1)[-1] for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear | Conv1D)}  # fmt: skip


def output_layer(model: Any) -> str:
    """Last name of the layer that gives the logits."""
    output = model.get_output_embeddings()
    return next((name.rsplit(".", 1)[-1] for name, module in model.named_modules() if module is output), "")


def _named(model: Any, targets: Sequence[str]) -> Iterator[Any]:
    return (module for name, module in model.named_modules() if name.rsplit(".", 1)[-1] in targets)


def parameters(model: Any, role: Role) -> dict[str, torch.nn.Parameter]:
    """The adapter's parameters by the names PEFT saves them under; the same order on every rank."""
    marker = f".{role}."
    return {
        name.removeprefix("module.").replace(marker, "."): parameter
        for name, parameter in model.named_parameters()
        if ".lora_" in name and marker in name
    }


def choose(model: Any, role: Role) -> list[torch.nn.Parameter]:
    """Make one adapter active and the only thing that trains; returns its parameters."""
    model.set_adapter(role)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    chosen = list(parameters(model, role).values())
    for parameter in chosen:
        parameter.requires_grad_(True)
    return chosen


def cast_base(model: Any) -> None:
    """Hold the base's linear layers in bf16, as autocast makes them anew at every pass; adapters stay what they are.

    Scores and steps are the same bits: autocast keeps its casts of what trains alone, and a base is frozen. Norms and
    embeddings are left; a vocabulary projection tied to the embeddings is so no more.
    """
    from transformers.pytorch_utils import Conv1D

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear | Conv1D) and ".lora_" not in name:
            module.weight = torch.nn.Parameter(module.weight.detach().bfloat16(), requires_grad=False)


@contextlib.contextmanager
def gathered(chosen: list[torch.nn.Parameter], *, modify: bool = False) -> Iterator[None]:
    """Whole parameters inside the block, also where ZeRO-3 keeps a part on each rank.

    modify: what rank 0 writes into them goes to all ranks at the end.
    """
    if any(hasattr(parameter, "ds_id") for parameter in chosen):
        import deepspeed

        with deepspeed.zero.GatheredParameters(chosen, modifier_rank=0 if modify else None):
            yield
    else:
        yield


def read(model: Any, role: Role) -> dict[str, torch.Tensor]:
    """A copy of the adapter on the CPU, in PEFT's names; every rank calls it and gets the whole."""
    named = parameters(model, role)
    with gathered(list(named.values())):
        return {name: parameter.detach().cpu().clone() for name, parameter in named.items()}


def write(model: Any, role: Role, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put saved tensors into the adapter; every rank calls it. Raises ValueError on other names or shapes."""
    named = parameters(model, role)
    with torch.no_grad(), gathered(list(named.values()), modify=True):
        shapes = {name: tuple(parameter.shape) for name, parameter in named.items()}
        given = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if shapes != given:
            odd = sorted(set(shapes.items()) ^ set(given.items()))[:2]
            raise ValueError(f"adapter {role}: saved tensors differ from the model's, first {odd}")
        for name, parameter in named.items():
            parameter.copy_(tensors[name])


def fingerprint(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of names and bytes: equal exactly when two adapters are bit-identical."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class Untrained(RuntimeError):
    """An adapter that training left where it was, or took to where no number is."""


def check_trained(tensors: Mapping[str, torch.Tensor]) -> None:
    """Raises Untrained unless the adapter is there, finite, and moved away from the base (B is not zero)."""
    moved = [name for name, tensor in tensors.items() if ".lora_B." in name and bool(tensor.any())]
    if not tensors or not moved:
        raise Untrained("the adapter did not train: it is empty or every B is zero")
    broken = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise Untrained(f"the adapter is not finite, first in {broken[0]}")


def peft_config(model: Any, role: Role) -> bytes:
    """adapter_config.json of one adapter, as PEFT reads it."""
    config = {key: sorted(value) if isinstance(value, set) else value
              for key, value in model.peft_config[role].to_dict().items()}  # fmt: skip
    config["inference_mode"] = True
    return json.dumps(config, indent=1, sort_keys=True, default=str).encode()
