"""Two ways to make the same step: plain PyTorch, and DeepSpeed ZeRO 0-3.

Both take the loss as this rank's and micro-batch's share of one global mean (summed over ranks and micro-batches it
is the mean over the answer tokens of the whole batch), so a head does not depend on how many workers made it.
Adapters and Adam's state are fp32 in every precision. State is read and written whole, per parameter: a head begun
under one engine or number of workers goes on under another.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Protocol

import torch
import torch.distributed as dist

BETAS, EPSILON = (0.9, 0.999), 1e-8
"""Adam's published defaults (Kingma & Ba 2015), which the paper's code keeps."""

MOMENTS = ("exp_avg", "exp_avg_sq")


class Engine(Protocol):
    """One head's optimizer around a model."""

    model: Any
    """Call it for a forward pass."""
    every_row: bool
    """Whether `backward` may be called once for every row of a micro-batch (its graph is then freed); else once."""

    def backward(self, loss: torch.Tensor) -> None:
        """Add this micro-batch's gradient. loss: scalar, this rank's share of the batch's mean, nats per token."""

    def step(self) -> None:
        """One Adam step on the gradient of the whole batch, after all its micro-batches."""

    def state(self) -> dict[str, torch.Tensor]:
        """Adam's moments, whole, on the CPU: ``<parameter>/exp_avg``; every rank calls it."""

    def load_state(self, state: Mapping[str, torch.Tensor], steps: int) -> None:
        """Go on after `steps` steps."""

    def close(self) -> None:
        """Free buffers and hooks; the model stays."""


class PlainEngine:
    """torch.optim.Adam; gradients are summed over ranks."""

    every_row = True

    def __init__(self, model: Any, named: Mapping[str, torch.nn.Parameter], learning_rate: float) -> None:
        self.model = model
        self._named = dict(named)
        self._optimizer = _adam(self._named, learning_rate)

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()

    def step(self) -> None:
        if dist.is_initialized() and dist.get_world_size() > 1:
            gradients = [p.grad for p in self._named.values() if p.grad is not None]
            flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
            dist.all_reduce(flat)
            for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(part.view_as(gradient))
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, torch.Tensor]:
        return _client_state(self._optimizer, self._named)

    def load_state(self, state: Mapping[str, torch.Tensor], steps: int) -> None:
        _load_client_state(self._optimizer, self._named, state, steps)

    def close(self) -> None:
        self._optimizer.zero_grad(set_to_none=True)


class DeepSpeedEngine:
    """DeepSpeed around the same Adam; stage 1-3 partition its state, stage 3 the base too."""

    every_row = False  # it counts calls as micro-batches and reduces over ranks in the last

    def __init__(
        self,
        model: Any,
        named: Mapping[str, torch.nn.Parameter],
        learning_rate: float,
        *,
        stage: int,
        accumulation: int,
        batch_size: int,
    ) -> None:
        deepspeed = _deepspeed()
        # Without this DeepSpeed compiles an op for inference on CPUs (half a minute, never used here), and a process
        # killed meanwhile leaves a lock in the compiler's cache that every later one waits for, for ever.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        self._named, self._stage, self._accumulation = dict(named), stage, accumulation
        self._world = dist.get_world_size()
        config = {
            "train_batch_size": batch_size,
            "gradient_accumulation_steps": accumulation,
            "zero_optimization": {"stage": stage},
            "steps_per_print": 10**9,
        }
        optimizer = _adam(self._named, learning_rate)
        self.model, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config, dist_init_required=False)

    def backward(self, loss: torch.Tensor) -> None:
        # DeepSpeed divides by the accumulation steps and averages over ranks; the loss is already a share of the mean.
        self.model.backward(loss * (self._accumulation * self._world))
        if not self.model.is_gradient_accumulation_boundary():
            self.model.step()

    def step(self) -> None:
        self.model.step()

    def state(self) -> dict[str, torch.Tensor]:
        if self._stage == 0:
            return _client_state(self.model.optimizer, self._named)
        from deepspeed.utils import safe_get_full_optimizer_state

        return {
            f"{name}/{moment}": safe_get_full_optimizer_state(parameter, moment).detach().cpu().clone()
            for name, parameter in self._named.items()
            for moment in MOMENTS
        }

    def load_state(self, state: Mapping[str, torch.Tensor], steps: int) -> None:
        if self._stage == 0:
            _load_client_state(self.model.optimizer, self._named, state, steps)
            return
        from deepspeed.utils import safe_set_full_optimizer_state

        # ZeRO makes Adam's state in its first step; here the state comes first, over the flat partitions it keeps.
        zero = self.model.optimizer
        partitions = zero.fp32_partitioned_groups_flat if self._stage == 3 else zero.single_partition_of_fp32_groups
        for flat in partitions:
            zero.optimizer.state[flat] = _fresh_state(flat, steps)
        if self._stage < 3:
            zero._lazy_init_hp_params_optimizer_state()
        for name, parameter in self._named.items():
            for moment in MOMENTS:
                safe_set_full_optimizer_state(parameter, state[f"{name}/{moment}"].to(parameter.device), moment)

    def close(self) -> None:
        self.model.destroy()


def _adam(named: Mapping[str, torch.nn.Parameter], learning_rate: float) -> torch.optim.Adam:
    """On a CPU one operator for all parameters, which torch does not choose by itself; elsewhere torch chooses."""
    fused = True if all(parameter.device.type == "cpu" for parameter in named.values()) else None
    return torch.optim.Adam(named.values(), lr=learning_rate, betas=BETAS, eps=EPSILON, fused=fused)


def _deepspeed() -> Any:
    """DeepSpeed, imported without MLflow: its autotuner, which nobody calls here, loads that for a second."""
    absent = "mlflow" not in sys.modules
    if absent:
        sys.modules["mlflow"] = None  # type: ignore[assignment]  # an import of None fails
    try:
        import deepspeed
    finally:
        if absent:
            sys.modules.pop("mlflow", None)
    return deepspeed


def _fresh_state(parameter: torch.Tensor, steps: int) -> dict[str, torch.Tensor]:
    moments = {moment: torch.zeros_like(parameter, requires_grad=False) for moment in MOMENTS}
    return {"step": torch.tensor(float(steps)), **moments}


def _client_state(optimizer: torch.optim.Optimizer, named: Mapping[str, torch.nn.Parameter]) -> dict[str, torch.Tensor]:
    return {
        f"{name}/{moment}": optimizer.state[parameter][moment].detach().cpu().clone()
        for name, parameter in named.items()
        for moment in MOMENTS
    }


def _load_client_state(
    optimizer: torch.optim.Optimizer,
    named: Mapping[str, torch.nn.Parameter],
    state: Mapping[str, torch.Tensor],
    steps: int,
) -> None:
    for name, parameter in named.items():
        fresh = _fresh_state(parameter, steps)
        for moment in MOMENTS:
            fresh[moment].copy_(state[f"{name}/{moment}"])
        optimizer.state[parameter] = fresh
