"""deploy/local.yaml for real: `ray up` over ssh to an sshd of our own on this machine, a sweep, `ray down`.

What differs from the shipped file: addresses, key and ports, and the installation, which here is the environment that
runs the tests, behind four small commands. Their `ray` gives the cluster a folder and ports of its own and, told to
stop, ends the processes of this folder alone: a plain `ray stop` ends every Ray of the machine.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import yaml
from own_ray import ROOT, folder, free_port, processes

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ["PATH"])
MISSING = [name for name, found in (("openssh-server", SSHD), ("ssh", shutil.which("ssh")),
                                    ("rsync", shutil.which("rsync"))) if not found]  # fmt: skip

pytestmark = [
    pytest.mark.ray,
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(MISSING), reason=f"no ray up over ssh here: {', '.join(MISSING)} not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="no ray up over ssh here: an sshd of our own needs root"),
]


class Machine(NamedTuple):
    """The one machine of the cluster, and what a user has on the other side."""

    folder: Path
    """Of everything here; the name under which the processes of the cluster are known."""
    file: Path
    """deploy/local.yaml with this machine's address."""
    environment: dict[str, str]
    """Of a user who types `ray ...`."""
    mlflow: int
    """Port of the MLflow server."""

    @property
    def home(self) -> Path:
        """Home folder on the machine."""
        return self.folder / "home"

    def ray(self, *arguments: str, seconds: float = 300) -> str:
        """What a user's `ray ...` prints; it must end well."""
        command = [sys.executable, "-m", "ray.scripts.scripts", *arguments]
        ended = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=seconds, check=False
        )
        assert ended.returncode == 0, f"{arguments}: {ended.stdout[-3000:]}{ended.stderr[-3000:]}"
        return ended.stdout

    def processes(self) -> list[psutil.Process]:
        """Those of the cluster, MLflow's server among them."""
        return processes(self.folder, HOME=str(self.home))


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def commands(where: Path, path: Path) -> None:
    """What `make install` would have made, in a folder that is to be the checkout's .venv/bin."""
    python = sys.executable
    for name, module in (("python", ""), ("mlflow", "-m mlflow"), ("pip", "-m pip")):
        script(where / name, f'#!/bin/sh\nexec {python} {module} "$@"\n')
    ports = f"--dashboard-port={free_port()} --dashboard-agent-listen-port=0 --min-worker-port=0 --max-worker-port=0"
    stop = f"import sys; sys.path.insert(0, '{Path(__file__).parent}'); import own_ray; own_ray.end_rays('{path}')"
    script(
        where / "ray",
        f"""#!/bin/sh
case "$1" in
  stop) exec {python} -c "{stop}" ;;
  start) exec {python} -m ray.scripts.scripts "$@" --temp-dir={path}/ray --num-cpus=2 {ports} ;;
  *) exec {python} -m ray.scripts.scripts "$@" ;;
esac
""",
    )


def shipped(path: Path, *, gcs: int, mlflow: int) -> str:
    """deploy/local.yaml for this machine."""
    text = (ROOT / "deploy/local.yaml").read_text(encoding="utf-8")
    for ours, here in (("--port=6379", f"--port={gcs}"), ("5000", str(mlflow))):
        assert ours in text
        text = text.replace(ours, here)
    config = yaml.safe_load(text)
    config["cluster_name"] = path.name
    config["provider"] |= {"head_ip": "127.0.0.1", "worker_ips": []}
    config["auth"] = {"ssh_user": getpass.getuser(), "ssh_private_key": str(path / "key")}
    installs = [one for one in config["setup_commands"] if "install" in one]
    assert len(installs) == 2
    config["setup_commands"] = [one for one in config["setup_commands"] if one not in installs]
    config["setup_commands"].append(f"cp -r {path}/installed ~/likra_ray/.venv")
    return yaml.safe_dump(config, sort_keys=False)


