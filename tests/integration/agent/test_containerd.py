"""Pods as a kubelet starts them: containerd, through CRI, on the conflist that the agent writes."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import grpc
import pytest
from podway.domain.addressing import Prefix
from podway_agent.dataplane import Dataplane, Outcome
from podway_agent.host.identity import Identity
from podway_lab.fabric.fabric import Fabric
from podway_lab.fabric.host import Host
from podway_lab.fabric.namespace import Namespace
from podway_lab.fabric.probes import ping, trace

from tests.integration.agent.containerd import Containerd, missing, write_pause_image
from tests.integration.agent.cri import Sandbox
from tests.integration.agent.node import settings, soon
from tests.lab.handmade import SUBNETS, SUPERNETS, address, attach, block, interface
from tests.unit.agent.snapshots import member, snapshot

pytestmark = pytest.mark.fabric

FORWARDERS, NODES = ("a1", "b1"), ("a2", "b2")
APART = ["100.64.8.0/29", "100.64.12.0/29"]
"""Two blocks that are no buddies, with room for five pods each."""


class Cluster:
    """Two zones of a forwarder and a node each; the nodes run containerd."""

    def __init__(self, fabric: Fabric, directory: Path) -> None:
        for subnet in "ab":
            fabric.add_subnet(f"subnet-{subnet}", SUBNETS[subnet])
        self.fabric, self.directory = fabric, directory
        self.hosts: dict[str, Host] = {}
        self.planes: dict[str, Dataplane] = {}
        for name in (*FORWARDERS, *NODES):
            self.hosts[name] = attach(fabric, name)
            fabric.set_source_dest_check(interface(name), on=False)
            who = Identity(f"i-{name}", f"subnet-{name[0]}", address(name), "", "us-west-2", "")
            self.planes[name] = self.hosts[name].call(partial(Dataplane, settings(directory / name), who))
        anchors: dict[Prefix, str | None] = {
            Prefix.parse(SUPERNETS[subnet]): interface(f"{subnet}1") for subnet in "ab"
        }
        fabric.apply_route_table("rtb-1", ["subnet-a", "subnet-b"], anchors)

    def tell(self, subnet: str, *blocks: str, ready: bool = True) -> None:
        """Have both nodes of *subnet* hold a snapshot in which the second has *blocks*."""
        told = snapshot(
            member(f"i-{subnet}1", address(f"{subnet}1")),
            member(f"i-{subnet}2", address(f"{subnet}2"), *blocks, ready=ready),
            subnet=f"subnet-{subnet}",
            subnet_cidrs=[SUBNETS[subnet]],
            reachable_here=[SUPERNETS[subnet]],
        )
        for name in (f"{subnet}1", f"{subnet}2"):
            outcome: Outcome = self.hosts[name].call(partial(self.planes[name].converge, told, look=True))
            assert outcome.is_complete, outcome.faults

    def containerd(self, name: str, image: Path) -> Containerd:
        conf_dir = self.directory / name / "cni" / "net.d"
        conf_dir.mkdir(parents=True, exist_ok=True)
        return Containerd(
            self.hosts[name], home=self.directory / name / "containerd", conf_dir=conf_dir, image=image
        )

    def close(self) -> None:
        for plane in self.planes.values():
            plane.kernel.close()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if lacking := missing():
        assert not os.environ.get("NO_SKIPS"), f"not installed: {lacking}"
        pytest.skip(f"not installed: {', '.join(lacking)}")
    path = tmp_path_factory.mktemp("image") / "pause.tar"
    write_pause_image(path)
    return path


@pytest.fixture
def cluster(fabric: Fabric, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(fabric, tmp_path)
    yield made
    made.close()


def inside(sandbox: Sandbox) -> Namespace:
    """The pod's network."""
    return Namespace(os.open(sandbox.namespace, os.O_RDONLY | os.O_CLOEXEC))


def accepts(source: Namespace, target: Namespace, at: str, *, by: tuple[str, int] | None = None) -> bool:
    """Whether a TCP connection from *source* to *target*, *at* its own address or *by* another, stands."""
    with (
        target.listen(at, 8080 if by else 0) as server,
        source.open_socket(socket.AF_INET, socket.SOCK_STREAM) as asking,
    ):
        asking.settimeout(5)
        return asking.connect_ex(by or server.getsockname()) == 0


def test_pods_of_two_zones_talk_once_their_nodes_are_ready(cluster: Cluster, image: Path) -> None:
    with ExitStack() as stack:
        started = {name: stack.enter_context(cluster.containerd(name, image)) for name in NODES}
        for name in NODES:
            cluster.tell(name[0], str(block(name)), ready=False)
        assert all("cni" in one.runtime.network_fault() for one in started.values())

        for name in NODES:
            cluster.tell(name[0], str(block(name)))
            soon(partial(has_network, started[name]))
        a2, b2 = (started[name].runtime.run("pod", ports={8081: 8080}) for name in NODES)

        with inside(a2) as here, inside(b2) as there:
            assert (ping(here, b2.address).lost, ping(there, a2.address).lost) == (0, 0)
            assert trace(here, b2.address).relays == (address("b1"),)
            assert ping(here, b2.address, size=8900).lost == 0
            assert accepts(here, there, b2.address)
            assert accepts(there, here, a2.address)
            assert accepts(there, here, a2.address, by=(address("a2"), 8081)), "a port of the node"


def test_a_block_more_is_filled_while_pods_live_and_all_are_reached(cluster: Cluster, image: Path) -> None:
    cluster.tell("a", APART[0])
    cluster.tell("b", str(block("b2")))
    with cluster.containerd("a2", image) as node, cluster.containerd("b2", image) as other:
        for one in (node, other):
            soon(partial(has_network, one))
        pods = [node.runtime.run(f"pod{number}") for number in range(5)]
        with pytest.raises(grpc.RpcError, match="no IP addresses available"):
            node.runtime.run("too-early")

        cluster.tell("a", *APART)
        conflist = (cluster.directory / "a2" / "cni" / "net.d" / "10-podway.conflist").read_text()
        assert all(cidr in conflist for cidr in APART)
        pods += filter(None, (soon(partial(attempt, node, f"more{number}")) for number in range(5)))
        with pytest.raises(grpc.RpcError, match="no IP addresses available"):
            node.runtime.run("too-many")

        wide = [Prefix.parse(cidr) for cidr in APART]
        held = [sum(cidr.contains(Prefix.of_address(pod.address)) for pod in pods) for cidr in wide]
        assert held == [5, 5]
        with inside(other.runtime.run("asking")) as asking:
            assert [ping(asking, pod.address).lost for pod in pods] == [0] * 10

        node.runtime.remove(pods[0].id)
        assert node.runtime.run("heir").address == pods[0].address


def has_network(node: Containerd) -> bool:
    return not node.runtime.network_fault()


def attempt(node: Containerd, name: str) -> Sandbox | None:
    """A pod, or None while containerd has not yet read the new conflist (it hears of it by inotify)."""
    try:
        return node.runtime.run(name)
    except grpc.RpcError:
        return None
