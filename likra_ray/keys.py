"""What a head and a score table are known by: a digest of every field that changes them, and of nothing else.

plan.py fills these from a trial and its questions; the store of heads names its folders by `key`.
"""

from __future__ import annotations

from typing import Any, Literal

from likra_ray.question_spec import Spec
from likra_ray.spec import Baseline, LoraSpec


class HeadSpec(Spec):
    """Every field that changes a head's weights. Workers, ZeRO stage and volumes do not: they are not here."""

    role: Literal["positive", "negative"] | Baseline
    """Learns correct answers, or wrong ones, or pairs of both under the objective of that name."""
    base: str
    """Identity of the base model's weights and tokenizer."""
    questions: str
    """Digest of the training questions, in order."""
    recipe: dict[str, Any]
    """How answers are chosen; empty for the positive head with labels as given."""
    learning_rate: float
    """Adam's rate."""
    batch_size: int
    """Examples per step."""
    lora: LoraSpec
    """The adapter."""
    seed: int
    """Order, draws, initialisation."""
    precision: str
    """fp32 or bf16."""

    @property
    def key(self) -> str:
        """Name in the store of heads."""
        return f"{self.role}-{self.digest()}"


class EvaluationSpec(Spec):
    """Every field that changes a score table, the head aside."""

    base: str
    """Identity of the base model's weights and tokenizer."""
    questions: str
    """Digest of the evaluated questions, in order."""
    prefix: str
    """Digest of the text of the solved questions before each."""
    precision: str
    """fp32 or bf16."""

    @property
    def key(self) -> str:
        """Name of the folder its tables lie in, below each head's."""
        return f"evaluation-{self.digest()}"
