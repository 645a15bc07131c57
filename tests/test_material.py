"""How a source is named where others read it."""

from __future__ import annotations

import pytest

from likra_ray import material
from likra_ray.question_spec import SourceSpec

NAMED = [
    ("atlas", "atlas"),
    ("allenai/sciq", "allenai/sciq"),
    ("/home/me/private/mine.jsonl", "mine.jsonl"),
    ("/home/me/private/data", "data"),
    ("~/private/data", "data"),
    ("../private/data/", "data"),
    ("some/where/deep", "deep"),
]


@pytest.mark.parametrize(("source", "named"), NAMED)
def test_no_folder_of_the_machine_is_told_wherever_it_is_asked(source: str, named: str) -> None:
    assert material.name(SourceSpec(source=source)) == named
