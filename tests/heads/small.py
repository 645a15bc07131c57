"""What the tests of the heads share: few lopsided questions, orders for small heads, a producer on a fresh base."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from likra_ray.heads import base as bases
from likra_ray.heads.orders import ROLES, EvaluationOrder, HeadOrder, Manner, Role
from likra_ray.heads.produce import Producer
from likra_ray.heads.store import HeadStore
from likra_ray.records import Kind, Option, Question
from likra_ray.storage import Storage

BATCH = 4
LEARNING_RATE = 1e-2
"""High, so that 32 examples move the adapters by far more than the tolerances below."""

BETA = 0.3
"""Of the baselines: neither trl's default nor 1, so that one left out would show."""

ENGINES_AGREE = 2e-5
"""Largest difference between adapters of two engines after 32 examples at LEARNING_RATE (measured: 7e-6 in one weight
whose gradient is nearly zero, which Adam divides by its own size; a step is 1e-2)."""

TABLES_AGREE = 1e-4
"""Largest difference, in nats, between the score tables of such adapters."""

MANNER = Manner(
    rank=4,
    alpha=8,
    targets=("gate_proj", "up_proj", "down_proj"),
    batch_size=BATCH,
    accumulation=1,
    precision="fp32",
    zero_stage=None,
    activation_checkpointing=False,
)


def question(identifier: str, prompt: str, *options: tuple[str, Kind]) -> Question:
    return Question(id=identifier, prompt=prompt, options=tuple(Option(text=t, kind=k) for t, k in options))


def lopsided() -> tuple[Question, ...]:
    """2 to 6 options, answers of 1 to 90 characters, prompts of 5 to 150, several scripts, shared beginnings."""
    return (
        question("two", "Q: 1+1?\nA:", ("2", "correct"), ("11", "near_miss")),
        question(
            "six",
            "Question: which of these rivers ends in the Black Sea after ten countries? Think of Vienna.\nAnswer:",
            ("the Danube", "correct"),
            ("the Dnieper", "near_miss"),
            ("the D", "near_miss"),
            ("Don", "near_miss"),
            ("a dune, which is not a river at all but a heap of sand that the wind has put together", "far"),
            ("x", "far"),
        ),
        question("greek", "Ποια είναι η πρωτεύουσα;", ("Αθήνα", "correct"), ("Σπάρτη", "near_miss"), ("鉄", "far")),
        question("smile", "Q: mood?", ("🙂", "correct"), ("🙁", "near_miss"), ("é", "far"), ("ok", "far")),
        question("same", "Q: 1+1?\nA:", ("two", "correct"), ("two and a half", "near_miss"), ("twofold", "far")),
    )


def shots() -> tuple[Question, ...]:
    return (
        question("shot-a", "Q: capital of France?\nA:", ("Paris", "correct"), ("Lyon", "near_miss")),
        question("shot-b", "Q: symbol of gold?\nA:", ("Au", "correct"), ("Ag", "near_miss")),
        question("shot-c", "Q: 日本の首都?\nA:", ("東京", "correct"), ("京都", "near_miss")),
    )


def pairs(role: Role, count: int = 32) -> tuple[tuple[str, str], ...]:
    """A curriculum: prompts that begin alike, and answers, of very different lengths, in no order."""
    answer = "right" if role == "positive" else "wrong"
    return tuple(
        (f"Q:{7 * i % 32} {'why ' * (i % 7)}?\nA:", f"{answer} {'so ' * (i % 5)}{i * i}") for i in range(count)
    )


def order(role: Role, *volumes: int, learning_rate: float = LEARNING_RATE) -> HeadOrder:
    return HeadOrder(
        key=f"{role}-small",
        fields={"role": role},
        role=role,
        pairs=pairs(role),
        volumes=volumes,
        learning_rate=learning_rate,
    )


def baseline(role: Role, *volumes: int, count: int = 70, learning_rate: float = LEARNING_RATE) -> HeadOrder:
    """A baseline's order: the negative curriculum's prompts and answers, each with a correct answer before it."""
    wrong = pairs("negative", count)
    return HeadOrder(
        key=f"{role}-small",
        fields={"role": role},
        role=role,
        pairs=tuple((prompt, f"right {'ja ' * (i % 4)}{i}") for i, (prompt, _) in enumerate(wrong)),
        volumes=volumes,
        learning_rate=learning_rate,
        wrong=tuple(answer for _, answer in wrong),
        beta=BETA,
        base_key="base-small",
    )


def evaluation() -> EvaluationOrder:
    return EvaluationOrder(key="evaluation-small", questions=lopsided(), shots=shots()[:1])


def fresh() -> bases.LoadedBase:
    """A base of one's own, to put adapters on."""
    return bases.load(bases.resolve(bases.RANDOM_TINY))


def producer(root: str | Path, *, base: bases.LoadedBase | None = None, seed: int = 0, **changes: Any) -> Producer:
    """A producer on a base, or a fresh one, with its store below `root`; changes: roles, or fields of MANNER."""
    roles = changes.pop("roles", ROLES)
    return Producer(base or fresh(), HeadStore(Storage(str(root))), replace(MANNER, **changes), seed=seed, roles=roles)


def ignore(_: object) -> None:
    """Reports of steps that nobody reads."""
