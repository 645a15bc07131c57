"""Takes the name of a source and a split, returns its questions and what was left out of them, by name.

    load("atlas", split="train")                              bundled: no network, no other package
    load("arc", split="test", folder="ai2_arc")               a folder as one clones it from the hub: JSONL or parquet
    load("arc", split="test")                                 from the hub, through the package `datasets`
    load("mine.jsonl", split="all")                           a question file (questions/files.py has the layout)

Rows are checked like any question file's. Published sets hold a few that do not pass (ARC-Challenge train asks one
question twice; test labels of some sets are hidden), so `default_defects` leaves those out, each with its reason; in a
file of one's own the first defect is an error.
"""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from likra_ray.errors import InputError, Unreachable
from likra_ray.questions import prompts
from likra_ray.questions.atlas import load_atlas
from likra_ray.questions.files import Defects, Loaded, Row, check, gather, numbered_lines, parse_object, rows_of
from likra_ray.records import Question

Role = Literal["train", "evaluate"]
Rows = Iterator[tuple[str, str | Mapping[str, Any]]]
"""(place, row): a line of JSON still unread, or the row as a mapping."""


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

ALLOWED = f"atlas, {', '.join(PUBLISHED)}, or the path of a .jsonl file"


def load(source: str, *, split: str, folder: str | None = None, defects: Defects = "refuse") -> Loaded:
    """Read one split of a source, in its own order.

    source:  atlas, arc (Easy, then Challenge), arc-easy, arc-challenge, hellaswag, winogrande, openbookqa, mmlu, or a
             path that ends in .jsonl.
    folder:  where a published set's files lie; None reads it from the hub. The atlas and .jsonl files take none.
    defects: "refuse" raises at the first row that is no fit question, "leave_out" names it in `left_out`.

    Raises InputError for an unknown source or split, a folder without its files, a hub that cannot be read, a split
    with no question that can be used, and, under "refuse", a defective row.
    """
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
    """The splits of a source that can be read. Raises InputError for an unknown source."""
    if source in PUBLISHED:
        return PUBLISHED[source].splits
    if source == "atlas":
        return ("train", "test")
    if source.endswith(".jsonl"):
        return ("all",)
    raise InputError(where="questions", field="source", value=source, allowed=ALLOWED)


def default_split(source: str, role: Role) -> str:
    """The split of a source to train on or to evaluate on. Raises InputError for an unknown source or role."""
    if role not in ("train", "evaluate"):
        raise InputError(where="questions", field="role", value=role, allowed="train, evaluate")
    if source in PUBLISHED:
        return PUBLISHED[source].train if role == "train" else PUBLISHED[source].evaluate
    first, last = splits(source)[0], splits(source)[-1]
    return first if role == "train" else last


def default_defects(source: str) -> Defects:
    """What to do with defective rows unless told: refuse in a file of one's own, else leave out.

    Raises InputError for an unknown source.
    """
    return "refuse" if splits(source) == ("all",) else "leave_out"


def without_overlap(train: Sequence[Question], evaluate: Sequence[Question]) -> Loaded:
    """`train` less every question that `evaluate` asks too, named.

    Two questions are the same if prompt and set of options agree after folding compatibility forms, case, white space
    and punctuation; the order of options, their kinds and ids play no part.
    """
    asked = {_normalised(question): question.id for question in evaluate}
    twins = [asked.get(_normalised(question)) for question in train]
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


def _normalised(question: Question) -> tuple[str, frozenset[str]]:
    return _folded(question.prompt), frozenset(_folded(option.text) for option in question.options)


def _folded(text: str) -> str:
    """Words of letters and digits in folded case; a text without any keeps its signs, so + and - differ."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"\w+", plain)) or "".join(plain.split())


def _published_rows(published: Published, split: str, folder: str | None) -> Iterator[Row]:
    for config, prefix in zip(published.configs, published.prefix, strict=True):
        if folder is None:
            rows: Rows = _hub_rows(published.hub, config, split)
        else:
            places = [Path(folder, config), Path(folder, "data", config)]
            if len(published.configs) == 1:
                places += [Path(folder), Path(folder, "data")]
            rows = _file_rows(_find(places, (split, *published.aliases.get(split, ()))))
        for number, (where, row) in enumerate(rows):
            yield Row(where, functools.partial(_read, published, f"{prefix}/{split}/{number}", prefix, where, row))


def _read(published: Published, numbered: str, prefix: str, where: str, row: str | Mapping[str, Any]) -> Question:
    """The question of one row; one that has no id of its own is `numbered`."""
    fields = parse_object(row, where) if isinstance(row, str) else row
    own = fields.get("id") or fields.get("qID")
    identity = numbered if not isinstance(own, str) else own if own.startswith(f"{prefix}/") else f"{prefix}/{own}"
    question = prompts.assemble(identity, published.read(fields, where))
    check(question, where)
    return question


def _find(places: Sequence[Path], names: Sequence[str]) -> list[Path]:
    """The files of one split, in the order of their shards.

    The first folder, then the first name, then JSONL before parquet wins. Raises InputError for none or missing shards.
    """
    for place in places:
        for name in names:
            for ending in ("jsonl", "parquet"):
                pattern = re.compile(rf"{re.escape(name)}(-(\d+)-of-(\d+))?\.{ending}")
                found = sorted(path for path in place.glob(f"{name}*") if pattern.fullmatch(path.name))
                if found:
                    _all_shards(found)
                    return found
    shown = f"{places[0] / names[0]}.jsonl, or .parquet, -00000-of-00001 before the dot or not, or in {places[1]}"
    raise InputError(where="questions", field="folder", value=str(places[0]), allowed=shown)


def _all_shards(paths: Sequence[Path]) -> None:
    """Raise InputError unless the paths are one file, or every shard their names speak of."""
    totals = {int(match[1]) for path in paths if (match := re.search(r"-of-(\d+)\.", path.name))}
    if (len(paths), totals) != (1, set()) and totals != {len(paths)}:
        names = [path.name for path in paths]
        raise InputError(where=str(paths[0].parent), field="folder", value=names, allowed="every shard once")


def _file_rows(paths: Iterable[Path]) -> Rows:
    """(place, row) of each row: a line of JSONL still unread, a parquet row as a mapping, its number from 0."""
    for path in paths:
        if path.suffix == ".jsonl":
            yield from numbered_lines(path)
            continue
        import pyarrow
        import pyarrow.parquet

        try:
            table = pyarrow.parquet.read_table(path)
        except (OSError, pyarrow.ArrowException) as error:
            raise InputError(where=str(path), field="file", value=str(error), allowed="a parquet file") from None
        yield from ((f"{path} row {number}", row) for number, row in enumerate(table.to_pylist()))


def _hub_rows(hub: str, config: str, split: str) -> Rows:
    """(place, row) of each row on the hub. Raises InputError for whatever keeps it from being read."""
    name = f"{hub} {config}".strip()
    allowed = "a hub that can be read; without a network: folder: FOLDER, where the data set's files lie"
    try:
        import datasets

        rows = datasets.load_dataset(hub, config or None, split=split)
    except Exception as error:  # the hub's client raises errors of many libraries, and none tells the user what to do
        reason = f"{type(error).__name__}: {error}"
        tried = f"datasets.load_dataset({name!r}, split={split!r})"
        raise Unreachable(where=tried, field="source", value=reason, allowed=allowed) from error
    yield from ((f"{name} {split} row {number}", row) for number, row in enumerate(rows))
