"""Sources: published sets in their own layout, from folders and from a hub that is not there."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from likra_ray.errors import InputError
from likra_ray.questions.sources import default_defects, default_split, keep, load, splits, without_overlap
from likra_ray.records import Option, Question

REAL_ARC = Path(os.environ.get("LIKRA_ARC") or Path(__file__).parents[3] / "shared" / "data" / "ai2_arc")
"""The paper's own data, where it lies beside the repository."""


def arc_row(number: int, **changes: Any) -> dict[str, Any]:
    """A row in ARC's layout, of our own making."""
    choices = {"text": [f"right {number}", "wrong", "worse"], "label": ["A", "B", "C"]}
    row = {"id": f"Made_{number}", "question": f"Which is {number}?", "choices": choices, "answerKey": "A"}
    return row | changes


def hellaswag_row(number: int, **changes: Any) -> dict[str, Any]:
    """A row in HellaSwag's layout."""
    row: dict[str, Any] = {"ind": 4, "activity_label": "Rowing", "ctx_a": f"Boat {number} leaves.", "ctx_b": "the crew"}
    row |= {"ctx": "unused", "endings": ["rows.", "flies.", "melts.", "barks."], "source_id": "made", "split": "val"}
    return row | {"split_type": "indomain", "label": "0"} | changes


def winogrande_row(number: int, **changes: Any) -> dict[str, Any]:
    """A row in Winogrande's layout."""
    row = {"sentence": f"Cup {number} hit the table and _ broke.", "option1": "it", "option2": "the table"}
    return row | {"answer": "1"} | changes


def openbookqa_row(number: int, **changes: Any) -> dict[str, Any]:
    """A row in OpenBookQA's layout."""
    choices = {"text": ["melts", "burns", "sings", "rusts"], "label": ["A", "B", "C", "D"]}
    return {"id": f"7-{number}", "question_stem": f"Ice {number}", "choices": choices, "answerKey": "A"} | changes


def mmlu_row(number: int, **changes: Any) -> dict[str, Any]:
    """A row in MMLU's layout."""
    choices = ["2", "3", "5", "8"]
    return {"question": f"Sum {number}?", "subject": "sums", "choices": choices, "answer": 0} | changes


def as_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as one JSONL file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def as_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as one parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


LAYOUTS: list[tuple[str, str, Callable[..., dict[str, Any]], list[str], str, str]] = [
    ("arc-easy", "test", arc_row, ["ARC-Easy/test"], "ARC-Easy/Made_0", "Question: Which is 0?\nAnswer:"),
    ("arc-easy", "test", arc_row, ["test"], "ARC-Easy/Made_0", "Question: Which is 0?\nAnswer:"),
    ("arc-challenge", "validation", arc_row, ["ARC-Challenge/validation"], "ARC-Challenge/Made_0", "Question: Which"),
    ("hellaswag", "validation", hellaswag_row, ["validation"], "hellaswag/validation/0", "Rowing: Boat 0 leaves. The"),
    ("hellaswag", "train", hellaswag_row, ["data/train"], "hellaswag/train/0", "Rowing: Boat 0 leaves. The crew"),
    ("winogrande", "validation", winogrande_row, ["winogrande_xl/dev"], "winogrande_xl/validation/0", "Cup 0 hit"),
    ("openbookqa", "test", openbookqa_row, ["main/test"], "openbookqa/7-0", "Question: Ice 0\nAnswer:"),
    ("openbookqa", "train", openbookqa_row, ["data/main/train"], "openbookqa/7-0", "Question: Ice 0\nAnswer:"),
    ("mmlu", "test", mmlu_row, ["all/test"], "mmlu/test/0", "Question: Sum 0?\nAnswer:"),
    ("mmlu", "auxiliary_train", mmlu_row, ["all/auxiliary_train"], "mmlu/auxiliary_train/0", "Question: Sum 0?"),
]


@pytest.mark.parametrize("ending", [".jsonl", "-00000-of-00001.jsonl", ".parquet", "-00000-of-00001.parquet"])
@pytest.mark.parametrize(("source", "split", "make", "files", "identity", "prompt"), LAYOUTS)
def test_a_folder_in_the_layout_of_the_hub(
    tmp_path: Path,
    ending: str,
    source: str,
    split: str,
    make: Callable[..., dict[str, Any]],
    files: list[str],
    identity: str,
    prompt: str,
) -> None:
    for name in files:
        write = as_parquet if ending.endswith("parquet") else as_jsonl
        write(tmp_path / f"{name}{ending}", [make(0), make(1)])
    loaded = load(source, split=split, folder=str(tmp_path))
    assert loaded.left_out == ()
    assert len(loaded.questions) == 2
    assert loaded.questions[0].id == identity
    assert loaded.questions[0].prompt.startswith(prompt)
    assert [option.kind for option in loaded.questions[0].options].count("correct") == 1
    assert {option.kind for option in loaded.questions[0].options} == {"correct", "near_miss"}


