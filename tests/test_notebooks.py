"""The notebooks run from their first cell to their last, and what is committed of their outputs is real and small."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from typing import Any

import pytest

import notebooks

LARGEST = 40_000
"""Bytes of a committed output; a small picture has 15,000."""


def texts(notebook: Any) -> str:
    """All that a notebook printed or showed as text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", notebooks.NAMES)
def test_a_notebook_runs(
    name: str,
    smoke_sweep: tuple[Path, subprocess.CompletedProcess[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beside a sweep that is finished, so that Ray is started once for all: quickstart's own call reads it."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    folder, _ = smoke_sweep
    before = {path: path.stat().st_mtime_ns for path in (folder / "out/heads").rglob("*") if path.is_file()}
    ran = notebooks.executed(name, tmp_path, f'"{folder}/out", "sqlite:///{folder}/mlflow.db"')
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "out/heads").rglob("*") if path.is_file()}

    said, committed = texts(ran), notebooks.source(name)
    assert {"quickstart": "none found: 4 volumes", "compare": "each exactly the one on disk",
            "weights_and_grids": "the trial's own learning curve"}[name] in said  # fmt: skip
    shapes = [[cell.source.startswith(notebooks.PLACES) or cell.source, _kinds(cell)] for cell in ran.cells]
    assert shapes == [
        [cell.source.startswith(notebooks.PLACES) or cell.source, _kinds(cell)] for cell in committed.cells
    ]


def _kinds(cell: Any) -> list[str]:
    """Of a cell's outputs that `cleaned` keeps."""
    kept = [one for one in cell.get("outputs", []) if one.get("name") != "stderr" and not notebooks.is_page(one)]
    return [one.output_type for one in kept]


@pytest.mark.parametrize("name", notebooks.NAMES)
def test_committed_outputs(name: str) -> None:
    """There, small, of no particular machine or moment."""
    notebook = notebooks.source(name)
    assert texts(notebook)
    assert "find_spec" in notebook.cells[1].source and not notebook.cells[1].outputs
    for cell in notebook.cells:
        assert not cell.metadata
        for output in cell.get("outputs", []):
            assert output.output_type != "error" and len(str(output)) < LARGEST
            picture = output.get("data", {}).get("image/png")
            assert picture is None or base64.b64decode(picture).startswith(b"\x89PNG")
        assert cell.get("execution_count") is None
    assert not [where for where in ("/home/", "/root/", "/tmp/", "/Users/") if where in texts(notebook)]
