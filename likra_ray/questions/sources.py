"""Takes the name of a source and a split, returns its questions and what was left out of them, by name.

    load("atlas", split="train")                              bundled: no network, no other package
    load("arc", split="test", folder="ai2_arc")               a folder as one clones it from the hub: JSONL or parquet
    load("arc", split="test")                                 from the hub, through the package `datasets`
    load("mine.jsonl", split="all")                           a question file (questions/files.py has the layout)
    load("owner/name", split="train", mapping=mapping)        any rows, from the hub, a folder or a file

Rows are checked like any question file's. Published sets hold a few that do not pass (ARC-Challenge train asks one
question twice; test labels of some sets are hidden), so `default_defects` leaves those out, each with its reason; in a
file of one's own the first defect is an error.
"""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from likra_ray.errors import InputError
from likra_ray.question_spec import MappingSpec
from likra_ray.questions import mapped, prompts, rows
from likra_ray.questions.atlas import load_atlas
from likra_ray.questions.files import Defects, Loaded, Row, check, gather, parse_object, rows_of
from likra_ray.records import Question

Role = Literal["train", "evaluate"]


@dataclass(frozen=True, kw_only=True)
class Published:
    """A data set on the Hugging Face hub."""

    hub: str
    configs: tuple[str, ...]
    """Configurations on the hub, each a folder there; "" where the data set has none."""
    prefix: tuple[str, ...]
    """What the ids of each configuration start with."""
    read: prompts.Reader
    splits: tuple[str, ...]
    """Those whose labels are public."""
    train: str
    evaluate: str
    aliases: Mapping[str, tuple[str, ...]]
    """By split: other names its files go by."""


_VALIDATION = {"validation": ("val", "dev")}
_ARC_SPLITS = ("train", "validation", "test")


def _arc(*configs: str) -> Published:
    return Published(
        hub="allenai/ai2_arc",
        configs=configs,
        prefix=configs,
        read=prompts.arc,
        splits=_ARC_SPLITS,
        train="train",
        evaluate="test",
        aliases=_VALIDATION,
    )


PUBLISHED: dict[str, Published] = {
    "arc": _arc("ARC-Easy", "ARC-Challenge"),
    "arc-easy": _arc("ARC-Easy"),
    "arc-challenge": _arc("ARC-Challenge"),
    "hellaswag": Published(
        hub="Rowan/hellaswag",
        configs=("",),
        prefix=("hellaswag",),
        read=prompts.hellaswag,
        splits=("train", "validation"),
        train="train",
        evaluate="validation",
        aliases=_VALIDATION,
    ),
    "winogrande": Published(
        hub="allenai/winogrande",
        configs=("winogrande_xl",),
        prefix=("winogrande_xl",),
        read=prompts.winogrande,
        splits=("train", "validation"),
        train="train",
        evaluate="validation",
        aliases=_VALIDATION,
    ),
    "openbookqa": Published(
        hub="allenai/openbookqa",
        configs=("main",),
        prefix=("openbookqa",),
        read=prompts.openbookqa,
        splits=_ARC_SPLITS,
        train="train",
        evaluate="test",
        aliases=_VALIDATION,
    ),
    "mmlu": Published(
        hub="cais/mmlu",
        configs=("all",),
        prefix=("mmlu",),
        read=prompts.mmlu,
        splits=("auxiliary_train", "dev", "validation", "test"),
        train="auxiliary_train",
        evaluate="test",
        aliases={},
    ),
}

ALLOWED = f"atlas, {', '.join(PUBLISHED)}, or the path of a .jsonl file; any other data set through a mapping"

FILE = tuple(f".{ending}" for ending in rows.ENDINGS)
"""What the path of a file of rows ends in."""


def load(
    source: str,
    *,
    split: str,
    folder: str | None = None,
    config: str | None = None,
    mapping: MappingSpec | None = None,
    defects: Defects = "refuse",
) -> Loaded:
    """Read one split of a source, in its own order.

    source:  atlas, arc (Easy, then Challenge), arc-easy, arc-challenge, hellaswag, winogrande, openbookqa, mmlu, or a
             path that ends in .jsonl; with a mapping: such a path, .csv or .parquet too, a folder, or a hub id.
    folder:  where a data set's files lie; None reads it from the hub. The atlas and files take none.
    config:  configuration of a data set that is read through a mapping.
    defects: "refuse" raises at the first row that is no fit question, "leave_out" names it in `left_out`.

    Raises InputError for an unknown source or split, a folder without its files, a hub that cannot be read, a split
    with no question that can be used, a mapping that does not fit the rows, and, under "refuse", a defective row.
    """
    if mapping is not None:
        found, where = _mapped_rows(source, split, folder, config, mapping)
        return gather(found, where=where, defects=defects)
    if split not in splits(source):
        raise InputError(where=source, field="split", value=split, allowed=", ".join(splits(source)))
    published = PUBLISHED.get(source)
    if published is None:
        if folder is not None:
            allowed = f"no folder with this source; a folder goes with {', '.join(PUBLISHED)}"
            raise InputError(where=source, field="folder", value=folder, allowed=allowed)
        if source == "atlas":
            return Loaded(questions=tuple(load_atlas(split)), left_out=())
        return gather(rows_of(Path(source)), where=source, defects=defects)
    where = f"{source} {split}"
    return gather(_published_rows(published, split, folder), where=where, defects=defects)


def splits(source: str) -> tuple[str, ...]:
    """The splits of a source that can be read without a mapping. Raises InputError for an unknown source."""
    if source in PUBLISHED:
        return PUBLISHED[source].splits
    if source == "atlas":
        return ("train", "test")
    if source.endswith(".jsonl"):
        return ("all",)
    raise InputError(where="questions", field="source", value=source, allowed=ALLOWED)


