"""An invented sweep: findings of several configurations, with every part of a report there, missing, or open-ended."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, get_args

import invented

from likra_ray.analysis.budgets import EqualBudget
from likra_ray.analysis.controls import ControlVerdict
from likra_ray.analysis.efficiency import PhaseRatio
from likra_ray.analysis.equivalence import Equivalence, Needed
from likra_ray.analysis.estimates import Estimate, missing
from likra_ray.analysis.findings import Finding
from likra_ray.analysis.likelihoods import LikelihoodEstimates
from likra_ray.analysis.near_miss import Effects, FactorEffect, FactorSlope
from likra_ray.analysis.sweep_findings import LeftOut, SweepFindings
from likra_ray.analysis.verdicts import Subject, Verdict
from likra_ray.records import CriticalPhase, CurvePoint, Kind, TrialResult
from likra_ray.reporting.page import Setting, SweepFacts

SCRIPT = "<script>alert('$x')</script>"
"""What no page may run, as the name of something."""
NAN = math.nan


def estimate(value: float, half: float = 0.05, *, questions: int = 120, seeds: int = 2) -> Estimate:
    """One with a symmetric interval."""
    return Estimate(value=value, interval=(value - half, value + half), questions=questions, seeds=seeds)


def curve(start: float, end: float, volumes: tuple[int, ...] = (0, *invented.VOLUMES)) -> tuple[CurvePoint, ...]:
    """A straight line in the index of the volume."""
    step = (end - start) / max(len(volumes) - 1, 1)
    return tuple(
        CurvePoint(volume=volume, accuracy=start + index * step,
                   interval=(start + index * step - 0.06, start + index * step + 0.06), questions=120, seeds=2)
        for index, volume in enumerate(volumes)
    )  # fmt: skip


def likelihoods(view: str, push: dict[Kind, float]) -> tuple[LikelihoodEstimates, ...]:
    """Each kind moves by `push` nats over the volumes."""
    found = []
    for index, volume in enumerate((0, *invented.VOLUMES)):
        far = index / len(invented.VOLUMES)
        starts: dict[Kind, float] = {"correct": -7.0, "near_miss": -8.0, "far": -12.0}
        means: dict[Kind, Estimate] = {kind: estimate(starts[kind] + push[kind] * far, 0.4) for kind in starts}
        found.append(
            LikelihoodEstimates(
                view=view,
                volume=volume,
                per_option=means,
                per_token={kind: estimate(one.value / 3, 0.1) for kind, one in means.items()},
                near_miss_auroc=estimate(0.6 + 0.05 * push["correct"] * far),
                far_auroc=estimate(0.9),
                near_miss_on_top=estimate(0.35 - 0.03 * far),
                calibration_error=dataclasses.replace(estimate(0.1 + 0.05 * far), interval=(NAN, NAN), reason="biased"),
                brier=estimate(0.6 - 0.1 * far),
            )
        )
    return tuple(found)


def complete(finding: Finding) -> Finding:
    """The finding with what later parts of the analysis add to it, invented."""
    none = CriticalPhase(found=False, reason="The margin rises smoothly.", questions=120, seeds=2)
    jump = CriticalPhase(
        found=True, reason="", onset=40.0, end=100.0, midpoint=64.0, gain=1.8, midpoint_interval=(50.0, 80.0),
        gain_interval=(1.2, 2.4), questions=120, seeds=2,
    )  # fmt: skip
    others = {
        "mixture": curve(0.5, 0.52), "unlikelihood": curve(0.5, 0.7), "npo": curve(0.5, 0.6), "dpo": curve(0.5, 0.68),
        "kto": curve(0.5, 0.63), "orpo": curve(0.5, 0.66), "pmi_base": curve(0.44, 0.44, (0,)),
        "pmi_sft": curve(0.44, 0.5),
    }  # fmt: skip
    return dataclasses.replace(
        finding,
        curves={**finding.curves, **others},
        margin_phase={"sft": none, "likra": jump, "base_likra": jump},
        agreement={"likra": "Accuracy and margin jump at the same place.", "sft": "Neither jumps."},
        phase_ratio={
            "likra": PhaseRatio(arm="likra", start=32, end=128, ratio=finding.ratio[2], questions=120, seeds=2,
                                reason="r"),
            "base_likra": PhaseRatio(arm="base_likra", start=None, end=None, ratio=None, questions=120, seeds=2,
                                     reason="No critical phase."),
        },
        needed=needed(),
        equivalence=equivalence(),
        equal_budgets=budgets(),
        likelihoods={
            "positive_head": likelihoods("positive_head", {"correct": 2.0, "near_miss": 1.0, "far": -0.5}),
            "negative_head": likelihoods("negative_head", {"correct": 0.5, "near_miss": 3.0, "far": 1.0}),
            "likra": likelihoods("likra", {"correct": 3.0, "near_miss": -2.0, "far": -1.0}),
            "base_likra": likelihoods("base_likra", {"correct": 1.0, "near_miss": -1.0, "far": -1.0}),
        },
    )  # fmt: skip


def needed() -> tuple[Needed, ...]:
    """Reached, open above, not reached."""
    shared = {"questions": 120, "seeds": 2}
    targets = ((0.52, "the base's accuracy"), (0.58, "SFT's best"), (0.63, "SFT's best + .05"))
    found = []
    for target, meaning in targets:
        found.append(Needed(arm="likra", target=target, meaning=meaning, volume=70.0 * target / 0.52,
                            interval=(50.0, 110.0), at_least=None, reached_share=1.0, reason="", **shared))  # fmt: skip
        if meaning.endswith("05"):
            found.append(Needed(arm="sft", target=target, meaning=meaning, volume=None, interval=(NAN, NAN),
                                at_least=512.0, reached_share=0.31, reason="not reached by 512", **shared))  # fmt: skip
        else:
            found.append(Needed(arm="sft", target=target, meaning=meaning, volume=300.0, interval=(90.0, math.inf),
                                at_least=None, reached_share=0.8, reason="", **shared))  # fmt: skip
    return tuple(found)


def equivalence() -> tuple[Equivalence, ...]:
    """Below the base, measured, open above, at least."""
    shared: dict[str, Any] = {"questions": 120, "seeds": 2}
    return (
        Equivalence(volume=16, accuracy=0.3, status="below the base", positives=NAN, worth=NAN, interval=(NAN, NAN),
                    at_least=NAN, reached_share=1.0, reason="Likra is below the base.", **shared),
        Equivalence(volume=64, accuracy=0.55, status="measured", positives=250.0, worth=2.9, interval=(1.1, math.inf),
                    at_least=NAN, reached_share=0.9, reason="", **shared),
        Equivalence(volume=256, accuracy=0.7, status="at least", positives=NAN, worth=NAN, interval=(0.8, math.inf),
                    at_least=1.0, reached_share=0.01, reason="SFT never gets there within 512.", **shared),
    )  # fmt: skip


def budgets() -> tuple[EqualBudget, ...]:
    """Measured in both currencies, and beyond SFT's run."""
    return (
        EqualBudget(currency="examples", volume=64, amount=128, sft_volume=128, likra=0.55, sft=0.53,
                    difference=estimate(0.02)),
        EqualBudget(currency="answer tokens", volume=64, amount=410, sft_volume=131.4, likra=0.55, sft=0.53,
                    difference=estimate(0.02)),
        EqualBudget(currency="examples", volume=512, amount=1024, sft_volume=NAN, likra=0.75, sft=NAN,
                    difference=missing("SFT's run ends at 512.", questions=120, seeds=2)),
    )  # fmt: skip


