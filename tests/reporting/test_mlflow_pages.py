"""What a person sees in MLflow's own pages: a real server, a real headless Chromium; only the trials are invented.

docs/how_to/compare_in_mlflow.md leads to these pages; its addresses are those that are opened here.
"""

from __future__ import annotations

import dataclasses
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import invented
import pytest
from browser import needs_chromium, page
from servers import Server

from likra_ray.reporting.tracking import Mirror

pytestmark = [needs_chromium, pytest.mark.slow, pytest.mark.timeout(900)]

CURVES = {
    "near_miss_share=0 seed=0": {0: 0.25, 64: 0.3, 256: 0.75},
    "near_miss_share=1 seed=0": {0: 0.25, 64: 0.7, 256: 0.8},
}
"""Accuracy by number of negatives, of two trials."""


class Shown:
    """A sweep of two trials in MLflow and where its pages are."""

    def __init__(self, server: Server) -> None:
        uri = f"http://{server.address}"
        self.mirror = Mirror(uri, "pages")
        given: dict[str, Any] = {"params": {}, "tags": {}}
        parent = self.mirror.start_sweep(
            sweep="/runs/pages", run_name="pages", spec_yaml="", description="It began.", **given
        )
        self.parent, self.children = parent, []
        for number, (name, curve) in enumerate(CURVES.items()):
            key = f"{number:012x}"
            child = self.mirror.start_trial(parent=parent, key=key, name=name, **given)
            result = dataclasses.replace(invented.trial(), key=key, name=name, metrics={"likra/accuracy": curve})
            self.mirror.finish_trial(child, result, lambda: {})
            self.children.append(child)
        report = b"<html><body><h1>Accuracy jumps at 100 negatives</h1></body></html>"
        self.mirror.describe("Last finished sweep: **pages**. Likra's accuracy jumps.")
        self.mirror.finish_sweep(parent, status="FINISHED", metrics={}, tags={}, artifacts={"report.html": report})
        self.experiment = f"{uri}/#/experiments/{self.mirror._experiment}"
        self.curves = (
            f"{uri}/#/metric?runs={quote(json.dumps(self.children))}&metric={quote(json.dumps('likra/accuracy'))}"
            f"&experiments={quote(json.dumps([self.mirror._experiment]))}"
            f"&plot_metric_keys={quote(json.dumps(['likra/accuracy']))}&plot_layout={quote('{}')}&x_axis=step"
        )


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    server = Server(tmp_path_factory.mktemp("pages"))
    try:
        server.start()
        yield Shown(server)
    finally:
        server.stop(signal.SIGKILL)


def test_two_trials_learning_curves_lie_over_one_another_by_number_of_negatives(shown: Shown) -> None:
    """Both are in the legend; of both a line is drawn, whose corners stand at its volumes on one axis of steps."""
    with page() as chromium:
        chromium.goto(shown.curves)
        for name in CURVES:
            chromium.get_by_text(f"{name} (likra/accuracy)").first.wait_for()
        chromium.locator(".xtitle", has_text="Step").first.wait_for()
        chromium.locator(".scatterlayer path.js-line").first.wait_for(state="attached")
        drawn = chromium.evaluate(
            "() => document.querySelector('.js-plotly-plot').data.map(one => [one.name, one.x, one.y])"
        )
        lines = [line.get_attribute("d") for line in chromium.locator(".scatterlayer path.js-line").all()]
    # MLflow draws each line twice, the smoothed one over the other.
    assert {name: dict(zip(steps, values, strict=True)) for name, steps, values in drawn} == CURVES
    corners = [[float(corner.partition(",")[0]) for corner in line[1:].split("L")] for line in sorted(set(lines))]
    assert len(corners) == 2
    for across in corners:
        assert across == pytest.approx([across[-1] * volume / 256 for volume in (0, 64, 256)], abs=0.1)


def test_the_report_is_shown_inside_the_run(shown: Shown) -> None:
    """Rendered in the artifact viewer, not offered as a download."""
    with page() as chromium:
        chromium.goto(f"{shown.experiment}/runs/{shown.parent}/artifacts/report.html")
        heading = chromium.frame_locator("iframe").get_by_role("heading", name="Accuracy jumps at 100 negatives")
        heading.wait_for()
        assert heading.is_visible()


def test_the_experiment_opens_with_the_verdict_and_the_sweep_holds_its_trials(shown: Shown) -> None:
    with page() as chromium:
        chromium.goto(f"{shown.experiment}/runs")
        chromium.get_by_text("Last finished sweep:").first.wait_for()
        chromium.get_by_role("link", name="pages").first.wait_for()
        chromium.goto(f"{shown.experiment}/runs/{shown.parent}")
        for name in CURVES:
            chromium.get_by_role("link", name=name).first.wait_for()


def test_the_page_names_the_addresses_that_were_opened() -> None:
    told = (Path(__file__).parents[2] / "docs/how_to/compare_in_mlflow.md").read_text()
    for part in ("/#/metric?runs=", "&plot_metric_keys=", "&x_axis=step", "`likra/accuracy`", "`report.html`"):
        assert part in told, part
