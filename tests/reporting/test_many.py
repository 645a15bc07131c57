"""A report of many configurations: what would not be read is not drawn, and stands in the data."""

from __future__ import annotations

from dataclasses import replace

import invented
import numpy as np
import pytest

from likra_ray.analysis.findings import Finding, find
from likra_ray.reporting import panels


@pytest.fixture(scope="module")
def finding() -> Finding:
    tables = {0: invented.seed_tables(0, jump=2.0, questions=40)}
    return find(tables, name="x", settings={}, trials=("a",), weight=1.0, rng=np.random.default_rng(0))


def raised(finding: Finding, by: float) -> Finding:
    """The same with Likra's accuracies higher."""
    likra = tuple(replace(point, accuracy=point.accuracy + by) for point in finding.curves["likra"])
    return replace(finding, name=f"learning_rate={by:g}", curves={**finding.curves, "likra": likra})


@pytest.mark.parametrize("count", [2, panels.DRAWN, panels.DRAWN + 6])
def test_at_most_so_many_configurations_have_a_picture_and_all_have_data(finding: Finding, count: int) -> None:
    many = [raised(finding, 0.001 * number) for number in range(count)]
    panel = panels.configurations_panel(many)
    drawn = [title for title, _, _ in panel.drawing.keywords["cells"]]  # type: ignore[union-attr]
    highest = [one.name for one in many[-panels.DRAWN :]]
    assert sorted(drawn) == sorted(highest)
    assert ("Drawn:" in panel.caption.shows) == (count > panels.DRAWN)
    assert {row["configuration"] for row in panel.data} == {one.name for one in many}
    assert panel.height == panels.configurations_panel(many[-panels.DRAWN :]).height
