"""What the workers are told: plain values, no torch, no spec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from likra_ray.records import Question
from likra_ray.spec import Baseline

Role = Literal["positive", "negative"] | Baseline
"""What a head is for. A baseline's is also the name of its objective."""
ROLES: tuple[Role, ...] = ("positive", "negative")
"""The two heads of Likra."""
BASELINES: tuple[Baseline, ...] = get_args(Baseline)
"""Heads that learn from pairs, a correct and a wrong answer to one prompt."""
WITH_BETA: tuple[Role, ...] = ("npo", "dpo", "kto", "orpo")
"""Baselines whose objective has a beta."""
ALL_LINEAR = ("all-linear",)
"""As the layers to adapt: every linear one but that which gives the logits, whatever they are called (PEFT's word)."""


@dataclass(frozen=True, kw_only=True)
class HeadOrder:
    """One head that must exist at these volumes, scored."""

    key: str
    fields: dict[str, Any]
    """What the key is made of, for head.json."""
    role: Role
    pairs: tuple[tuple[str, str], ...]
    """(prompt, answer): the curriculum, at least as long as the last volume. A baseline's answer is the correct one."""
    volumes: tuple[int, ...]
    learning_rate: float
    wrong: tuple[str, ...] = ()
    """Of a baseline: the wrong answer to each prompt; () for Likra's heads."""
    beta: float = 0.1
    """Of a baseline's objective."""
    base_key: str = ""
    """Of a baseline: the base's key in the store, which its reference tables lie under."""


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