def effects() -> Effects:
    """Near-misses, their source, the rate, and a control."""
    pairs = []
    for arm in ("likra", "base_likra"):
        for context in ({"learning_rate": 0.0005}, {"learning_rate": 0.001}):
            for high, effect in ((0.5, 0.02), (1.0, -0.06)):
                pairs.append(
                    FactorEffect(field="near_miss_share", arm=arm, context=context, low=0.0, high=high, volume=512,
                                 accuracy=estimate(effect), midpoint=estimate(0.4, 0.5),
                                 gain=missing("not comparable: no phase with near_miss_share 0"), sentence="s")
                )  # fmt: skip
    pairs.append(
        FactorEffect(field="learning_rate", arm="likra", context={"near_miss_share": 1.0}, low=0.0005, high=0.001,
                     volume=512, accuracy=estimate(0.01), midpoint=missing("no phase"), gain=missing("no phase"),
                     sentence="s")
    )  # fmt: skip
    slopes = tuple(
        FactorSlope(field="near_miss_share", arm=arm, context={"learning_rate": 0.0005}, levels=(0.0, 0.5, 1.0),
                    accuracies=(0.6, 0.62, 0.58), volume=512, slope=estimate(-0.02))
        for arm in ("likra", "base_likra")
    )  # fmt: skip
    return Effects(pairs=tuple(pairs), slopes=slopes,
                   not_compared={"negative_source.far_from": "every configuration has one of its own"})  # fmt: skip


