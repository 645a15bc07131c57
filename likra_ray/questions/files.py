"""Takes lines of JSON, returns Questions or the exact place of the first defect; and writes them back.

The layout, one object a line (docs/design has it too):

    {"id": str, "prompt": str, "options": [{"text": str, "kind": "correct" | "near_miss" | "far"}, ...]}

Every source ends here: `check` is what a question must satisfy wherever it came from, and `gather` decides what
happens to one that does not (refuse at the first, or leave it out by name).
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from likra_ray.errors import MISSING, InputError
from likra_ray.records import KINDS, Question

Defects = Literal["refuse", "leave_out"]


class Mismapped(InputError):
    """A row that shows a mapping to be wrong: an error even where defective rows are left out."""


class Row(NamedTuple):
    """One row of a source, not read yet."""

    where: str
    """``file.jsonl:12``, as people find it."""
    make: Callable[[], Question]
    """The question, or InputError."""


class Loaded(NamedTuple):
    """What a source gave."""

    questions: tuple[Question, ...]
    """In the order of the source."""
    left_out: tuple[tuple[str, str], ...]
    """(id, reason) of each row left out, in order; the place stands for the id where the row has none to read."""


def read_jsonl(path: str | Path) -> list[Question]:
    """Every question of a file, in order.

    Raises InputError at the first defect, with ``file:line``: not JSON, a field missing, unknown or of the wrong
    type, an empty or untidy text, too few options, none correct or none wrong, the same option, id or question twice;
    and for a file that is missing, empty or not UTF-8.
    """
    return list(gather(rows_of(Path(path)), where=str(path), defects="refuse").questions)


def write_jsonl(path: str | Path, questions: Iterable[Question]) -> None:
    """Write the file `read_jsonl` reads. The caller owns atomicity."""
    Path(path).write_text(dumps(questions), encoding="utf-8", newline="\n")


def dumps(questions: Iterable[Question]) -> str:
    """The file's text: one object a line, every line ended, characters as they are; the same questions, same bytes."""
    return "".join(json.dumps(question.to_json(), ensure_ascii=False) + "\n" for question in questions)


def rows_of(path: Path) -> Iterator[Row]:
    """The rows of a question file, still unread. Raises InputError if the file cannot be read as UTF-8 text."""
    for where, line in numbered_lines(path):
        yield Row(where=where, make=partial(parse, line, where))


def numbered_lines(path: Path) -> Iterator[tuple[str, str]]:
    """(``file:LINE``, text) of each line; only a newline ends one. Raises InputError if missing or not UTF-8."""
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: no path at all, as one with a NUL
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(where=str(path), field="file", value=reason, allowed="a file that can be read") from None
    data = data.removeprefix(codecs.BOM_UTF8)  # that some editors put there
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        wrong = data[error.start : error.end]
        raise InputError(where=f"{path}:{line}", field="file", value=wrong, allowed="text in UTF-8") from None
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    yield from ((f"{path}:{number}", line) for number, line in enumerate(lines, start=1))


def parse(line: str, where: str) -> Question:
    """One line of the layout above. Raises InputError naming `where` and the field."""
    row = parse_object(line, where)
    name = row["id"] if isinstance(row.get("id"), str) and row["id"] else ""
    _fields(row, {"id": str, "prompt": str, "options": list}, where, name)
    for index, option in enumerate(row["options"]):
        at = f"options[{index}]"
        if not isinstance(option, dict):
            raise InputError(where=where, field=f"{name} {at}".strip(), value=option, allowed="an object")
        _fields(option, {"text": str, "kind": str}, where, name, at + ".")
        if option["kind"] not in KINDS:
            field, allowed = f"{name} {at}.kind".strip(), ", ".join(KINDS)
            raise InputError(where=where, field=field, value=option["kind"], allowed=allowed)
    question = Question.from_json(row)
    check(question, where)
    return question


