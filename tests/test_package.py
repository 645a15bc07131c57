"""The wheel and the sdist hold what they must, and an installed wheel works from an empty folder, off the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_is_named() -> None:
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "likra_ray").rglob("*.py")}
    named = {".".join(folder.parts) for folder in folders}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == named | {"likra_ray.search_spaces"}


def test_the_version_stands_once_more_and_is_the_same() -> None:
    import likra_ray

    assert likra_ray.__version__ == PROJECT["project"]["version"]
    assert f"\nversion: {likra_ray.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_every_bundled_search_space_is_found_by_name() -> None:
    from likra_ray import settings

    assert sorted(settings.bundled()) == sorted(path.stem for path in (ROOT / "search_spaces").glob("*.yaml"))
    assert settings.load("smoke").sweep == settings.load(ROOT / "search_spaces/smoke.yaml").sweep


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "tree").mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "tree" / name)
    for name in ("likra_ray", "search_spaces"):
        shutil.copytree(ROOT / name, folder / "tree" / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(folder / "tree")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return folder / "dist"


@pytest.mark.slow
def test_the_wheel_holds_all_that_is_read(built: Path) -> None:
    [wheel], [sdist] = built.glob("*.whl"), built.glob("*.tar.gz")
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "likra_ray").rglob("*")
               if path.is_file() and "__pycache__" not in path.parts}  # fmt: skip
    spaces = {f"likra_ray/search_spaces/{path.name}" for path in (ROOT / "search_spaces").glob("*.yaml")}
    assert {"likra_ray/py.typed", "likra_ray/questions/atlas.jsonl", "likra_ray/reporting/report.html"} <= package
    assert {name for name in names if ".dist-info/" not in name} == package | spaces
    assert any(name.endswith("licenses/LICENSE") for name in names)
    top = sdist.name.removesuffix(".tar.gz")
    with tarfile.open(sdist) as archive:
        assert {f"{top}/LICENSE", f"{top}/search_spaces/smoke.yaml"} <= set(archive.getnames())


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.timeout(900)
def test_an_installed_wheel_runs_the_smoke_sweep_from_an_empty_folder(built: Path, tmp_path: Path) -> None:
    """likra_ray itself comes from the wheel. What it needs is borrowed from this environment, through a .pth file: a
    path that it names is searched last, and .pth files in there (an editable likra_ray's) are not read."""
    place, [wheel] = tmp_path / "clean", built.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    python = place / "bin/python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, str(wheel)], check=True)
    [site] = place.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")

    empty = tmp_path / "empty"
    empty.mkdir()
    outside = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def typed(*arguments: str) -> str:
        ended = subprocess.run([str(place / "bin/likra_ray"), *arguments], cwd=empty, env=outside, capture_output=True,
                               text=True, timeout=380)  # fmt: skip
        assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
        return ended.stdout

    found = subprocess.run([str(python), "-c", "import likra_ray; print(likra_ray.__file__)"], cwd=empty, env=outside,
                           capture_output=True, text=True, check=True)  # fmt: skip
    assert Path(found.stdout.strip()).is_relative_to(place)
    typed("doctor")
    assert "3 of 3" in typed("sweep", "smoke")
    assert (empty / "results/smoke/report.html").is_file() and (empty / "mlflow.db").is_file()
    assert "none found" in typed("locate", "smoke")
