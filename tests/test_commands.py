"""Every command and every piece of Python that a reader would copy from the documentation, tried.

TABLE says how: run as written beside a finished sweep called quickstart, run with --dry-run, read by the program's own
parser, or, with the reason, not at all. A command that is in the documentation and not in the table fails, and so does
one that is in the table alone.
"""

from __future__ import annotations

import argparse
import os
import re
import runpy
import shlex
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import documented
import pytest
import typer.main
import yaml
from documented import PAGES, ROOT
from finished import finished_trial
from typer.testing import CliRunner

from likra_ray import cli
from likra_ray.questions.files import parse
from likra_ray.spec import SweepSpec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

COMMANDS: Any = typer.main.get_command(cli.app)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the reader stands: a checkout whose results/ holds the finished sweep quickstart, of the random base."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("search_spaces", "cluster.yaml", "deploy"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").symlink_to(sys.prefix)
    finished_trial(folder / "results", "name=quickstart")
    return folder


@pytest.fixture(autouse=True)
def there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # it was read at the first import
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)


def words(text: str) -> list[str]:
    """A command's words from its program on: `python -m likra_ray.x` is `likra_ray x`."""
    found = shlex.split(text)
    found = found[len(found) - found[::-1].index("&&") :] if "&&" in found else found
    found[0] = found[0].removeprefix(".venv/bin/")
    if found[:2] == ["python", "-m"] and found[2].startswith("likra_ray.") and found[2] != "likra_ray.lm_eval":
        found[:3] = ["likra_ray", found[2].removeprefix("likra_ray.")]
    return found


def runs(text: str) -> None:
    """As written, in this process; ends well."""
    program, *arguments = words(text)
    assert program == "likra_ray"
    ended = CliRunner().invoke(cli.app, arguments)
    assert ended.exit_code == 0, f"{ended.output}\n{ended.exception!r}"
    assert ended.stdout.strip()


