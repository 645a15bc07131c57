"""Whether a model reads packed rows as the texts they are made of; where it did not, wrong numbers would be all to see.

A row holds many texts behind one another (packing.py), so a token's place in the row is not its place in its text. The
mask and the positions say which it is, and a model must go by them alone: recurrence and convolution over neighbours,
biases by distance in the row (ALiBi) and windows of its own do not. Measured on tiny random models: GPT-Neo's local
layers are off by 0.8 nat, MPT's biases by 3, RWKV by 43, without an error.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from likra_ray.heads.packing import pack, token_logprobs
from likra_ray.heads.scoring import plant_encoded, prefix_cache
from likra_ray.heads.tokens import Encoded

KINDS_OF_LAYERS = {"full_attention", "sliding_attention"}
"""In transformers' `layer_types`: those packing.py makes a mask for."""

CLOSE = {torch.float32: 0.01, torch.bfloat16: 1.0, torch.float16: 0.3}
"""Nats between a short text in a row and alone, at most: fp32 is off by less than 1e-4, half precision by roundings."""

_ASKED = ("attention_mask", "position_ids", "past_key_values", "logits_to_keep")


class Unreadable(ValueError):
    """A model that does not read rows."""


def check_kind(model: Any) -> None:
    """Raise Unreadable for what a model's class and configuration rule out; its weights are not needed."""
    name, config = type(model).__name__, model.config.get_text_config()
    missing = [word for word in _ASKED if word not in inspect.signature(model.forward).parameters]
    kinds = set(getattr(config, "layer_types", None) or ()) - KINDS_OF_LAYERS
    biased = getattr(config, "alibi", False)
    if missing:
        raise Unreadable(f"{name} takes no {' and no '.join(missing)}")
    if kinds:
        raise Unreadable(f"{name} has layers of {' and '.join(sorted(kinds))}")
    if biased or "local" in (getattr(config, "attention_layers", None) or ()):
        raise Unreadable(f"{name} weighs tokens by their place in the row, not in their text")


@torch.no_grad()
def check(model: Any) -> None:
    """Raise Unreadable unless the last of four short texts has the log p in their row that it has alone.

    Three passes over 40 tokens at most; the last text has all the others before it.
    """
    check_kind(model)
    device = next(iter(model.parameters())).device
    texts = _texts(int(model.config.get_text_config().vocab_size))
    try:
        together = _packed(model, texts, device)
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError, KeyError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise Unreadable(f"{type(model).__name__} cannot read rows ({type(error).__name__}: {error})") from error
    apart = abs(float(together[-1]) - _alone(model, texts[-1][-1], device))
    if not apart <= CLOSE.get(next(iter(model.parameters())).dtype, CLOSE[torch.float32]):
        raise Unreadable(f"{type(model).__name__} reads a text in a row as another than alone, by {apart:.2g} nat")


def _texts(vocabulary: int) -> list[list[Encoded]]:
    """Two prompts behind one beginning, two answers of different lengths each; any ids will do."""
    ids = [(7 * place + 3) % min(vocabulary, 1000) for place in range(40)]
    begin, prompts, answers = ids[:6], (ids[6:12], ids[12:15]), (ids[15:18], ids[18:25], ids[25:28], ids[28:33])
    return [
        [Encoded((*begin, *prompt, *answer), len(begin) + len(prompt)) for answer in answers[2 * place : 2 * place + 2]]
        for place, prompt in enumerate(prompts)
    ]


def _packed(model: Any, texts: Sequence[Sequence[Encoded]], device: torch.device) -> torch.Tensor:
    """(4,) nats, text by text, all in one row behind the cached beginning."""
    forest = plant_encoded(texts)
    row = pack(forest.trees, prefix=len(forest.prefix))
    logprobs = token_logprobs(model, row, device=device, cache=prefix_cache(model, forest.prefix, device))
    options = torch.from_numpy(np.concatenate(forest.options))[row.path]
    return torch.zeros(row.paths, device=device).index_add_(0, options.to(device), logprobs)


def _alone(model: Any, text: Encoded, device: torch.device) -> float:
    tokens = torch.tensor([text.tokens], device=device)
    logprobs = model(input_ids=tokens, use_cache=False).logits[0].float().log_softmax(-1)
    return sum(float(logprobs[i - 1, text.tokens[i]]) for i in range(text.answer_start, len(text.tokens)))