def parse_object(line: str, where: str) -> dict[str, Any]:
    """One line as a JSON object whose fields each occur once. Raises InputError."""
    try:
        row = json.loads(line, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        allowed = f"one JSON object a line ({error})"
        raise InputError(where=where, field="line", value=line, allowed=allowed) from None
    if not isinstance(row, dict):
        raise InputError(where=where, field="line", value=row, allowed="one JSON object a line")
    return row


def check(question: Question, where: str) -> None:
    """Raise InputError for the first thing that makes a question unfit to train or to score."""

    def refuse(field: str, value: object, allowed: str) -> InputError:
        return InputError(where=where, field=f"{question.id} {field}".strip(), value=value, allowed=allowed)

    _tidy(question.id, "id", refuse, ends="a text with no space at either end")
    _tidy(question.prompt, "prompt", refuse, ends="a text with no space at its end", start=False)
    for index, option in enumerate(question.options):
        _tidy(option.text, f"options[{index}].text", refuse, ends="a text with no space at either end")
    texts = [option.text for option in question.options]
    kinds = [option.kind for option in question.options]
    if len(texts) < 2:
        raise refuse("options", texts, "at least 2 options")
    if "correct" not in kinds:
        raise refuse("options", kinds, "at least one option of kind correct")
    if set(kinds) == {"correct"}:
        raise refuse("options", kinds, "at least one option of kind near_miss or far")
    repeated = next((i for i, text in enumerate(texts) if text in texts[:i]), None)
    if repeated is not None:
        raise refuse(f"options[{repeated}].text", texts[repeated], "every option of a question once")


def gather(rows: Iterable[Row], *, where: str, defects: Defects) -> Loaded:
    """All rows as questions, ids and questions unique.

    A row that is defective, or repeats the id or the question (same prompt, same set of options) of an earlier row,
    is refused with InputError or left out by name, as `defects` says; no question at all is InputError either way.
    """
    if defects not in ("refuse", "leave_out"):
        raise InputError(where=where, field="defects", value=defects, allowed="refuse, leave_out")
    questions: list[Question] = []
    left_out: list[tuple[str, str]] = []
    places: dict[str, str] = {}
    asked: dict[tuple[str, frozenset[str]], str] = {}
    for row in rows:
        name = row.where
        try:
            question = row.make()
            name = question.id
            _unseen(question, row.where, places, asked)
        except InputError as error:
            if defects == "refuse" or isinstance(error, Mismapped):
                raise
            left_out.append((name, str(error)))
            continue
        places[question.id] = row.where
        asked[content(question)] = question.id
        questions.append(question)
    if not questions:
        reason = left_out[0][1] if left_out else "it is empty"
        raise InputError(
            where=where, field="questions", value=0, allowed=f"at least one question that can be used: {reason}"
        )
    return Loaded(questions=tuple(questions), left_out=tuple(left_out))


def content(question: Question) -> tuple[str, frozenset[str]]:
    """What makes two questions the same one: the prompt and the set of option texts."""
    return question.prompt, frozenset(option.text for option in question.options)


def _unseen(
    question: Question, where: str, places: Mapping[str, str], asked: Mapping[tuple[str, frozenset[str]], str]
) -> None:
    if question.id in places:
        allowed = f"an id used once (it stands at {places[question.id]} too)"
        raise InputError(where=where, field="id", value=question.id, allowed=allowed)
    twin = asked.get(content(question))
    if twin is not None:
        allowed = f"a question asked once (same prompt and options as {twin})"
        raise InputError(where=where, field=f"{question.id} prompt", value=question.prompt, allowed=allowed)


def _fields(row: Mapping[str, Any], types: Mapping[str, type], where: str, name: str, prefix: str = "") -> None:
    """Raise InputError unless `row` has exactly the fields of `types`, each of its type."""
    for field in [*types, *row]:
        shown = f"{name} {prefix}{field}".strip()
        if field not in types:
            allowed = f"no field but {', '.join(types)}"
            raise InputError(where=where, field=shown, value=row[field], allowed=allowed)
        if field not in row:
            allowed = f"this field, {_NAMES[types[field]]}"
            raise InputError(where=where, field=shown, value=MISSING, allowed=allowed)
        if not isinstance(row[field], types[field]):
            raise InputError(where=where, field=shown, value=row[field], allowed=_NAMES[types[field]])


_NAMES: dict[type, str] = {str: "a string", list: "a list"}


def _tidy(
    text: str, field: str, refuse: Callable[[str, object, str], InputError], *, ends: str, start: bool = True
) -> None:
    if not text.strip():
        raise refuse(field, text, "a text that is not empty")
    if text != text.rstrip() or (start and text != text.lstrip()):
        raise refuse(field, text, ends)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise refuse(field, text, "text that UTF-8 can hold (no lone surrogate)") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the field {next(n for n in names if names.count(n) > 1)!r} stands twice")
    return row
