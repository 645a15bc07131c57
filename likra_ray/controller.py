"""Ray Train's controller in the process of the trial that waits for it: four processes fewer for a trial of a sweep.

Ray Train starts an actor for its controller, one that frees the workers' room should that die, and one that hands out
parts of data sets; Tune starts one that carries reports from one to the other. Each imports Ray, which takes a second
or three, and looks around ever after: 14 of the 25 processor seconds that a trial cost beside its worker (docs/LOG.md,
2026-11-28). A trial of a sweep is an actor already, has no such data sets, and its driver frees its room. Ray Train has
no switch for any of it, so four of its classes are derived here, by names that only this release is known to have
(tests/test_controller.py; pyproject.toml bounds Ray).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import ray
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.train.v2.torch.torch_trainer import TorchTrainer


class Trainer(TorchTrainer):
    """TorchTrainer that looks after its workers from this process where that is an actor; elsewhere as Ray's own."""

    def __init__(self, *args: Any, note_room: Callable[[Any], None], **given: Any) -> None:
        """note_room: takes the placement group of the workers before they have it: Ray keeps one whose actor died for
        as long as the job lives."""
        super().__init__(*args, **given)
        self._note_room = note_room

    def _create_default_callbacks(self) -> list[Any]:
        # The room of a driver's own workers ends with its job, and Ray's cleaner fails where two Rays run here.
        unused = (DatasetsCallback, PlacementGroupCleanerCallback)
        return [one for one in super()._create_default_callbacks() if not isinstance(one, unused)]

    def _register_sigint_handler(self, controller: Any) -> None:
        """Ray's handler ends the process without a word; without one Ctrl-C is a KeyboardInterrupt, as everywhere."""

    def _initialize_and_run_controller(self, **arguments: Any) -> Any:
        if not _in_actor():
            return super()._initialize_and_run_controller(**arguments)
        note_room = self._note_room

        class NotedWorkers(WorkerGroup):
            def _create_placement_group(self, *args: Any, **given: Any) -> Any:
                handle = super()._create_placement_group(*args, **given)
                note_room(handle.placement_group)
                return handle

        class Controller(TrainController):
            worker_group_cls = NotedWorkers

        controller = Controller(**arguments)
        asyncio.run(controller.run())  # type: ignore[no-untyped-call]
        return controller.get_result()


def _in_actor() -> bool:
    return ray.get_runtime_context().get_actor_id() is not None
