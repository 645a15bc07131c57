"""Storage on a real S3 protocol server: writes cut off in the middle, what other processes see, addresses that fail."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3_server
from typer.testing import CliRunner

from likra_ray import report, storage, sweep
from likra_ray.errors import InputError
from likra_ray.storage import Storage

SMOKE = str(Path(__file__).parents[1] / "search_spaces/smoke.yaml")

pytest.importorskip("s3fs", reason="needs s3fs, of the extra s3")


@pytest.fixture
def proxy(s3: str, s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[s3_server.Proxy]:
    """Between this process and the server; the fixture `s3` has set all else."""
    made = s3_server.Proxy(s3_endpoint)
    s3_server.use(made.endpoint, tmp_path, monkeypatch)
    yield made
    made.close()


def uploads(endpoint: str) -> list[str]:
    """Keys of the multipart uploads that were begun and neither finished nor given up."""
    import botocore.session

    client = botocore.session.get_session().create_client("s3", endpoint_url=endpoint)
    return [one["Key"] for one in client.list_multipart_uploads(Bucket=s3_server.BUCKET).get("Uploads", [])]


SMALL, LARGE = 3 * 2**20, 110 * 2**20
"""Bytes put at once, and bytes put in parts (s3fs: from 100 MiB, in parts of 50)."""

RANGED = 51 * 2**20
"""Bytes that s3fs reads in ranges unless told otherwise (above 50 MiB)."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """One try instead of fifteen: where none gets through, their number changes nothing but the time."""
    from s3fs import S3FileSystem

    monkeypatch.setattr(S3FileSystem, "retries", 1)
    monkeypatch.setitem(storage.S3["config_kwargs"], "retries", {"total_max_attempts": 1})


CUTS = [
    ("before its body", SMALL, 0, None),
    ("in the middle", SMALL, SMALL // 2, b"old"),
    ("a byte before its end", SMALL, SMALL - 1, None),
    ("in the first part", LARGE, 40 * 2**20, None),
    ("in the last part", LARGE, 105 * 2**20, b"old"),
]
"""Where, bytes of the body, bytes that arrive, what stood there before."""


@pytest.mark.parametrize(("size", "sent", "before"), [cut[1:] for cut in CUTS], ids=[cut[0] for cut in CUTS])
def test_a_write_cut_off_leaves_what_was_there(
    s3: str, proxy: s3_server.Proxy, impatient: None, size: int, sent: int, before: bytes | None
) -> None:
    """The connection breaks after so many bytes, and every new one at once, as with a driver that lost its network."""
    held = Storage(s3)
    if before is not None:
        held.write("heads/h/object", before)
    proxy.cut_after = sent
    with pytest.raises(Exception):  # noqa: B017  # of botocore, aiohttp or s3fs, as the place of the cut has it
        held.write("heads/h/object", b"n" * size)
    assert proxy.cuts >= 1
    proxy.cut_after = None

    if before is None:
        assert not held.exists("heads/h/object") and held.names("heads/h") == []
        with pytest.raises(FileNotFoundError):
            held.read("heads/h/object")
    else:
        assert held.read("heads/h/object") == before
    held.write("heads/h/object", b"n" * size)
    assert held.read("heads/h/object") == b"n" * size
    held.remove("heads")


def test_a_short_break_is_ridden_out(s3: str, proxy: s3_server.Proxy) -> None:
    """One connection breaks in the middle of a body, the next one holds: the write succeeds."""
    held = Storage(s3)
    held.write("object", b"old")
    proxy.cut_after, proxy.cut_once = SMALL // 2, True
    held.write("object", b"n" * SMALL)
    assert proxy.cuts == 1 and held.read("object") == b"n" * SMALL


def test_a_large_object_is_read_in_one_piece(s3: str, proxy: s3_server.Proxy) -> None:
    """Ranges read one after another may be of two versions of it."""
    held = Storage(s3)
    held.write("object", b"n" * RANGED)
    proxy.sent = b""
    assert len(held.read("object")) == RANGED
    assert proxy.sent.count(b"GET /") == 1 and b"range:" not in proxy.sent.lower()
    held.remove("object")


def test_what_another_process_writes_is_seen_at_once(s3: str) -> None:
    """s3fs would remember a listing for ever."""
    held = Storage(s3)
    held.write("heads/h/volumes/8/manifest.json", b"{}")
    assert held.names("heads/h/volumes") == ["8"] and not held.exists("heads/h/volumes/16/manifest.json")
    other = f"from likra_ray.storage import Storage; Storage({s3!r}).write('heads/h/volumes/16/manifest.json', b'1')"
    subprocess.run([sys.executable, "-c", other], check=True, timeout=60)
    assert held.exists("heads/h/volumes/16/manifest.json")
    assert held.names("heads/h/volumes") == ["16", "8"]
    assert held.read("heads/h/volumes/16/manifest.json") == b"1"


def refused(*arguments: str) -> str:
    """The one line with which a sweep of these arguments ends, within seconds."""
    began = time.monotonic()
    ended = CliRunner().invoke(sweep.app, [SMOKE, *arguments])
    assert ended.exit_code == 2, ended.output
    assert ended.stderr.startswith("error: command line: --output: got ") and ended.stderr.count("\n") == 1
    assert time.monotonic() - began < storage.ANSWERS + 15
    return ended.stderr


def test_a_bucket_that_is_not_there(s3: str) -> None:
    assert "bucket does not exist" in refused("--output", "s3://no-such-bucket/likra")


def test_no_credentials(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in s3_server.KEYS:
        monkeypatch.delenv(name)
    assert "redentials" in refused("--output", s3)


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:9", "http://does-not-exist.invalid"], ids=["nobody listens", "no such host"]
)
def test_an_endpoint_that_is_not_there(s3: str, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s3_server.use(endpoint, tmp_path, monkeypatch)
    assert "connect" in refused("--output", s3)


def test_a_server_that_says_nothing(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(storage, "ANSWERS", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        s3_server.use(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path, monkeypatch)
        assert "no answer in 2 s" in refused("--output", s3)


ADDRESSES = [
    ("s3://AKIAPLANTED:planted-secret@bucket/likra", "without password"),
    ("s3://AKIAPLANTED:planted/sec@ret@bucket/likra", "without password"),
    ("s3://bucket/likra?endpoint_override=http://127.0.0.1:1&secret_key=planted", "without password"),
    ("simplecache::s3://bucket/likra", "one store"),
    ("nosuch://bucket/likra", "nosuch"),
]


@pytest.mark.parametrize(("address", "said"), ADDRESSES)
@pytest.mark.parametrize("how", ["run", "dry run", "report"])
def test_an_address_that_is_none(address: str, said: str, how: str) -> None:
    app, arguments = (report.app, ["smoke"]) if how == "report" else (sweep.app, [SMOKE])
    ended = CliRunner().invoke(app, [*arguments, "--output", address, *(["--dry-run"] if how == "dry run" else [])])
    assert ended.exit_code == 2, ended.output
    assert said in ended.stderr and ended.stderr.count("\n") == 1
    assert "planted" not in ended.output


def test_a_store_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(InputError, match=r"likra_ray\[s3\]"):
        Storage("s3://bucket/likra").check_writable()