def test_arc_is_easy_then_challenge_and_shards_follow_one_another(tmp_path: Path) -> None:
    as_jsonl(tmp_path / "ARC-Easy/test.jsonl", [arc_row(0)])
    as_parquet(tmp_path / "ARC-Challenge/test-00001-of-00002.parquet", [arc_row(3)])
    as_parquet(tmp_path / "ARC-Challenge/test-00000-of-00002.parquet", [arc_row(1), arc_row(2)])
    loaded = load("arc", split="test", folder=str(tmp_path))
    assert [q.id for q in loaded.questions] == ["ARC-Easy/Made_0", *(f"ARC-Challenge/Made_{n}" for n in (1, 2, 3))]


def test_rows_without_an_id_are_numbered_through_the_shards(tmp_path: Path) -> None:
    as_parquet(tmp_path / "all/test-00000-of-00002.parquet", [mmlu_row(0), mmlu_row(1)])
    as_parquet(tmp_path / "all/test-00001-of-00002.parquet", [mmlu_row(2)])
    assert [q.id for q in load("mmlu", split="test", folder=str(tmp_path)).questions] == [
        "mmlu/test/0",
        "mmlu/test/1",
        "mmlu/test/2",
    ]


BAD_ROWS = [
    (arc_row(1, answerKey="E"), "answerKey", "A, B, C"),
    (arc_row(1, question=None), "question", "a string"),
    (arc_row(1, choices={"text": ["a", "a"], "label": ["A", "B"]}), "ARC-Easy/Made_1 options[1].text", "once"),
    (arc_row(1, id="Made_0"), "id", "used once"),
    (arc_row(0, id="Made_1"), "ARC-Easy/Made_1 prompt", "same prompt and options as ARC-Easy/Made_0"),
]


@pytest.mark.parametrize(("bad", "field", "allowed"), BAD_ROWS)
def test_a_defective_row_is_refused_or_left_out_by_name(
    tmp_path: Path, bad: dict[str, Any], field: str, allowed: str
) -> None:
    path = tmp_path / "ARC-Easy/train.jsonl"
    as_jsonl(path, [arc_row(0), bad, arc_row(2)])
    with pytest.raises(InputError) as raised:
        load("arc-easy", split="train", folder=str(tmp_path), defects="refuse")
    assert str(raised.value).startswith(f"{path}:2: {field}: got ")
    assert allowed in str(raised.value)
    loaded = load("arc-easy", split="train", folder=str(tmp_path), defects="leave_out")
    assert [question.id for question in loaded.questions] == ["ARC-Easy/Made_0", "ARC-Easy/Made_2"]
    assert [reason for _, reason in loaded.left_out] == [str(raised.value)]


def test_a_split_whose_labels_are_hidden_is_an_error_even_when_leaving_out(tmp_path: Path) -> None:
    as_jsonl(tmp_path / "validation.jsonl", [hellaswag_row(0, label=""), hellaswag_row(1, label="")])
    with pytest.raises(InputError, match="at least one question that can be used: .*validation.jsonl:1: label"):
        load("hellaswag", split="validation", folder=str(tmp_path), defects="leave_out")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"source": "arcs", "split": "train"}, "source: got 'arcs'; allowed: atlas, arc, arc-easy"),
        ({"source": "mine.json", "split": "all"}, "or the path of a .jsonl file"),
        ({"source": "atlas", "split": "dev"}, "split: got 'dev'; allowed: train, test"),
        ({"source": "hellaswag", "split": "test"}, "split: got 'test'; allowed: train, validation"),
        ({"source": "mine.jsonl", "split": "train"}, "split: got 'train'; allowed: all"),
        ({"source": "atlas", "split": "train", "folder": "here"}, "folder: got 'here'; allowed: no folder"),
        ({"source": "arc", "split": "test", "folder": "nowhere"}, "test.jsonl, or .parquet"),
        ({"source": "mine.jsonl", "split": "all", "defects": "ignore"}, "allowed: refuse, leave_out"),
    ],
)
def test_what_cannot_be_loaded_says_what_is_allowed(arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as raised:
        load(**arguments)
    assert expected in str(raised.value)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    as_parquet(tmp_path / "all/test-00001-of-00002.parquet", [mmlu_row(0)])
    with pytest.raises(InputError, match="every shard once"):
        load("mmlu", split="test", folder=str(tmp_path))


def test_a_torn_parquet_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    (tmp_path / "all/test.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(InputError, match=r"test\.parquet: file: got .* a parquet file"):
        load("mmlu", split="test", folder=str(tmp_path))


def hub(monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Any]) -> None:
    """Stand in for the package `datasets` with one function."""
    module = ModuleType("datasets")
    module.load_dataset = answer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)


