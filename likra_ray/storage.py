"""Whole objects on a local folder or any fsspec URI (``s3://bucket/folder``): a reader sees all of one or none.

Nothing here knows what it stores. Names are relative, with ``/``; they cannot leave the root. What each backend does
to keep that promise: docs/design/storage.md.
"""

from __future__ import annotations

import hashlib
import os
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import fsspec

from likra_ray.errors import InputError, without_secret

T = TypeVar("T")

ANSWERS = 60.0
"""Seconds a remote store has for its first answer before it is called wrong input. S3 answers in under one; 30 were too
few once, on two cores at a load of 45 (docs/LOG.md, 2026-11-24)."""

S3: dict[str, Any] = {
    # One connection an object: s3fs would read a large one in ranges at once, which may be of two versions of it.
    "max_concurrency": 1,
    # Botocore's own minute a try and five tries, times five of s3fs, would be half an hour for an address that drops.
    "config_kwargs": {
        "connect_timeout": 5,
        "read_timeout": 60,
        "retries": {"mode": "standard", "total_max_attempts": 3},
    },
}
"""What s3fs is told; endpoint, region and credentials come from the environment or ~/.aws, never from us."""


@dataclass(frozen=True)
class Storage:
    """A root folder and what can be done in it. Cheap to make, plain to pickle."""

    root: str
    """Local path or fsspec URI."""

    @cached_property
    def _filesystem(self) -> tuple[Any, str]:
        kind = self.root.partition("://")[0]
        options = S3 if kind in ("s3", "s3a") else {}
        if "://" in self.root:
            # A listing remembered here would hide what another process wrote since.
            options = {**options, "use_listings_cache": False}
        try:
            filesystem, path = fsspec.core.url_to_fs(self.root, **options)
        except ImportError as error:
            raise self._refused(
                f"a store whose package is here: pip install 'likra_ray[s3]' for s3:// ({error})"
            ) from None
        return filesystem, path.rstrip("/")

    @property
    def is_local(self) -> bool:
        """Whether names are files of this machine."""
        return "file" in self._filesystem[0].protocol

    def path(self, name: str) -> str:
        """Full path of a name, without protocol. Raises ValueError for one that would leave the root."""
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or name.startswith("/") or "\\" in name or "\0" in name:
            raise ValueError(f"{name!r} leaves the storage root")
        return f"{self._filesystem[1]}/{name}"

    def write(self, name: str, data: bytes) -> None:
        """Write a whole object. Local: a temporary file beside it, flushed to disk, then renamed; elsewhere one put."""
        filesystem, _ = self._filesystem
        path = self.path(name)
        if not self.is_local:
            filesystem.pipe_file(path, data)
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temporary = f"{path}.{uuid.uuid4().hex}.tmp"
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException as error:
            if isinstance(error, OSError):
                error.filename = path  # a full disk is noticed by calls that know no name
            if os.path.exists(temporary):
                os.remove(temporary)
            raise

    def read(self, name: str) -> bytes:
        """The whole object. Raises FileNotFoundError."""
        data: bytes = self._filesystem[0].cat_file(self.path(name))
        return data

    def read_as(self, name: str, parse: Callable[[bytes], T], *, remedy: str) -> T:
        """What `parse` makes of a file. Raises InputError, with the remedy, for one that it cannot read."""
        try:
            return parse(self.read(name))
        except (ValueError, TypeError, LookupError, AttributeError, FileNotFoundError) as error:
            why = f"{type(error).__name__}: {error}".split("\n")[0]
            raise InputError(
                where=self.path(name), field="file", value=why, allowed=f"a whole one of this version; {remedy}"
            ) from None

    def exists(self, name: str) -> bool:
        """Whether there is such an object or folder."""
        return bool(self._filesystem[0].exists(self.path(name)))

    def names(self, folder: str) -> list[str]:
        """Last parts of what lies in a folder, sorted; unfinished writes left out; [] where there is none."""
        return self._listed(self.path(folder))

    def names_at_root(self) -> list[str]:
        """The same of the root itself."""
        return self._listed(self._filesystem[1])

    def _listed(self, path: str) -> list[str]:
        filesystem, _ = self._filesystem
        filesystem.invalidate_cache()
        if not filesystem.exists(path):
            return []
        entries = [entry.rstrip("/") for entry in filesystem.ls(path, detail=False)]
        found = [entry.rsplit("/", 1)[-1] for entry in entries if entry != path]  # a marker object is its own folder
        return sorted(name for name in found if not name.endswith(".tmp"))

    def remove(self, name: str) -> None:
        """Remove an object or folder; nothing happens where there is none."""
        if self.exists(name):
            self._filesystem[0].rm(self.path(name), recursive=True)

    def check_writable(self) -> None:
        """Raises InputError, within ANSWERS, unless a small object can be written, read back and removed."""
        probe = f".write-probe-{uuid.uuid4().hex}"

        def back() -> bytes:
            self.write(probe, b"likra")
            read = self.read(probe)
            self.remove(probe)
            return read

        if self._answered(back, "a folder that can be written") != b"likra":
            raise self._refused("a folder that gives back what was written")

    def check_readable(self) -> None:
        """Raises InputError, within ANSWERS, unless the root can be listed; one that is not there yet is empty."""
        self._answered(self.names_at_root, "a folder that can be read")

    def _answered(self, ask: Callable[[], Any], allowed: str) -> Any:
        """What `ask` returns. Raises InputError where it raises, or says nothing for too long."""
        _check_address(self.root)
        try:
            self._filesystem  # noqa: B018  # its package is loaded before the clock runs
        except InputError:
            raise
        except ValueError as error:
            raise self._refused(f"{allowed} ({error})") from None
        answers: list[Any] = []

        def asked() -> None:
            try:
                answers.append(ask())
            except Exception as error:
                answers.append(error)

        # A local folder answers in this thread, where Ctrl-C reaches it; for a remote one no library is trusted to end.
        if "://" not in self.root:
            asked()
        else:
            thread = threading.Thread(target=asked, daemon=True)
            thread.start()
            thread.join(ANSWERS)
        if not answers:
            raise self._refused(f"{allowed} (no answer in {ANSWERS:.0f} s)")
        [answer] = answers
        if isinstance(answer, InputError):
            raise answer
        if isinstance(answer, Exception):
            raise self._refused(f"{allowed} ({type(answer).__name__}: {answer})") from answer
        return answer

    def _refused(self, allowed: str) -> InputError:
        return InputError(where="command line", field="--output", value=without_secret(self.root), allowed=allowed)


