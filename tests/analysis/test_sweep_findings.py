"""All that a sweep says from its score tables: joined, compared, controls set apart, nothing silently dropped."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from made_curves import questions_of, simulated_seed
from score_tables import with_scores

from likra_ray.analysis import curves, equivalence, findings
from likra_ray.analysis.curves import SeedTables, learning_curve
from likra_ray.analysis.sweep_findings import (
    Configuration,
    LeftOut,
    SweepFindings,
    find,
    questions_left_out,
    sweep_findings,
)
from likra_ray.errors import InputError
from likra_ray.records import ScoreTable


def configuration(share: float, *, learnt: float = 3.0, questions: int = 60, **trial: Any) -> Configuration:
    return Configuration(
        name=f"near_miss_share={share:g} {trial}",
        settings={"near_miss_share": share, **trial},
        trial={"weight": 1.0, **trial},
        tables={seed: simulated_seed(seed, learnt=learnt, questions=questions) for seed in (0, 1)},
        trials=(f"trial-{share}-{trial}",),
        answer_tokens={role: {v: 2.0 * v for v in (16, 32, 64, 128, 256)} for role in ("positive", "negative")},
    )


CONFIGURATIONS = [
    configuration(0.0, learnt=1.5, contamination_share=0.0),
    configuration(1.0, learnt=4.0, contamination_share=0.0),
    configuration(1.0, learnt=0.0, contamination_share=1.0),
]


@pytest.fixture(scope="module")
def found() -> SweepFindings:
    return sweep_findings(CONFIGURATIONS, rng=np.random.default_rng(0), left_out=questions_left_out([("a", "twice")]))


def test_the_headline_is_no_control_where_another_is_there(found: SweepFindings) -> None:
    assert found.headline == 1
    only = sweep_findings(CONFIGURATIONS[2:], rng=np.random.default_rng(0))
    assert only.headline == 0


def test_effects_controls_and_verdicts_are_there(found: SweepFindings) -> None:
    effects = [(one.field, one.arm, one.low, one.high) for one in found.effects.pairs]
    assert effects == [
        ("near_miss_share", "likra", 0.0, 1.0),
        ("near_miss_share", "base_likra", 0.0, 1.0),
        ("contamination_share", "likra", 0.0, 1.0),
        ("contamination_share", "base_likra", 0.0, 1.0),
    ]
    assert [(one.control, one.arm, one.passed) for one in found.controls] == [
        ("identical sets", "likra", True),
    ]
    assert len(found.verdicts) == 5 and found.verdicts[0].found is True
    assert "The one control is quiet" in found.verdicts[4].sentence


def test_what_the_caller_left_out_is_kept(found: SweepFindings) -> None:
    assert found.left_out == (LeftOut(what="questions", count=1, reason="twice"),)
    assert questions_left_out([("a", "x"), ("b", "y"), ("c", "x")])[0] == LeftOut(what="questions", count=2, reason="x")


def test_a_finding_holds_every_part_and_says_what_public_functions_say(found: SweepFindings) -> None:
    finding, tables = found.findings[1], CONFIGURATIONS[1].tables
    assert set(finding.phase) == set(finding.margin_phase) == set(finding.agreement) == {"sft", "likra", "base_likra"}
    assert set(finding.phase_ratio) == {"likra", "base_likra"} and finding.phase_ratio["likra"].ratio is not None
    likra, sft = (curves.learning_curve(arm, "acc", tables) for arm in ("likra", "sft"))
    rows = equivalence.data_equivalence(likra, sft, rng=np.random.default_rng(0))
    assert [row.worth for row in rows] == pytest.approx([row.worth for row in finding.equivalence], nan_ok=True)
    assert {row.arm for row in finding.needed} == {"sft", "likra", "base_likra"}
    assert {row.currency for row in finding.equal_budgets} == {"answer tokens", "examples"}
    assert list(finding.likelihoods) == ["positive_head", "negative_head", "likra", "base_likra"]
    assert finding.likelihood_contrast is not None and not finding.unanswered


def test_findings_made_before_are_taken_as_they_are(found: SweepFindings) -> None:
    again = sweep_findings(CONFIGURATIONS, rng=np.random.default_rng(1), found=found.findings)
    assert again.findings == found.findings and again.verdicts == found.verdicts


def test_importances_pass_through() -> None:
    made = sweep_findings(
        CONFIGURATIONS[:1], rng=np.random.default_rng(0), importances=({"accuracy": {"negatives": 1.0}}, "fANOVA")
    )
    assert made.importances == {"accuracy": {"negatives": 1.0}} and made.importances_reason == "fANOVA"


def _with_nan(tables: SeedTables) -> SeedTables:
    scores = tables.negative[64].logprob.copy()
    scores[[0, 9]] = math.nan
    negative = {**tables.negative, 64: with_scores(tables.base, scores, head="negative")}
    return SeedTables(base=tables.base, positive=tables.positive, negative=negative)


def test_answers_without_a_score_are_counted_not_dropped() -> None:
    first = CONFIGURATIONS[0]
    torn = dataclasses.replace(first, tables={0: _with_nan(first.tables[0]), 1: first.tables[1]})
    made = sweep_findings([torn], rng=np.random.default_rng(0))
    assert made.findings[0].unanswered == {"likra": 2, "base_likra": 2}
    assert LeftOut(what="answers of likra", count=2, reason="a score was not a number") in made.left_out


def test_a_volume_one_seed_lacks_is_no_unanswered_question() -> None:
    tables = dict(CONFIGURATIONS[0].tables)
    tables[1] = SeedTables(base=tables[1].base, positive=tables[1].positive,
                           negative={v: t for v, t in tables[1].negative.items() if v < 256})  # fmt: skip
    finding = find(dataclasses.replace(CONFIGURATIONS[0], tables=tables), rng=np.random.default_rng(0))
    assert not finding.unanswered
    assert [(one.volume, one.seeds) for one in finding.curves["likra"]][-1] == (128, 2), "what all seeds have"
    assert [(one.volume, one.seeds) for one in finding.curves["sft"]][-1] == (256, 2)


def ended(key: str, *, seed: int, negatives: int, positives: int = 64, volumes: int = 3) -> Any:
    curves = {"likra": [min(negatives, positives)] * volumes, "sft": [positives]}
    return SimpleNamespace(
        key=key,
        status="done",
        sampled={"seed": seed, "negatives": negatives, "learning_rate": 0.001},
        spec={"seed": seed},
        curves={arm: [SimpleNamespace(volume=volume) for volume in found] for arm, found in curves.items()},
    )


REACHED: dict[str, tuple[list[Any], list[str]]] = {
    "seeds stand in order": ([ended("b", seed=1, negatives=64), ended("a", seed=0, negatives=64)], ["a", "b"]),
    "the longer of a seed's": ([ended("a", seed=0, negatives=64), ended("b", seed=0, negatives=32)], ["a"]),
    "the refined of a seed's": (
        [ended("a", seed=0, negatives=64), ended("b", seed=0, negatives=64, volumes=4)],
        ["b"],
    ),
    "a refined one does not leave others out": (
        [ended("a", seed=0, negatives=64, volumes=4), ended("b", seed=1, negatives=64)],
        ["a", "b"],
    ),
    "seeds that end before another": (
        [ended("a", seed=0, negatives=32), ended("b", seed=1, negatives=64), ended("c", seed=2, negatives=64)],
        ["b", "c"],
    ),
    "whose SFT ends before": (
        [ended("a", seed=0, negatives=64), ended("b", seed=1, negatives=64, positives=128)],
        ["b"],
    ),
}


@pytest.mark.parametrize("case", REACHED)
def test_seeds_that_do_not_reach_as_far_are_left_out(case: str) -> None:
    trials, kept = REACHED[case]
    [(settings, by_seed)] = findings.configurations(trials)
    assert settings == {"learning_rate": 0.001} and [one.key for one in by_seed.values()] == kept


def test_flat_runs_of_different_height_have_no_phase_where_some_end() -> None:
    """Five flat runs, the two best of which go on: the mean of what there is would rise from .54 to .6."""
    rng, heights = np.random.default_rng(0), (0.6, 0.6, 0.5, 0.5, 0.5)
    volumes = (16, 32, 64, 128, 256, 512)
    base = questions_of(300)

    def answered(height: float) -> ScoreTable:
        right = rng.random(300)[base.question] < height
        return with_scores(base, np.where(base.kind == 0, np.where(right, 0.0, -5.0), -2.0), head="positive")

    by_seed = {}
    for seed, height in enumerate(heights):
        tables = {volume: answered(height) for volume in volumes if seed < 2 or volume <= 64}
        by_seed[seed] = SeedTables(base=base, positive=tables, negative=dict.fromkeys(tables, base))
    whole = findings.find(by_seed, name="", settings={}, trials=(), weight=1.0, rng=rng)
    assert whole.curves["sft"][-1].volume == 64 and not whole.phase["sft"].found
    ragged = learning_curve("sft", "acc", by_seed).outcomes.mean(axis=2)
    assert np.nanmean(ragged[:, -1]) - np.nanmean(ragged[:, 3]) > 0.03, "as it was"


def test_baselines_are_arms_of_the_same_finding() -> None:
    tables = {
        seed: SeedTables(base=one.base, positive=one.positive, negative=one.negative, others={"dpo": one.positive})
        for seed, one in CONFIGURATIONS[0].tables.items()
    }
    finding = find(dataclasses.replace(CONFIGURATIONS[0], tables=tables), rng=np.random.default_rng(0))
    assert "dpo" in finding.curves and "dpo" in finding.phase and "dpo" in finding.likelihoods
    metrics = findings.metrics_by_volume(finding, tables[0], weight=1.0)
    assert metrics["dpo/accuracy"] == metrics["sft/accuracy"]
    assert metrics["logp/dpo/brier"] == metrics["logp/positive_head/brier"]


def test_wrong_input_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="configurations: got \\[\\]"):
        sweep_findings([], rng=rng)
    with pytest.raises(InputError, match="tables: got {}"):
        sweep_findings([dataclasses.replace(CONFIGURATIONS[0], tables={})], rng=rng)
    with pytest.raises(InputError, match="tables of the same questions"):
        sweep_findings([CONFIGURATIONS[0], configuration(0.5, questions=50)], rng=rng)
    base_only = {0: SeedTables(base=CONFIGURATIONS[0].tables[0].base)}
    with pytest.raises(InputError, match="two or more"):
        sweep_findings([dataclasses.replace(CONFIGURATIONS[0], tables=base_only)], rng=rng)
