"""What ran: versions of what the numbers depend on, the code's revision, and addresses fit to be shown."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

import likra_ray
from likra_ray.errors import without_secret

__all__ = ["provenance", "without_secret"]

PACKAGES = ("torch", "transformers", "peft", "deepspeed", "ray", "mlflow", "optuna")
"""Packages a result depends on; their versions are read without importing them."""

UNKNOWN = "unknown"

GIT_SECONDS = 10.0
"""Longest wait for git; a folder on a slow network drive is then of unknown revision."""


def provenance() -> dict[str, str]:
    """Versions by name (python, platform, likra_ray, PACKAGES) and ``git``: the commit, with ``-dirty`` where a tracked
    file differs from it, or ``unknown`` where the package does not run from a checkout of its own."""
    versions = {name: _version(name) for name in PACKAGES}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "likra_ray": likra_ray.__version__,
        **versions,
        "git": _revision(Path(likra_ray.__file__).parent),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _revision(folder: Path) -> str:
    """Of the checkout that tracks `folder`; a virtual environment inside somebody's checkout is not tracked by it."""
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return UNKNOWN
    return _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*") or UNKNOWN


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None where it fails or is not there."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
