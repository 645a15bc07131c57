"""The questions of a sweep and the base they are put to: loaded by the driver, read by workers on any machine."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from likra_ray.errors import InputError
from likra_ray.question_spec import Sources, SourceSpec
from likra_ray.questions import controls, sources
from likra_ray.records import Question
from likra_ray.storage import Storage


@dataclass(frozen=True, kw_only=True)
class Material:
    """The questions of a sweep and the base they are put to."""

    base: str
    """As the spec names it."""
    identity: str
    """Of the base's weights and tokenizer."""
    train: tuple[Question, ...]
    """What heads learn from; solved examples and questions that are evaluated on too are not among them."""
    shots: tuple[Question, ...]
    """Solved examples before each evaluated question."""
    evaluate: tuple[Question, ...]
    others: tuple[Question, ...]
    """Of another data set, for far answers; often none."""
    left_out: tuple[tuple[str, str], ...]
    """(id, reason) of every question that was not used."""
    chat: bool = False
    """Prompts and answers are turns of the base's chat template."""

    def to_json(self) -> str:
        """What workers read back."""
        lists = {name: [question.to_json() for question in getattr(self, name)] for name in _LISTS}
        rest: dict[str, Any] = {"base": self.base, "identity": self.identity, "left_out": self.left_out}
        rest |= {"chat": True} if self.chat else {}  # not where it is false: older files keep their names
        return json.dumps({**rest, **lists}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Material:
        """Back from `to_json`."""
        row = json.loads(text)
        for name in _LISTS:
            row[name] = tuple(Question.from_json(question) for question in row[name])
        row["left_out"] = tuple((identity, reason) for identity, reason in row["left_out"])
        return cls(**row)

    @functools.cached_property
    def name(self) -> str:
        """Its file below the output folder, named by content."""
        return f"questions/{hashlib.sha256(self.to_json().encode()).hexdigest()[:16]}.json"

    @functools.cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each list of questions, by its name."""
        return {name: questions_digest(getattr(self, name)) for name in _LISTS}

    @functools.cached_property
    def unasked(self) -> tuple[Question, ...]:
        """The evaluated questions with a bare "Answer:" as their prompt. Raises InputError where one ends otherwise."""
        return controls.unasked(self.evaluate)

    @functools.cached_property
    def unasked_digest(self) -> str:
        """SHA-256 of `unasked`."""
        return questions_digest(self.unasked)


_LISTS = ("train", "shots", "evaluate", "others")


def load(
    specs: Iterable[SourceSpec], role: sources.Role, *, asked_for: str | None = None
) -> tuple[list[Question], list[tuple[str, str]]]:
    """All questions of several sources, ids unique, each asked once, and what was left out.

    asked_for: the field of the search space that needs prompts ending in "Answer:"; None: any prompt will do. Raises
    InputError, naming the source, for one that ends otherwise.
    """
    questions: list[Question] = []
    left_out: list[tuple[str, str]] = []
    for spec in specs:
        through = spec.mapping is not None
        loaded = sources.load(
            spec.source,
            split=spec.split or sources.default_split(spec.source, role, mapped=through),
            folder=spec.folder,
            config=spec.config,
            mapping=spec.mapping,
            defects=sources.default_defects(spec.source, mapped=through),
        )
        if asked_for is not None:
            controls.check_asked(loaded.questions, where=spec.source, field=asked_for)
        earlier = {sources.normalised(question): question.id for question in questions}
        for question in sources.keep(loaded.questions, spec.limit) if spec.limit else loaded.questions:
            twin = earlier.get(sources.normalised(question))
            if twin is None or twin == question.id:
                questions.append(question)
            else:
                left_out.append((question.id, f"asked before, as {twin}"))
        left_out += loaded.left_out
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise InputError(where="search space", field=f"questions.{role}", value=question.id,
                             allowed="sources whose questions have different ids")  # fmt: skip
        seen.add(question.id)
    return questions, left_out


def questions_digest(questions: Sequence[Question]) -> str:
    """SHA-256 over every field of every question, in order."""
    digest = hashlib.sha256()
    for question in questions:
        digest.update(json.dumps(question.to_json(), sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def write(material: Material, storage: Storage) -> str:
    """Put the material where workers find it; returns its name."""
    if not storage.exists(material.name):
        storage.write(material.name, material.to_json().encode())
    return material.name


def read(storage: Storage, name: str) -> Material:
    """The material of a sweep. Raises InputError for a damaged file."""
    remedy = "without it, the same sweep command writes it again"
    return storage.read_as(name, lambda data: Material.from_json(data.decode()), remedy=remedy)


def named(sources: Sources) -> str:
    """Names alone, as ``atlas and mine.jsonl``: where they lay on the machine is nobody's business."""
    return " and ".join(name(source) for source in sources)


def name(source: SourceSpec) -> str:
    """Of a source, without the folder it lay in; told by its text alone, as it may be asked on another machine."""
    words = source.source
    is_path = words.endswith(sources.FILE) or words.startswith(("/", ".", "~")) or words.count("/") > 1
    return Path(words).name if is_path else words
