"""What docs/security.md promises that no other file tests: no code is read as data, secrets are not shown."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from likra_ray import console, settings, sweep
from likra_ray import faults as failures
from likra_ray.errors import InputError, scrubbed

PACKAGE = Path(__file__).parents[1] / "likra_ray"
SMOKE = str(PACKAGE.parent / "search_spaces/smoke.yaml")

FORBIDDEN_MODULES = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle"}
FORBIDDEN_CALLS = {
    "eval", "exec", "torch.load", "np.load", "numpy.load", "pd.read_pickle", "os.system", "os.popen",
    "yaml.unsafe_load", "yaml.full_load", "yaml.load_all",
}  # fmt: skip
SAFE_LOADERS = {"_UniqueKeys", "yaml.SafeLoader"}


def faults(tree: ast.AST) -> Iterator[str]:
    """Everything in a module that reads data as code, or trusts what comes with a model."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"{node.lineno}: import {name}" for name in names if name.split(".")[0] in FORBIDDEN_MODULES)
        if not isinstance(node, ast.Call):
            continue
        called, given = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
        if called in FORBIDDEN_CALLS:
            yield f"{node.lineno}: {called}()"
        if called == "yaml.load" and given.get("Loader") not in SAFE_LOADERS:
            yield f"{node.lineno}: yaml.load without a safe loader"
        if given.get("shell") == "True" or given.get("allow_pickle") == "True":
            yield f"{node.lineno}: {called}({given})"
        if given.get("trust_remote_code", "False") != "False":
            yield f"{node.lineno}: trust_remote_code"
        loads_a_model = called.startswith("Auto") and called.endswith(("from_pretrained", "from_config"))
        if loads_a_model and "trust_remote_code" not in given and None not in given:
            yield f"{node.lineno}: {called} asks whoever sits at the terminal"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_data_is_read_as_code(path: Path) -> None:
    assert list(faults(ast.parse(path.read_text(encoding="utf-8")))) == []


WOULD_FAIL = [
    "import pickle", "from joblib import load", "torch.load(f)", "eval(x)", "yaml.load(f)", "np.load(f)", "exec(x)",
    "yaml.load(f, Loader=yaml.Loader)", "run(c, shell=True)", "AutoModel.from_pretrained(p)",
    "f(trust_remote_code=trust)",
]  # fmt: skip


@pytest.mark.parametrize("code", WOULD_FAIL)
def test_that_test_finds_it(code: str) -> None:
    assert len(list(faults(ast.parse(code)))) == 1


MESSAGES = [
    ("at postgresql://me:planted-1@db/x refused", "at postgresql://***@db/x refused"),
    ("GET http://u:pla/nted@2@host:5000/api?x=1", "GET http://***@host:5000/api?x=1"),
    ("s3://bucket/folder and http://host:5000/a:b stay", "s3://bucket/folder and http://host:5000/a:b stay"),
    ("the key is planted-secret-value!", "the key is ***!"),
    ("hf_plantedplanted", "***"),
    ("false", "false"),
]


@pytest.mark.parametrize(("text", "shown"), MESSAGES)
def test_a_message_is_scrubbed(text: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret-value")
    monkeypatch.setenv("HF_TOKEN", "hf_plantedplanted")
    monkeypatch.setenv("SOME_TOKEN", "false")
    assert scrubbed(text) == shown


def test_errors_and_reasons_are_scrubbed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What a command prints when it fails, and what a failed trial leaves on disk and in MLflow."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret-value")
    wrong = OSError("403 for planted-secret-value at http://me:planted-password@host/api")
    with pytest.raises(SystemExit) as ended, console.exit_codes("again"):
        raise wrong
    said = capsys.readouterr().err
    assert ended.value.code == 1 and "OSError: 403 for *** at http://***@host/api" in said
    assert "planted-secret-value" not in said and "planted-password" not in said
    assert "planted" not in failures.reason(wrong)
    assert "planted" not in str(InputError(where="w", field="f", value="planted-secret-value", allowed="a"))


@pytest.mark.parametrize(
    "address",
    [
        "http://me:planted-password@127.0.0.1:9",
        "postgresql://me:planted-password@127.0.0.1:9/m",
        "x://me:planted-password@h",
    ],
)
def test_a_tracking_password_is_not_echoed(address: str, tmp_path: Path) -> None:
    ended = CliRunner().invoke(sweep.app, [SMOKE, "--output", str(tmp_path), "--tracking-uri", address])
    assert ended.exit_code == 2 and ended.stderr.count("\n") == 1
    assert "planted" not in ended.output


NAMES = [
    "../x",
    "..",
    ".",
    "a/b",
    "/tmp/x",
    "a\\b",
    "a\0b",
    "",
    " a",
    "a b",
    "~",
    "C:",
    "é",
    "a\n",
    "-x",
    "_x",
    "x" * 65,
]


@pytest.mark.parametrize("name", NAMES)
def test_a_sweep_cannot_be_named_out_of_its_folder(name: str) -> None:
    import json

    with pytest.raises(InputError, match="name"):
        settings.load(SMOKE, [f"name={json.dumps(name)}"])
