"""What the commands share: exit codes, and a quiet Ray."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from likra_ray.errors import NO_ROOM, Failed, InputError, scrubbed

WRONG_INPUT, FAILED, INTERRUPTED = 2, 1, 130
"""Exit codes; 130 is the shell's own for Ctrl-C."""

OUTPUT = "results"
"""Default output folder."""


Json = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output; all else goes to standard error.")
]


def screen(as_json: bool = False) -> Console:
    """Standard output; into a file or a pipe 100 columns wide, so that its tables are not broken.

    as_json: standard error instead, since standard output belongs to one JSON object.
    """
    stream = sys.stderr if as_json else sys.stdout
    return Console(stderr=as_json) if stream.isatty() else Console(stderr=as_json, width=100)


def run(app: typer.Typer) -> None:
    """A command from the shell: what is wrong with its options is one line on standard error, exit code 2."""
    try:
        app(standalone_mode=False)
    except Exception as error:
        # Newer typers carry a click of their own: a usage error is told by what it can do, not by its class.
        if not hasattr(error, "format_message"):
            raise
        print(f"error: {' '.join(error.format_message().split())} (--help lists the options)", file=sys.stderr)
        raise SystemExit(WRONG_INPUT) from None


def apart(as_json: bool) -> contextlib.AbstractContextManager[Any]:
    """What libraries print on standard output (DeepSpeed, that it found no GPU) goes to standard error, where standard
    output belongs to one JSON object."""
    return contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()


def sweeps(context: typer.Context, incomplete: str) -> list[str]:
    """Names of the sweeps in the output folder on this disk that begin so, for the shell to complete."""
    there = Path(context.params.get("output") or OUTPUT).glob("*/sweep.json")
    return sorted(path.parent.name for path in there if path.parent.name.startswith(incomplete))


def examples(doc: str | None) -> str:
    """The command lines of a module's docstring, as the end of its --help: paragraphs, since typer joins lines."""
    lines = [re.sub(" {2,}", "   # ", line.strip()) for line in (doc or "").splitlines()]
    return "\n\n".join(["Examples:", *(line for line in lines if line.startswith(("python -m ", "likra_ray ")))])


@contextlib.contextmanager
def exit_codes(after: str) -> Iterator[None]:
    """0 done; 1 the work failed; 2 the input is wrong, said in one line on standard error.

    after: how to go on from where Ctrl-C or a full disk stopped it, in words.
    """
    try:
        yield
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(WRONG_INPUT) from None
    except Failed as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(FAILED) from None
    except KeyboardInterrupt:
        print(f"stopped; what had finished is kept: {after}", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            place = error.filename or "the disk"
            print(scrubbed(f"error: {place}: {error.strerror}; what had finished is kept: {after}"), file=sys.stderr)
            raise SystemExit(FAILED) from None
        # Not rich's: it breaks long lines, and with them what is to be scrubbed.
        print(scrubbed("".join(traceback.format_exception(error, limit=-12))), end="", file=sys.stderr)
        print(scrubbed(f"error: {type(error).__name__}: {error}"), file=sys.stderr)
        raise SystemExit(FAILED) from None


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """A Ray that starts in this block listens on 127.0.0.1 alone; one that is joined is left as it is.

    By default Ray takes the address by which the machine reaches the world, also for itself alone, and turns
    `_node_ip_address="127.0.0.1"` back into it (services.resolve_ip_for_localhost). Without its "cluster" switch, off
    by default on macOS and Windows, it takes the loopback address. It is read when ray is imported, so it is set both
    here and, for the processes that Ray starts, in the environment.
    """
    from ray._private import ray_constants, services

    if services.canonicalize_bootstrap_address(None) is not None:  # type: ignore[arg-type]  # as ray.init does
        yield
        return
    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    before, os.environ[name] = os.environ.get(name), "0"
    switch, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = switch
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


@contextlib.contextmanager
def _own_logging() -> Iterator[None]:
    """Ray's level and handler are for its workers; here they would silence what our own code warns of."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


@contextlib.contextmanager
def ray_session(*, show_workers: bool) -> Iterator[None]:
    """The running cluster where there is one, else Ray on this machine for the length of the block.

    show_workers: print what workers print.
    """
    # The controller looks at its workers twice a second instead of every two: trials here last seconds to minutes.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    # Progress reports carry no objective; Tune is told the objective once, at the end of a trial.
    os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    # A sweep resumes from sweep.json. Tune would write all trials for a restore of its own, in up to 5 % of all time.
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1e9")
    # What a trial reports is in sweep.json and MLflow; Tune would write CSV, JSON and TensorBoard files of it as well.
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    # A trial of a sweep is three processes; by default Ray warns where more start at once than there are cores.
    os.environ.setdefault("RAY_worker_maximum_startup_concurrency", "8")
    # Ray's own default is nice 15: beside other work a study then takes four times as long.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # Workers' prints are shown once, as they are; warnings of libraries about one another are not the user's.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    warnings.filterwarnings("ignore")
    import ray

    started = not ray.is_initialized()
    if started:
        logging.getLogger("ray").setLevel(logging.ERROR)  # that its cluster asks for a token is no news
        quiet = ray.LoggingConfig(log_level="ERROR")
        with _on_loopback(), _own_logging():
            ray.init(
                logging_level=logging.ERROR, logging_config=quiet, log_to_driver=show_workers, include_dashboard=False
            )
    try:
        yield
    finally:
        if started:
            ray.shutdown()


@contextlib.contextmanager
def interrupts_given_back() -> Iterator[None]:
    """Tune takes Ctrl-C for itself and gives it back only once one came: the first after its end would do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def keep_keys_to_ourselves() -> None:
    """Stop Tune from handing the driver's AWS keys to its trials: Ray writes what it hands over into its logs, in clear
    (runtime_env_agent.log). On this machine trials inherit the environment anyway; on a cluster every machine has
    credentials of its own (docs/security.md)."""
    from ray.tune.execution import class_cache

    handed_over = class_cache.ENV_VARS_TO_PROPAGATE
    class_cache.ENV_VARS_TO_PROPAGATE = {name for name in handed_over if not name.startswith("AWS_")}
