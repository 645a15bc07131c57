"""Question files: what is written is read back, and every defect is named by file, line and field."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

import pytest

from likra_ray.errors import InputError
from likra_ray.questions.files import dumps, numbered_lines, read_jsonl, write_jsonl
from likra_ray.records import Option, Question


def row(**changes: Any) -> dict[str, Any]:
    """A row that is fit, with the given fields changed."""
    options = [
        {"text": "Paris", "kind": "correct"},
        {"text": "Lyon", "kind": "near_miss"},
        {"text": "iron", "kind": "far"},
    ]
    return {"id": "q1", "prompt": "Question: The capital of France?\nAnswer:", "options": options} | changes


def text(*rows: object) -> str:
    """The rows as the text of a file."""
    return "".join(f"{json.dumps(r, ensure_ascii=False)}\n" for r in rows)


def options(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    """Options from (text, kind)."""
    return [{"text": text, "kind": kind} for text, kind in pairs]


GOOD = row(id="q0", prompt="Question: Another?\nAnswer:")
RIGHT, WRONG = ("Paris", "correct"), ("Lyon", "near_miss")

DEFECTS: list[tuple[str, str, str, str]] = [
    ("not JSON", '{"id": ', "line", "JSON object"),
    ("two rows on a line", json.dumps(row()) + json.dumps(row()), "line", "JSON object"),
    ("blank line", "\n" + text(row()), "line", "JSON object"),
    ("not an object", "[1, 2]", "line", "JSON object"),
    ("field twice", '{"id": "q1", "id": "q2"}', "line", "'id' stands twice"),
    ("no id", text({k: v for k, v in row().items() if k != "id"}), "id", "a string"),
    ("no prompt", text({k: v for k, v in row().items() if k != "prompt"}), "q1 prompt", "a string"),
    ("no options", text({k: v for k, v in row().items() if k != "options"}), "q1 options", "a list"),
    ("one field more", text(row(hint="P")), "q1 hint", "no field but id, prompt, options"),
    ("id a number", text(row(id=7)), "id", "a string"),
    ("prompt null", text(row(prompt=None)), "q1 prompt", "a string"),
    ("options an object", text(row(options={})), "q1 options", "a list"),
    ("option a string", text(row(options=["Paris", "Lyon"])), "q1 options[0]", "an object"),
    ("option without kind", text(row(options=[{"text": "Paris"}])), "q1 options[0].kind", "a string"),
    ("option with more", text(row(options=[{"text": "a", "kind": "far", "x": 1}])), "q1 options[0].x", "no field but"),
    ("option text a number", text(row(options=[{"text": 4, "kind": "far"}])), "q1 options[0].text", "a string"),
    ("unknown kind", text(row(options=options(RIGHT, ("Lyon", "wrong")))), "q1 options[1].kind", "near_miss, far"),
    ("empty id", text(row(id="")), "id", "not empty"),
    ("id with a space", text(row(id="q1 ")), "q1 id", "no space at either end"),
    ("empty prompt", text(row(prompt=" ")), "q1 prompt", "not empty"),
    ("prompt ends in a space", text(row(prompt="Question: ?\nAnswer: ")), "q1 prompt", "no space at its end"),
    ("empty option", text(row(options=options(RIGHT, ("", "far")))), "q1 options[1].text", "not empty"),
    (
        "option starts with a space",
        text(row(options=options((" Paris", "correct"), WRONG))),
        "q1 options[0].text",
        "end",
    ),
    ("option ends in a newline", text(row(options=options(RIGHT, ("Lyon\n", "far")))), "q1 options[1].text", "end"),
    ("lone surrogate", json.dumps(row(prompt="\ud800?")), "q1 prompt", "UTF-8"),
    ("one option", text(row(options=options(RIGHT))), "q1 options", "at least 2"),
    ("no option", text(row(options=[])), "q1 options", "at least 2"),
    ("none correct", text(row(options=options(WRONG, ("Nice", "far")))), "q1 options", "kind correct"),
    ("none wrong", text(row(options=options(RIGHT, ("Paname", "correct")))), "q1 options", "near_miss or far"),
    ("option twice", text(row(options=options(RIGHT, WRONG, ("Lyon", "far")))), "q1 options[2].text", "once"),
    ("id twice", text(row(id="q0")), "id", "used once"),
    ("question twice", text(row(prompt=GOOD["prompt"])), "q1 prompt", "as q0"),
    ("reordered question", text(row(prompt=GOOD["prompt"], options=row()["options"][::-1])), "q1 prompt", "as q0"),
]


@pytest.mark.parametrize(("content", "field", "allowed"), [d[1:] for d in DEFECTS], ids=[d[0] for d in DEFECTS])
def test_a_defect_is_named_by_file_line_and_field(tmp_path: Path, content: str, field: str, allowed: str) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(text(GOOD) + content, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        read_jsonl(path)
    message = str(raised.value)
    assert message.startswith(f"{path}:2: {field}: got ")
    assert allowed in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("data", "where", "allowed"),
    [
        (None, "mine.jsonl: file: ", "can be read"),
        (b"", "mine.jsonl: questions: got 0", "it is empty"),
        (text(GOOD).encode() + b'{"id": "\xff"}\n', "mine.jsonl:2: file: ", "UTF-8"),
    ],
    ids=["missing", "empty", "not UTF-8"],
)
def test_a_file_that_holds_no_text(tmp_path: Path, data: bytes | None, where: str, allowed: str) -> None:
    path = tmp_path / "mine.jsonl"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError) as raised:
        read_jsonl(path)
    assert where in str(raised.value)
    assert allowed in str(raised.value)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    texts = [("Kraków \u2028", "correct"), ('"quoted"\\', "near_miss"), ("東京", "far")]
    made = tuple(Option(text=text.strip(), kind=kind) for text, kind in texts)  # type: ignore[arg-type]
    questions = [
        Question(id=f"set/{number}", prompt=f"Question: {number}?\u2028\nAnswer:", options=made) for number in range(3)
    ]
    path = tmp_path / "mine.jsonl"
    write_jsonl(path, questions)
    assert read_jsonl(path) == questions
    assert path.read_bytes() == dumps(questions).encode()


def test_windows_line_ends_and_a_last_line_without_end_are_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(text(GOOD, row()).replace("\n", "\r\n").encode().removesuffix(b"\r\n"))
    assert [question.id for question in read_jsonl(path)] == ["q0", "q1"]


@pytest.mark.parametrize("name", ["a\0b.jsonl", "\ud800.jsonl"], ids=["NUL", "lone surrogate"])
def test_a_path_that_can_be_none_is_one_line(name: str) -> None:
    """Found by generated cases (tests/test_fuzz.py): a ValueError of the operating system's interface."""
    with pytest.raises(InputError, match="a file that can be read"):
        read_jsonl(name)


def test_a_mark_at_the_beginning_moves_no_line(tmp_path: Path) -> None:
    path = tmp_path / "marked.jsonl"
    path.write_bytes(codecs.BOM_UTF8 + b'{"id": "a"}\n\xff\n')
    with pytest.raises(InputError, match=rf"{path}:2: file: got b'.xff'"):
        list(numbered_lines(path))
    path.write_bytes(codecs.BOM_UTF8 + b"one\ntwo\n")
    assert [line for _, line in numbered_lines(path)] == ["one", "two"]
