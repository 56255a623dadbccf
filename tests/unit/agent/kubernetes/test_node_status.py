"""Kubernetes is told of a node that is ready, by its own rules, where there are credentials."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from podway.domain.addressing import Prefix
from podway_agent.kubernetes.api import ApiAway, BadCredentials, NodeApi, access
from podway_agent.kubernetes.node import ANNOTATION, MERGE, Patch, advise, firsts
from podway_agent.kubernetes.node_status import LOOK_SECONDS, NodeStatusWriter, node_name

from tests.unit.agent.kubernetes.kube_server import (
    NAME,
    TOKEN,
    ApiServer,
    Authority,
    fresh_node,
    kubeconfig,
    make_authority,
)
from tests.unit.agent.snapshots import prefixes

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
BLOCK, FURTHER, SIX = prefixes(["100.64.0.0/26", "100.64.9.0/26", "fd00:64::/122"])


# --- what to change ------------------------------------------------------------------------


def test_a_fresh_node_gets_podcidrs_annotation_and_a_network() -> None:
    found = advise(fresh_node(), "i-0a", [FURTHER, BLOCK], now=NOW)

    about, available = found.patches
    assert about.part == ""
    assert about.body["spec"] == {"podCIDR": "100.64.0.0/26", "podCIDRs": ["100.64.0.0/26"]}
    assert about.body["metadata"] == {
        "annotations": {ANNOTATION: "100.64.0.0/26,100.64.9.0/26"},
        "resourceVersion": "100",
    }
    assert available.part == "/status"
    (cleared,) = available.body["status"]["conditions"]
    assert (cleared["type"], cleared["status"], cleared["lastTransitionTime"]) == (
        "NetworkUnavailable",
        "False",
        "2026-11-22T12:00:00Z",
    )
    assert found.doubts == ()


def test_one_cidr_of_each_family_is_named() -> None:
    assert firsts([SIX, FURTHER, BLOCK]) == (BLOCK, SIX)


def test_before_there_is_a_block_nothing_is_said() -> None:
    assert advise(fresh_node(), "i-0a", [], now=NOW).patches == ()


def test_what_is_as_it_should_be_is_left_alone() -> None:
    node = fresh_node(podCIDR="100.64.0.0/26", podCIDRs=["100.64.0.0/26"])
    node["metadata"]["annotations"][ANNOTATION] = "100.64.0.0/26"
    node["status"]["conditions"][1]["status"] = "False"

    assert advise(node, "i-0a", [BLOCK], now=NOW).patches == ()


def test_a_node_without_the_condition_needs_no_word_of_it() -> None:
    node = fresh_node()
    node["status"] = {}

    assert [patch.part for patch in advise(node, "i-0a", [BLOCK], now=NOW).patches] == [""]


def test_podcidrs_of_somebody_else_stay_and_are_doubted() -> None:
    node = fresh_node(podCIDR="10.244.1.0/24", podCIDRs=["10.244.1.0/24"])

    found = advise(node, "i-0a", [BLOCK], now=NOW)

    assert all("spec" not in patch.body for patch in found.patches)
    assert "10.244.1.0/24, which somebody else allocated" in found.doubts[0]


@pytest.mark.parametrize("present", [{"podCIDR": "100.64.0.0/26"}, {"podCIDRs": ["100.64.9.0/26"]}])
def test_a_block_of_ours_stays_although_it_is_not_the_first_any_more(present: dict[str, Any]) -> None:
    found = advise(fresh_node(**present), "i-0a", [BLOCK, FURTHER], now=NOW)

    assert all("spec" not in patch.body for patch in found.patches)
    assert found.doubts == ()


def test_another_instances_node_is_never_touched() -> None:
    found = advise(fresh_node(), "i-0b", [BLOCK], now=NOW)

    assert found.patches == ()
    assert "is aws:///us-west-2a/i-0a, not i-0b" in found.doubts[0]


# --- the API server ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def server(authority: Authority) -> Iterator[ApiServer]:
    with ApiServer(socket.create_server(("127.0.0.1", 0)), authority, fresh_node()) as served:
        yield served


@pytest.fixture
def config(server: ApiServer, authority: Authority, tmp_path: Path) -> Path:
    path = tmp_path / "kubelet.conf"
    trusted = {"certificate-authority": str(authority.certificate)}
    path.write_text(kubeconfig(server.url, cluster=trusted, user={"token": TOKEN}))
    return path


def writer(where: Path | str, *blocks: Prefix, name: str = NAME) -> NodeStatusWriter:
    return NodeStatusWriter(
        str(where), name, lambda: "i-0a", lambda: blocks, chance=lambda low, high: (low + high) / 2
    )


def test_a_ready_node_is_told_once_and_looked_at_calmly_then(server: ApiServer, config: Path) -> None:
    one = writer(config, BLOCK)

    pauses = [one.step(), one.step()]

    assert server.node["spec"]["podCIDRs"] == ["100.64.0.0/26"]
    assert server.node["metadata"]["annotations"] == {"volumes": "true", ANNOTATION: "100.64.0.0/26"}
    assert {one["type"]: one["status"] for one in server.node["status"]["conditions"]} == {
        "Ready": "False",
        "NetworkUnavailable": "False",
    }
    assert [method for method, _ in server.asked] == ["GET", "PATCH", "PATCH", "GET"]
    assert pauses == [LOOK_SECONDS] * 2


def test_a_further_block_changes_the_annotation_only(server: ApiServer, config: Path) -> None:
    writer(config, BLOCK).step()

    writer(config, BLOCK, FURTHER).step()

    assert server.node["spec"]["podCIDRs"] == ["100.64.0.0/26"]
    assert server.node["metadata"]["annotations"][ANNOTATION] == "100.64.0.0/26,100.64.9.0/26"


def test_a_condition_that_comes_back_is_cleared_again(server: ApiServer, config: Path) -> None:
    one = writer(config, BLOCK)
    one.step()
    server.node["status"]["conditions"][1]["status"] = "True"

    one.step()

    assert server.node["status"]["conditions"][1]["status"] == "False"


def test_a_conflict_is_read_anew_and_tried_again_soon(server: ApiServer, config: Path) -> None:
    server.overtaken = 1
    one = writer(config, BLOCK)

    pause = one.step()
    assert server.node["spec"].get("podCIDRs") is None, "the conflict this test is about never happened"
    one.step()

    assert pause < 10
    assert server.node["spec"]["podCIDRs"] == ["100.64.0.0/26"]
    assert one.failures == 0


def test_without_a_conflist_the_server_is_not_even_asked(server: ApiServer, config: Path) -> None:
    writer(config).step()

    assert server.asked == []


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"podCIDR": "100.64.9.0/26", "podCIDRs": ["100.64.9.0/26"]}, 422, 'except from "" to valid'),
        ({"podCIDRs": ["100.64.0.0/26", "100.64.9.0/26"]}, 422, "for each IP family|except from"),
    ],
)
def test_refusals_carry_what_the_server_said(
    body: dict[str, Any], status: int, said: str, server: ApiServer, config: Path
) -> None:
    writer(config, BLOCK).step()

    with access(str(config)) as given, pytest.raises(ApiAway, match=said) as refused:
        NodeApi(given, NAME).patch(Patch("", MERGE, {"metadata": {}, "spec": body}))

    assert refused.value.status == status


def test_what_a_kubelet_may_not_do_is_said_once_and_tried_less_and_less(
    config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = writer(config, BLOCK, name="someone-else")

    pauses = [one.step() for _ in range(10)]

    assert pauses[:3] == [4.0, 8.0, 16.0]
    assert pauses[-1] == 300.0
    assert [record.message for record in caplog.records] == ["Kubernetes not told"]
    assert one.failures == 10


# --- credentials ---------------------------------------------------------------------------


def test_an_authority_without_key_usage_is_trusted_for_its_cluster(
    config: Path, authority: Authority
) -> None:
    with access(str(config)) as given:
        context = given.context()
        assert NodeApi(given, NAME).read()["kind"] == "Node"

    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_python_313_would_refuse_that_authority(server: ApiServer, authority: Authority) -> None:
    strict = ssl.create_default_context(cafile=str(authority.certificate))
    strict.verify_flags |= ssl.VERIFY_X509_STRICT

    with (
        socket.create_connection(("127.0.0.1", server.port)) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        strict.wrap_socket(plain, server_hostname="127.0.0.1")


def test_another_authority_is_not_trusted(server: ApiServer, tmp_path: Path) -> None:
    foreign = make_authority(tmp_path / "foreign")
    path = tmp_path / "config"
    trusted = {"certificate-authority": str(foreign.certificate)}
    path.write_text(kubeconfig(server.url, cluster=trusted, user={"token": TOKEN}))

    with access(str(path)) as given, pytest.raises(ApiAway, match="CERTIFICATE_VERIFY_FAILED"):
        NodeApi(given, NAME).read()
    assert server.asked == []


@pytest.mark.parametrize(("name", "trusted"), [("kubernetes", True), ("example.org", False)])
def test_a_certificate_for_another_name_needs_that_name(
    name: str, trusted: bool, server: ApiServer, authority: Authority, tmp_path: Path
) -> None:
    path = tmp_path / "config"
    cluster = {"certificate-authority": str(authority.certificate), "tls-server-name": name}
    path.write_text(kubeconfig(server.url, cluster=cluster, user={"token": TOKEN}))

    with access(str(path)) as given:
        if trusted:
            assert NodeApi(given, NAME).read()["kind"] == "Node"
        else:
            with pytest.raises(ApiAway, match="CERTIFICATE_VERIFY_FAILED"):
                NodeApi(given, NAME).read()


def test_keys_inside_a_kubeconfig_are_used_and_do_not_stay(authority: Authority, tmp_path: Path) -> None:
    data = base64.b64encode(authority.certificate.read_bytes()).decode()
    pair = base64.b64encode(authority.server.read_bytes()).decode()
    path = tmp_path / "config"
    user = {"client-certificate-data": pair, "client-key-data": pair}
    path.write_text(kubeconfig("https://192.0.2.1", cluster={"certificate-authority-data": data}, user=user))

    with access(str(path)) as given:
        given.context()
        assert given.key is not None
        private = given.key.parent
        assert given.key.stat().st_mode & 0o077 == 0
        assert private.stat().st_mode & 0o077 == 0

    assert not private.exists()


def test_files_beside_the_kubeconfig_are_read_anew_each_time(
    server: ApiServer, authority: Authority, tmp_path: Path
) -> None:
    path = tmp_path / "config"
    trusted = {"certificate-authority": str(authority.certificate)}
    path.write_text(kubeconfig(server.url, cluster=trusted, user={"tokenFile": "token"}))
    (tmp_path / "token").write_text("an old one\n")

    with access(str(path)) as given:
        with pytest.raises(ApiAway, match="401 Unauthorized"):
            NodeApi(given, NAME).read()
        (tmp_path / "token").write_text(f"{TOKEN}\n")
        assert NodeApi(given, NAME).read()["kind"] == "Node"


def test_inside_a_pod_its_account_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")

    with access("in-cluster") as given:
        assert given.server == "https://[fd00::1]:6443"
        assert str(given.token_file) == "/var/run/secrets/kubernetes.io/serviceaccount/token"

    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    with pytest.raises(BadCredentials, match="KUBERNETES_SERVICE_HOST"), access("in-cluster"):
        pass


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (kubeconfig("https://x", cluster={}, user={"exec": {"command": "aws"}}), "exec is not supported"),
        (kubeconfig("https://x", cluster={"insecure-skip-tls-verify": True}, user={}), "name the authority"),
        (
            kubeconfig("https://x", cluster={}, user={}).replace("name: demo", "name: gone"),
            "there is no demo",
        ),
        ("{", "config"),
        ("[]", "config"),
        ("", "config"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_says_why(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(text)

    with pytest.raises(BadCredentials, match=said), access(str(path)):
        pass


def test_no_token_goes_out_in_the_clear(server: ApiServer, authority: Authority, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(kubeconfig("http://127.0.0.1:1", cluster={}, user={"token": TOKEN}))

    with access(str(path)) as given, pytest.raises(ApiAway, match="is not https"):
        NodeApi(given, NAME).read()


def test_a_server_that_is_away_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(kubeconfig("https://127.0.0.1:1", cluster={}, user={"token": TOKEN}))
    one = writer(path, BLOCK)

    assert one.step() == 4.0
    assert one.failures == 1


def test_the_nodes_name_is_the_hosts_unless_it_is_told() -> None:
    assert node_name("ip-10-0-0-9") == "ip-10-0-0-9"
    assert node_name("") == socket.gethostname().lower()