def starts(text: str) -> None:
    """As written, in a shell of its own."""
    ended = subprocess.run(text, shell=True, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0 and ended.stdout.strip(), ended.stderr


def exports(text: str) -> None:
    """As written, but for the folder where another page has written to it before."""
    program, verb, sweep, trial, folder = words(text)
    if Path(folder).exists():
        folder += f"_{len(list(Path().glob('exported*')))}"
    runs(shlex.join([program, verb, sweep, trial, folder]))
    assert {path.name for path in Path(folder).iterdir()} >= {"positive", "negative", "README.md", "likra.json"}


def dry_runs(text: str) -> None:
    """As written, and --dry-run: the settings are read, the trials planned, nothing is trained."""
    runs(text if "--dry-run" in text else f"{text} --dry-run")
    assert not Path("results/heads/training").exists()


def understood(text: str) -> None:
    """By the command's own parser: it knows the options, and lacks none."""
    program, *arguments = words(text)
    if program == "likra_ray":
        verb, *rest = arguments
        COMMANDS.commands[verb].make_context(verb, rest)
    elif program == "ray":
        from ray.scripts.scripts import cli as ray

        verb, *rest = arguments
        ray.commands[verb].make_context(verb, rest)
        for one in rest:
            if " " in one:  # what runs on the cluster
                understood(one)
    elif program == "mlflow":
        from mlflow.cli import cli as mlflow

        verb, *rest = arguments
        mlflow.get_command(None, verb).make_context(verb, rest)  # ui is an alias
    else:
        assert program == "python" and arguments[0] == "-m", text
        _argparse(arguments[1], arguments[2:])


def _argparse(module: str, arguments: list[str]) -> None:
    """Start a module and stop it where it has read its arguments."""

    class Read(Exception):
        pass

    def parse_args(parser: argparse.ArgumentParser, *given: Any) -> Any:
        parse(parser, *given)
        raise Read

    parse, argv = argparse.ArgumentParser.parse_args, sys.argv
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        patch.setattr(sys, "argv", [module, *arguments])
        patch.syspath_prepend(ROOT)
        with pytest.raises(Read):
            runpy.run_module(module, run_name="__main__")
    assert sys.argv == argv


def usage(text: str) -> None:
    """A command's synopsis: each option in it is one of the command's."""
    _, verb, *_ = text.split()
    known = {option for parameter in COMMANDS.commands[verb].params for option in parameter.opts}
    named = set(re.findall(r"--[\w-]+", text))
    assert named <= known, named - known


def a_target(text: str) -> None:
    """make knows it."""
    ended = subprocess.run(["make", "-n", *words(text)[1:]], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0 and ended.stdout, ended.stderr


def an_extra(text: str) -> None:
    """pyproject.toml has it."""
    [extra] = re.findall(r"\.\[(\w+)\]", text)
    assert extra in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def asks_lm_eval(text: str) -> None:
    """lm_eval knows the options, and the model answers: only the task's questions are not here."""
    pytest.importorskip("lm_eval", reason="lm-eval is not installed: pip install -e '.[bench]'")
    from lm_eval._cli import HarnessCLI

    from likra_ray.lm_eval import LikraLM

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["lm_eval", *words(text)[3:]])
        read = HarnessCLI().parse_args()
    assert read.model == "likra" and read.tasks
    given = dict(pair.split("=") for pair in words(text)[words(text).index("--model_args") + 1].split(","))
    if "folder" in given and not Path(given["folder"]).exists():
        exports(f"likra_ray export quickstart best {given['folder']}")
    assert LikraLM(**given).arm == given["arm"]


def serves(text: str) -> None:
    """Started as written, at a port of its own and with one worker, asked once, and ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lean = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with Path("server.log").open("w") as log:
        command = f"exec {text} --port {port} --workers 1"
        server = subprocess.Popen(command, shell=True, env=lean, stdout=log, stderr=log, start_new_session=True)
    try:
        until = time.monotonic() + 240
        while not _answers(f"http://127.0.0.1:{port}/"):
            assert server.poll() is None and time.monotonic() < until, Path("server.log").read_text()
            time.sleep(0.3)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200 and b"MLflow" in answer.read())
    except OSError:
        return False


def nothing(text: str) -> None:
    """Not tried."""


class How(NamedTuple):
    """How a command is tried."""

    tried: Callable[[str], None]
    why: str = ""
    """Why it is not run as written."""


LONG = "trains for a quarter of an hour to hours"
AWS = "needs AWS; tests/cluster has Ray's schema read the file, and brings one up over ssh"
ELSEWHERE = "its program and its service are not here"
QUESTIONS = "its task's questions come from the hub; tests/test_lm_eval.py runs it on a task of its own"
MENTION = "a command's name in a sentence"
EXAMPLES, TRIED = "search_spaces/examples", "starts Ray; tests/test_examples.py runs the examples"

LM_EVAL = "python -m likra_ray.lm_eval --model likra --model_args"
EXEC = (
    "ray exec cluster.yaml 'cd likra_ray && .venv/bin/python -m likra_ray.sweep --output s3://BUCKET/likra "
    "--tracking-uri http://127.0.0.1:5000'"
)
TABLE = {
    ".venv/bin/likra_ray locate quickstart": How(starts),
    "likra_ray locate quickstart": How(runs),
    "likra_ray report quickstart": How(runs),
    "likra_ray export quickstart best exported": How(exports),
    "likra_ray sweep smoke --dry-run": How(runs),
    "likra_ray sweep paper_arc_mistral --dry-run": How(runs),
    "likra_ray sweep paper_hellaswag_llama --dry-run": How(runs),
    "likra_ray sweep paper_arc_mistral --dry-run --set trial.resources.workers=4 --set trial.zero_stage=3": How(runs),
    "likra_ray sweep quickstart --resume": How(dry_runs, LONG),
    "likra_ray sweep quickstart --resume --set budget.trials=12 --set budget.minutes=60": How(dry_runs, LONG),
    "likra_ray sweep near_miss": How(dry_runs, LONG),
    "likra_ray sweep controls": How(dry_runs, LONG),
    "likra_ray sweep baselines": How(dry_runs, LONG),
    "python -m likra_ray.sweep search_spaces/near_miss.yaml": How(dry_runs, LONG),
    "python -m likra_ray.sweep search_spaces/near_miss_arc.yaml": How(dry_runs, LONG),
    "python -m likra_ray.sweep search_spaces/controls.yaml": How(dry_runs, LONG),
    "python -m likra_ray.sweep search_spaces/baselines.yaml": How(dry_runs, LONG),
    "python -m likra_ray.sweep": How(dry_runs, LONG),
    "python -m likra_ray.trial": How(understood, "trains for minutes; tests/test_sweep.py runs smoke's"),
    "likra_ray report near_miss": How(understood, "reads what half an hour of training left"),
    "likra_ray report quickstart [--output DIR]": How(usage),
    "likra_ray sweep [SPACE] [--set a.b=value]... [--output DIR] [--tracking-uri URI] [--dry-run] [--resume]": How(
        usage
    ),
    "likra_ray trial [SPACE] [--set a.b=value]... [--output DIR]": How(usage),
    "likra_ray report SWEEP [--output DIR]": How(usage),
    "likra_ray locate SWEEP | ANSWERS.csv": How(usage),
    "likra_ray sweep smoke": How(dry_runs, "a minute and Ray; tests/test_package.py runs it from an empty folder"),
    "likra_ray --install-completion": How(nothing, "writes into the shell's files; tests/test_doctor.py completes"),
    "likra_ray export SWEEP TRIAL DIR [--volume N] [--push owner/name]": How(usage),
    "likra_ray doctor [--output DIR] [--tracking-uri URI]": How(usage),
    ".venv/bin/mlflow ui --backend-store-uri sqlite:///mlflow.db": How(serves, "it runs for ever"),
    f"{LM_EVAL} sweep=quickstart,trial=best,arm=likra --tasks arc_challenge": How(asks_lm_eval, QUESTIONS),
    f"{LM_EVAL} folder=exported,arm=base_likra --tasks arc_challenge": How(asks_lm_eval, QUESTIONS),
    "mlflow ui --backend-store-uri sqlite:///mlflow.db": How(understood, "the same is asked above"),
    "mlflow server": How(nothing, MENTION),
    "pip install -e '.[dashboard]'": How(an_extra, "would change what is installed here"),
    "optuna-dashboard sqlite:///results/near_miss/optuna.db": How(nothing, "the tests of MLflow's pages start it"),
    "python -m likra_ray.export SWEEP TRIAL DIR": How(understood, "words to be replaced"),
    f".venv/bin/likra_ray sweep {EXAMPLES}/own_file.yaml --dry-run": How(runs),
    f".venv/bin/likra_ray sweep {EXAMPLES}/own_dataset.yaml --dry-run": How(runs),
    f".venv/bin/likra_ray sweep {EXAMPLES}/own_file.yaml --set base=random-tiny --dry-run": How(runs),
    f".venv/bin/likra_ray sweep {EXAMPLES}/chat.yaml --dry-run": How(runs),
    f".venv/bin/likra_ray trial {EXAMPLES}/own_file.yaml --set base=random-tiny": How(understood, TRIED),
    f".venv/bin/likra_ray trial {EXAMPLES}/own_dataset.yaml --set base=random-tiny": How(understood, TRIED),
    f".venv/bin/likra_ray trial {EXAMPLES}/chat.yaml --set base=random-tiny": How(understood, TRIED),
    f".venv/bin/likra_ray trial {EXAMPLES}/own_file.yaml --set base=random-tiny "
    "--set trial.lora.targets=[all-linear]": How(understood, TRIED),
    "python -m benchmarks.locate_simulation": How(understood, "eight minutes of simulation"),
    "python -m benchmarks.locate_simulation --quick": How(understood, "a minute of simulation"),
    "python -m benchmarks.driver_scale": How(nothing, MENTION),
    "python -m benchmarks.driver_scale 100 1000": How(understood, "an hour, and a measurement"),
    "python -m benchmarks.cost_model": How(understood, "tests/test_cost.py tests what it prints"),
    "make install": How(a_target, "this is installed"),
    "make sweep": How(a_target, LONG),
    "make test": How(a_target, "this is part of it"),
    "make test-long": How(a_target, "minutes each"),
    "make check": How(a_target, "CI runs it before the tests"),
    "make bench": How(a_target, "half an hour, and a measurement"),
    "make docs": How(a_target, "part of make check"),
    "make audit": How(a_target, "asks a service on the network"),
    "pip install -e '.[bench]'": How(an_extra, "would change what is installed here"),
    "pip install -e '.[s3]'": How(an_extra, "would change what is installed here"),
    "ray up cluster.yaml": How(understood, AWS),
    EXEC: How(understood, AWS),
    "ray down cluster.yaml": How(understood, AWS),
    "ray up": How(nothing, MENTION),
    "pip install 'ray[default]' boto3": How(nothing, "would change what is installed here"),
    "chmod 600 ~/.ray/auth_token": How(nothing, "the token belongs to whoever runs the tests"),
    "aws s3 mb s3://YOUR-BUCKET": How(nothing, ELSEWHERE),
    "aws ec2 create-security-group --group-name likra-ray --description likra-ray": How(nothing, ELSEWHERE),
    "aws ec2 authorize-security-group-ingress --group-id sg-YOURS --protocol all --source-group sg-YOURS": How(
        nothing, ELSEWHERE
    ),
    "aws ec2 authorize-security-group-ingress --group-id sg-YOURS --protocol tcp --port 22 --cidr YOUR-ADDRESS/32": How(
        nothing, ELSEWHERE
    ),
    "aws ec2 describe-images --owners amazon --query 'sort_by(Images, &CreationDate)[-1].ImageId' --filters "
    "'Name=name,Values=Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 24.04)*'": How(nothing, ELSEWHERE),
    "docker build -f deploy/Dockerfile -t YOUR-REGISTRY/likra-ray:0.1.0 . && "
    "docker push YOUR-REGISTRY/likra-ray:0.1.0": How(nothing, ELSEWHERE),
    "kubectl create serviceaccount likra-ray": How(nothing, ELSEWHERE),
    "kubectl apply -f deploy/kuberay.yaml": How(nothing, ELSEWHERE),
}
"""By command, as the documentation has it."""


def _documented() -> dict[str, list[str]]:
    """Where each command stands."""
    found: dict[str, list[str]] = {}
    for page in PAGES:
        for one in documented.commands(page):
            found.setdefault(one.text, []).append(f"{one.page}:{one.line}")
    return found


def test_every_documented_command_is_in_the_table() -> None:
    found = _documented()
    assert not {text: where for text, where in found.items() if text not in TABLE}, "add them to TABLE"
    assert not set(TABLE) - set(found), "no page has these any more"


def test_what_is_not_run_says_why() -> None:
    as_written = (runs, starts, exports, usage)
    assert [text for text, how in TABLE.items() if how.tried not in as_written and not how.why] == []


@pytest.mark.parametrize("text", [text for text, how in TABLE.items() if how.tried is not nothing])
def test_a_documented_command(text: str) -> None:
    TABLE[text].tried(text)


def _blocks() -> Iterator[documented.Block]:
    for page in PAGES:
        yield from documented.blocks(page)


def test_every_block_is_something() -> None:
    assert [(block.page, block.line, block.text) for block in _blocks() if block.kind == "unknown"] == []


PYTHON = sorted({block.page for block in _blocks() if block.kind == "python"})


PLACEHOLDERS = {"docs/how_to/compare_in_mlflow.md": "the id of a model in the reader's own store"}
"""Pages whose Python cannot run as it stands, and what stands there: it is compiled."""


@pytest.mark.parametrize("page", PYTHON)
def test_the_python_of_a_page(page: str) -> None:
    """All of it in one go, as a reader types it who reads from above."""
    if not Path("exported").exists():
        exports("likra_ray export quickstart best exported")
    scope: dict[str, object] = {}
    for block in documented.blocks(ROOT / page):
        if block.kind == "python":
            code = compile(documented.python(block.text), f"{page}:{block.line}", "exec")
            if page not in PLACEHOLDERS:
                exec(code, scope)


def test_search_spaces_shown_are_valid() -> None:
    shown = [
        yaml.safe_load(block.text) for block in _blocks() if block.kind == "data" and block.text.startswith("name:")
    ]
    assert shown
    for space in shown:
        SweepSpec.model_validate(space)


def test_questions_shown_are_valid() -> None:
    shown = [block for block in _blocks() if block.text.startswith('{"id"')]
    assert shown
    for block in shown:
        parse(" ".join(block.text.split()), f"{block.page}:{block.line}")
