"""What the shell sees of a command that was typed wrongly, and of what our code warns of."""

from __future__ import annotations

import subprocess
import sys

import pytest

from likra_ray import console, sweep, trial

TYPED = [
    (sweep.app, ["--resum"], "No such option: --resum"),
    (sweep.app, ["a.yaml", "b.yaml"], "unexpected extra argument"),
    (trial.app, ["--output"], "'--output' requires an argument"),
]


@pytest.mark.parametrize(("app", "arguments", "said"), TYPED, ids=[" ".join(typed) for _, typed, _ in TYPED])
def test_a_mistyped_command_exits_2_with_one_line(
    app: object, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["likra_ray", *arguments])
    with pytest.raises(SystemExit) as ended:
        console.run(app)  # type: ignore[arg-type]
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert said in error and error.count("\n") == 1


def test_help_ends_well(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["likra_ray", "--help"])
    console.run(sweep.app)
    assert "--dry-run" in capsys.readouterr().out


WARNS = """
from likra_ray import console, holdings
with console.ray_session(show_workers=False):
    holdings.log.warning("heard")
"""


@pytest.mark.ray
@pytest.mark.slow
def test_what_our_own_code_warns_of_is_heard_while_ray_runs() -> None:
    ended = subprocess.run([sys.executable, "-c", WARNS], capture_output=True, text=True, timeout=120, check=True)
    assert ended.stderr == "heard\n"
