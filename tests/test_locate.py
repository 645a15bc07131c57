"""The command that locates a phase in anybody's answers, or in a finished sweep."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from finished import finished_trial
from typer.testing import CliRunner

from likra_ray import locate as command
from likra_ray.analysis import critical_phase
from likra_ray.ledger import load_sweep

VOLUMES = (0, 16, 32, 64, 128, 256, 512)


def answers(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A planted jump at 64 as a CSV file of two seeds, rows shuffled."""
    rng = np.random.default_rng(5)
    curve = np.where(np.array(VOLUMES) > 64, 0.7, 0.3)
    credit = (rng.random((2, len(VOLUMES), 60)) < curve[None, :, None]).astype(float)
    rows = [f"{seed},{volume},q{question:02d},{credit[seed, v, question]:g}"
            for seed in range(2) for v, volume in enumerate(VOLUMES) for question in range(60)]  # fmt: skip
    rng.shuffle(rows)
    path.write_text("seed,volume,question,correct\n" + "\n".join(rows))
    return np.array(VOLUMES), credit


def test_a_file_says_what_the_function_says(tmp_path: Path) -> None:
    volumes, credit = answers(tmp_path / "answers.csv")
    read_volumes, read = command.read_answers(tmp_path / "answers.csv")
    np.testing.assert_array_equal(read_volumes, volumes)
    np.testing.assert_array_equal(read, credit)
    expected = critical_phase.locate(volumes, credit, rng=np.random.default_rng(3))
    ended = CliRunner().invoke(command.app, [str(tmp_path / "answers.csv"), "--seed", "3", "--json"])
    said = json.loads(ended.stdout)["answers.csv"]["answers"]
    assert expected.found and said["found"] and said["midpoint"] == expected.midpoint and said["seeds"] == 2
    words = CliRunner().invoke(command.app, [str(tmp_path / "answers.csv"), "--seed", "3"]).stdout
    assert words.startswith("answers.csv: answers: jump between") and words.count("\n") == 1


def test_what_was_not_measured_stays_missing(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text("volume,question,correct\n8,a,1\n16,a,0.5\n8,b,\n16,b,0\n0,a,0\n")
    volumes, credit = command.read_answers(path)
    assert volumes.tolist() == [0, 8, 16]
    np.testing.assert_array_equal(credit, [[[0, np.nan], [1, np.nan], [0.5, 0]]])


WRONG = {
    "no column": (
        "volume,question\n8,a\n",
        ":1: columns: got ['volume', 'question']; allowed: each once, among them ['correct']",
    ),
    "a column twice": ("volume,question,correct,correct\n8,a,1,0\n", ":1: columns: got "),
    "long row": ("volume,question,correct\n16,30,1,0\n", ":2: values: got 4; allowed: 3, as there are columns"),
    "open quote": ('volume,question,correct\n8,"a,1\n', "unexpected end of data"),
    "large volume": ("volume,question,correct\n9223372036854775808,a,1\n", ":2: volume: got '9223372036854775808'"),
    "volume": ("volume,question,correct\n8,a,1\n-8,a,1\n", ":3: volume: got '-8'"),
    "credit": ("volume,question,correct\n8,a,2\n", ":2: correct: got '2'; allowed: a number from 0 to 1"),
    "words": ("volume,question,correct\n8,a,yes\n", ":2: correct: got 'yes'"),
    "nan": ("volume,question,correct\n8,a,nan\n", ":2: correct: got 'nan'"),
    "twice": ("volume,question,correct\n8,a,1\n8,a,0\n", ":3: question: got 'a'; allowed: each question once"),
    "nameless": ("volume,question,correct\n8,,1\n", ":2: question: got ''"),
    "short row": ("volume,question,correct\n8\n", ":2: question: got ''"),
    "empty": ("volume,question,correct\n", "rows: got 0"),
    "one volume": ("volume,question,correct\n8,a,1\n", "volumes: got [8]; allowed: two or more"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_exit_2_by_line_and_column(case: str, tmp_path: Path) -> None:
    text, said = WRONG[case]
    path = tmp_path / "answers.csv"
    path.write_text(text)
    ended = CliRunner().invoke(command.app, [str(path)])
    assert ended.exit_code == 2 and said in ended.stderr and ended.stderr.count("\n") == 1, ended.output


def test_no_file_and_no_sweep_are_one_line(tmp_path: Path) -> None:
    for what, said in ((str(tmp_path / "absent.csv"), "a readable CSV file"), ("absent", "sweep: got 'absent'")):
        ended = CliRunner().invoke(command.app, [what, "--output", str(tmp_path)])
        assert ended.exit_code == 2 and said in ended.stderr and ended.stderr.count("\n") == 1


def test_a_sweep_says_what_its_ledger_finds(tmp_path: Path) -> None:
    book = finished_trial(tmp_path / "out")
    ended = CliRunner().invoke(command.app, ["smoke", "--output", book.storage.root])
    expected = [
        f"{one.name}: {arm}: " for one in load_sweep("smoke", book.storage.root).findings() for arm in one.phase
    ]
    assert [line[: len(start)] for line, start in zip(ended.stdout.splitlines(), expected, strict=True)] == expected
    assert "none found" in ended.stdout
