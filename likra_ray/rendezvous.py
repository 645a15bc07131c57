"""Where the workers of a trial meet: torch's store listens on rank 0's own address, not on every one of the machine.

torch.distributed binds its TCPStore to all interfaces, whatever MASTER_ADDR says (pytorch#173909), and whoever reaches
it can write to it. A socket handed to it (`master_listen_fd`) is the way out that torch offers; Ray Train opens the
store itself, so rank 0 learns to hand over a socket before that.
"""

from __future__ import annotations

import importlib
import socket
from dataclasses import dataclass
from typing import Any

from ray.train.torch import TorchConfig
from ray.train.torch.config import _TorchBackend


def store_at(*, host_name: str, port: int, is_master: bool = False, **options: Any) -> Any:
    """A torch.distributed.TCPStore that listens on `host_name` alone. Raises OSError where the port is taken."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    if is_master:
        listener = socket.create_server((host_name, port), family=_family(host_name))
        options["master_listen_fd"] = listener.detach()  # the store closes it
    return TCPStore(host_name=host_name, port=port, is_master=is_master, **options)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def listen_narrowly() -> None:
    """Let this process's torch open its store with `store_at`."""
    # Not `import torch.distributed.rendezvous as ...`: the package has a function of that name.
    importlib.import_module("torch.distributed.rendezvous").TCPStore = store_at  # type: ignore[attr-defined]


class _Backend(_TorchBackend):
    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        worker_group.execute_single(0, listen_narrowly)
        super().on_start(worker_group, backend_config)


@dataclass
class Rendezvous(TorchConfig):
    """Ray Train's TorchConfig with that store; Ray asks for a backend by class, so this is one of the few we derive."""

    @property
    def backend_cls(self) -> Any:
        return _Backend
