"""likra_ray: how many negative examples, of which kind, before a language model's accuracy jumps?

    from likra_ray import load_sweep, run_sweep, run_trial

Nothing heavy is imported before one of them is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from likra_ray.ledger import load_sweep
    from likra_ray.sweep import run_sweep
    from likra_ray.trial import run_trial

__version__ = "0.1.0"
__all__ = ["load_sweep", "run_sweep", "run_trial"]


def __getattr__(name: str) -> Any:
    import importlib

    homes = {"load_sweep": "ledger", "run_sweep": "sweep", "run_trial": "trial"}
    if name not in homes:
        raise AttributeError(f"module 'likra_ray' has no attribute {name!r}")
    return getattr(importlib.import_module(f"likra_ray.{homes[name]}"), name)
