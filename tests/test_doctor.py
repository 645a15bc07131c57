"""The doctor on this machine, and on what is broken by hand; the console script has every command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from likra_ray import cli, doctor

COMMANDS = ("sweep", "trial", "locate", "report", "export", "doctor")


@pytest.mark.ray
@pytest.mark.slow
def test_a_sound_machine_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(doctor.app, ["--output", str(tmp_path / "out")])
    by_name = {line[8:19].strip(): line for line in ended.stdout.splitlines()}
    assert ended.exit_code == 0, ended.stdout
    for name in ("packages", "base", "output", "DeepSpeed", "Ray", "MLflow"):
        assert by_name[name].startswith("ok"), ended.stdout
    assert by_name["hub"].startswith("absent") and "questions.*.folder" in by_name["hub"]
    assert not (tmp_path / "mlflow.db").exists(), "looking left something behind"


def test_each_broken_thing_is_named_with_its_mend() -> None:
    assert doctor._looked("output", lambda: doctor.written("/dev/null/out"), True).mend.startswith("give --output")
    store = doctor._looked("MLflow", lambda: doctor.mlflow_store("nonsense://host"), True)
    assert not store.ok and "--tracking-uri" in store.found

    def breaks() -> doctor.Check:
        raise RuntimeError("no such\nthing")

    assert doctor._looked("disk", breaks, False) == doctor.Check(
        "disk", False, "RuntimeError: no such thing", "", False
    )


def test_packages_are_held_to_what_this_one_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor.metadata.version
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "0.1" if name == "optuna" else real(name))
    found = doctor.packages()
    assert not found.ok and found.found == "optuna 0.1 is not >=5.0" and "make install" in found.mend


def test_one_that_is_needed_and_missing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = [doctor.Check("hub", False, "does not answer", "", needed=False)]
    monkeypatch.setattr(doctor, "examine", lambda *_: checks)
    assert CliRunner().invoke(doctor.app, []).exit_code == 0
    checks.append(doctor.Check("Ray", False, "no room", "give it room"))
    ended = CliRunner().invoke(doctor.app, [])
    assert ended.exit_code == 1 and "MISSING Ray" in ended.stdout and "-> give it room" in ended.stdout
    ended = CliRunner().invoke(doctor.app, ["--json"])
    assert ended.exit_code == 1 and json.loads(ended.stdout)["Ray"]["mend"] == "give it room"


def test_the_console_script_has_every_command() -> None:
    script = Path(sys.executable).with_name("likra_ray")
    ended = subprocess.run([script, "--help"], capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    for command in COMMANDS:
        assert f" {command} " in ended.stdout
    assert [command.name for command in cli.app.registered_commands] == list(COMMANDS)


def test_help_ends_in_examples() -> None:
    for command in COMMANDS:
        shown = CliRunner().invoke(cli.app, [command, "--help"]).stdout
        assert f"likra_ray {command}" in shown.partition("Examples:")[2], command


def test_json_is_alone_where_a_library_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    """DeepSpeed warns on standard output, when it is first imported, that there is no GPU."""

    def looks(*_: str) -> list[doctor.Check]:
        print("[WARNING] no accelerator")
        return [doctor.Check("disk", True, "free")]

    monkeypatch.setattr(doctor, "examine", looks)
    ended = CliRunner().invoke(doctor.app, ["--json"])
    assert list(json.loads(ended.stdout)) == ["disk"] and "no accelerator" in ended.stderr


COMPLETED = [
    ("likra_ray do", 1, ["doctor"]),
    ("likra_ray report qu", 2, ["quickstart"]),
    ("likra_ray report --output other ", 4, ["mine", "yours"]),
    ("likra_ray sweep --dr", 2, ["--dry-run"]),
]


@pytest.mark.parametrize(("typed", "word", "offered"), COMPLETED)
def test_the_shell_completes_commands_and_sweeps(typed: str, word: int, offered: list[str], tmp_path: Path) -> None:
    for name in ("results/quickstart", "results/heads/x", "other/mine", "other/yours"):
        (tmp_path / name).mkdir(parents=True)
        if "x" not in name:
            (tmp_path / name / "sweep.json").touch()
    script = Path(sys.executable).with_name("likra_ray")
    asked = {"_LIKRA_RAY_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(word)}
    ended = subprocess.run([script], capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path,
                           env={**os.environ, **asked})  # fmt: skip
    assert ended.stdout.split() == offered, ended.stderr
