"""Takes any row and a mapping from the search space, returns the question it means.

    mapping = MappingSpec(prompt="Question: {question}\\nAnswer:", options="choices.text", answer="answerKey",
                          labels="choices.label", id="id")
    question_of(row, mapping, where="train.jsonl:1", numbered="arc/train/0", prefix="arc")

A row that is no fit question is left out or refused as any other (files.gather); one that shows the mapping to be
wrong, because a column is not there or an answer names no option, is always refused: the rows before it may have been
misread in silence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from likra_ray.errors import MISSING, InputError
from likra_ray.question_spec import FIRST, MappingSpec, template_parts
from likra_ray.questions.files import Mismapped, check
from likra_ray.records import KINDS, Kind, Option, Question

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def question_of(row: Mapping[str, Any], mapping: MappingSpec, *, where: str, numbered: str, prefix: str) -> Question:
    """The question of a row. Raises InputError for a defective row, Mismapped for a wrong mapping, both with `where`.

    numbered: its id where the mapping names no column for it; prefix: what other ids begin with.
    """
    prompt = "".join(
        part.text + (_text(row, part.column, where) if part.column is not None else "")
        for part in template_parts(mapping.prompt)
    ).rstrip()
    texts = _texts(row, mapping.options, where)
    kinds = _kinds(row, mapping, texts, where)
    if mapping.blank is not None:
        if prompt.count(mapping.blank) != 1:
            allowed = f"a prompt with exactly one {mapping.blank!r}, as mapping.blank says"
            raise InputError(where=where, field="prompt", value=prompt, allowed=allowed)
        prompt, after = prompt.split(mapping.blank)
        prompt, texts = prompt.rstrip(), [(text + after).rstrip() for text in texts]
    options = tuple(Option(text=text, kind=kind) for text, kind in zip(texts, kinds, strict=True))
    identity = numbered if mapping.id is None else _text(row, mapping.id, where)
    if mapping.id is not None and not identity.startswith(f"{prefix}/"):
        identity = f"{prefix}/{identity}"
    question = Question(id=identity, prompt=prompt, options=options)
    check(question, where)
    return question


def lookup(row: Mapping[str, Any], name: str, where: str) -> Any:
    """A column's value; ``a.b`` is the column a.b, or what the object in column a has as b, or a list of what the
    objects in it have. Raises Mismapped where there is none."""
    return _inside(row, name, row, name, where)


def _inside(place: Any, rest: str, row: Mapping[str, Any], name: str, where: str) -> Any:
    if isinstance(place, Mapping):
        if rest in place:
            return place[rest]
        first, dot, rest = rest.partition(".")
        if dot and first in place:
            return _inside(place[first], rest, row, name, where)
    elif isinstance(place, list):
        return [_inside(one, rest, row, name, where) for one in place]
    elif place is None:
        return None  # this row has nothing there
    raise Mismapped(where=where, field=name, value=MISSING, allowed=f"one of this row's, {', '.join(_names(row))}")


def _names(row: Mapping[str, Any]) -> list[str]:
    """Every way into a row, as a mapping may name it; what is nested deeper than twice is not shown."""
    found = []
    for name, value in row.items():
        inner = value[0] if isinstance(value, list) and value else value
        found += [f"{name}.{other}" for other in inner] if isinstance(inner, Mapping) else [str(name)]
    return found


def _text(row: Mapping[str, Any], name: str, where: str) -> str:
    return _as_text(lookup(row, name, where), name, where)


def _as_text(value: Any, field: str, where: str) -> str:
    """A number is its digits. Raises Mismapped for a list or an object, InputError for another value."""
    if isinstance(value, Mapping | list):
        raise Mismapped(where=where, field=field, value=value, allowed="a column that holds a text or a number")
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    if not plain or (isinstance(value, float) and not math.isfinite(value)):
        raise InputError(where=where, field=field, value=value, allowed="a text or a number")
    return str(value).strip()


def _list(row: Mapping[str, Any], name: str, where: str) -> list[Any]:
    value = lookup(row, name, where)
    if value is None:
        raise InputError(where=where, field=name, value=value, allowed="a list")
    if not isinstance(value, list | tuple):
        raise Mismapped(where=where, field=name, value=value, allowed="a column that holds a list")
    return list(value)


def _texts(row: Mapping[str, Any], columns: str | Sequence[str], where: str) -> list[str]:
    if isinstance(columns, str):
        values = _list(row, columns, where)
        if not values:
            raise InputError(where=where, field=columns, value=values, allowed="two options or more")
        return [_as_text(value, f"{columns}[{index}]", where) for index, value in enumerate(values)]
    return [_text(row, column, where) for column in columns]


def _kinds(row: Mapping[str, Any], mapping: MappingSpec, texts: Sequence[str], where: str) -> list[Kind]:
    """Of every option, in order."""
    if mapping.answer is None:
        listed, name = mapping.kinds, "mapping.kinds"
        given: list[Any] = list(listed)
        if isinstance(listed, str):
            given, name = _list(row, listed, where), listed
        if len(given) != len(texts):
            raise InputError(where=where, field=name, value=given, allowed=f"one for each of the {len(texts)} options")
        return [_kind(one, name, where) for one in given]
    wrong: Kind = "far" if mapping.kinds == "far" else "near_miss"
    right = {0} if mapping.answer == FIRST else _right(row, mapping.answer, mapping.labels, texts, where)
    return ["correct" if index in right else wrong for index in range(len(texts))]


def _kind(value: Any, field: str, where: str) -> Kind:
    if value in (0, 1):  # True and False too
        return "correct" if value else "near_miss"
    if value not in KINDS:
        raise Mismapped(
            where=where, field=field, value=value, allowed=f"{', '.join(KINDS)}, 1 (correct) or 0 (near_miss)"
        )
    found: Kind = value
    return found


def _right(
    row: Mapping[str, Any], answer: str, labels: str | tuple[str, ...] | None, texts: Sequence[str], where: str
) -> set[int]:
    """Places of the right options; a column that holds a list names several."""
    value = lookup(row, answer, where)
    if value is None or value == "" or value == []:
        raise InputError(where=where, field=answer, value=value, allowed="an answer (some splits keep theirs hidden)")
    if labels is None:
        names = [{text, str(place), *LETTERS[place : place + 1]} for place, text in enumerate(texts)]
        allowed = f"the number (from 0), the letter or the text of one of the {len(texts)} options, or mapping.labels"
    else:
        known = _list(row, labels, where) if isinstance(labels, str) else labels
        if len(known) != len(texts):
            raise InputError(where=where, field="mapping.labels", value=list(known),
                             allowed=f"one for each of the {len(texts)} options")  # fmt: skip
        names = [{_as_text(label, "mapping.labels", where)} for label in known]
        allowed = f"one of {', '.join(str(label) for label in known)}"
    if len(set(texts)) < len(texts):
        raise InputError(where=where, field="options", value=list(texts), allowed="each text once")
    found = set()
    for one in value if isinstance(value, list | tuple) else (value,):
        shown = _label(one)
        places = [place for place, known_as in enumerate(names) if shown in known_as]
        if not places:
            raise Mismapped(where=where, field=answer, value=one, allowed=allowed)
        if len(places) > 1:
            raise Mismapped(where=where, field=answer, value=one, allowed="what means one option only (this means "
                            f"{[texts[place] for place in places]}): mapping.labels says which")  # fmt: skip
        found.add(places[0])
    return found


def _label(value: Any) -> str | None:
    """As labels are compared; None: nothing a label can be."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
