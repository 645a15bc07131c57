"""Takes tokens and weights, returns operations, hours and dollars: what a sweep will cost before it runs.

Products with the base's weights are counted, two operations a weight and token; attention's own products (quadratic in
a row, some percent below 1,000 tokens at these sizes) and the adapters' (rank 8 against thousands) are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

CHARACTERS_A_TOKEN = 4.0
"""English prose, BPE vocabularies of 32,000 to 150,000."""


def training_operations(parameters: float, tokens: float, *, frozen: bool = True) -> float:
    """2 a weight and token forward, as much again for the gradient of the activations; a base that is not frozen needs
    as much once more for the gradient of its weights."""
    return (4.0 if frozen else 6.0) * parameters * tokens


def scoring_operations(parameters: float, tokens: float) -> float:
    """2 a weight and token."""
    return 2.0 * parameters * tokens


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a sweep asks for, each head and table counted once: trials share them."""

    trials: int
    heads: int
    """To be trained."""
    examples: int
    """That a head learns from."""
    example_tokens: float
    """Of a prompt and its answer."""
    tables: int
    """Score tables: heads times volumes, and the base's."""
    questions: int
    """Evaluated for each table."""
    question_tokens: float
    """Of a prompt, read once, and all its options; what prompts share is not taken off."""
    prefix_tokens: float
    """Of the solved examples before the questions, read once a table."""

    def operations(self, parameters: float) -> tuple[float, float]:
        """(training, scoring). parameters: of the base."""
        taught = self.heads * self.examples * self.example_tokens
        read = self.tables * (self.prefix_tokens + self.questions * self.question_tokens)
        return training_operations(parameters, taught), scoring_operations(parameters, read)


def gpu_hours(
    load: Load, *, parameters: float, rate: float, reached: float, gpus: int, start_seconds: float
) -> tuple[float, float]:
    """GPU-hours (at work, in starting): every trial holds all its GPUs while it starts and loads the base.

    rate: of one GPU at its best, operations per second; reached: share of it that training and scoring reach;
    gpus: a trial's; start_seconds: of a trial.
    """
    return sum(load.operations(parameters)) / (rate * reached) / 3600, load.trials * gpus * start_seconds / 3600
