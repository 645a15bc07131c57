"""Where an MLflow store is, whether it answers, where it keeps artifacts; everything before MLflow itself is asked."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from likra_ray.errors import scrubbed, without_secret

CONNECT_SECONDS = 5.0
"""Longest wait for a database server to take a connection."""
OPENING = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""While a store is opened: a wrong address is told within seconds."""
BRIEF = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
"""While a sweep runs: a server that does not answer costs seconds, not MLflow's own 7 retries of 120 s."""
PATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
"""At the end of a sweep, where nothing waits for the driver: a slow answer is waited for."""
LOCK_SECONDS = 300.0
"""Longest wait for another process that opens the same SQLite store: making its tables takes 5 s, a minute on a machine
that is 20 times overcommitted (both measured)."""
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
"""Default port by kind of database server."""


def artifact_folder(uri: str, experiment: str) -> str | None:
    """File URI of ``mlartifacts/<experiment>`` beside a SQLite store's file; None: the store's own default.

    MLflow's default would be ./mlruns of whoever runs first: with the database elsewhere, the two would part. An
    absolute address is what MLflow makes of any local one; a moved folder is mirrored again from the files. Servers
    keep artifacts themselves.
    """
    path = sqlite_file(uri)
    return None if path is None else (path.parent / "mlartifacts" / quote(experiment, safe="")).as_uri()


def sqlite_file(uri: str) -> Path | None:
    """Of a SQLite store on disk, absolute; None for any other store."""
    if not uri.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url

    name = make_url(uri).database
    return None if not name or name.startswith((":memory:", "file:")) else Path(name).absolute()


def answering(uri: str) -> str:
    """The address with a SQLite file's path absolute, once its database has answered; MLflow retries that for minutes.

    Other stores are not asked. Raises OSError, ImportError, ValueError or sqlalchemy's SQLAlchemyError.
    """
    if not uri:
        raise ValueError("an empty address")
    kind = uri.partition("://")[0].split("+")[0]
    if kind != "sqlite" and kind not in PORTS:
        return uri
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.engine import make_url

    url = make_url(uri)
    if kind == "sqlite" and url.host:
        raise ValueError("a file has three slashes before it, or four with its whole path")
    path = sqlite_file(uri)
    if kind == "sqlite" and path is None and "file:" not in uri:
        raise ValueError("it would be gone with this process")
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        url = url.set(database=str(path))
    if url.host:
        socket.create_connection((url.host, url.port or PORTS[kind]), timeout=CONNECT_SECONDS).close()
    engine = create_engine(url)
    inspect(engine)
    engine.dispose()
    return url.render_as_string(hide_password=False)


@contextlib.contextmanager
def one_opens(uri: str) -> Iterator[None]:
    """One process at a time within, for a SQLite store: two that make the tables of a new one spoil it for both.

    MLflow locks this nowhere (its migrations then fail with "duplicate column name" or "table already exists"). The
    lock is a file beside the store's, and its holder's death frees it. Raises TimeoutError after LOCK_SECONDS.
    """
    path = sqlite_file(uri)
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + LOCK_SECONDS
    with Path(f"{path}.lock").open("a") as held:
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise TimeoutError(f"another process holds {path}.lock") from None
                time.sleep(0.1)
        yield


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables that hold for a while; those the user has set stay."""
    added = [name for name in values if name not in os.environ]
    os.environ.update({name: values[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def reason(error: Exception, uri: str) -> str:
    """Why a store cannot be used, in one line without its secret: the operating system's words where it had any."""
    innermost: BaseException = error
    while innermost.__context__ is not None:
        innermost = innermost.__context__
    told = innermost if isinstance(innermost, OSError) else error
    text = scrubbed(str(told).strip().replace(uri, without_secret(uri)))
    credentials = uri.partition("://")[2].rpartition("@")[0]
    for secret in (credentials, credentials.partition(":")[2]):
        text = text.replace(secret, "***") if secret else text
    return text.splitlines()[0][:300] if text else type(told).__name__
