"""What the workers are told: plain values, no torch, no spec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from likra_ray.records import Question

Role = Literal["positive", "negative"]
ROLES: tuple[Role, ...] = ("positive", "negative")


@dataclass(frozen=True, kw_only=True)
class HeadOrder:
    """One head that must exist at these volumes, scored."""

    key: str
    fields: dict[str, Any]
    """What the key is made of, for head.json."""
    role: Role
    pairs: tuple[tuple[str, str], ...]
    """(prompt, answer): the curriculum, at least as long as the last volume."""
    volumes: tuple[int, ...]
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class EvaluationOrder:
    """Questions every head is scored on."""

    key: str
    questions: tuple[Question, ...]
    shots: tuple[Question, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How the work is done. The last three, and accumulation, leave the heads as they are."""

    rank: int
    """LoRA rank."""
    alpha: float
    targets: tuple[str, ...]
    batch_size: int
    accumulation: int
    precision: str
    zero_stage: int | None
    activation_checkpointing: bool