def sshd(path: Path, port: int) -> subprocess.Popen[bytes]:
    """An sshd of our own, on loopback, that lets in one key of our own and gives its user another home folder."""
    for name in ("key", "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path / name], check=True)
    shutil.copy(path / "key.pub", path / "authorized_keys")
    (path / "authorized_keys").chmod(0o600)
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    environment = {
        "HOME": path / "home", "RAY_TMPDIR": path, "PYTHONPATH": path / "home/likra_ray", "RAY_worker_niceness": 0,
        "HF_HUB_OFFLINE": 1,
    }  # fmt: skip
    (path / "sshd_config").write_text(f"""
Port {port}
ListenAddress 127.0.0.1
HostKey {path}/host_key
PidFile {path}/sshd.pid
AuthorizedKeysFile {path}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
SetEnv {" ".join(f"{name}={value}" for name, value in environment.items())}
""")
    assert SSHD is not None
    log = (path / "sshd.log").open("wb")
    return subprocess.Popen([SSHD, "-D", "-e", "-f", path / "sshd_config"], stdout=log, stderr=log)


@pytest.fixture
def machine() -> Iterator[Machine]:
    with folder() as path:
        port, mlflow = free_port(), free_port()
        home, user = path / "home", path / "user"
        home.mkdir()
        user.mkdir()
        # A new account's, as on Debian and Ubuntu: a login shell reads .bashrc, where local.yaml puts what it sets.
        # (sshd changes into the account's folder, not into the $HOME it is told to set.)
        (home / ".profile").write_text('cd; . "$HOME/.bashrc"\n')
        (home / ".bashrc").write_text("case $- in *i*) ;; *) return ;; esac\n")
        commands(path / "installed/bin", path)
        script(path / "bin/ssh", f'#!/bin/sh\nexec {shutil.which("ssh")} -F /dev/null -p {port} "$@"\n')
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        environment |= {"HOME": str(user), "RAY_TMPDIR": str(path), "PATH": f"{path}/bin:{os.environ['PATH']}"}
        (path / "local.yaml").write_text(shipped(path, gcs=free_port(), mlflow=mlflow))
        server = sshd(path, port)
        try:
            yield Machine(path, path / "local.yaml", environment, mlflow)
        finally:
            server.kill()
            server.wait()


def test_up_a_sweep_and_down(machine: Machine, tmp_path: Path) -> None:
    machine.ray("get-auth-token", "--generate")
    file = str(machine.file)
    began = time.monotonic()
    machine.ray("up", "--yes", "--no-config-cache", file)
    print(f"ray up: {time.monotonic() - began:.0f} s")
    assert (machine.home / "likra_ray/cluster.yaml").exists() and not (machine.home / "likra_ray/.git").exists()

    wait_until_healthy(machine.mlflow, seconds=200)
    varied = (
        "--set 'search={seed: {choices: [0]}}' --set 'budget={trials: 1, refinements: 0}' --set 'trial.volumes=[0, 8]'"
    )
    sweep = (f"cd likra_ray && .venv/bin/python -m likra_ray.sweep search_spaces/smoke.yaml {varied} --output ~/out"
             f" --tracking-uri http://127.0.0.1:{machine.mlflow}")  # fmt: skip
    said = machine.ray("exec", "--no-config-cache", file, sweep, seconds=500)
    assert "1 of 1" in said
    assert json.loads((machine.home / "out/smoke/sweep.json").read_text())["status"] == "done"
    sessions = [one for one in (machine.folder / "ray").glob("session_*") if not one.is_symlink()]
    assert len(sessions) == 1, "the driver used the cluster and started no Ray of its own"
    assert runs(machine.mlflow) == {"FINISHED": 2}

    # Ray's own servers ask for the token; MLflow's and the dashboard, which are Python's, are on loopback alone.
    servers = [one for one in machine.processes() if not one.name().startswith(("gcs_server", "raylet", "ray::"))]
    assert machine.mlflow in {port for one in servers for port in listening(one, on_loopback=True)}
    assert {one.name(): ports for one in servers if (ports := listening(one, on_loopback=False))} == {}
    assert stranger(machine), "a Ray without the token was let in"

    machine.ray("down", "--yes", file)
    left = [one for one in machine.processes() if {"raylet", "gcs_server"} & set(one.name().split())]
    assert not left


def wait_until_healthy(port: int, *, seconds: float) -> None:
    """Wait for the MLflow server: `ray up` starts it and does not look back."""
    began = time.monotonic()
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                assert answer.status == 200
                return
        except OSError:
            assert time.monotonic() - began < seconds, "the MLflow server does not answer"
            time.sleep(0.5)


def runs(port: int) -> dict[str, int]:
    """Runs on the MLflow server by how they ended: a sweep and its trials."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"http://127.0.0.1:{port}")
    experiment = client.get_experiment_by_name("smoke")
    found = [one.info.status for one in client.search_runs([experiment.experiment_id])]
    return {status: found.count(status) for status in found}


def listening(process: psutil.Process, *, on_loopback: bool) -> list[int]:
    """Ports on which a process listens, to loopback or to more."""
    try:
        found = process.net_connections(kind="tcp")
    except psutil.Error:
        return []
    ours = [one.laddr for one in found if one.status == "LISTEN"]
    return [address.port for address in ours if (address.ip in ("127.0.0.1", "::1")) == on_loopback]


def stranger(machine: Machine) -> bool:
    """Whether a driver with another token is refused by the cluster's head."""
    address = (machine.folder / "ray/ray_current_cluster").read_text()
    code = "import ray, sys; ray.init(sys.argv[1], logging_level='ERROR')"
    environment: dict[str, Any] = {**machine.environment, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64}
    ended = subprocess.run([sys.executable, "-c", code, address], env=environment, capture_output=True, text=True,
                           timeout=120, check=False)  # fmt: skip
    return ended.returncode != 0 and "nauthenticated" in ended.stderr
