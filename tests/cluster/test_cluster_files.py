"""cluster.yaml and deploy/ as Ray reads them before it does anything, and what must not be in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from likra_ray import placement, settings

ROOT = Path(__file__).parents[2]
AWS, LOCAL, KUBERAY = ROOT / "cluster.yaml", ROOT / "deploy/local.yaml", ROOT / "deploy/kuberay.yaml"
FILES = [AWS, LOCAL, KUBERAY]


def read(file: Path) -> dict[str, Any]:
    """The file's one document, or its RayJob."""
    documents = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    [found] = [one for one in documents if len(documents) == 1 or one["kind"] == "RayJob"]
    assert isinstance(found, dict)
    return found


def prepared(file: Path) -> dict[str, Any]:
    """What `ray up` makes of a file before it starts anything; raises where its schema refuses it."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    found: dict[str, Any] = prepare_config(read(file))
    validate_config(found)
    return found


def of_kuberay() -> dict[str, Any]:
    """What Ray's autoscaler makes of the RayJob's cluster; it checks that against the same schema."""
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

    spec = read(KUBERAY)["spec"]["rayClusterSpec"]
    found: dict[str, Any] = _derive_autoscaling_config_from_ray_cr(
        {"metadata": {"name": "likra-ray", "namespace": "default"}, "spec": spec}
    )
    return found


@pytest.mark.parametrize("file", [AWS, LOCAL], ids=lambda file: file.name)
def test_ray_up_accepts_it(file: Path) -> None:
    assert prepared(file)["cluster_name"] == "likra-ray"


def test_ray_up_would_refuse_what_it_does_not_know() -> None:
    import jsonschema
    from ray.autoscaler._private.util import prepare_config, validate_config

    with pytest.raises(jsonschema.ValidationError, match="max_wokers"):
        validate_config(prepare_config({**read(AWS), "max_wokers": 3}))


@pytest.mark.parametrize("config", [lambda: prepared(AWS), of_kuberay], ids=["aws", "kuberay"])
def test_gpu_machines_come_only_when_needed_and_the_papers_trials_fit_them(config: Any) -> None:
    found = config()
    types = found["available_node_types"]
    head = types.pop(found["head_node_type"])
    assert head["max_workers"] == 0 and not head["resources"].get("GPU")
    assert {kind["min_workers"] for kind in types.values()} == {0}
    kinds = tuple(placement.MachineType(kind["resources"], kind["max_workers"]) for kind in types.values())
    ready = placement.Cluster((head["resources"],), head["resources"], kinds, found["max_workers"])
    for space in ("paper_arc_mistral", "paper_hellaswag_llama"):
        resources = settings.load(ROOT / f"search_spaces/{space}.yaml", []).sweep.trial.resources
        assert resources.gpus > 0
        assert placement.trials_at_once(ready, resources) >= 1
    smoke = settings.load(ROOT / "search_spaces/smoke.yaml", []).sweep.trial.resources
    assert placement.trials_at_once(ready, smoke) >= 6


def test_on_demand_and_spot_machines_are_alike() -> None:
    types = prepared(AWS)["available_node_types"]
    spot, on_demand = types["gpu_spot"], types["gpu_on_demand"]
    assert spot["node_config"].pop("InstanceMarketOptions") == {"MarketType": "spot"}
    assert spot["node_config"] == on_demand["node_config"] and spot["resources"] == on_demand["resources"]


def test_no_group_is_left_to_ray_which_would_open_ssh_to_the_world() -> None:
    for name, kind in prepared(AWS)["available_node_types"].items():
        assert kind["node_config"]["SecurityGroupIds"] == ["sg-YOURS"], name
        assert kind["node_config"]["ImageId"] == "ami-YOURS", name


@pytest.mark.parametrize("file", [*FILES, ROOT / "deploy/README.md"], ids=lambda file: file.name)
def test_no_secret_stands_in_it_and_nothing_listens_to_the_world(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    for secret in (r"AKIA[0-9A-Z]{16}", r"-----BEGIN", r"(?i)(secret_access_key|password)\s*[:=]\s*\S",
                   r"hf_[A-Za-z0-9]{20}", r"\b[0-9a-f]{64}\b"):  # fmt: skip
        assert not re.search(secret, text), secret
    listens = re.findall(r"--?(?:dashboard-)?host[ =,]*['\"]?([^\s'\",]+)", text)
    assert set(listens) <= {"127.0.0.1"}
    assert "0.0.0.0/0" not in text and "LoadBalancer" not in text and "NodePort" not in text


@pytest.mark.parametrize("file", [AWS, LOCAL], ids=lambda file: file.name)
def test_every_ray_shows_its_token_and_the_versions_are_the_tested_ones(file: Path) -> None:
    config = read(file)
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    starts = [one for part in ("head", "worker") for one in config[f"{part}_start_ray_commands"] if "ray start" in one]
    assert len(starts) == 2 and all("RAY_AUTH_MODE=token .venv/bin/ray start" in one for one in starts)
    installs = [one for one in config["setup_commands"] if "pip install" in one]
    assert installs and all("--constraint constraints.txt" in one for one in installs)
    assert any("make install" in one for one in config["setup_commands"])


def test_the_ray_job_is_the_readmes_command() -> None:
    job = read(KUBERAY)
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    assert spec["entrypoint"].split()[:3] == ["python", "-m", "likra_ray.sweep"]
    assert "--output s3://" in spec["entrypoint"] and "--resume" in spec["entrypoint"]
    assert spec["shutdownAfterJobFinishes"] is True
    cluster = spec["rayClusterSpec"]
    assert cluster["enableInTreeAutoscaling"] is True
    pods = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    pinned = re.compile(r"^[^:@]+(:\d+)?/[^:@]+:[^:@]*\d+\.\d+\.\d+[^:@]*$")
    for pod in pods:
        for container in pod["template"]["spec"]["containers"]:
            assert pinned.match(container["image"]), container["image"]
            assert container["resources"]["limits"].keys() >= {"cpu", "memory"}
            assert not [one for one in container.get("env", []) if "value" in one and "SECRET" in one["name"].upper()]
    [worker] = cluster["workerGroupSpecs"]
    assert worker["minReplicas"] == worker["replicas"] == 0 < worker["maxReplicas"]
    assert worker["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    versions = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert cluster["rayVersion"] == versions["ray"]


def test_no_file_of_deploy_is_left_out_here() -> None:
    assert {file.name for file in (ROOT / "deploy").iterdir()} - {"README.md", "Dockerfile"} == {
        file.name for file in FILES if file.parent.name == "deploy"
    }
