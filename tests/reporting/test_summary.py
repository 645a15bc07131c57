"""What the terminal shows holds the figures it must, at 100 columns, without colour."""

from __future__ import annotations

import dataclasses
import io

import invented
import pytest
from rich.console import Console, RenderableType

from likra_ray.analysis.findings import Finding
from likra_ray.records import CriticalPhase, TrialResult
from likra_ray.reporting.summary import finding_tables, phase_in_words, share, sweep_summary

COLUMNS = 100


def shown(*parts: RenderableType) -> str:
    sink = io.StringIO()
    console = Console(file=sink, width=COLUMNS, no_color=True)
    for part in parts:
        console.print(part)
    text = sink.getvalue()
    assert all(len(line) <= COLUMNS for line in text.splitlines())
    assert "…" not in text, "something is cut off"
    return text


@pytest.fixture(scope="module")
def finding() -> Finding:
    return invented.finding()


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.5634, 3, ".563"),
        (-0.05, 2, "-.05"),
        (1.0, 3, "1.00"),
        (0.9996, 3, "1.00"),
        (0.0, 3, ".000"),
        (float("nan"), 3, "-"),
    ],
)
def test_share(value: float, digits: int, text: str) -> None:
    assert share(value, digits) == text


def test_phase_in_words() -> None:
    phase = CriticalPhase(
        found=True, reason="", onset=41.2, end=95.8, midpoint=63.0, gain=0.27, midpoint_interval=(48.1, 84.6),
        gain_interval=(0.19, 0.35),
    )  # fmt: skip
    assert phase_in_words(phase) == "jump between 41 and 96, midpoint 63 [48, 85], gain .27 [.19, .35]"
    assert phase_in_words(CriticalPhase(found=False, reason="Too flat [x].")) == "none found: Too flat [x]."


def test_finding_shows_every_point_and_verdict(finding: Finding) -> None:
    text = shown(*finding_tables(finding))
    for curve in finding.curves.values():
        for point in curve:
            assert share(point.accuracy) in text
            assert str(point.volume) in text
    phase = finding.phase["likra"]
    assert f"likra: jump between {phase.onset:.0f} and {phase.end:.0f}, midpoint {phase.midpoint:.0f} [" in text
    assert "sft: none found: " in text
    assert "120 questions, 2 seeds (0, 1); intervals are 95 %" in text
    assert "so no ratio is bounded" in text
    assert "32 to 64" in text


def test_a_bounded_ratio_stands_beside_both_gains() -> None:
    finding = invented.finding(questions=600, learns=4.0)
    ratio = next(ratio for ratio in finding.ratio if ratio.bounded)
    text = shown(*finding_tables(finding))
    assert f"{ratio.ratio:.3g} [{ratio.interval[0]:.3g}, {ratio.interval[1]:.3g}]" in text
    assert "so no ratio is bounded" not in text


def test_many_volumes_go_on_in_another_table(finding: Finding) -> None:
    points = tuple(dataclasses.replace(finding.curves["sft"][1], volume=1000 + 16 * i) for i in range(30))
    text = shown(*finding_tables(dataclasses.replace(finding, curves={**finding.curves, "sft": points})))
    assert all(str(point.volume) in text for point in points)


@pytest.fixture(scope="module")
def flat() -> Finding:
    return invented.finding(name="near_miss_share=0", jump=0.0)


@pytest.fixture(scope="module")
def results() -> list[TrialResult]:
    done = invented.trial()
    other = dataclasses.replace(done, key="feedfeedfeedfeed", trained={"positive": 512, "negative": 512})
    return [done, other, invented.failed()]


def summary(findings: list[Finding], results: list[TrialResult], objective: dict[str, str]) -> str:
    locations = {"files": "/somewhere/runs/quickstart", "MLflow": "mlflow ui --backend-store-uri sqlite:///m.db"}
    headline = len(findings) - 1
    return shown(
        sweep_summary(findings=findings, results=results, headline=headline, objective=objective, locations=locations)
    )


def test_summary(finding: Finding, flat: Finding, results: list[TrialResult]) -> None:
    text = summary([flat, finding], results, {"accuracy": "max"})
    assert text.startswith("Headline: learning_rate=0.0005 near_miss_share=1")
    assert "* learning_rate=0.0005" in text
    assert "near_miss_share=0 " in text
    assert "ValueError: the loss is [nan]" in text
    assert "badbadbadbadbad0" in text
    assert "Best by accuracy (max)" in text
    assert "so their accuracy is optimistic" in text
    assert "2 of 3 trials ended well. When they ran they trained 3 heads (1536 examples)" in text
    assert "found 1 in the store" in " ".join(text.split())
    assert "120 s in trials" in text
    assert "files: /somewhere/runs/quickstart" in text
    assert "MLflow: mlflow ui --backend-store-uri sqlite:///m.db" in text


def test_summary_of_several_objectives(finding: Finding, flat: Finding, results: list[TrialResult]) -> None:
    text = summary([flat, finding], results, {"accuracy": "max", "negatives": "min"})
    assert "Pareto front of accuracy (max), negatives (min)" in text


def test_summary_where_all_failed() -> None:
    text = summary([], [invented.failed()], {"accuracy": "max"})
    assert "No trial ended well" in text
    assert "ValueError: the loss is [nan]" in text
    assert "Best by" not in text
