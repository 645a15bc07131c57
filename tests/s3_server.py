"""An S3 protocol server on loopback (moto's), and a proxy before it that can cut a connection in the middle."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

BUCKET = "heads"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIALOOPBACKTEST0000", "AWS_SECRET_ACCESS_KEY": "loopback-secret-of-the-tests"}
REGION = "us-east-1"
SENT = 2**16


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """The server's address, with BUCKET empty in it; what it holds is forgotten at the end."""
    server_module = pytest.importorskip("moto.server", reason="needs moto[server], of the extra dev")
    pytest.importorskip("s3fs", reason="needs s3fs, of the extra s3")
    import botocore.session

    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    session = botocore.session.get_session()
    session.set_credentials(*KEYS.values())
    session.create_client("s3", endpoint_url=endpoint, region_name=REGION).create_bucket(Bucket=BUCKET)
    try:
        yield endpoint
    finally:
        server.stop()


def environment(endpoint: str, home: Path) -> dict[str, str]:
    """What a user sets to reach it; nothing of this machine's own AWS settings counts."""
    nothing = {"AWS_CONFIG_FILE": str(home / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(home / "none")}
    return {**KEYS, **nothing, "AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": endpoint}


def use(endpoint: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process find its S3 at an address; connections made before are forgotten."""
    from s3fs import S3FileSystem

    for name, value in environment(endpoint, home).items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()


class Proxy:
    """Passes bytes on to a server; while `cut_after` is set, connections are cut where more of bodies was sent."""

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.removeprefix("http://").partition(":")
        self._server = (host, int(port))
        self.cut_after: int | None = None
        """Bytes of bodies clients may still send, over all connections; None: any number. Heads are passed on whole:
        the test's server would take a torn one for a request, which S3 refuses for its signature."""
        self.cut_once = False
        """Whether the next connection holds again."""
        self.cuts = 0
        self.sent = b""
        """The first bytes of all that clients sent since somebody emptied it."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                threading.Thread(target=self._up, args=(client, server), daemon=True).start()
                threading.Thread(target=self._down, args=(server, client), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                self.sent = (self.sent + data)[:SENT]
                if self.cut_after is not None:
                    head = data.find(b"\r\n\r\n") + 4 if data.startswith((b"PUT /", b"POST /")) else 0
                    body = len(data) - head
                    rest, self.cut_after = self.cut_after, max(0, self.cut_after - body)
                    if body > rest:
                        self.cuts += 1
                        if self.cut_once:
                            self.cut_after = None
                        server.sendall(data[: head + rest])
                        break
                server.sendall(data)
        _end(client, server)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
        _end(client, server)


def _end(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
