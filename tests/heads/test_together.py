"""Heads trained in one batch are the heads trained apart: every adapter tensor, every moment, every loss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small import BATCH, ENGINES_AGREE, MANNER, baseline, evaluation, fresh, ignore, order, pairs, producer

from likra_ray.heads import adapters
from likra_ray.heads.engines import PlainEngine
from likra_ray.heads.orders import HeadOrder, Role
from likra_ray.heads.store import HeadStore
from likra_ray.heads.together import side_by_side
from likra_ray.heads.tokens import encode
from likra_ray.heads.training import Batches, Diverged, HeadRun, Step, one_answer, train

LIKRA = (
    order("positive", 0, 8, 16, learning_rate=3e-3),
    order("negative", 0, 4, 24, learning_rate=1e-2),
)
FOUR = (*LIKRA, baseline("dpo", 0, 12), baseline("kto", 0, 8, learning_rate=5e-3))


def made(root: Path, orders: tuple[HeadOrder, ...], *, at_once: bool, **changes: Any) -> tuple[HeadStore, list[Any]]:
    """The heads of some orders, and the steps reported."""
    producing = producer(root, roles=tuple(one.role for one in orders), **changes)
    steps: list[Any] = []
    for group in [orders] if at_once else [(one,) for one in orders]:
        producing.train(group, lambda _: [evaluation()], lambda one, step: steps.append((one.role, *step)))
        for one in group:
            producing.score(one, evaluation())
    return producing.store, steps


def nothing(_: HeadOrder) -> list[Any]:
    """What heads are asked that are only trained."""
    return []


def assert_close(
    one: dict[str, torch.Tensor] | None, other: dict[str, torch.Tensor] | None, **tolerance: float
) -> None:
    assert one is not None and other is not None
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], msg=lambda m, n=name: f"{n}: {m}", **tolerance)


def assert_same_heads(one: HeadStore, other: HeadStore, orders: tuple[HeadOrder, ...]) -> None:
    for asked in orders:
        assert one.volumes(asked.key) == other.volumes(asked.key) == asked.volumes
        for volume in asked.volumes[1:]:
            assert_close(one.load(asked.key, volume), other.load(asked.key, volume), rtol=0, atol=ENGINES_AGREE)
            states = [store.load_optimizer(asked.key, volume) for store in (one, other)]
            assert_close(*states, rtol=1e-3, atol=2e-8)  # as test_engines.py has it


@pytest.mark.parametrize(
    ("orders", "changes"),
    [
        (LIKRA, {}),
        (FOUR, {"accumulation": 2}),
        (LIKRA, {"activation_checkpointing": True}),
    ],
    ids=["two", "four, with pairs, in micro-batches", "recomputed"],
)
def test_heads_at_once_are_heads_apart(tmp_path: Path, orders: tuple[HeadOrder, ...], changes: dict[str, Any]) -> None:
    """Different rates, lengths, objectives and last volumes: the shorter heads leave the row earlier."""
    apart, expected = made(tmp_path / "apart", orders, at_once=False, **changes)
    at_once, found = made(tmp_path / "once", orders, at_once=True, **changes)
    assert_same_heads(at_once, apart, orders)
    assert [step[:2] for step in sorted(found)] == [step[:2] for step in sorted(expected)]
    assert [step[2] for step in sorted(found)] == pytest.approx([step[2] for step in sorted(expected)], abs=1e-4)


def test_heads_go_on_from_different_volumes(tmp_path: Path) -> None:
    """One from volume 8, one from nothing, one that is there already; nothing is trained twice."""
    orders = (*LIKRA, baseline("mixture", 0, 8))
    apart, _ = made(tmp_path / "apart", orders, at_once=False)
    begun = (replace(LIKRA[0], volumes=(0, 8)), orders[2])
    producing = producer(tmp_path / "once", roles=tuple(one.role for one in orders))
    producing.train(begun, nothing, lambda *_: None)
    assert producing.done.trained == {"positive-small": 8, "mixture-small": 8}
    producing.train(orders, nothing, lambda *_: None)
    assert producing.done.trained == {"positive-small": 16, "negative-small": 24, "mixture-small": 8}
    assert_same_heads(producing.store, apart, orders)


def test_the_adapter_that_takes_no_part_stays_bit_identical(tmp_path: Path) -> None:
    producing = producer(tmp_path, roles=("positive", "negative", "dpo"))
    before = adapters.fingerprint(adapters.read(producing.model, "dpo"))
    producing.train(LIKRA, nothing, lambda *_: None)
    assert adapters.fingerprint(adapters.read(producing.model, "dpo")) == before
    producing.head(baseline("dpo", 0, 4), evaluation(), ignore)
    assert adapters.fingerprint(adapters.read(producing.model, "dpo")) != before, "and can be trained alone after"


def test_the_head_that_diverged_is_named_and_no_other() -> None:
    model = adapters.attach(fresh().model, rank=MANNER.rank, alpha=MANNER.alpha, targets=MANNER.targets, seed=0)
    examples = one_answer(encode(fresh().tokenizer, pairs("negative")))
    steps: list[tuple[str, Step]] = []

    def run(role: Role, learning_rate: float) -> HeadRun:
        engine = PlainEngine(model, adapters.parameters(model, role), learning_rate)
        return HeadRun(role, engine, examples, 0, (16,), ignore, lambda step: steps.append((role, step)))

    runs = [run("positive", 1e-3), run("negative", 1e30)]
    with side_by_side(model, ("positive", "negative")) as divide, pytest.raises(Diverged) as raised:
        train(runs, batches=Batches(BATCH, 1), divide=divide)
    assert "of the negative head" in str(raised.value)
    assert "positive" not in str(raised.value)
    assert [role for role, _ in steps[:2]] == ["positive", "negative"], "the first step was sound"
    assert not any(module._forward_hooks for module in model.modules()), "nothing stays on the layers"
