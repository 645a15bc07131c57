"""Takes numbers and findings, returns how people read them: in the terminal, in captions and in tables."""

from __future__ import annotations

import math
from collections.abc import Mapping

from likra_ray.analysis.estimates import Estimate
from likra_ray.analysis.verdicts import Subject
from likra_ray.records import CriticalPhase

NOTHING = "-"
"""What stands where nothing was measured."""

SHOWN = {True: "shown", False: "not shown", None: "not decided"}
"""Verdict.found, as the report says it."""

CLAIMS: dict[Subject, str] = {
    "critical phase": "Likra's accuracy jumps",
    "SFT": "SFT's accuracy does not jump",
    "efficiency": "A negative is worth positives",
    "near-misses": "Near-misses are the better negatives",
    "likelihoods": "SFT leaves near-misses likely, Likra tells them apart",
}
"""What each verdict is about: the paper's claims, which a sweep shows or does not."""


def share(value: float, digits: int = 3) -> str:
    """An accuracy without its leading zero: ``.563``, ``-.05``, ``1.00``."""
    if math.isnan(value):
        return NOTHING
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else f"{value:.{digits - 1}f}"


def phase_in_words(phase: CriticalPhase) -> str:
    """``jump between 41 and 96, midpoint 63 [48, 85], gain .27 [.19, .35]``, or ``none found:`` and why."""
    if not phase.found or phase.onset is None or phase.end is None or phase.midpoint is None or phase.gain is None:
        return f"none found: {phase.reason}"
    midpoint = f"midpoint {phase.midpoint:.0f}"
    if phase.midpoint_interval is not None:
        midpoint += f" [{phase.midpoint_interval[0]:.0f}, {phase.midpoint_interval[1]:.0f}]"
    gain = f"gain {share(phase.gain, 2)}"
    if phase.gain_interval is not None:
        gain += f" [{share(phase.gain_interval[0], 2)}, {share(phase.gain_interval[1], 2)}]"
    return f"jump between {phase.onset:.0f} and {phase.end:.0f}, {midpoint}, {gain}"


def number(value: float) -> str:
    """A number of unknown size in at most five characters or so: ``512``, ``0.0005``, ``12.3``, ``1.2e+06``."""
    if math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if abs(value) < 1e5 and value == round(value):
        return f"{value:.0f}"
    return f"{value:.0f}" if 100 <= abs(value) < 1e5 else f"{value:.3g}"


def interval(ends: tuple[float, float], *, digits: int | None = None) -> str:
    """``[.19, .35]`` with so many digits of an accuracy, ``[48, 85]`` without; nothing where there is none."""
    if any(math.isnan(end) for end in ends):
        return ""
    low, high = (number(end) if digits is None or math.isinf(end) else share(end, digits) for end in ends)
    return f"[{low}, {high}]"


def with_interval(value: float, ends: tuple[float, float], *, digits: int | None = None) -> str:
    """The value and, where there is one, its interval."""
    shown = number(value) if digits is None else share(value, digits)
    return " ".join(part for part in (shown, interval(ends, digits=digits)) if part)


def estimate(found: Estimate, *, digits: int | None = None) -> str:
    """``.12 [.05, .19]``; a dash where it is missing, `Estimate.reason` says why."""
    return with_interval(found.value, found.interval, digits=digits)


def count(how_many: int, what: str) -> str:
    """``1 seed``, ``3 seeds``, ``2,876 questions``."""
    return f"{how_many:,} {what}{'' if how_many == 1 else 's'}"


def setting(value: object) -> str:
    """A setting's value as a search space has it, floats short."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(setting(one) for one in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {setting(one)}" for name, one in value.items() if one is not None) + "}"
    return "none" if value is None else str(value)


def context(settings: Mapping[str, object]) -> str:
    """``learning_rate=0.0005 seed=0``; empty where there is none."""
    return " ".join(f"{field}={setting(value)}" for field, value in settings.items())
