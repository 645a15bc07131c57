"""Takes what a sweep found, returns the five plain sentences that open its report.

Each states one finding of the paper (arXiv 2503.14391) as this sweep sees it; "none" and "not tested" are answers too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from likra_ray.analysis.controls import ControlVerdict
from likra_ray.analysis.equivalence import Equivalence
from likra_ray.analysis.findings import Finding
from likra_ray.analysis.near_miss import Effects, FactorEffect
from likra_ray.analysis.phrases import ARM_NAMES, estimated, jump, rests_on, rise_excluded, within

Subject = Literal["critical phase", "SFT", "efficiency", "near-misses", "likelihoods"]

PAPER_WORTH = 10.0
"""Times as much as a positive a negative teaches inside the critical phase, in the paper's words."""

SMALL_JUMP = 0.10
"""A rise of accuracy within a doubling, or from one volume to the next, that has to be excluded before "does not jump"
counts as shown: the smallest gain whose detection docs/locate.md measures."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One finding of the paper, as this sweep sees it. Recomputed by verdicts.verdicts."""

    subject: Subject
    found: bool | None
    """Whether the sweep shows it; None: it was not tested, or what was measured does not decide."""
    sentence: str
    """Plain words, with intervals, questions and seeds; "none found" is said as plainly."""


def verdicts(finding: Finding, effects: Effects, controls: Sequence[ControlVerdict]) -> tuple[Verdict, ...]:
    """The five verdicts on the configuration a report opens with, in order."""
    return (
        critical_phase_verdict(finding),
        sft_verdict(finding),
        efficiency_verdict(finding),
        near_miss_verdict(finding, effects),
        likelihood_verdict(finding, controls),
    )


def critical_phase_verdict(finding: Finding) -> Verdict:
    """Whether Likra's curve jumps, and Base-Likra's, which learns from negatives alone."""
    said = []
    for arm in ("likra", "base_likra"):
        phase, name = finding.phase[arm], ARM_NAMES[arm]
        if phase.found:
            said.append(f"{name}'s accuracy jumps {jump(phase)}")
        else:
            said.append(f"no critical phase of {name} was found: {phase.reason.rstrip('.')}")
    sentence = f"{_capital('; '.join(said))} ({_rests_on(finding)}).{_reserve(finding, 'likra')}"
    if finding.phase["base_likra"].found:
        sentence += _reserve(finding, "base_likra")
    likra = finding.phase["likra"]
    return Verdict(subject="critical phase", found=likra.found if likra.tested else None, sentence=sentence)


def _reserve(finding: Finding, arm: str) -> str:
    """What an arm's jump, or its absence, is to be read with: what its margin does, whether it ends below the base."""
    agreed, base = finding.agreement.get(arm, ""), finding.curves.get("base", ())
    said = f" {ARM_NAMES[arm]}: {agreed}" if agreed else ""
    last = finding.curves[arm][-1] if finding.curves.get(arm) else None
    if finding.phase[arm].found and base and last is not None and last.interval[1] < base[0].accuracy:
        said += f" It ends at {last.accuracy:.3f}, below the base's {base[0].accuracy:.3f}."
    return said


def sft_verdict(finding: Finding) -> Verdict:
    """SFT in the same words, and whether its accuracy and margin agree; found: SFT, unlike Likra, has no jump.

    That none was found shows that there is none only where one of SMALL_JUMP is excluded; else it is not decided.
    """
    phase, last = finding.phase["sft"], finding.curves["sft"][-1]
    first = finding.curves["sft"][0]
    moved = f"from {first.accuracy:.3f} to {last.accuracy:.3f} ({within(last.interval, 3)}) at {last.volume} examples"
    if phase.found:
        sentence = f"SFT's accuracy goes {moved} and jumps too, {jump(phase)}"
    else:
        sentence = f"SFT's accuracy goes {moved}; no critical phase was found: {phase.reason.rstrip('.')}"
    agreed = finding.agreement.get("sft", "")
    sentence = f"{sentence} ({_rests_on(finding)}).{' ' + agreed if agreed else ''}"
    if phase.found or not phase.tested:
        return Verdict(subject="SFT", found=False if phase.found else None, sentence=sentence)
    excluded = finding.largest_rise.get("sft", math.nan)
    if math.isnan(excluded):
        return Verdict(subject="SFT", found=None, sentence=sentence)
    sentence += f" {rise_excluded(excluded)}"
    return Verdict(subject="SFT", found=True if excluded < SMALL_JUMP else None, sentence=sentence)


