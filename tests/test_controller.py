"""What is derived of Ray Train by name exists there: a name that a release drops would be overridden in silence."""

from __future__ import annotations

import inspect

import pytest
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.train.v2.torch.torch_trainer import TorchTrainer

from likra_ray.controller import Trainer

NAMES = [
    (TorchTrainer, "_create_default_callbacks"),
    (TorchTrainer, "_initialize_and_run_controller"),
    (TorchTrainer, "_register_sigint_handler"),
    (TrainController, "worker_group_cls"),
    (TrainController, "run"),
    (TrainController, "get_result"),
    (WorkerGroup, "_create_placement_group"),
]


@pytest.mark.parametrize(("owner", "name"), NAMES, ids=lambda one: getattr(one, "__name__", one))
def test_what_is_overridden_or_called_by_name_is_there(owner: type, name: str) -> None:
    assert hasattr(owner, name)


def test_ray_train_calls_what_is_overridden() -> None:
    assert "_initialize_and_run_controller(" in inspect.getsource(TorchTrainer.fit)
    assert "self.worker_group_cls.create(" in inspect.getsource(TrainController)
    assert "self._create_placement_group(" in inspect.getsource(WorkerGroup)


def test_no_process_is_started_for_what_is_not_there() -> None:
    trainer = Trainer(lambda: None, note_room=lambda room: None)
    found = {type(one).__name__ for one in trainer._create_default_callbacks()}
    assert not found & {"DatasetsCallback", "PlacementGroupCleanerCallback"} and "BackendSetupCallback" in found
