"""Takes one row of a published data set, returns the prompt and the texts that may follow it.

The model reads ``prompt + " " + text``, in training and in scoring alike, so no prompt ends with a space and no text
starts with one. Options are not listed in the prompt: `controls.list_options` does that. Templates after arXiv
2503.14391 and its evaluation:

    ARC, OpenBookQA, MMLU   Question: {question}\\nAnswer:                   {option}
    HellaSwag               {activity}: {ctx_a} {Ctx_b}                      {ending}
    Winogrande              {sentence up to the blank}                       {option}{rest of the sentence}

Rows are read in the layout each data set has on the Hugging Face hub. `where` is the row's place, for InputError,
which every reader raises for a field that is missing or of the wrong type and for a label that names no option.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from likra_ray.errors import InputError
from likra_ray.records import Option, Question


class Pieces(NamedTuple):
    """A question without its id."""

    prompt: str
    texts: tuple[str, ...]
    correct: int
    """Index into texts."""


Reader = Callable[[Mapping[str, Any], str], Pieces]


def assemble(identity: str, pieces: Pieces) -> Question:
    """The Question: one option correct, every other option of the row a near miss."""
    options = tuple(
        Option(text=text, kind="correct" if index == pieces.correct else "near_miss")
        for index, text in enumerate(pieces.texts)
    )
    return Question(id=identity, prompt=pieces.prompt, options=options)


def ask(question: str) -> str:
    """``Question: {question}\\nAnswer:``"""
    return f"Question: {question.strip()}\nAnswer:"


def arc(row: Mapping[str, Any], where: str) -> Pieces:
    """ARC: ``question``, ``choices: {text: [...], label: [...]}``, ``answerKey`` (A-E or 1-5, whatever label has)."""
    return _labelled(row, "question", where)


def openbookqa(row: Mapping[str, Any], where: str) -> Pieces:
    """OpenBookQA: as ARC, with ``question_stem``."""
    return _labelled(row, "question_stem", where)


def mmlu(row: Mapping[str, Any], where: str) -> Pieces:
    """MMLU: ``question``, ``choices: [...]``, ``answer`` (0-3 or A-D)."""
    texts = _texts(row.get("choices"), "choices", where)
    names = [[str(index), "ABCDEFGHIJ"[index : index + 1]] for index in range(len(texts))]
    return Pieces(ask(_text(row, "question", where)), texts, _position(row, "answer", names, where))


def hellaswag(row: Mapping[str, Any], where: str) -> Pieces:
    """HellaSwag: ``activity_label``, ``ctx_a``, ``ctx_b``, ``endings: [...]``, ``label`` (0-3).

    The WikiHow half carries marks of its extraction: ``[title]`` starts a heading and becomes the end of a sentence,
    ``[header]``, ``[step]``, ``[substeps]`` and any other bracketed word go, and spaces are made single. Only the first
    letter of ctx_b is raised (`str.capitalize` would also lower the names and the I in it).
    """
    second = without_marks(_text(row, "ctx_b", where))
    parts = (without_marks(_text(row, "ctx_a", where)), second[:1].upper() + second[1:])
    context = " ".join(part for part in parts if part)
    endings = tuple(without_marks(ending) for ending in _texts(row.get("endings"), "endings", where))
    prompt = f"{_text(row, 'activity_label', where).strip()}: {context}".strip()
    return Pieces(prompt, endings, _position(row, "label", [[str(i)] for i in range(len(endings))], where))


def winogrande(row: Mapping[str, Any], where: str) -> Pieces:
    """Winogrande: ``sentence`` with one ``_``, ``option1``, ``option2``, ``answer`` (1 or 2).

    The texts hold all that follows the blank, so what is trained on is what is scored.
    """
    sentence = _text(row, "sentence", where)
    if sentence.count("_") != 1:
        raise InputError(where=where, field="sentence", value=sentence, allowed="a sentence with exactly one _")
    before, after = sentence.split("_")
    options = (_text(row, "option1", where), _text(row, "option2", where))
    texts = tuple((option.strip() + after).rstrip() for option in options)
    return Pieces(before.rstrip(), texts, _position(row, "answer", [["1"], ["2"]], where))


def without_marks(text: str) -> str:
    """A HellaSwag text without its bracketed marks, spaces single, stripped at both ends."""
    with_stops = re.sub(r"(\w)?\s*\[title\]\s*", lambda match: f"{match[1]}. " if match[1] else " ", text)
    return " ".join(re.sub(r"\[[^\[\]]*\]", " ", with_stops).split())


def _labelled(row: Mapping[str, Any], field: str, where: str) -> Pieces:
    choices = row.get("choices")
    if not isinstance(choices, Mapping):
        raise InputError(where=where, field="choices", value=choices, allowed="an object with text and label")
    texts = _texts(choices.get("text"), "choices.text", where)
    labels = choices.get("label")
    if not isinstance(labels, Sequence) or isinstance(labels, str) or len(labels) != len(texts):
        raise InputError(where=where, field="choices.label", value=labels, allowed=f"a list of {len(texts)} labels")
    names = [[str(label)] for label in labels]
    return Pieces(ask(_text(row, field, where)), texts, _position(row, "answerKey", names, where))


def _text(row: Mapping[str, Any], field: str, where: str) -> str:
    value = row.get(field)
    if not isinstance(value, str):
        raise InputError(where=where, field=field, value=value, allowed="a string")
    return value


def _texts(value: object, field: str, where: str) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(text, str) for text in value):
        raise InputError(where=where, field=field, value=value, allowed="a list of strings")
    return tuple(text.strip() for text in value)


def _position(row: Mapping[str, Any], field: str, names: Sequence[Sequence[str]], where: str) -> int:
    """Index of the one entry of `names` that holds the row's label. Raises InputError for none or several."""
    label = row.get(field)
    shown = "" if isinstance(label, bool) else str(label).strip()
    found = [index for index, known in enumerate(names) if shown in known]
    if len(found) != 1:
        allowed = "one of " + ", ".join(name for known in names for name in known)
        raise InputError(where=where, field=field, value=label, allowed=allowed)
    return found[0]