def _check_address(root: str) -> None:
    """Raise InputError for an address that carries a password or options, or a cache before the store."""
    scheme, separator, rest = root.partition("://")
    if separator and (":" in rest.rpartition("@")[0] or "?" in rest):
        allowed = "an address without password and options: those belong into the environment (docs/security.md)"
        raise InputError(where="command line", field="--output", value=without_secret(root), allowed=allowed)
    if "::" in scheme:
        allowed = "one store: a cache or archive before it would hide what others write"
        raise InputError(where="command line", field="--output", value=without_secret(root), allowed=allowed)


def absolute(root: str) -> str:
    """A local path from the root of the file system, a URI as it is."""
    return root if "://" in root else os.path.abspath(root)


def cache_folder() -> Path:
    """This machine's own folder for what can be made again: $LIKRA_CACHE, else ~/.cache/likra_ray."""
    return Path(os.environ.get("LIKRA_CACHE", Path.home() / ".cache" / "likra_ray"))


def scratch(storage: Storage, sweep: str) -> str:
    """A sweep's folder for Ray's own files, which nobody reads again: beside its results, or in this machine's cache
    where those are remote."""
    if storage.is_local:
        return storage.path(f"{sweep}/ray")
    return str(here(storage, sweep, "ray"))


def here(storage: Storage, sweep: str, kind: str) -> Path:
    """Where this machine keeps what a sweep with a remote output cannot keep there. kind: ray, studies or locks."""
    return cache_folder() / kind / hashlib.sha256(f"{storage.root}/{sweep}".encode()).hexdigest()[:16]
