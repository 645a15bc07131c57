"""Layers that keep nothing of their forward pass and compute it again for the gradient: less memory, the same head."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


def enable(model: Any) -> None:
    """Let a base's layers recompute while `active`."""
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.enable_input_require_grads()


@contextlib.contextmanager
def active(model: Any) -> Iterator[None]:
    """Enabled layers recompute while the block runs; what they hold stays in evaluation mode, and nothing drops out.

    transformers recomputes only layers that say they are training, and such a layer takes no cache. Some drop out by
    themselves then, units or whole layers (OPT), or as their configuration says (Falcon): their rates are 0 for as
    long.
    """
    layers = [module for module in model.modules() if getattr(module, "gradient_checkpointing", False)]
    configs = {id(layer.config): layer.config for layer in layers if hasattr(layer, "config")}
    rates = [
        (owner, name, value)
        for owner in (*layers, *configs.values())
        for name, value in vars(owner).items()
        if "drop" in name and isinstance(value, float)
    ]
    for layer in layers:
        layer.training = True
    for owner, name, _ in rates:
        setattr(owner, name, 0.0)
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False
        for owner, name, value in rates:
            setattr(owner, name, value)
