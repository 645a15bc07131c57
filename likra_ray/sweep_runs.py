"""A sweep's runs in MLflow: a parent, a child for each trial. What a store does not take now is told later."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from likra_ray.material import Material
from likra_ray.records import TrialResult
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


class SweepRuns:
    """Open for writing; every write may be repeated, none raises, and none holds the driver for more than seconds."""

    def __init__(
        self, mirror: Mirror, uri: str, *, sweep: SweepSpec, root: str, material: Material, tags: Mapping[str, str]
    ) -> None:
        """root: the output folder; tags: of the parent."""
        self._mirror, self._outbox = mirror, Outbox(uri)
        self._sweep, self._root, self._material, self._tags = sweep, root, material, tags
        self._told: set[str] = set()
        self.parent: str | None = None
        """Id of the sweep's run, once it is known."""

    def begin(self) -> None:
        """The parent runs, and no child does."""
        self._outbox.put("sweep", self._parent)
        self._outbox.deliver()

    def _parent(self) -> str:
        """The sweep's run, made or found by whichever write comes first."""
        if self.parent is None:
            sweep, material = self._sweep, self._material
            questions = f"{len(material.train)} to train on, {len(material.evaluate)} to evaluate on"
            run = self._mirror.start_sweep(
                sweep=f"{self._root}/{sweep.name}",
                run_name=sweep.name,
                params={field: value for field, value in resolved(sweep).items() if not field.startswith("search.")},
                tags=self._tags,
                spec_yaml=json.dumps(sweep.model_dump(mode="json"), indent=1),
                description=f"Likra sweep {sweep.name} on {sweep.base}: {questions}, {sweep.questions.shots}-shot.",
            )
            self._mirror.close_stale(run, "KILLED")
            self.parent = run
        return self.parent

    def start_trial(self, key: str, name: str, trial: TrialSpec) -> None:
        """A trial began: its run appears."""
        self._told.discard(key)
        self._outbox.put(f"trial {key}", lambda: self._child(key, name, trial))
        self._outbox.deliver()

    def _child(self, key: str, name: str, trial: TrialSpec) -> str:
        """The trial's run, made or found."""
        return self._mirror.start_trial(
            parent=self._parent(), key=key, name=name, params=resolved(trial), tags={"sweep": self._sweep.name}
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
    ) -> str | None:
        """Bring every run up to what stands on disk and end the parent; what MLflow lacks, in one line, or None.

        ended: by key, every trial and what makes its files; one that was told already is not told again. Waits up to
        END_SECONDS for a store from which nothing is heard, after Ctrl-C not at all.
        """
        for key, (result, its_files) in ended.items():
            if key not in self._told:
                self._owe(result, its_files)

        def finish() -> None:
            parent = self._parent()
            self._mirror.close_stale(parent, "KILLED")
            self._mirror.finish_sweep(parent, status=ENDED[status], metrics=metrics, tags=tags, artifacts=files)

        self._outbox.put("end", finish)
        wait = 0.0 if status == "interrupted" else END_SECONDS
        if self._outbox.flush(wait):
            return None
        trials = sum(name.startswith("trial ") for name in self._outbox.owed)
        again = "--resume tells it" if status == "interrupted" else "the same command, once more, tells it"
        lacks = f"{trials} trials and the sweep's end" if trials else "the sweep's end"
        return f"{lacks} ({self._outbox.reason}); {again}"
