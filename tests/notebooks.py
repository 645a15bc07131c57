"""Executes the notebooks of notebooks/, and makes their committed outputs anew from a sweep of its own.

python tests/notebooks.py            all three, in a temporary folder; writes their outputs back; about two minutes
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = ("quickstart", "compare", "weights_and_grids")
"""In the order in which a reader opens them: the others read what the first one made."""

PLACES = "OUTPUT, TRACKING_URI = "
"""How the cell begins that says where the sweep lies; a test puts its own place there."""


def source(name: str) -> Any:
    """A notebook as it is committed."""
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def executed(name: str, folder: Path, places: str = "") -> Any:
    """A notebook, run from its first cell to its last in `folder`. places: replaces the cell of PLACES."""
    notebook = source(name)
    if places:
        [cell] = [cell for cell in notebook.cells if cell.source.startswith(PLACES)]
        cell.source = PLACES + places
    os.environ["IPYTHONDIR"] = str(folder / "ipython")  # no history in the home folder
    where = {"metadata": {"path": str(folder)}}
    with tempfile.TemporaryDirectory(prefix="nb") as sockets:  # opens no port; a socket needs a short path
        config = Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}})
        client = NotebookClient(notebook, config=config, timeout=380, startup_timeout=200, resources=where)
        client.coalesce_streams = True
        client.execute()
    return notebook


def cleaned(notebook: Any) -> Any:
    """Without what differs from one run or machine to the next and teaches nothing: times, counters, standard error."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr" and not is_page(one)]
            for output in cell.outputs:
                output.pop("execution_count", None)
                if output.output_type == "execute_result":
                    output.execution_count = None
                if "data" in output:  # the text says the same, smaller
                    output["metadata"] = {}
                    output.data.pop("text/html", None)
    return notebook


def is_page(output: Any) -> bool:
    """HTML without a text of its own: Ray shows its versions so."""
    return bool(output.get("data", {}).get("text/plain", "").startswith("<IPython.core.display.HTML"))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            nbformat.write(cleaned(executed(name, Path(folder))), FOLDER / f"{name}.ipynb")
            print(f"{name}: executed", file=sys.stderr)


if __name__ == "__main__":
    main()