@functools.cache
def finding(jump: float) -> Finding:
    """A complete one, made once."""
    return complete(invented.finding(jump=jump))


def sweep_findings() -> SweepFindings:
    """Three configurations, the second the headline; the third has no phase."""
    findings = []
    for number, (share, jump) in enumerate(((0.0, 3.0), (0.5, 3.0), (1.0, 0.0))):
        name = f"learning_rate=0.0005 near_miss_share={share:g}" + (f" {SCRIPT}" if number == 2 else "")
        settings = {"learning_rate": 0.0005, "near_miss_share": share}
        findings.append(dataclasses.replace(finding(jump), name=name, settings=settings))
    subjects = get_args(Subject)
    states = (True, True, False, None, True)
    said = "Likra jumps between 41 and 96 examples (midpoint 63 [48, 85]), gain .27 [.19, .35]; 120 questions, 2 seeds."
    return SweepFindings(
        findings=tuple(findings),
        headline=1,
        effects=effects(),
        importances={
            "accuracy": {"near_miss_share": 0.61, "log2_negatives": 0.3, "learning_rate": 0.09},
            "negatives": {"log2_negatives": 1.0, "near_miss_share": 0.0, "learning_rate": 0.0},
        },
        importances_reason="fANOVA over 14 points.",
        controls=(
            ControlVerdict(control="shuffled labels", configuration="labels=shuffled", arm="likra", passed=True,
                           sentence="None was expected and none was found; 120 questions, 2 seeds."),
            ControlVerdict(control="identical sets", configuration="contamination_share=1", arm="likra", passed=False,
                           sentence="None was expected; a jump was found at 63; 120 questions, 2 seeds."),
        ),
        left_out=(LeftOut(what="trials", count=1, reason="failed: ValueError: the loss is [nan]"),
                  LeftOut(what="volumes", count=2, reason="measured by one seed of two")),
        verdicts=tuple(Verdict(subject=subject, found=state, sentence=f"{subject}: {said} {SCRIPT}")
                       for subject, state in zip(subjects, states, strict=True)),
    )  # fmt: skip


@functools.cache
def trial(seed: int) -> TrialResult:
    """One that ended well, made once."""
    return invented.trial(seed=seed)


def facts(**changed: Any) -> SweepFacts:
    """What the ledger would say."""
    results: list[TrialResult] = []
    for number, (share, rate) in enumerate(((0.0, 5e-4), (0.5, 5e-4), (1.0, 5e-4), (0.5, 1e-3))):
        one = dataclasses.replace(trial(number % 2), key=f"{number:016x}")
        sampled = {"negatives": 512 if number else 128, "near_miss_share": share, "learning_rate": rate, "seed": number,
                   "negative_source.near_miss_from": ("own", "most_plausible")[number % 2]}  # fmt: skip
        name = " ".join(f"{field}={value}" for field, value in sampled.items())
        results.append(dataclasses.replace(one, sampled=sampled, name=name))
    given: dict[str, Any] = {
        "name": "invented",
        "status": "done",
        "began": "2026-11-23T17:22:00+00:00",
        "ended": "2026-11-23T17:34:21+00:00",
        "base": "smollm2-135m",
        "train": 2876,
        "evaluate": 120,
        "shots": 5,
        "objective": {"accuracy": "max", "negatives": "min"},
        "results": (*results, invented.failed(reason=f"ValueError: {SCRIPT}")),
        "settings": (
            Setting("base", "smollm2-135m", "default"),
            Setting("trial.volumes", [0, *invented.VOLUMES], "given"),
            Setting("trial.learning_rate", 0.0005, "searched"),
        ),
        "provenance": {"python": "3.11.7", "git": "366c06131d2241c25d78d3991ad5f78f7b26ea43"},
        "left_out": ((f"atlas/{SCRIPT}", "asked twice"),),
        "refinement": ("likra at 48 96 (2 trials, 640 examples, 61 s): midpoint's interval 0.68 to 0.31 doublings",),
    }
    return SweepFacts(**{**given, **changed})
