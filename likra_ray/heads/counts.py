"""How many answer tokens a head has learnt from at each volume, kept beside it: heads/<key>/answer_tokens.json.

Loss falls on answer tokens alone, so they are what equal budgets are counted in (analysis/budgets.py). They follow from
the curriculum and the tokenizer, so a head that was trained before this file existed is counted when it is next used.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any

from likra_ray.heads.orders import HeadOrder
from likra_ray.heads.store import HeadStore
from likra_ray.heads.tokens import encode


def answer_tokens(tokenizer: Any, order: HeadOrder) -> dict[int, int]:
    """By each of the order's volumes: answer tokens of that many first examples; of a pair, those of both answers."""
    last = order.volumes[-1]
    counts = _lengths(tokenizer, order.pairs[:last])
    if order.wrong:
        wrong = [(prompt, answer) for (prompt, _), answer in zip(order.pairs, order.wrong, strict=False)]
        counts = [one + other for one, other in zip(counts, _lengths(tokenizer, wrong[:last]), strict=True)]
    seen = list(itertools.accumulate(counts, initial=0))
    return {volume: seen[volume] for volume in order.volumes}


def _lengths(tokenizer: Any, pairs: Iterable[tuple[str, str]]) -> list[int]:
    return [len(text.tokens) - text.answer_start for text in encode(tokenizer, list(pairs))]


def keep(store: HeadStore, tokenizer: Any, order: HeadOrder) -> None:
    """Count what is not counted yet of a head's volumes, and keep it. One process writes: rank 0, under the lease."""
    known = kept(store, order.key)
    if not set(order.volumes) <= set(known):
        counted = {**known, **answer_tokens(tokenizer, order)}
        text = json.dumps({str(volume): counted[volume] for volume in sorted(counted)})
        store.storage.write(_name(order.key), text.encode())


def kept(store: HeadStore, key: str) -> dict[int, int]:
    """Answer tokens of a head by volume, as far as they were counted; {} where they never were."""
    if not store.storage.exists(_name(key)):
        return {}
    return {int(volume): int(tokens) for volume, tokens in json.loads(store.storage.read(_name(key))).items()}


def _name(key: str) -> str:
    return f"heads/{key}/answer_tokens.json"
