"""A sweep's runs in MLflow: a parent, a child for each trial. What a store does not take now is told later."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from likra_ray import material as materials
from likra_ray.material import Material
from likra_ray.question_spec import Sources
from likra_ray.records import KINDS, Question, TrialResult
from likra_ray.reporting.mlflow_inputs import QuestionSet
from likra_ray.reporting.outbox import END_SECONDS, Outbox
from likra_ray.settings import resolved
from likra_ray.spec import SweepSpec, TrialSpec

if TYPE_CHECKING:
    from likra_ray.reporting.tracking import Mirror

ENDED: dict[str, Literal["FINISHED", "FAILED", "KILLED"]] = {
    "interrupted": "KILLED",
    "done": "FINISHED",
    "failed": "FAILED",
}
"""MLflow's word for how a sweep ended."""
NOTE = "mlflow.note.content"
"""The tag that MLflow's pages show as a description."""
SWEEP, MODEL, END = "sweep", "model", "end"
"""Names of the outbox's writes besides those of trials."""


class Found(NamedTuple):
    """What a sweep that is done adds to its experiment."""

    short: str
    whole: str
    """Its verdicts as Markdown (outcomes.Said)."""
    best: TrialResult
    """The trial whose heads MLflow gets as a model."""
    heads: Callable[[], Mapping[str, bytes]]
    """Makes the files of their export (exported.py); none where they cannot be had."""


class SweepRuns:
    """Open for writing; every write may be repeated, none raises, and none holds the driver for more than seconds."""

    def __init__(
        self, mirror: Mirror, uri: str, *, sweep: SweepSpec, root: str, material: Material, tags: Mapping[str, str]
    ) -> None:
        """root: the output folder; tags: of the parent."""
        self._mirror, self._outbox = mirror, Outbox(uri)
        self._sweep, self._root, self._material, self._tags = sweep, root, material, tags
        self._train, self._evaluate = question_sets(sweep, material)
        self._told: set[str] = set()
        self.parent: str | None = None
        """Id of the sweep's run, once it is known."""

    def begin(self) -> None:
        """The parent runs, and no child does."""
        self._outbox.put(SWEEP, self._parent)
        self._outbox.deliver()

    def _parent(self) -> str:
        """The sweep's run, made or found by whichever write comes first."""
        if self.parent is None:
            sweep = self._sweep
            run = self._mirror.start_sweep(
                sweep=f"{self._root}/{sweep.name}",
                run_name=sweep.name,
                params={field: value for field, value in resolved(sweep).items() if not field.startswith("search.")},
                tags=self._tags,
                spec_yaml=json.dumps(sweep.model_dump(mode="json"), indent=1),
                description=self._description(),
                asked=(self._train, self._evaluate),
            )
            self._mirror.close_stale(run, "KILLED")
            self.parent = run
        return self.parent

    def _description(self, verdicts: str = "") -> str:
        """Of the parent, as Markdown. verdicts: what was found, once it is known."""
        sweep, material = self._sweep, self._material
        questions = f"{len(material.train)} to train on, {len(material.evaluate)} to evaluate on"
        about = f"Likra sweep {sweep.name} on {sweep.base}: {questions}, {sweep.questions.shots}-shot."
        return f"{about}\n\n{verdicts}".rstrip()

    def start_trial(self, key: str, name: str, trial: TrialSpec) -> None:
        """A trial began: its run appears."""
        self._told.discard(key)
        self._outbox.put(f"trial {key}", lambda: self._child(key, name, trial))
        self._outbox.deliver()

    def _child(self, key: str, name: str, trial: TrialSpec) -> str:
        """The trial's run, made or found."""
        return self._mirror.start_trial(
            parent=self._parent(),
            key=key,
            name=name,
            params=resolved(trial),
            tags={"sweep": self._sweep.name},
            asked=(self._train, self._evaluate),
        )

    def end_trial(self, result: TrialResult, files: Callable[[], Mapping[str, bytes]]) -> None:
        """A trial ended. files: makes those that belong to its run."""
        self._owe(result, files)
        self._outbox.deliver()

    def _owe(self, result: TrialResult, files: Callable[[], Mapping[str, bytes]]) -> None:
        def write() -> None:
            if not self._mirror.has(self._parent(), result):
                run = self._child(result.key, result.name, TrialSpec.model_validate(result.spec))
                self._mirror.finish_trial(run, result, files)
            self._told.add(result.key)

        self._outbox.put(f"trial {result.key}", write)

    def end(
        self,
        status: str,
        *,
        ended: Mapping[str, tuple[TrialResult, Callable[[], Mapping[str, bytes]]]],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        files: Mapping[str, bytes],
        found: Found | None = None,
    ) -> str | None:
        """Bring every run up to what stands on disk and end the parent; what MLflow lacks, in one line, or None.

        ended: by key, every trial and what makes its files; one that was told already is not told again. found: of a
        sweep that is done. Waits up to END_SECONDS for a store from which nothing is heard, after Ctrl-C not at all.
        """
        for key, (result, its_files) in ended.items():
            if key not in self._told:
                self._owe(result, its_files)

        def finish() -> None:
            parent = self._parent()
            self._mirror.close_stale(parent, "KILLED")
            if found is not None:
                self._mirror.describe(f"Last finished sweep: {found.short}")
            noted = {**tags, NOTE: self._description(found.whole)} if found is not None else tags
            self._mirror.finish_sweep(parent, status=ENDED[status], metrics=metrics, tags=noted, artifacts=files)

        if found is not None:
            self._outbox.put(MODEL, lambda: self._model(found))
        self._outbox.put(END, finish)
        wait = 0.0 if status == "interrupted" else END_SECONDS
        if self._outbox.flush(wait):
            return None
        again = "--resume tells it" if status == "interrupted" else "the same command, once more, tells it"
        return f"{_lacks(self._outbox.owed)} ({self._outbox.reason}); {again}"

    def _model(self, found: Found) -> None:
        """The heads of the best trial, at the end alone: no trial waits for them, and no other's are looked for."""
        self._mirror.log_model(self._parent(), found.best, found.heads, self._evaluate)


def _lacks(owed: Sequence[str]) -> str:
    """What a store was not told, in words. owed: names of writes."""
    trials = sum(name.startswith("trial ") for name in owed)
    parts = {
        f"{trials} trials": trials > 0,
        "the best trial's heads": MODEL in owed,
        "the sweep's end": END in owed or SWEEP in owed,
    }
    return " and ".join(part for part, lacking in parts.items() if lacking)


def question_sets(sweep: SweepSpec, material: Material) -> tuple[QuestionSet, QuestionSet]:
    """What heads learn from and what they are asked, as MLflow is told of it."""
    questions = sweep.questions
    return (
        _question_set("train", questions.train, material.train, material.digests["train"]),
        _question_set("evaluate", questions.evaluate, material.evaluate, material.digests["evaluate"]),
    )


def _question_set(role: str, sources: Sources, questions: Sequence[Question], content: str) -> QuestionSet:
    kinds = [option.kind for question in questions for option in question.options]
    return QuestionSet(
        name=materials.named(sources),
        role=role,
        content=content,
        sources=[{"source": materials.name(one), "split": one.split, "limit": one.limit} for one in sources],
        profile={"num_rows": len(questions), "options": len(kinds), **{kind: kinds.count(kind) for kind in KINDS}},
    )