def efficiency_verdict(finding: Finding) -> Verdict:
    """How much more per example Likra gains inside its phase, and how many positives a negative was worth."""
    ratio = finding.phase_ratio.get("likra")
    if ratio is None or not finding.phase["likra"].found:
        first = "Without a critical phase there is no stretch on which to compare Likra's gain per example with SFT's"
    elif ratio.ratio is None:
        first = f"Likra's gain per example cannot be compared with SFT's: {ratio.reason.rstrip('.')}"
    elif ratio.ratio.bounded and ratio.ratio.at_least >= 0:
        first = (
            f"From {ratio.start} to {ratio.end} examples Likra gains {ratio.ratio.ratio:.1f} times as much per example "
            f"as SFT ({within(ratio.ratio.interval, 1)})"
        )
    elif ratio.ratio.bounded:
        first = f"From {ratio.start} to {ratio.end} examples SFT loses accuracy, so a ratio of gains says nothing"
    else:
        first = f"From {ratio.start} to {ratio.end} examples no finite ratio of Likra's gain to SFT's can be given"
        first += f": {_of_sft(ratio.ratio.reason)}"
    row = worth_row(finding)
    sentence = f"{first}. {_worth(row)} ({_rests_on(finding)}; the paper speaks of about {PAPER_WORTH:.0f})."
    return Verdict(subject="efficiency", found=_shows_worth(row), sentence=sentence)


def _of_sft(reason: str) -> str:
    """What efficiency_ratio says of "the second arm", in place."""
    return reason.replace("The second arm", "SFT").replace("that arm", "SFT").rstrip(".")


def worth_row(finding: Finding) -> Equivalence | None:
    """What a negative was worth where Likra's critical phase ends, else at the largest volume: not where it is best,
    which would be chosen on the numbers shown."""
    ratio = finding.phase_ratio.get("likra")
    end = None if ratio is None else ratio.end
    there = [row for row in finding.equivalence if row.volume == end]
    rows = there or list(finding.equivalence)
    return rows[-1] if rows else None


def _shows_worth(row: Equivalence | None) -> bool | None:
    if row is None or row.interval[0] == row.interval[1]:  # every resample alike: no interval
        return None
    if row.interval[1] < 0.0:
        return False
    return True if row.interval[0] > 0.0 else None


def _worth(row: Equivalence | None) -> str:
    if row is None:
        return "What a negative was worth was not measured"
    if row.status == "below the base":
        below = f"At {row.volume} negatives Likra's accuracy, {row.accuracy:.3f}, is below where SFT starts"
        return f"{below}; what a negative was worth lies within {within(row.interval, 1)} positives"
    if row.status == "at least" and row.interval[0] <= 0.0:
        return (
            f"At {row.volume} negatives what one was worth cannot be told: SFT never clearly reaches Likra's "
            f"{row.accuracy:.3f}, so nothing bounds one's worth in positives ({within(row.interval, 1)})"
        )
    if row.status == "at least":
        bound = f"more than {row.at_least:.1f} positives, as far as SFT's run shows"
    else:
        bound = f"{row.worth:.1f} positives"
    return f"At {row.volume} negatives one negative was worth {bound} ({within(row.interval, 1)})"


