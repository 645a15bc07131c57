"""Takes estimates and phases, returns them in words, the same everywhere a sentence needs them."""

from __future__ import annotations

from likra_ray.analysis.estimates import Estimate
from likra_ray.records import CriticalPhase

ARM_NAMES = {"sft": "SFT", "likra": "Likra", "base_likra": "Base-Likra"}
"""How sentences call the arms; others by their name."""


def rests_on(questions: int, seeds: int) -> str:
    """``300 questions, 1 seed``."""
    return f"{questions:,} question{'' if questions == 1 else 's'}, {seeds} seed{'' if seeds == 1 else 's'}"


def within(interval: tuple[float, float], digits: int = 2, *, sign: bool = False) -> str:
    """``95 % 48 to 85``; an infinite end, and an interval of no width, are said in words."""
    form = f"{'+' if sign else ''}.{digits}f"
    low, high = interval
    if low == high:
        return "no interval: every resample is alike"
    if high == float("inf"):
        return f"95 % from {low:{form}}, not bounded above" if low > -float("inf") else "95 % interval not bounded"
    return f"95 % {low:{form}} to {high:{form}}"


def estimated(found: Estimate, digits: int = 2) -> str:
    """``+0.12 (95 % +0.05 to +0.19)``."""
    return f"{found.value:+.{digits}f} ({within(found.interval, digits, sign=True)})"


def rise_excluded(most: float) -> str:
    """Of Finding.largest_rise."""
    return (
        f"Within a doubling, or from one volume to the next, a rise of more than {most:.2f} is excluded, a smaller one "
        "is not."
    )


def jump(phase: CriticalPhase) -> str:
    """``between 41 and 96 examples, midpoint 63 (95 % 48 to 85), gain 0.27 (95 % 0.19 to 0.35)``, of a phase found."""
    assert phase.onset is not None and phase.end is not None and phase.midpoint is not None and phase.gain is not None
    assert phase.midpoint_interval is not None and phase.gain_interval is not None
    return (
        f"between {phase.onset:.0f} and {phase.end:.0f} examples, midpoint {phase.midpoint:.0f} "
        f"({within(phase.midpoint_interval, 0)}), gain {phase.gain:.2f} ({within(phase.gain_interval)})"
    )
