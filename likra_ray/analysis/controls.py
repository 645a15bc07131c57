"""Takes findings of control configurations, returns whether they are as quiet as they must be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from likra_ray.analysis.findings import Finding
from likra_ray.analysis.phrases import ARM_NAMES, jump, rests_on, rise_excluded, within

Control = Literal["shuffled labels", "identical sets"]
CONTROL_ARMS = ("likra",)
"""Arms that must be quiet in a control: both their heads have learnt the same. SFT may learn the format of an answer
from any labels; so may a negative head, which Base-Likra holds against a base that knows the truth: it may move."""


LEARNT = 0.10
"""Accuracy by which the last interval has to lie above volume 0 to say that a control has learnt something. Less may be
one run's own: of one seed an interval knows nothing of other runs, and they differ more than questions do. A choice,
the same as verdicts.SMALL_JUMP."""


@dataclass(frozen=True, kw_only=True)
class ControlVerdict:
    """One arm of one control: no critical phase may be found, nor may it end far above where it began. Recomputed by
    controls.control_verdicts."""

    control: Control
    configuration: str
    """Name of the finding."""
    arm: str
    passed: bool | None
    """No critical phase was found, nor does the curve end LEARNT above volume 0; None: none could be looked for."""
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


def control_verdicts(control: Control, finding: Finding, *, weight: float = 1.0) -> list[ControlVerdict]:
    """One verdict per arm of CONTROL_ARMS.

    weight: of the negative head in the trial. Of identical sets any but 1 leaves a share of what both heads have
    learnt, so that only a jump counts.
    """
    verdicts = []
    for arm in CONTROL_ARMS:
        phase = finding.phase[arm]
        first, last = finding.curves[arm][0], finding.curves[arm][-1]
        rise = last.interval[0] - first.accuracy
        loud = rise > LEARNT and (control != "identical sets" or weight == 1.0)
        excluded = finding.largest_rise.get(arm, math.nan)
        found = f"one was found: {jump(phase)}" if phase.found else "none was found"
        found = found if phase.tested else "none could be looked for"
        sentence = (
            f"Control, {control}: no critical phase of {ARM_NAMES[arm]} may be found, {found}; accuracy "
            f"{last.accuracy:.3f} ({within(last.interval, 3)}) at {last.volume} examples "
            f"({rests_on(phase.questions, phase.seeds)})."
        )
        if rise > 0:
            sentence += f" It ends above the {first.accuracy:.3f} at {first.volume}"
            sentence += ": something was learnt." if loud else ", as a training run may by itself."
        elif not math.isnan(excluded):
            sentence += f" {rise_excluded(excluded)}"
        verdicts.append(
            ControlVerdict(
                control=control,
                configuration=finding.name,
                arm=arm,
                passed=False if loud or phase.found else True if phase.tested else None,
                sentence=sentence,
            )
        )
    return verdicts
