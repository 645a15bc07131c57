"""The rules of the house: who may import whom, and how large a file or a function may grow."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "likra_ray"
FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = {path: path.relative_to(PACKAGE).as_posix() for path in FILES}

HEAVY = ("torch", "ray", "mlflow", "transformers")
LIGHT = sorted(
    path
    for path in FILES
    if NAMES[path].split("/")[0]
    in {
        "spec.py",
        "question_spec.py",
        "placement.py",
        "records.py",
        "errors.py",
        "search.py",
        "settings.py",
        "analysis",
        "questions",
    }
    and path.name != "__init__.py"
)

MAY_IMPORT_RAY = {
    "trial.py",
    "workers.py",
    "sweep.py",
    "console.py",
    "cluster.py",
    "rendezvous.py",
    "controller.py",
    "group.py",
    "holdings.py",
    "idle.py",
    "tuning.py",
}
MAY_IMPORT_MLFLOW = {"reporting/tracking.py", "reporting/mlflow_inputs.py", "reporting/mlflow_models.py"}
"""The writer of runs, and what it calls for data sets and models."""
MAY_IMPORT_DEEPSPEED = {"heads/engines.py", "heads/adapters.py", "doctor.py"}
MAY_TOUCH_MODELS = {"workers.py", "rendezvous.py", "controller.py", "idle.py", "likra_model.py", "doctor.py"}
"""Besides heads/: the workers, what uses trained heads, and who looks whether it can be imported."""

ORDER = (
    "errors",
    "question_spec",
    "spec",
    "placement",
    "records",
    "search",
    "settings",
    "storage",
    "lock",
    "stall",
    "news",
    "keys",
    "questions",
    "heads",
    "faults",
    "analysis",
    "material",
    "plan",
    "results",
    "reporting",
    "study",
    "importances",
    "outcomes",
    "sweep_file",
    "exported",
    "sweep_runs",
    "ledger",
    "report",
    "likra_model",
    "ranker",
    "export",
    "lm_eval",
    "locate",
    "refine",
    "cluster",
    "holdings",
    "idle",
    "workers",
    "rendezvous",
    "controller",
    "group",
    "trial",
    "cost",
    "dry_run",
    "progress",
    "driver",
    "tuning",
    "sweep",
    "doctor",
    "cli",
)
"""Lowest first; data goes up this list and never back down."""

OUTSIDE = {"__init__", "console"}
"""The package's front door loads what is asked of it; the console may import errors alone."""

LINES, FUNCTION_LINES, PARAMETERS = 320, 65, 8


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Dotted names a file imports anywhere, also inside functions; `from a import b` gives a and a.b."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{NAMES[path]}:{node.lineno}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def functions(path: Path) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
    """Every function, and whether it is a method."""
    for node in ast.walk(tree(path)):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield child, isinstance(node, ast.ClassDef)


def module(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def part(path: Path) -> str:
    """The name in ORDER that a file belongs to."""
    return NAMES[path].split("/")[0].removesuffix(".py")


def table(rows: list[str]) -> str:
    return "\n" + "\n".join(rows)


def test_light_modules_load_nothing_heavy() -> None:
    """All in one process; who is to blame is found one by one, and only on failure."""
    modules = [module(path) for path in LIGHT]
    assert {"likra_ray.spec", "likra_ray.analysis.critical_phase", "likra_ray.questions.sources"} <= set(modules)
    if loaded_by(modules):
        rows = [f"{name}: {loaded}" for name in modules if (loaded := loaded_by([name]))]
        pytest.fail(table(rows))


def loaded_by(modules: list[str]) -> list[str]:
    code = f"import sys\nimport {', '.join(modules)}\nprint([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stderr
    loaded: list[str] = ast.literal_eval(done.stdout)
    return loaded


def test_the_package_itself_loads_nothing_heavy() -> None:
    assert loaded_by(["likra_ray"]) == []


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: NAMES[path])
def test_light_modules_import_nothing_heavy_anywhere(path: Path) -> None:
    assert [name for name in imports(path) if name.split(".")[0] in HEAVY] == []


@pytest.mark.parametrize(
    ("package", "allowed"),
    [("ray", MAY_IMPORT_RAY), ("mlflow", MAY_IMPORT_MLFLOW), ("deepspeed", MAY_IMPORT_DEEPSPEED)],
)
def test_only_some_files_import(package: str, allowed: set[str]) -> None:
    importing = {NAMES[path] for path in FILES if any(name.split(".")[0] == package for name in imports(path))}
    assert importing <= allowed


@pytest.mark.parametrize("package", ["torch", "transformers", "peft", "safetensors"])
def test_only_some_files_touch_models(package: str) -> None:
    importing = {NAMES[path] for path in FILES if any(name.split(".")[0] == package for name in imports(path))}
    assert {name for name in importing if not name.startswith("heads/")} <= MAY_TOUCH_MODELS


def test_nothing_imports_what_stands_above_it() -> None:
    rows = []
    for path in FILES:
        below = part(path)
        if below not in ORDER:
            continue
        for name in sorted(set(imports(path))):
            pieces = name.split(".")
            if pieces[0] != "likra_ray" or len(pieces) < 2 or pieces[1] not in ORDER:
                continue
            if ORDER.index(pieces[1]) > ORDER.index(below):
                rows.append(f"{NAMES[path]:32} ({below}) imports {name} ({pieces[1]}, above it)")
    assert not rows, table(rows)


def test_the_console_knows_nothing_of_the_house() -> None:
    own = {name for name in imports(PACKAGE / "console.py") if name.startswith("likra_ray.")}
    assert {".".join(name.split(".")[:2]) for name in own} <= {"likra_ray.errors"}


def test_the_order_is_of_every_part() -> None:
    assert {part(path) for path in FILES} == {*ORDER, *OUTSIDE}


def test_every_own_import_exists() -> None:
    for path in FILES:
        for name in imports(path):
            if name.startswith("likra_ray.") and name.count(".") == 1:
                known = (PACKAGE / name.split(".")[1]).is_dir() or (PACKAGE / f"{name.split('.')[1]}.py").is_file()
                assert known or hasattr(__import__("likra_ray"), name.split(".")[1]), f"{NAMES[path]}: {name}"


def test_files_are_short() -> None:
    rows = [f"{NAMES[path]}: {count}" for path in FILES if (count := path.read_text().count("\n")) > LINES]
    assert not rows, table(rows)


def test_functions_are_short() -> None:
    rows = [
        f"{NAMES[path]}:{node.lineno} {node.name}: {node.end_lineno - node.lineno + 1} lines"
        for path in FILES
        for node, _ in functions(path)
        if node.end_lineno is not None and node.end_lineno - node.lineno + 1 > FUNCTION_LINES
    ]
    assert not rows, table(rows)


def test_functions_take_few_parameters() -> None:
    rows = []
    for path in FILES:
        for node, method in functions(path):
            names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            own = names[1:] if method and names[:1] in (["self"], ["cls"]) else names
            if len(own) > PARAMETERS:
                rows.append(f"{NAMES[path]}:{node.lineno} {node.name}: {len(own)}")
    assert not rows, table(rows)


def test_every_function_says_what_it_returns() -> None:
    rows = [
        f"{NAMES[path]}:{node.lineno} {node.name}"
        for path in FILES
        for node, _ in functions(path)
        if node.returns is None
    ]
    assert not rows, table(rows)


def test_the_package_under_test_is_this_one() -> None:
    found = importlib.util.find_spec("likra_ray")
    assert found is not None and found.origin is not None
    assert Path(found.origin).parent.samefile(PACKAGE)
