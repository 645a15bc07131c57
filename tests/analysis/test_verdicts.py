"""The five sentences that open a report, and the controls: each on findings made by hand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import pytest
from made_curves import NO_PHASE, phase

from likra_ray.analysis import controls, verdicts
from likra_ray.analysis.curves import EfficiencyRatio, EfficiencyStep
from likra_ray.analysis.efficiency import PhaseRatio
from likra_ray.analysis.equivalence import Equivalence
from likra_ray.analysis.estimates import Estimate, missing
from likra_ray.analysis.findings import Finding
from likra_ray.analysis.likelihoods import LikelihoodContrast
from likra_ray.analysis.near_miss import Effects, FactorEffect
from likra_ray.records import CriticalPhase, CurvePoint

NAN, INF = math.nan, math.inf
NOTHING = Effects(pairs=(), slopes=(), not_compared={})
RESTS_ON = "(100 questions, 2 seeds)."


def step(start: int, end: int, most: float) -> EfficiencyStep:
    gain, per = (0.02, (-0.05, most)), (0.0, (0.0, 0.0))
    return EfficiencyStep(start, end, *gain, *per, *per)


def estimate(value: float, half: float = 0.05) -> Estimate:
    return Estimate(value=value, interval=(value - half, value + half), questions=100, seeds=2)


def points(*accuracies: float) -> tuple[CurvePoint, ...]:
    return tuple(
        CurvePoint(volume=volume, accuracy=one, interval=(one - 0.03, one + 0.03), questions=100, seeds=2)
        for volume, one in zip((0, 64, 256), accuracies, strict=True)
    )


def finding(**changes: Any) -> Finding:
    made = Finding(
        name="near_miss_share=1",
        settings={"near_miss_share": 1.0, "learning_rate": 0.001},
        trials=("a", "b"),
        seeds=(0, 1),
        questions=100,
        curves={"sft": points(0.5, 0.52, 0.55), "likra": points(0.25, 0.6, 0.7), "base_likra": points(0.25, 0.5, 0.6)},
        phase={"sft": NO_PHASE, "likra": phase(64.0, 0.3), "base_likra": NO_PHASE},
        efficiency={"sft": (step(0, 64, 0.07), step(64, 256, 0.09))},
        ratio=(),
        agreement={"likra": "Both jump.", "sft": "Neither jumps."},
        largest_rise={"sft": 0.09, "likra": 0.4},
    )
    return dataclasses.replace(made, **changes)


def test_critical_phase_in_words() -> None:
    found = verdicts.critical_phase_verdict(finding())
    assert found.found is True
    assert found.sentence == (
        "Likra's accuracy jumps between 43 and 96 examples, midpoint 64 (95 % 51 to 80), "
        "gain 0.30 (95 % 0.25 to 0.35); "
        f"no critical phase of Base-Likra was found: {NO_PHASE.reason.rstrip('.')} {RESTS_ON} Likra: Both jump."
    )


def test_what_could_not_be_tested_is_not_decided() -> None:
    untested = dataclasses.replace(NO_PHASE, tested=False)
    short = finding(phase={arm: untested for arm in ("sft", "likra", "base_likra")})
    assert verdicts.critical_phase_verdict(short).found is None and verdicts.sft_verdict(short).found is None
    flat = {**short.curves, "likra": points(0.25, 0.24, 0.26)}
    [control] = controls.control_verdicts("shuffled labels", dataclasses.replace(short, curves=flat))
    assert control.passed is None and "none could be looked for" in control.sentence
    said = verdicts.likelihood_verdict(finding(likelihood_contrast=contrast(0.3, 0.2)), [control]).sentence
    assert said.endswith("1 of 1 controls could not be tested.")


def test_no_critical_phase_is_said_first() -> None:
    none = {arm: NO_PHASE for arm in ("sft", "likra", "base_likra")}
    found = verdicts.critical_phase_verdict(finding(phase=none))
    assert found.found is False and found.sentence.startswith("No critical phase of Likra was found: The curve is")


@pytest.mark.parametrize(
    ("located", "found", "words"),
    [(NO_PHASE, True, "no critical phase was found: The curve"), (phase(32.0), False, "and jumps too, between 21")],
)
def test_sft_in_the_same_words(located: CriticalPhase, found: bool, words: str) -> None:
    verdict = verdicts.sft_verdict(finding(phase={"sft": located}))
    assert verdict.found is found and words in verdict.sentence
    assert "from 0.500 to 0.550 (95 % 0.520 to 0.580) at 256 examples" in verdict.sentence
    assert f"{RESTS_ON} Neither jumps." in verdict.sentence


@pytest.mark.parametrize(
    ("rise", "found", "excluded"),
    [(0.09, True, "more than 0.09"), (0.25, None, "more than 0.25"), (NAN, None, ""), (None, None, "")],
)
def test_that_sft_does_not_jump_is_shown_where_a_jump_is_excluded(
    rise: float | None, found: bool | None, excluded: str
) -> None:
    largest = {} if rise is None else {"sft": rise}
    verdict = verdicts.sft_verdict(finding(phase={"sft": NO_PHASE}, largest_rise=largest))
    assert verdict.found is found and excluded in verdict.sentence
    assert ("is excluded" in verdict.sentence) == bool(excluded)


def test_a_jump_of_base_likra_comes_with_its_margin_and_the_base() -> None:
    low = (*points(0.25, 0.1, 0.3),)
    curves = {"base": points(0.54, 0.54, 0.54), "likra": points(0.25, 0.3, 0.4), "base_likra": low}
    located = {"sft": NO_PHASE, "likra": NO_PHASE, "base_likra": phase(64.0, 0.3)}
    told = {"likra": "Neither jumps.", "base_likra": "Accuracy jumps but the margin does not."}
    said = verdicts.critical_phase_verdict(finding(curves=curves, phase=located, agreement=told)).sentence
    ending = "Base-Likra: Accuracy jumps but the margin does not. It ends at 0.300, below the base's 0.540."
    assert said.endswith(f"Likra: Neither jumps. {ending}")


def ratio(**changes: Any) -> PhaseRatio:
    bounded = EfficiencyRatio(32, 128, 4.2, (2.0, 9.5), True, 2.0, "Both gains are measured.")
    step = bounded._replace(**changes)
    return PhaseRatio(arm="likra", start=32, end=128, ratio=step, questions=100, seeds=2, reason="")


def row(**changes: Any) -> Equivalence:
    made = Equivalence(
        volume=128, accuracy=0.6, status="measured", positives=1100.0, worth=7.6, interval=(3.0, 20.0), at_least=NAN,
        reached_share=1.0, questions=100, seeds=2, reason="",
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


BELOW = row(status="below the base", positives=NAN, worth=NAN, interval=(-1.0, -0.9))
CENSORED = row(status="at least", positives=NAN, worth=NAN, at_least=3.0, interval=(3.0, INF))


@pytest.mark.parametrize(
    ("in_phase", "rows", "found", "words"),
    [
        (ratio(), (row(),), True, ("gains 4.2 times as much per example as SFT (95 % 2.0 to 9.5)",
                                   "one negative was worth 7.6 positives (95 % 3.0 to 20.0)")),
        (ratio(), (CENSORED,), True, ("worth more than 3.0 positives", "95 % from 3.0, not bounded above")),
        (ratio(), (BELOW,), False, ("Likra's accuracy, 0.600, is below where SFT starts", "95 % -1.0 to -0.9")),
        (ratio(), (row(status="below the base", interval=(-1.0, -1.0)),), None, ("every resample is alike",)),
        (ratio(), (row(status="at least", at_least=0.0, interval=(-1.0, INF)),), None, ("cannot be told",)),
        (ratio(), (row(interval=(-0.5, 9.0)),), None, ("95 % -0.5 to 9.0",)),
        (ratio(), (row(interval=(-0.9, -0.1), worth=-0.5),), False, ("-0.5 positives",)),
        (ratio(bounded=False, ratio=NAN, reason="The second arm's gain, 0.01, is within noise of 0."), (row(),), True,
         ("no finite ratio of Likra's gain to SFT's can be given: SFT's gain, 0.01, is within noise of 0. At 128",)),
        (ratio(at_least=NAN), (row(),), True, ("SFT loses accuracy, so a ratio of gains says nothing",)),
        (ratio(), (row(status="below the base", interval=(-1.0, 2.0)),), None, ("lies within 95 % -1.0 to 2.0",)),
        (None, (row(volume=64), row(volume=256)), True, ("Without a critical phase", "At 256 negatives")),
        (None, (), None, ("was not measured",)),
    ],
)  # fmt: skip
def test_efficiency(
    in_phase: PhaseRatio | None, rows: tuple[Equivalence, ...], found: bool | None, words: tuple[str, ...]
) -> None:
    ratios = {} if in_phase is None else {"likra": in_phase}
    verdict = verdicts.efficiency_verdict(finding(phase_ratio=ratios, equivalence=rows))
    assert verdict.found is found
    assert all(word in verdict.sentence for word in (*words, "(100 questions, 2 seeds; the paper speaks of about 10)."))


def test_the_worth_is_read_where_the_phase_ends_not_where_it_is_best() -> None:
    rows = (row(volume=64, worth=50.0), row(volume=128, worth=5.0), row(volume=256, worth=80.0))
    found = verdicts.worth_row(finding(phase_ratio={"likra": ratio()}, equivalence=rows))
    assert found is not None and found.volume == 128


def effect(accuracy: Estimate, *, rate: float = 0.001, high: float = 1.0, arm: str = "likra") -> FactorEffect:
    return FactorEffect(
        field="near_miss_share", arm=arm, context={"learning_rate": rate}, low=0.0, high=high, volume=256,
        accuracy=accuracy, midpoint=missing("not comparable: no phase with 0"), gain=missing("x"),
        sentence=f"Effect at {rate} of {high}.",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("accuracy", "found"), [(estimate(0.1), True), (estimate(-0.1), False), (estimate(0.01), None)]
)
def test_near_misses_help_or_hurt_or_neither(accuracy: Estimate, found: bool | None) -> None:
    effects = dataclasses.replace(NOTHING, pairs=(effect(accuracy),))
    verdict = verdicts.near_miss_verdict(finding(), effects)
    assert verdict.found is found
    assert verdict.sentence == "Effect at 0.001 of 1.0. Its critical phases are not comparable: no phase with 0."


def test_near_misses_are_read_in_the_setting_the_report_opens_with() -> None:
    pairs = (
        effect(estimate(0.1), rate=0.0005),
        effect(estimate(-0.1), high=0.5),
        effect(estimate(0.2), high=1.0),
        effect(estimate(0.9), arm="base_likra"),
    )
    verdict = verdicts.near_miss_verdict(finding(), dataclasses.replace(NOTHING, pairs=pairs))
    assert verdict.found is True and verdict.sentence.startswith("Effect at 0.001 of 1.0.")
    told = "Such comparisons of Likra: 3; clear rises 2, clear falls 1."
    assert verdict.sentence.endswith(f"{told} Such comparisons of Base-Likra: 1; clear rises 1, clear falls 0.")


def test_near_misses_that_were_not_varied_are_not_judged() -> None:
    assert verdicts.near_miss_verdict(finding(), NOTHING).found is None
    why = dataclasses.replace(NOTHING, not_compared={"near_miss_share": "No two configurations differ in it alone."})
    assert verdicts.near_miss_verdict(finding(), why).sentence == (
        "Near-misses were not tested: no two configurations differ in it alone."
    )


def contrast(near_miss: float, separation: float) -> LikelihoodContrast:
    changes: Mapping[Any, Estimate] = {
        "correct": estimate(0.6), "near_miss": estimate(near_miss), "far": estimate(-1.0)
    }  # fmt: skip
    return LikelihoodContrast(volume=256, sft_change=changes, sft_auroc=estimate(0.7), likra_auroc=estimate(0.9),
                              separation=estimate(separation))  # fmt: skip


@pytest.mark.parametrize(
    ("near_miss", "separation", "found"),
    [(0.0, 0.2, None), (0.3, 0.2, True), (-0.3, 0.2, False), (0.0, -0.2, False), (0.0, 0.01, None)],
)
def test_likelihoods_as_published_or_not(near_miss: float, separation: float, found: bool | None) -> None:
    verdict = verdicts.likelihood_verdict(finding(likelihood_contrast=contrast(near_miss, separation)), ())
    assert verdict.found is found
    assert "correct options by +0.60 (95 % +0.55 to +0.65)" in verdict.sentence
    assert "SFT ranks 0.700 right and Likra 0.900" in verdict.sentence
    assert verdict.sentence.endswith(f"{RESTS_ON} No control was run.")


def test_likelihoods_without_near_misses_or_volumes_decide_nothing() -> None:
    seen = contrast(0.0, 0.2)
    seen = dataclasses.replace(seen, sft_change={**seen.sft_change, "near_miss": missing("Nothing was measured.")})
    assert "no question has a near-miss" in verdicts.likelihood_verdict(finding(likelihood_contrast=seen), ()).sentence
    none = verdicts.likelihood_verdict(finding(), ())
    assert none.found is None and "no volume was measured by both" in none.sentence


@pytest.mark.parametrize(
    ("trial", "control"),
    [
        ({}, None),
        ({"labels": "given", "contamination_share": 0.5}, None),
        ({"labels": "shuffled", "contamination_share": 0.0}, "shuffled labels"),
        ({"labels": "given", "contamination_share": 1.0}, "identical sets"),
        ({"labels": "shuffled", "contamination_share": 1.0}, "shuffled labels"),
    ],
)
def test_which_trials_are_controls(trial: dict[str, Any], control: str | None) -> None:
    assert controls.control_of(trial) == control


def test_controls_say_what_was_found_loud_or_quiet() -> None:
    none = {arm: NO_PHASE for arm in ("sft", "likra", "base_likra")}
    [jumping] = controls.control_verdicts("shuffled labels", finding())
    flat = {**finding().curves, "likra": points(0.25, 0.24, 0.26)}
    [still] = controls.control_verdicts("identical sets", finding(phase=none, curves=flat))
    assert (jumping.arm, jumping.passed, still.arm, still.passed) == ("likra", False, "likra", True)
    assert "may be found, one was found: between 43 and 96 examples" in jumping.sentence
    assert "none was found; accuracy 0.260 (95 % 0.230 to 0.290) at 256 examples" in still.sentence
    assert still.sentence.endswith("a rise of more than 0.40 is excluded, a smaller one is not.")
    [learnt] = controls.control_verdicts("shuffled labels", finding(phase=none))
    assert learnt.passed is False and learnt.sentence.endswith("ends above the 0.250 at 0: something was learnt.")
    for weight, passed in ((1.0, False), (0.5, True)):
        [same] = controls.control_verdicts("identical sets", finding(phase=none), weight=weight)
        assert same.passed is passed, "a half of what both have learnt is left"
    drifted = {**flat, "likra": points(0.25, 0.24, 0.36)}
    [drifting] = controls.control_verdicts("shuffled labels", finding(phase=none, curves=drifted))
    assert drifting.passed and drifting.sentence.endswith("at 0, as a training run may by itself.")
    seen = finding(likelihood_contrast=contrast(0.0, 0.2))
    loud = verdicts.likelihood_verdict(seen, [jumping, still])
    assert "Of 2 controls 1 failed: Control, shuffled labels: no critical phase of Likra" in loud.sentence
    quiet = verdicts.likelihood_verdict(seen, [still])
    assert quiet.sentence.endswith("The one control is quiet: no critical phase where none may be.")


def test_five_verdicts_in_order() -> None:
    found = verdicts.verdicts(finding(), NOTHING, ())
    subjects = ["critical phase", "SFT", "efficiency", "near-misses", "likelihoods"]
    assert [verdict.subject for verdict in found] == subjects
    assert all(verdict.sentence.endswith(".") and "nan" not in verdict.sentence for verdict in found)