def test_the_hub_is_asked_for_canonical_names(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None, str]] = []

    def answer(path: str, name: str | None, *, split: str) -> list[dict[str, Any]]:
        asked.append((path, name, split))
        return {
            "allenai/ai2_arc": [arc_row(0, question=f"Which is {name}?")],
            "Rowan/hellaswag": [hellaswag_row(0)],
            "allenai/winogrande": [winogrande_row(0)],
            "allenai/openbookqa": [openbookqa_row(0)],
            "cais/mmlu": [mmlu_row(0)],
        }[path]

    hub(monkeypatch, answer)
    for source in ("arc", "hellaswag", "winogrande", "openbookqa", "mmlu"):
        load(source, split=default_split(source, "train"))
    assert asked == [
        ("allenai/ai2_arc", "ARC-Easy", "train"),
        ("allenai/ai2_arc", "ARC-Challenge", "train"),
        ("Rowan/hellaswag", None, "train"),
        ("allenai/winogrande", "winogrande_xl", "train"),
        ("allenai/openbookqa", "main", "train"),
        ("cais/mmlu", "all", "auxiliary_train"),
    ]


def test_a_hub_that_cannot_be_read_names_the_way_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(path: str, name: str | None, *, split: str) -> None:
        raise ConnectionError("no\nroute")

    hub(monkeypatch, answer)
    with pytest.raises(InputError) as raised:
        load("openbookqa", split="test")
    assert "allenai/openbookqa main" in str(raised.value)
    assert "ConnectionError" in str(raised.value)
    assert "folder: FOLDER" in str(raised.value)


@pytest.mark.parametrize(
    ("source", "train", "evaluate", "defects"),
    [
        ("atlas", "train", "test", "leave_out"),
        ("arc", "train", "test", "leave_out"),
        ("hellaswag", "train", "validation", "leave_out"),
        ("winogrande", "train", "validation", "leave_out"),
        ("openbookqa", "train", "test", "leave_out"),
        ("mmlu", "auxiliary_train", "test", "leave_out"),
        ("mine.jsonl", "all", "all", "refuse"),
    ],
)
def test_defaults(source: str, train: str, evaluate: str, defects: str) -> None:
    assert (default_split(source, "train"), default_split(source, "evaluate")) == (train, evaluate)
    assert {train, evaluate} <= set(splits(source))
    assert default_defects(source) == defects


def made(identity: str, prompt: str, *texts: str) -> Question:
    """A question whose first text is correct."""
    options = tuple(Option(text=text, kind="near_miss" if index else "correct") for index, text in enumerate(texts))
    return Question(id=identity, prompt=prompt, options=options)


def test_what_is_evaluated_on_is_left_out_of_training() -> None:
    evaluate = [made("e", "Question: What is ICE?\nAnswer:", "cold", "hot")]
    train = [
        made("same", "Question: What is ice?\nAnswer:", "Hot.", "cold"),
        made("other options", "Question: What is ice?\nAnswer:", "Cold", "warm"),
        made("other answer", "Question: What is ice?\nAnswer:", "hot", "warm"),
        made("other prompt", "Question: What is fire?\nAnswer:", "hot", "cold"),
    ]
    loaded = without_overlap(train, evaluate)
    assert loaded.questions == tuple(train[2:])
    assert loaded.left_out == (("same", "evaluated on too, as e"), ("other options", "evaluated on too, as e"))


def test_signs_alone_are_not_folded_away() -> None:
    train = [made("t", "Question: 1 ? 1 = 2\nAnswer:", "+", "-")]
    evaluate = [made("e", "Question: 1 ? 1 = 2\nAnswer:", "*", "/")]
    assert without_overlap(train, evaluate).left_out == ()


def test_keeping_is_nested_in_order_and_does_not_depend_on_the_rest() -> None:
    questions = [made(f"q{number}", f"Question: {number}?\nAnswer:", "a", "b") for number in range(40)]
    kept = {limit: keep(questions, limit) for limit in range(1, 41)}
    for limit in range(1, 41):
        assert len(kept[limit]) == limit
        assert kept[limit] == [question for question in questions if question in kept[limit]]
        assert all(question in kept[min(limit + 1, 40)] for question in kept[limit])
    assert set(keep(questions[::-1], 7)[::-1]) == set(kept[7])


@pytest.mark.parametrize("limit", [0, -1, 3])
def test_a_limit_outside_what_exists_is_refused(limit: int) -> None:
    questions = [made("a", "Question: a?\nAnswer:", "x", "y"), made("b", "Question: b?\nAnswer:", "x", "y")]
    with pytest.raises(InputError, match=f"limit: got {limit}; allowed: 1 to 2"):
        keep(questions, limit)


@pytest.mark.skipif(not REAL_ARC.is_dir(), reason=f"no ARC at {REAL_ARC}: set LIKRA_ARC to a folder of allenai/ai2_arc")
@pytest.mark.parametrize(
    ("source", "split", "count", "left_out"),
    [("arc-easy", "train", 2251, 0), ("arc-challenge", "train", 1118, 1), ("arc", "test", 3548, 0)],
)
def test_the_real_arc(source: str, split: str, count: int, left_out: int) -> None:
    loaded = load(source, split=split, folder=str(REAL_ARC), defects="leave_out")
    assert (len(loaded.questions), len(loaded.left_out)) == (count, left_out)
    assert all("question asked once" in reason for _, reason in loaded.left_out)
