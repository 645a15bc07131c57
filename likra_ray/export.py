"""The heads of a trial as standard PEFT adapters with a model card, for peft, transformers and likra_model.

python -m likra_ray.export quickstart best exported                 the trial the report opens with
python -m likra_ray.export quickstart 179205d7e89c exported --volume 128
python -m likra_ray.export quickstart best exported --push owner/name

DIR/README.md                                     model card: data, volumes, findings, licence of the base
DIR/likra.json                                    what LikraModel.from_folder reads
DIR/positive/, DIR/negative/, ...                 adapter_model.safetensors, adapter_config.json, README.md
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from likra_ray import console, exported, ledger
from likra_ray.errors import InputError
from likra_ray.ledger import Ledger
from likra_ray.likra_model import LikraModel
from likra_ray.records import TrialResult, strict_json

BEST = "best"
"""In place of a trial's key: the first seed of the configuration the report opens with."""


def export(book: Ledger, trial: str, folder: str | Path, *, volume: int | None = None) -> list[Path]:
    """Write a trial's heads into a folder that is empty or not there; returns the files.

    trial: key of a finished trial, a beginning of it that is no other's, or "best"; volume: examples every head has
    seen, None: each at its last. Raises InputError before anything is written; DamagedHead for a torn head.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(where="command line", field="DIR", value=str(folder), allowed="an empty folder, or none yet")
    files = exported.files(book.storage, book.sweep, book.material, _find(book, trial), volume=volume)
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return [folder / name for name in files]


def load_trial(book: Ledger, trial: str, *, volume: int | None = None) -> LikraModel:
    """A trial's heads on their base, ready to use: exactly what its export gives. Arguments and errors as `export`."""
    with tempfile.TemporaryDirectory() as folder:
        export(book, trial, folder, volume=volume)
        return LikraModel.from_folder(folder, base=book.material.base)


def _find(book: Ledger, trial: str) -> TrialResult:
    if trial == BEST and book.best is not None:
        return book.best
    done = {result.key: result for result in book.done}
    fitting = [result for key, result in done.items() if key.startswith(trial)]
    if len(fitting) != 1:
        raise InputError(where=f"sweep {book.sweep.name}", field="trial", value=trial,
                         allowed=f"{BEST}, or one of {sorted(done) or 'none: no trial ended well'}")  # fmt: skip
    return fitting[0]


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog=console.examples(__doc__))
def main(
    sweep: Annotated[
        str, typer.Argument(help="Name of the sweep: its folder below the output.", autocompletion=console.sweeps)
    ],
    trial: Annotated[str, typer.Argument(help="Key of a finished trial, or its beginning, or best.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; empty, or not there yet.")],
    output: Annotated[str, typer.Option(help="Folder or URI the sweep was written to.")] = console.OUTPUT,
    volume: Annotated[int | None, typer.Option(help="Examples the heads have seen; by default their last.")] = None,
    push: Annotated[str | None, typer.Option(help="Hub repository, owner/name, to upload to; private if new.")] = None,
    as_json: console.Json = False,
) -> None:
    """Write a trial's heads as PEFT adapters with a model card."""
    screen = console.screen(as_json)
    with console.exit_codes("the same command again"):
        files = export(ledger.load_sweep(sweep, output), trial, folder, volume=volume)
        screen.print(f"{len(files)} files in {folder}; read {folder}/README.md first", soft_wrap=True)
        if push is not None:
            _push(folder, push)
            screen.print(f"uploaded to {push}")
        if as_json:
            about = json.loads((folder / exported.ABOUT).read_text(encoding="utf-8"))
            print(strict_json({"folder": str(folder), "files": [str(path) for path in files], **about}))


def _push(folder: Path, repository: str) -> None:
    """Upload a folder to the hub, with the token that huggingface_hub finds."""
    from huggingface_hub import HfApi

    hub = HfApi()
    hub.create_repo(repository, private=True, exist_ok=True)
    hub.upload_folder(repo_id=repository, folder_path=folder)


if __name__ == "__main__":
    console.run(app)
