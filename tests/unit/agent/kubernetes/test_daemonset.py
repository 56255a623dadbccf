"""The DaemonSet: valid for Kubernetes, hardened, and in step with the agent's own defaults."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from podway_agent.host.disk import StateDirectory
from podway_agent.settings import Settings

MANIFEST = Path("node_agent/kubernetes/podway-agent.yaml")
UNIT = Path("node_agent/systemd/podway-agent.service").read_text()
VERSIONS = ("1.27", "1.37")
"""The oldest and the newest Kubernetes for whose schemas it is tried."""


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(MANIFEST.read_text()))


@pytest.fixture(scope="module")
def pod(documents: list[dict[str, Any]]) -> dict[str, Any]:
    (spec,) = (one["spec"]["template"]["spec"] for one in documents if one["kind"] == "DaemonSet")
    assert isinstance(spec, dict)
    return spec


@pytest.fixture(scope="module")
def container(pod: dict[str, Any]) -> dict[str, Any]:
    (one,) = pod["containers"]
    assert isinstance(one, dict)
    return one


@pytest.fixture(scope="module")
def settings(documents: list[dict[str, Any]]) -> Settings:
    (text,) = (one["data"]["agent.toml"] for one in documents if one["kind"] == "ConfigMap")
    return Settings.model_validate(tomllib.loads(text))


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_it(documents: list[dict[str, Any]], version: str) -> None:
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_the_account_too_and_it_may_do_what_the_agent_does(version: str) -> None:
    account = list(yaml.safe_load_all(Path("node_agent/kubernetes/in-cluster.yaml").read_text()))

    for document in account:
        kubernetes_validate.validate(document, version, strict=True)
    (role,) = (one for one in account if one["kind"] == "ClusterRole")
    allowed = {
        (resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]
    }
    assert allowed == {("nodes", "get"), ("nodes", "patch"), ("nodes/status", "patch")}


def test_a_mistake_in_it_would_be_found(documents: list[dict[str, Any]]) -> None:
    (daemon_set,) = (one for one in documents if one["kind"] == "DaemonSet")
    wrong = {**daemon_set, "spec": {**daemon_set["spec"], "tolerations": []}}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_it_runs_on_every_node_before_there_is_a_pod_network(pod: dict[str, Any]) -> None:
    assert pod["hostNetwork"]
    assert pod["dnsPolicy"] == "Default"
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["priorityClassName"] == "system-node-critical"


def test_it_has_the_units_powers_and_no_more(pod: dict[str, Any], container: dict[str, Any]) -> None:
    confined = container["securityContext"]

    assert not confined["privileged"]
    assert not confined["allowPrivilegeEscalation"]
    assert confined["readOnlyRootFilesystem"]
    assert confined["capabilities"]["drop"] == ["ALL"]
    powers = " ".join(f"CAP_{name}" for name in confined["capabilities"]["add"])
    assert f"CapabilityBoundingSet={powers}\n" in UNIT
    assert pod["automountServiceAccountToken"] is False


def test_every_mount_has_a_volume_and_every_volume_a_mount(
    pod: dict[str, Any], container: dict[str, Any]
) -> None:
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}


def test_what_the_agent_writes_is_the_nodes_own(
    pod: dict[str, Any], container: dict[str, Any], settings: Settings
) -> None:
    hosts = {one["name"]: one["hostPath"]["path"] for one in pod["volumes"] if "hostPath" in one}
    writable = {
        one["mountPath"]: hosts.get(one["name"])
        for one in container["volumeMounts"]
        if not one.get("readOnly")
    }
    # the parent of the runtime's folder: the file is moved in, which a mount in between would forbid
    for path in (settings.state_dir, settings.cni_conf_dir.parent):
        assert writable[str(path)] == str(path)
    assert writable[str(settings.sysctl_dir)] == "/proc/sys/net"
    assert StateDirectory(settings.state_dir).path == Settings(cluster="x", table="pod").state_dir


def test_its_probes_ask_the_agents_pages(container: dict[str, Any], settings: Settings) -> None:
    for name, page in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        asked = container[name]["httpGet"]
        assert (f"{asked['host']}:{asked['port']}", asked["path"]) == (settings.listen, page)
