"""Takes findings of control configurations, returns whether they are as quiet as they must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from likra_ray.analysis.findings import Finding
from likra_ray.analysis.phrases import ARM_NAMES, jump, rests_on, within

Control = Literal["shuffled labels", "identical sets"]
CONTROL_ARMS = ("likra",)
"""Arms that must be quiet in a control: both their heads have learnt the same. SFT may learn the format of an answer
from any labels; so may a negative head, which Base-Likra holds against a base that knows the truth: it may move."""


@dataclass(frozen=True, kw_only=True)
class ControlVerdict:
    """One arm of one control: no critical phase may be found. Recomputed by controls.control_verdicts."""

    control: Control
    configuration: str
    """Name of the finding."""
    arm: str
    passed: bool | None
    """No critical phase was found; None: none could be looked for."""
    sentence: str
    """What was expected and what was found, with questions and seeds."""


def control_of(trial: Mapping[str, Any]) -> Control | None:
    """Which control a trial's resolved fields make it, if any.

    shuffled labels: the answer to every training question is drawn at random; identical sets: every negative is a
    correct answer, so both heads learn the same.
    """
    if trial.get("labels", "given") == "shuffled":
        return "shuffled labels"
    return "identical sets" if trial.get("contamination_share", 0.0) == 1.0 else None


def control_verdicts(control: Control, finding: Finding) -> list[ControlVerdict]:
    """One verdict per arm of CONTROL_ARMS."""
    verdicts = []
    for arm in CONTROL_ARMS:
        phase = finding.phase[arm]
        last = finding.curves[arm][-1]
        found = f"one was found: {jump(phase)}" if phase.found else "none was found"
        found = found if phase.tested else "none could be looked for"
        sentence = (
            f"Control, {control}: no critical phase of {ARM_NAMES[arm]} may be found, {found}; accuracy "
            f"{last.accuracy:.3f} ({within(last.interval, 3)}) at {last.volume} examples "
            f"({rests_on(phase.questions, phase.seeds)})."
        )
        verdicts.append(
            ControlVerdict(
                control=control,
                configuration=finding.name,
                arm=arm,
                passed=not phase.found if phase.tested else None,
                sentence=sentence,
            )
        )
    return verdicts
