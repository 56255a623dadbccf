"""The agent's container image, run by containerd on a lab's node as the DaemonSet describes it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import limits
from tests.integration.agent.containerd import Containerd, missing, write_pause_image
from tests.integration.agent.node import soon
from tests.integration.agent.test_process import Machine
from tests.lab.conftest import _namespaces, pytest_configure
from tests.unit.agent.snapshots import snapshot

__all__ = ["_namespaces", "pytest_configure"]

pytestmark = [pytest.mark.fabric, limits.long]

MANIFEST = Path("node_agent/kubernetes/podway-agent.yaml")


@pytest.fixture(scope="module")
def image(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    lacking = [*missing(), *(["mmdebstrap"] if shutil.which("mmdebstrap") is None else [])]
    if lacking:
        assert not os.environ.get("NO_SKIPS"), f"not installed: {lacking}"
        pytest.skip(f"not installed: {', '.join(lacking)}")
    target = tmp_path_factory.mktemp("image") / "podway-agent.tar"
    command = [sys.executable, "node_agent/image/build.py", str(archive), str(target), os.uname().machine]
    subprocess.run(command, check=True, timeout=limits.APART_SECONDS)
    return target


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with Machine(tmp_path) as made:
        yield made


def test_the_daemonsets_container_programs_the_node(image: Path, machine: Machine, tmp_path: Path) -> None:
    settings, daemon_set = yaml.safe_load_all(MANIFEST.read_text())
    pod = daemon_set["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    folders = volumes(pod, tmp_path / "host")
    told = settings["data"]["agent.toml"].replace("podway-Table-EXAMPLE", "podway")
    (folders["settings"] / "agent.toml").write_text(f'{told}\nlisten = ""\nrole_id = "AROAX"\n')
    environment = {"AWS_ENDPOINT_URL_DYNAMODB": machine.environment["AWS_ENDPOINT_URL_DYNAMODB"]}
    container |= {"image": "docker.io/library/podway-agent:0.1.0", "env": environment}
    machine.namespace.tool("iptables-nft", "-P", "FORWARD", "DROP")
    machine.table.publish(snapshot())
    pause, log = tmp_path / "pause.tar", tmp_path / "agent.log"
    write_pause_image(pause)

    conf_dir = folders["cni"] / "net.d"
    with Containerd(machine.namespace, home=tmp_path / "ctd", conf_dir=conf_dir, image=pause) as node:
        node.load(image)
        node.runtime.run_on_host("podway-agent", container, folders=folders, log=log)
        soon(lambda: machine.acknowledged() == 1 or complain(log))

        soon(lambda: not node.runtime.network_fault())
        assert machine.switch("ipv4/ip_forward") == "1"
        assert "100.64.0.64/26 via 10.0.0.11 dev ens5 onlink" in machine.ours()
        assert "podway" in machine.namespace.tool("iptables-nft", "-S", "FORWARD")
        assert "table inet podway" in machine.rules()
        assert (folders["state"] / "snapshot.json").exists()


def volumes(pod: dict[str, Any], root: Path) -> dict[str, Path]:
    """The pod's volumes: the node's own /proc/sys/net, and folders of the test's for everything else."""
    folders = {}
    for volume in pod["volumes"]:
        path = root / volume["name"]
        if volume["name"] == "sysctls":
            path = Path(volume["hostPath"]["path"])
        elif volume.get("hostPath", {}).get("type") == "FileOrCreate":
            path.touch()
        else:
            path.mkdir(parents=True)
        folders[volume["name"]] = path
    return folders


def complain(log: Path) -> bool:
    """Fail at once when the agent has ended with an error, saying what it printed."""
    if log.exists() and '"ERROR"' in (said := log.read_text()):
        pytest.fail(said)
    return False
