"""What a driver in KubeRay's head pod learns of the machines that may be started, from an API server on loopback.

The server is ours and answers one request, over TLS as Kubernetes does; client and interpretation are Ray's own.
"""

from __future__ import annotations

import http.server
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no API server here: openssl not installed")

ASK = """
import json, sys
from pathlib import Path
from likra_ray import cluster
cluster.NAMESPACE = Path(sys.argv[1])
types, most = cluster.may_start()
print(json.dumps([[dict(kind.machine), kind.most] for kind in types] + [most]))
"""


@pytest.fixture
def api_server(tmp_path: Path) -> Iterator[int]:
    """The port of a server that knows one RayCluster, `ours` in the namespace `team`: that of deploy/kuberay.yaml."""
    [job] = [one for one in yaml.safe_load_all((ROOT / "deploy/kuberay.yaml").read_text()) if one["kind"] == "RayJob"]
    known = {"metadata": {"name": "ours", "namespace": "team"}, "spec": job["spec"]["rayClusterSpec"]}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/apis/ray.io/v1/namespaces/team/rayclusters/ours"
            self.send_response(200 if found else 403)
            self.end_headers()
            self.wfile.write(json.dumps(known if found else {}).encode())

        def log_message(self, *_: Any) -> None:
            """Said nowhere."""

    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=kubernetes",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


def ask(folder: Path, port: int) -> Any:
    """The answer of a driver whose pod is in the namespace `team`."""
    (folder / "namespace").write_text("team")
    environment = {
        **os.environ,
        "RAY_CLUSTER_NAME": "ours",
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT_HTTPS": str(port),
        "RAY_KUBERAY_CA_CERT_PATH": str(folder / "cert.pem"),
        "RAY_KUBERAY_CLIENT_CERT_PATH": str(folder / "cert.pem"),
        "RAY_KUBERAY_CLIENT_KEY_PATH": str(folder / "key.pem"),
        "PYTHONPATH": str(ROOT),
    }
    ended = subprocess.run([sys.executable, "-c", ASK, folder / "namespace"], env=environment, capture_output=True,
                           text=True, timeout=120, check=False)  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    return json.loads(ended.stdout), ended.stderr


def test_pods_that_may_be_started_are_counted(api_server: int, tmp_path: Path) -> None:
    (*types, most), _ = ask(tmp_path, api_server)
    assert most == 8
    [head, gpu] = types
    assert (head[0]["CPU"], head[1]) == (6, 0)
    assert (gpu[0]["CPU"], gpu[0]["GPU"], gpu[1]) == (8, 1, 8)


def test_an_api_server_that_does_not_answer_is_said_and_what_is_up_counts(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("")
    found, said = ask(tmp_path, 1)
    assert found == [0]
    assert "only machines that are up are counted" in said
