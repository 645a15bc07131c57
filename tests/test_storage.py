"""A reader sees all of an object or none of it, on a local folder and elsewhere; names stay below the root."""

from __future__ import annotations

import os
import pickle
import uuid
from pathlib import Path
from typing import Any

import pytest

from likra_ray.errors import InputError
from likra_ray.storage import Storage, absolute, cache_folder, scratch


@pytest.fixture(params=["local", "memory", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    match request.param:
        case "local":
            return Storage(str(tmp_path / "root"))
        case "memory":
            return Storage(f"memory://{uuid.uuid4().hex}")
        case _:
            return Storage(request.getfixturevalue("s3"))


def test_what_is_written_is_read(storage: Storage) -> None:
    for name, data in {"a": b"", "folder/b": b"\x00\xff", "folder/deeper/c d.json": b"x" * 100_000}.items():
        assert not storage.exists(name)
        storage.write(name, data)
        assert storage.exists(name)
        assert storage.read(name) == data
    storage.write("a", b"second")
    assert storage.read("a") == b"second"


def test_what_is_not_there(storage: Storage) -> None:
    with pytest.raises(FileNotFoundError):
        storage.read("nothing")
    assert not storage.exists("nothing/at/all")
    assert storage.names("nothing") == []
    storage.remove("nothing")


def test_names_are_last_parts_sorted_without_unfinished_writes(storage: Storage) -> None:
    for name in ("f/b", "f/a", "f/sub/deep", "f/c.123.tmp"):
        storage.write(name, b"1")
    assert storage.names("f") == ["a", "b", "sub"]
    storage.write("f/0", b"1")
    assert storage.names("f") == ["0", "a", "b", "sub"], "no stale listing"
    assert "f" in storage.names_at_root() and "a" not in storage.names_at_root()


def test_removal_takes_a_folder_with_it(storage: Storage) -> None:
    for name in ("f/a", "f/sub/deep", "g"):
        storage.write(name, b"1")
    storage.remove("f/a")
    assert storage.names("f") == ["sub"]
    storage.remove("f")
    assert not storage.exists("f/sub/deep")
    assert storage.read("g") == b"1"


def test_removal_takes_no_neighbour_whose_name_begins_alike(storage: Storage) -> None:
    for name in ("f/8", "f/80", "f/8.sha256", "f8"):
        storage.write(name, b"1")
    storage.remove("f/8")
    assert storage.names("f") == ["8.sha256", "80"] and storage.exists("f8")


OUTSIDE = ["", ".", "..", "../x", "a/../../x", "a/..", "/etc/passwd", "/", "a\\..\\..\\x", "..\\x", "a\0b"]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("action", ["write", "read", "exists", "names", "remove", "path"])
def test_names_cannot_leave_the_root(storage: Storage, name: str, action: str) -> None:
    with pytest.raises(ValueError, match="leaves the storage root"):
        getattr(storage, action)(*([name, b"1"] if action == "write" else [name]))


def test_a_storage_is_plain_to_pickle(storage: Storage) -> None:
    storage.write("a", b"1")
    assert pickle.loads(pickle.dumps(storage)).read("a") == b"1"


@pytest.mark.parametrize("fails", ["write", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_write_that_fails_leaves_the_old_object_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str, error: BaseException
) -> None:
    storage = Storage(str(tmp_path))
    storage.write("folder/object", b"old")

    def refuse(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        if fails == "write":
            with pytest.raises(TypeError):
                storage.write("folder/object", "text, not bytes")  # type: ignore[arg-type]
        else:
            patch.setattr(os, fails, refuse)
            with pytest.raises(type(error)):
                storage.write("folder/object", b"new and longer")
    assert storage.read("folder/object") == b"old"
    assert os.listdir(tmp_path / "folder") == ["object"], "no temporary file is left"


def test_until_the_last_moment_the_old_object_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(str(tmp_path))
    storage.write("object", b"old")
    seen: list[bytes] = []
    flush = os.fsync

    def watched(descriptor: int) -> None:
        seen.append(storage.read("object"))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    storage.write("object", b"new")
    assert seen == [b"old"]
    assert storage.read("object") == b"new"


@pytest.mark.parametrize(("root", "local"), [("folder", True), ("file://folder", True), ("memory://x", False)], ids=str)
def test_local_or_not(root: str, local: bool, tmp_path: Path) -> None:
    assert Storage(root.replace("folder", str(tmp_path))).is_local is local


def test_a_folder_that_can_be_written_passes_and_stays_empty(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "made" / "on the way"))
    storage.check_writable()
    assert os.listdir(tmp_path / "made/on the way") == []
    memory = Storage(f"memory://{uuid.uuid4().hex}")
    memory.check_writable()


def test_a_folder_below_a_file_is_wrong_input(tmp_path: Path) -> None:
    """Permission bits would not stop root, a file in the way stops everyone."""
    (tmp_path / "file").write_text("in the way")
    root = str(tmp_path / "file" / "below")
    with pytest.raises(InputError) as caught:
        Storage(root).check_writable()
    line = str(caught.value)
    assert line.startswith("command line: --output: got ")
    assert "allowed: a folder that can be written (NotADirectoryError" in line
    assert "\n" not in line


def test_a_store_that_forgets_is_wrong_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Storage, "read", lambda self, name: b"something else")
    with pytest.raises(InputError, match="gives back what was written"):
        Storage(str(tmp_path)).check_writable()


@pytest.mark.parametrize("root", ["s3://bucket/folder", "memory://x", "gs://b"])
def test_a_uri_stays_as_it_is(root: str) -> None:
    assert absolute(root) == root


def test_a_local_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("results") == str(tmp_path / "results")
    assert absolute(str(tmp_path)) == str(tmp_path)


def test_cache_folder_follows_the_environment(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == own_cache
    monkeypatch.delenv("LIKRA_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "likra_ray"


def test_rays_own_files_stay_off_a_remote_store(own_cache: Path, tmp_path: Path) -> None:
    assert scratch(Storage(str(tmp_path)), "smoke") == f"{tmp_path}/smoke/ray"
    remote = [scratch(Storage(root), name) for root in ("memory://a", "memory://b") for name in ("smoke", "other")]
    assert len(set(remote)) == 4 and all(Path(folder).is_relative_to(own_cache / "ray") for folder in remote)
