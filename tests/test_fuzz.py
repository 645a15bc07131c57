"""Generated wrong search spaces and question files: exit 2 with one line, or a dry run that ends well; nothing written.

The same cases every time (derandomised): a hundred of each sort by default, more than a thousand with `-m long`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import fuzz
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from likra_ray import dry_run, sweep

WATCH = fuzz.Watch()
FEW, MANY = 100, 1100
"""Cases of each sort, by default and with -m long."""

STEADY: dict[str, Any] = {
    "derandomize": True,
    "database": None,
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a user stands: a search space, question files, a folder. No hub, and the machine's speed taken as given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(dry_run, "_rate", lambda: 1e11)
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(fuzz.VALID))
    (tmp_path / "train.jsonl").write_bytes(fuzz.lines(fuzz.rows()))
    (tmp_path / "evaluate.jsonl").write_bytes(fuzz.lines(fuzz.rows(6, "e")))
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/test.csv").write_bytes(fuzz.table())
    (tmp_path / "rows.jsonl").write_bytes(fuzz.lines(fuzz.mapped_rows()))
    CliRunner().invoke(
        sweep.app, ["space.yaml", "--dry-run"]
    )  # what torch makes of its own when first used is no finding
    for valid in (fuzz.MAPPED, fuzz.VALID):
        (tmp_path / "space.yaml").write_text(yaml.safe_dump(valid))
        assert tried(tmp_path) == 0, "a space they all start from"
    return tmp_path


def tried(place: Path, *arguments: str) -> int:
    """The exit code of a dry run, 0 or 2; anything else about it is an assertion."""
    before = sorted(place.rglob("*"))
    with WATCH.watching() as seen:
        ended = CliRunner().invoke(sweep.app, ["space.yaml", "--dry-run", "--output", "out", *arguments])
    assert ended.exit_code in (0, 2), ended.output[-3000:]
    if ended.exit_code == 2:
        assert ended.stderr.startswith("error: ") and ended.stderr.count("\n") == 1, ended.stderr
        assert len(ended.stderr) < 2000, ended.stderr
    else:
        assert ended.stderr == "" and "every value" in ended.stdout
    assert sorted(place.rglob("*")) == before and not seen, seen
    return ended.exit_code


def of_spaces(place: Path, count: int) -> Counter[int]:
    ends: Counter[int] = Counter()

    @settings(max_examples=count, **STEADY)
    @given(data=fuzz.spaces())
    def case(data: bytes) -> None:
        (place / "space.yaml").write_bytes(data)
        ends[tried(place)] += 1

    case()
    return ends


def of_sets(place: Path, count: int) -> Counter[int]:
    ends: Counter[int] = Counter()

    @settings(max_examples=count, **STEADY)
    @given(given_=st.lists(st.sampled_from(fuzz.SETS), min_size=1, max_size=3))
    def case(given_: list[str]) -> None:
        ends[tried(place, *[part for one in given_ for part in ("--set", one)])] += 1

    case()
    return ends


def of_questions(place: Path, count: int) -> Counter[int]:
    ends: Counter[int] = Counter()

    @settings(max_examples=count, **STEADY)
    @given(data=fuzz.question_files(), role=st.sampled_from(["train", "evaluate"]))
    def case(data: bytes, role: str) -> None:
        (place / "mine.jsonl").write_bytes(data)
        given_ = [f"questions.{role}=mine.jsonl", "trial.volumes=[0, 8]", "search={}", "start_from=[]"]
        ends[tried(place, *[part for one in given_ for part in ("--set", one)])] += 1

    (place / "mine.jsonl").touch()
    case()
    return ends


def of_rows(place: Path, count: int) -> Counter[int]:
    ends: Counter[int] = Counter()
    given_ = ["questions.evaluate=evaluate.jsonl", "trial.volumes=[0, 8]", "search={}", "start_from=[]"]
    sets = [part for one in given_ for part in ("--set", one)]
    (place / "space.yaml").write_text(yaml.safe_dump(fuzz.MAPPED))

    @settings(max_examples=count, **STEADY)
    @given(data=fuzz.question_files(fuzz.mapped_rows))
    def case(data: bytes) -> None:
        (place / "rows.jsonl").write_bytes(data)
        ends[tried(place, *sets)] += 1

    @settings(max_examples=count // 4, **STEADY)
    @given(data=fuzz.torn(fuzz.table().decode()))
    def csv_case(data: bytes) -> None:
        (place / "folder/test.csv").write_bytes(data)
        ends[tried(place)] += 1

    case()
    (place / "rows.jsonl").write_bytes(fuzz.lines(fuzz.mapped_rows()))
    csv_case()
    return ends


SORTS = {"search spaces": of_spaces, "--set": of_sets, "question files": of_questions, "mapped rows": of_rows}


@pytest.mark.parametrize("sort", SORTS)
def test_a_hundred_of_each_sort(place: Path, sort: str) -> None:
    ends = SORTS[sort](place, FEW)
    assert ends.total() >= FEW and ends[2] > ends[0] > 0, ends


@pytest.mark.long
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("sort", SORTS)
def test_a_thousand_of_each_sort(place: Path, sort: str) -> None:
    ends = SORTS[sort](place, MANY)
    print(sort, dict(ends))
    assert ends.total() >= 1000 and ends[2] > ends[0] > 0, ends