def near_miss_verdict(finding: Finding, effects: Effects) -> Verdict:
    """What near-misses do to Likra's final accuracy, in the setting the report opens with where it has been varied."""
    found = [effect for effect in effects.pairs if effect.field == "near_miss_share" and effect.arm == "likra"]
    if not found:
        why = effects.not_compared.get("near_miss_share", "this sweep does not vary their share.")
        return Verdict(subject="near-misses", found=None, sentence=f"Near-misses were not tested: {_small(why)}")
    rest = {name: value for name, value in finding.settings.items() if name != "near_miss_share"}
    here = [effect for effect in found if dict(effect.context) == rest] or found
    effect = max(here, key=lambda one: one.high)
    more = "" if len(found) == 1 else f" {_tally(found, 'Likra')}"
    base_likra = [one for one in effects.pairs if one.field == "near_miss_share" and one.arm == "base_likra"]
    more += f" {_tally(base_likra, 'Base-Likra')}" if base_likra else ""
    better = effect.accuracy.value > 0 if effect.accuracy.excludes_zero else None
    return Verdict(subject="near-misses", found=better, sentence=f"{effect.sentence} {_later(effect)}{more}".strip())


def _later(effect: FactorEffect) -> str:
    if effect.midpoint.reason:
        return f"Its critical phases are {effect.midpoint.reason}."
    moves = "moves" if effect.midpoint.excludes_zero else "does not clearly move:"
    return f"Its critical phase {moves} by {estimated(effect.midpoint)} doublings."


def _tally(found: Sequence[FactorEffect], name: str) -> str:
    up = sum(effect.accuracy.excludes_zero and effect.accuracy.value > 0 for effect in found)
    down = sum(effect.accuracy.excludes_zero and effect.accuracy.value < 0 for effect in found)
    return f"Such comparisons of {name}: {len(found)}; clear rises {up}, clear falls {down}."


def likelihood_verdict(finding: Finding, controls: Sequence[ControlVerdict]) -> Verdict:
    """Whether SFT leaves near-misses likely while Likra tells them apart, and whether the controls are quiet."""
    seen, quiet = finding.likelihood_contrast, _controls(controls)
    if seen is None:
        sentence = f"Likelihoods: no volume was measured by both heads. {quiet}"
        return Verdict(subject="likelihoods", found=None, sentence=sentence)
    correct, near_miss = seen.sft_change["correct"], seen.sft_change["near_miss"]
    if near_miss.reason:
        return Verdict(subject="likelihoods", found=None, sentence=f"Likelihoods: no question has a near-miss. {quiet}")
    sentence = (
        f"At {seen.volume} examples SFT has moved the log-probability of correct options by {estimated(correct)} and "
        f"of near-misses by {estimated(near_miss)} nats; of (correct, near-miss) pairs SFT ranks "
        f"{seen.sft_auroc.value:.3f} right and Likra {seen.likra_auroc.value:.3f}, a difference of "
        f"{estimated(seen.separation, 3)} ({rests_on(near_miss.questions, near_miss.seeds)}). {quiet}"
    )
    return Verdict(subject="likelihoods", found=_as_published(near_miss.interval, seen.separation.interval),
                   sentence=sentence)  # fmt: skip


def _as_published(change: tuple[float, float], separation: tuple[float, float]) -> bool | None:
    """Near-misses not pushed down under SFT, and told apart better by Likra; None where an interval does not decide."""
    if change[1] < 0.0 or separation[1] < 0.0:
        return False
    return True if change[0] >= 0.0 and separation[0] > 0.0 else None


def _controls(controls: Sequence[ControlVerdict]) -> str:
    if not controls:
        return "No control was run."
    tested = [control for control in controls if control.passed is not None]
    loud = [control for control in tested if not control.passed]
    if loud:
        return f"Of {len(tested)} controls {len(loud)} failed: {' '.join(control.sentence for control in loud)}"
    if len(tested) < len(controls):
        return f"{len(controls) - len(tested)} of {len(controls)} controls could not be tested."
    quiet = "The one control is" if len(controls) == 1 else f"All {len(controls)} controls are"
    return f"{quiet} quiet: no critical phase where none may be."


def _rests_on(finding: Finding) -> str:
    return rests_on(finding.questions, len(finding.seeds))


def _small(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
