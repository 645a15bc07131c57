"""Where questions come from: QuestionsSpec > SourceSpec > MappingSpec; and Spec, what every spec is.

Defaults live here and in spec.py, nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import string
from typing import Annotated, Any, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

FORMAT = 1
"""Rises whenever the same fields would train or score differently: older heads are then not reused."""

FIRST = "first"
"""As a mapping's `answer`: the first option is right in every row."""


class Spec(BaseModel):
    """Frozen, no unknown keys; the docstring under a field is its description."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    def digest(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical JSON: every field counts."""
        text = json.dumps({"format": FORMAT, **self.model_dump(mode="json")}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Part(NamedTuple):
    """A stretch of a template."""

    text: str
    """As it stands."""
    column: str | None
    """What follows it: the column's text; None: nothing."""


def template_parts(template: str) -> tuple[Part, ...]:
    """``Question: {question}`` as its parts; ``{{`` and ``}}`` are braces.

    A name is a column, dots lead into columns that hold objects; nothing is ever looked up on an object of Python.
    Raises ValueError for anything in braces that is more than a name.
    """
    parts = []
    for text, column, layout, conversion in string.Formatter().parse(template):
        if column is not None and (not column.strip() or layout or conversion or set(column) & set("[]{")):
            raise ValueError(f"{{{column}}}: a column's name alone between braces, {{{{ and }}}} for braces themselves")
        parts.append(Part(text, column))
    return tuple(parts)


def _template(value: Any) -> Any:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text with the names of columns in braces")
    if value != value.rstrip():
        raise ValueError("a text with no space at its end: one is put before every answer")
    if not any(part.column for part in template_parts(value)):
        raise ValueError("a text with the name of at least one column in braces")
    return value


def _columns(value: Any) -> Any:
    """One name, or a list of two or more."""
    if _is_name(value):
        return value
    if not isinstance(value, list | tuple) or len(value) < 2 or not all(map(_is_name, value)):
        raise ValueError("the column that holds a list of texts, or a list of two columns or more")
    return tuple(value)


def _labels(value: Any) -> Any:
    """One name, or a list of labels, which YAML may have read as numbers."""
    if value is None or _is_name(value):
        return value
    plain = isinstance(value, list | tuple) and all(isinstance(one, str | int) for one in value)
    if not plain or len(value) < 2 or any(isinstance(one, bool) for one in value):
        raise ValueError("the column that holds a list of labels, or a list with one label for each option")
    return tuple(str(one) for one in value)


def _kinds(value: Any) -> Any:
    if _is_name(value):
        return value
    if not isinstance(value, list | tuple) or not all(one in ("correct", "near_miss", "far") for one in value):
        raise ValueError("near_miss, far, a list of correct, near_miss and far, or the column that holds such a list")
    return tuple(value)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


class MappingSpec(Spec):
    """How the rows of any data set become questions. A name is a column; dots lead into columns that hold objects."""

    prompt: Annotated[str, BeforeValidator(_template)]
    r"""All that stands before the answer, columns in braces: "Question: {question}\nAnswer:"."""
    options: Annotated[str | tuple[str, ...], BeforeValidator(_columns)]
    """The column that holds a list of texts, or the columns that hold one each."""
    answer: Annotated[str, Field(min_length=1)] | None = None
    """The column that says which option is right, or "first"; None: `kinds` says it."""
    labels: Annotated[str | tuple[str, ...] | None, BeforeValidator(_labels)] = None
    """What `answer` may hold, one for each option: the column with that list, or the list ([1, 2] counts from 1);
    None: the option's text, its number from 0 or its letter from A, where they do not contradict each other."""
    kinds: Annotated[str | tuple[str, ...], BeforeValidator(_kinds)] = "near_miss"
    """Of the wrong options: near_miss or far; or of every option: a list, or the column that holds one (true or 1
    for correct, false or 0 for near_miss will do)."""
    blank: Annotated[str, Field(min_length=1)] | None = None
    """What stands in the prompt where the option goes, once; what follows it ends every option."""
    id: Annotated[str, Field(min_length=1)] | None = None
    """The column with a row's own id; None: rows are numbered."""

    @model_validator(mode="after")
    def _one_says_what_is_right(self) -> Self:
        whole = self.kinds not in ("near_miss", "far")
        if whole == (self.answer is not None):
            raise ValueError(
                f"answer: {self.answer!r}; allowed: exactly one of answer and kinds (a list, or a column) says which "
                "option is right"
            )
        if self.labels is not None and self.answer in (None, FIRST):
            raise ValueError(f"labels: {self.labels!r}; allowed: only with a column as answer")
        for name in ("labels", "kinds"):
            listed = getattr(self, name)
            if isinstance(listed, tuple) and isinstance(self.options, tuple) and len(listed) != len(self.options):
                raise ValueError(f"{name}: {list(listed)}; allowed: one for each of the {len(self.options)} options")
        if isinstance(self.labels, tuple) and len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels: {list(self.labels)}; allowed: each once")
        return self


def _source_shorthand(value: Any) -> Any:
    """``atlas`` means ``{source: atlas}``, one source means a list of one."""
    values = value if isinstance(value, list | tuple) else [value]
    return tuple({"source": one} if isinstance(one, str) else one for one in values)


class SourceSpec(Spec):
    """Where questions come from."""

    source: Annotated[str, Field(min_length=1)]
    """atlas | arc | arc-easy | arc-challenge | hellaswag | winogrande | openbookqa | mmlu | a path ending .jsonl; with
    a mapping: a path ending .jsonl, .csv or .parquet, a folder, or a hub id"""
    split: str | None = None
    """Split of the source; None: its usual one for the role (train, or what is published for evaluation)."""
    folder: str | None = None
    """Folder with the data set in its Hugging Face layout, from where the command runs; None: the hub."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Keep this many questions, those with the smallest SHA-256 of their id; None: all."""
    config: str | None = None
    """Configuration of a data set that is read through a mapping; None: it has but one."""
    mapping: MappingSpec | None = None
    """How rows become questions; None: the source's rows are known here, or are questions already."""

    @model_validator(mode="after")
    def _config_goes_with_a_mapping(self) -> Self:
        if self.config is not None and self.mapping is None:
            raise ValueError(f"config: {self.config!r}; allowed: only with a mapping")
        return self


Sources = Annotated[tuple[SourceSpec, ...], BeforeValidator(_source_shorthand), Field(min_length=1)]


class QuestionsSpec(Spec):
    """What is learnt from and what is asked."""

    train: Sources = (SourceSpec(source="atlas"),)
    """Questions the heads learn from; several sources are joined."""
    evaluate: Sources = (SourceSpec(source="atlas"),)
    """Questions every head is asked at every volume."""
    shots: Annotated[int, Field(ge=0, le=64)] = 0
    """Solved questions before each evaluated one; taken from the training questions, which then lack them."""
    options_visible: bool = False
    """Every prompt lists its question's options, in an order fixed by its id; only prompts that end in "Answer:"."""
    chat: bool = False
    """Prompts and answers are turns of the base's chat template, solved questions are earlier turns."""
