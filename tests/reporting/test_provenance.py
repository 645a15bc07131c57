"""Versions without imports, revisions of checkouts only, addresses without secrets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from likra_ray.reporting import provenance as module
from likra_ray.reporting.provenance import PACKAGES, provenance, without_secret


def test_versions() -> None:
    found = provenance()
    assert set(found) == {"python", "platform", "likra_ray", "git", *PACKAGES}
    assert all(found.values())


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from likra_ray.reporting import tracking, summary, figures; tracking.provenance(); "
        "print([m for m in ('mlflow', 'torch', 'ray', 'matplotlib', 'sqlalchemy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGES", ("no-such-package-of-likra-ray",))
    assert provenance()["no-such-package-of-likra-ray"] == "not installed"


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e@x", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_revision_of_a_checkout(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assert module._revision(package) == "unknown"
    git(tmp_path, "init", "--quiet")
    assert module._revision(package) == "unknown", "a package that the checkout does not track is not of it"
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert module._revision(package) == commit
    (package / "__init__.py").write_text("changed = True\n")
    assert module._revision(package) == f"{commit}-dirty"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
        ("http://host:5000", "http://host:5000"),
        ("https://user:word@host/path", "https://host/path"),
        ("https://token@host", "https://host"),
        ("postgresql+psycopg2://u:a/b@c@host:5432/db?password=x", "postgresql+psycopg2://host:5432/db"),
        ("mlruns", "mlruns"),
    ],
)
def test_secrets_are_left_out(uri: str, shown: str) -> None:
    assert without_secret(uri) == shown