def default_split(source: str, role: Role, *, mapped: bool = False) -> str:
    """The split of a source to train on or to evaluate on. Raises InputError for an unknown source or role."""
    if role not in ("train", "evaluate"):
        raise InputError(where="questions", field="role", value=role, allowed="train, evaluate")
    if mapped:
        return "all" if source.endswith(FILE) else "train" if role == "train" else "test"
    if source in PUBLISHED:
        return PUBLISHED[source].train if role == "train" else PUBLISHED[source].evaluate
    first, last = splits(source)[0], splits(source)[-1]
    return first if role == "train" else last


def default_defects(source: str, *, mapped: bool = False) -> Defects:
    """What to do with defective rows unless told: refuse in a file of one's own, else leave out.

    Raises InputError for an unknown source.
    """
    own = source.endswith(FILE) if mapped else splits(source) == ("all",)
    return "refuse" if own else "leave_out"


def without_overlap(train: Sequence[Question], evaluate: Sequence[Question]) -> Loaded:
    """`train` less every question that `evaluate` asks too, named.

    Two questions are the same if prompt and set of options agree after folding compatibility forms, case, white space
    and punctuation; the order of options, their kinds and ids play no part. Nor do other options where prompt and
    correct answer agree: that answer would be taught.
    """
    asked = {folded: question.id for question in evaluate for folded in (normalised(question), _taught(question))}
    twins = [asked.get(normalised(question)) or asked.get(_taught(question)) for question in train]
    kept = tuple(question for question, twin in zip(train, twins, strict=True) if twin is None)
    left_out = tuple(
        (question.id, f"evaluated on too, as {twin}")
        for question, twin in zip(train, twins, strict=True)
        if twin is not None
    )
    return Loaded(questions=kept, left_out=left_out)


def keep(questions: Sequence[Question], limit: int) -> list[Question]:
    """The `limit` questions whose ids have the smallest SHA-256, in their own order.

    A smaller limit keeps a part of what a larger one keeps. Raises InputError outside 1 to len(questions).
    """
    if not 1 <= limit <= len(questions):
        raise InputError(where="questions", field="limit", value=limit, allowed=f"1 to {len(questions)}")
    by_hash = sorted(questions, key=lambda question: hashlib.sha256(question.id.encode()).digest())
    kept = {question.id for question in by_hash[:limit]}
    return [question for question in questions if question.id in kept]


def normalised(question: Question) -> tuple[str, frozenset[str]]:
    """What is alike of two questions that ask the same: their prompt and set of options, folded."""
    return _folded(question.prompt), frozenset(_folded(option.text) for option in question.options)


def _taught(question: Question) -> tuple[str, str]:
    return _folded(question.prompt), _folded(question.correct.text)


def _folded(text: str) -> str:
    """Words of letters and digits in folded case; a text without any keeps its signs, so + and - differ."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"\w+", plain)) or "".join(plain.split())


def _published_rows(published: Published, split: str, folder: str | None) -> Iterator[Row]:
    for config, prefix in zip(published.configs, published.prefix, strict=True):
        if folder is None:
            found = rows.of_hub(published.hub, config, split)
        else:
            places = rows.folders(folder, config, alone=len(published.configs) == 1)
            found = rows.of_files(rows.find(places, (split, *published.aliases.get(split, ()))))
        for number, (where, row) in enumerate(found):
            yield Row(where, functools.partial(_read, published, f"{prefix}/{split}/{number}", prefix, where, row))


def _read(published: Published, numbered: str, prefix: str, where: str, row: str | Mapping[str, Any]) -> Question:
    """The question of one row; one that has no id of its own is `numbered`."""
    fields = parse_object(row, where) if isinstance(row, str) else row
    own = fields.get("id") or fields.get("qID")
    identity = numbered if not isinstance(own, str) else own if own.startswith(f"{prefix}/") else f"{prefix}/{own}"
    question = prompts.assemble(identity, published.read(fields, where))
    check(question, where)
    return question


def _mapped_rows(
    source: str, split: str, folder: str | None, config: str | None, mapping: MappingSpec
) -> tuple[Iterator[Row], str]:
    """The rows of any data set, each as the question the mapping makes of it, and the name of the whole.

    A path that ends as a file's is a file, a folder that is there is a folder, anything else is a hub id.
    """
    if source == "atlas" or source in PUBLISHED:
        allowed = (
            f"none with {source}, whose rows are known here; with its hub id or a folder as source, one of your own"
        )
        raise InputError(where=source, field="mapping", value=mapping.prompt, allowed=allowed)
    if source.endswith(FILE):
        for field, value in (("folder", folder), ("config", config), ("split", split if split != "all" else None)):
            if value is not None:
                raise InputError(where=source, field=field, value=value, allowed=f"no {field} with a file")
        found, prefix = rows.of_files([Path(source)]), Path(source).stem
        where = source
    else:
        clone = folder or (source if _is_folder(source) else None)
        if clone is None:
            found = rows.of_hub(source, config or "", split)
        else:
            found = rows.of_files(rows.find(rows.folders(clone, config or "", alone=config is None), (split,)))
        prefix, where = config or Path(source).name or "row", f"{source} {split}"
    return (Row(place, functools.partial(_read_mapped, mapping, f"{prefix}/{split}/{number}", prefix, place, row))
            for number, (place, row) in enumerate(found)), where  # fmt: skip


def _read_mapped(
    mapping: MappingSpec, numbered: str, prefix: str, where: str, row: str | Mapping[str, Any]
) -> Question:
    fields = parse_object(row, where) if isinstance(row, str) else row
    return mapped.question_of(fields, mapping, where=where, numbered=numbered, prefix=prefix)


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):  # ValueError: no path at all, as one with a NUL
        return False
