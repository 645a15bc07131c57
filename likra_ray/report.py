"""The report of a sweep, made again from what lies in its folder: no Ray, no model, nothing is trained.

python -m likra_ray.report quickstart                       results/quickstart/report.html
python -m likra_ray.report quickstart --output s3://B/likra
"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from likra_ray import console, ledger
from likra_ray.records import strict_json
from likra_ray.reporting import words

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog=console.examples(__doc__))
def main(
    sweep: Annotated[
        str, typer.Argument(help="Name of the sweep: its folder below the output.", autocompletion=console.sweeps)
    ],
    output: Annotated[str, typer.Option(help="Folder or URI the sweep was written to.")] = console.OUTPUT,
    as_json: console.Json = False,
) -> None:
    """Write report.html, figures/ and data/ of a sweep into its folder, and print its five verdicts."""
    screen = console.screen(as_json)
    with console.exit_codes("the same command again"):
        book = ledger.load_sweep(sweep, output)
        files = book.write_report()
        if as_json:
            print(strict_json(book.as_json()))
            return
        found = book.sweep_findings()
        for verdict in found.verdicts if found is not None else ():
            claim = f"{words.CLAIMS[verdict.subject]}: {words.SHOWN[verdict.found]}"
            screen.print(claim, style="bold", highlight=False, markup=False)
            screen.print(Padding(Text(verdict.sentence), (0, 0, 0, 2), expand=False))
        if found is None:
            screen.print("No trial ended well, so there is no finding; the report says what failed.")
        folder = f"{book.storage.root}/{book.sweep.name}"
        screen.print(f"report: {folder}/report.html and {len(files) - 1} files beside it", soft_wrap=True)


if __name__ == "__main__":
    console.run(app)
