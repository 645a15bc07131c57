"""What came out: immutable records that every part of the house passes on. numpy and pyarrow only.

question -> score table -> learning curve -> critical phase -> trial result (docs/design/ has the contracts).
"""

from __future__ import annotations

import builtins
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.ipc

Kind = Literal["correct", "near_miss", "far"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Metric = Literal["acc", "acc_norm", "acc_bytes"]
METRICS: tuple[Metric, ...] = get_args(Metric)


@dataclass(frozen=True, kw_only=True)
class Option:
    """One answer a question offers."""

    text: str
    """As the model reads it after one space; no space at either end."""
    kind: Kind
    """correct; near_miss: wrong and plausible; far: wrong and of another sort."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A prompt and its options, at least one of them correct and one wrong."""

    id: str
    """Unique within its source; keeps the fact it asks about after the last slash where there is one."""
    prompt: str
    """All that stands before the answer, ``Question: ...\\nAnswer:`` included; no space at its end."""
    options: tuple[Option, ...]

    @property
    def correct(self) -> Option:
        """The first correct option."""
        return next(option for option in self.options if option.kind == "correct")

    def to_json(self) -> dict[str, Any]:
        """The JSONL layout of design section 5."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Question:
        """Back from `to_json`; the row is taken as valid (questions.files checks what users write)."""
        options = tuple(Option(text=o["text"], kind=o["kind"]) for o in row["options"])
        return cls(id=row["id"], prompt=row["prompt"], options=options)


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreTable:
    """Log-probability of every option (O in all) of every question (Q) under one head at one volume."""

    question_ids: tuple[str, ...]
    """(Q,) in the order of evaluation."""
    question: np.ndarray
    """(O,) int32: index into question_ids, never decreasing; a question's options stay in their order."""
    kind: np.ndarray
    """(O,) int8: index into KINDS."""
    logprob: np.ndarray
    """(O,) float64, nats: sum over the option's tokens of log p(token | everything before it)."""
    tokens: np.ndarray
    """(O,) int32: tokens summed over."""
    characters: np.ndarray
    """(O,) int32: characters of the option's text, the space before it not counted."""
    bytes: np.ndarray
    """(O,) int32: the same in UTF-8 bytes."""
    meta: Mapping[str, str] = field(default_factory=dict)
    """head, volume, evaluation, base: whose scores these are."""

    def to_arrow(self) -> builtins.bytes:
        """One Arrow IPC file: a row per option, `meta` and the question ids in the schema's metadata."""
        columns = {name: getattr(self, name) for name in _SCORE_COLUMNS}
        metadata = {"question_ids": json.dumps(self.question_ids), "meta": json.dumps(dict(self.meta))}
        table = pa.table(columns).replace_schema_metadata(metadata)
        sink = io.BytesIO()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        return sink.getvalue()

    @classmethod
    def from_arrow(cls, data: builtins.bytes) -> ScoreTable:
        """Back from `to_arrow`, bit for bit. Raises pyarrow.ArrowInvalid on torn bytes."""
        table = pa.ipc.open_file(io.BytesIO(data)).read_all()
        metadata = table.schema.metadata
        columns = {name: table[name].to_numpy() for name in _SCORE_COLUMNS}
        return cls(
            question_ids=tuple(json.loads(metadata[b"question_ids"])),
            meta=json.loads(metadata[b"meta"]),
            **columns,
        )


_SCORE_COLUMNS = ("question", "kind", "logprob", "tokens", "characters", "bytes")


@dataclass(frozen=True, kw_only=True, eq=False)
class LearningCurve:
    """One arm's outcome on every question at every volume, from one or more seeds."""

    arm: str
    metric: Metric
    question_ids: tuple[str, ...]
    volumes: np.ndarray
    """(V,) int64, increasing: training examples each head of the arm has seen."""
    outcomes: np.ndarray
    """(S, V, Q) float64 in [0, 1]: credit; 1 right, 0 wrong, a share where options tie; NaN: not measured."""
    margins: np.ndarray
    """(S, V, Q) float64, nats: score of the best correct option minus that of the best wrong one."""


@dataclass(frozen=True, kw_only=True)
class CriticalPhase:
    """The stretch of a learning curve where accuracy jumps, or why none was found.

    onset, midpoint and end are volumes (examples), gain is accuracy; intervals are 95 %; all None unless found.
    """

    found: bool
    reason: str
    """One plain sentence: what the verdict rests on."""
    onset: float | None = None
    end: float | None = None
    midpoint: float | None = None
    gain: float | None = None
    onset_interval: tuple[float, float] | None = None
    end_interval: tuple[float, float] | None = None
    midpoint_interval: tuple[float, float] | None = None
    gain_interval: tuple[float, float] | None = None
    questions: int = 0
    """Questions the verdict rests on."""
    seeds: int = 0
    """Seeds the verdict rests on."""
    tested: bool = True
    """False: too few volumes or questions to look for one, so "none found" says nothing."""


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """Accuracy of one arm at one volume, with its 95 % interval over questions (and seeds where several)."""

    volume: int
    accuracy: float
    interval: tuple[float, float]
    questions: int
    seeds: int


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """All that one trial leaves behind; the file ``trials/<key>/result.json`` is exactly this."""

    key: str
    name: str
    """As people read it: ``near_miss_share=0.5 learning_rate=0.0005 seed=0 negatives=512``."""
    status: Literal["done", "failed"]
    reason: str | None
    """Why it failed, in one line; None when done."""
    spec: dict[str, Any]
    """The resolved TrialSpec."""
    sampled: dict[str, Any]
    """What the search chose, by field."""
    heads: dict[str, str]
    """base, positive, negative, and every baseline: keys in the store of heads."""
    evaluation: str
    """Key of the evaluation the score tables belong to."""
    curves: dict[str, list[CurvePoint]]
    """By arm (base, sft, likra, base_likra, ...), metric ``acc``, in order of volume."""
    metrics: dict[str, dict[int, float]]
    """By name, then volume: what MLflow shows at step = volume."""
    phase: dict[str, CriticalPhase]
    """By arm."""
    trained: dict[str, int]
    """Examples trained by this trial, by head: 0 where the store had the head already."""
    seconds: dict[str, float]
    """Wall-clock seconds by part: start, train, score, all."""
    prior_evaluation: str | None = None
    """Key of the evaluation after a bare "Answer:", where the trial has one."""
    answer_tokens: dict[str, dict[int, int]] = field(default_factory=dict)
    """By role, then volume: answer tokens the head has learnt from then; {} in results older than the count."""
    retried: list[str] = field(default_factory=list)
    """Why its workers were started again, one line each time; [] also in results older than that."""
    repaired: list[str] = field(default_factory=list)
    """Files of the store it found damaged and did not use: made again where they were needed."""

    def to_json(self) -> str:
        """Strict JSON: NaN is null."""
        return strict_json(self)

    @classmethod
    def from_json(cls, text: str) -> TrialResult:
        """Back from `to_json`: null in a metric is NaN again, volumes are ints again."""
        row = json.loads(text)
        row["curves"] = {arm: [_point(point) for point in points] for arm, points in row["curves"].items()}
        row["metrics"] = {name: {int(v): _nan(x) for v, x in by.items()} for name, by in row["metrics"].items()}
        tokens = row.get("answer_tokens", {})
        row["answer_tokens"] = {role: {int(v): n for v, n in by.items()} for role, by in tokens.items()}
        row["phase"] = {arm: phase_from_json(phase) for arm, phase in row["phase"].items()}
        return cls(**row)


def phase_from_json(row: Mapping[str, Any]) -> CriticalPhase:
    """A CriticalPhase from its JSON object: lists become the pairs they were."""
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return CriticalPhase(**fields)


def _point(row: Mapping[str, Any]) -> CurvePoint:
    interval = (_nan(row["interval"][0]), _nan(row["interval"][1]))
    return CurvePoint(**{**row, "accuracy": _nan(row["accuracy"]), "interval": interval})


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value


def strict_json(value: Any) -> str:
    """JSON of records and of plain values: NaN and the infinities are null, a record is an object by field."""
    return json.dumps(_plain(value), indent=1, allow_nan=False)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
