"""Whole objects on a local folder or any fsspec URI (``s3://bucket/folder``): a reader sees all of one or none.

Nothing here knows what it stores. Names are relative, with ``/``; they cannot leave the root.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from likra_ray.errors import InputError


@dataclass(frozen=True)
class Storage:
    """A root folder and what can be done in it. Cheap to make, plain to pickle."""

    root: str
    """Local path or fsspec URI."""

    @cached_property
    def _filesystem(self) -> tuple[Any, str]:
        filesystem, path = fsspec.core.url_to_fs(self.root)
        return filesystem, path.rstrip("/")

    @property
    def is_local(self) -> bool:
        """Whether names are files of this machine."""
        return "file" in self._filesystem[0].protocol

    def path(self, name: str) -> str:
        """Full path of a name, without protocol. Raises ValueError for one that would leave the root."""
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or name.startswith("/"):
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
        found = [entry.rstrip("/").rsplit("/", 1)[-1] for entry in filesystem.ls(path, detail=False)]
        return sorted(name for name in found if not name.endswith(".tmp"))

    def remove(self, name: str) -> None:
        """Remove an object or folder; nothing happens where there is none."""
        if self.exists(name):
            self._filesystem[0].rm(self.path(name), recursive=True)

    def check_writable(self) -> None:
        """Raises InputError unless a small object can be written, read back and removed."""
        probe = f".write-probe-{uuid.uuid4().hex}"
        try:
            self.write(probe, b"likra")
            read = self.read(probe)
            self.remove(probe)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise InputError(where="command line", field="--output", value=self.root,
                             allowed=f"a folder that can be written ({reason})") from error  # fmt: skip
        if read != b"likra":
            raise InputError(where="command line", field="--output", value=self.root,
                             allowed="a folder that gives back what was written")  # fmt: skip


def absolute(root: str) -> str:
    """A local path from the root of the file system, a URI as it is."""
    return root if "://" in root else os.path.abspath(root)


def cache_folder() -> Path:
    """This machine's own folder for what can be made again: $LIKRA_CACHE, else ~/.cache/likra_ray."""
    return Path(os.environ.get("LIKRA_CACHE", Path.home() / ".cache" / "likra_ray"))
