"""The console script `likra_ray`: every command under one name, as `python -m likra_ray.<command>` has it.

likra_ray sweep search_spaces/quickstart.yaml --dry-run
likra_ray trial search_spaces/smoke.yaml
likra_ray locate answers.csv
likra_ray report quickstart
likra_ray export quickstart best exported
likra_ray doctor
likra_ray --install-completion
"""

from __future__ import annotations

import typer

from likra_ray import console, doctor, export, locate, report, sweep, trial

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="How many negative examples, of which kind, before a language model's accuracy jumps?",
    epilog="Each command has its own --help. Exit codes: 0 done, 1 the work failed, 2 the input is wrong, 130 Ctrl-C.",
)
for module in (sweep, trial, locate, report, export, doctor):
    shown = console.examples(module.__doc__).replace("python -m likra_ray.", "likra_ray ")
    app.command(module.__name__.rpartition(".")[2], epilog=shown)(module.main)


def main() -> None:
    """Entry point of the console script."""
    console.run(app)


if __name__ == "__main__":
    main()
