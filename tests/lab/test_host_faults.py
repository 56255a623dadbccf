"""What can befall a host, one by one: each fault does what it says, and its end mends it."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from podway_lab.fabric import conntrack
from podway_lab.fabric.host import Host
from podway_lab.fabric.probes import ping

from tests import limits
from tests.lab.handmade import Cluster, address, block, eventually

pytestmark = pytest.mark.fabric

LOST = 0.2
"""Seconds after which a packet that must not arrive is taken for lost."""


def relayed(cluster: Cluster, *, within: float = limits.PATIENCE_SECONDS) -> bool:
    """Whether a packet gets from subnet a to the pod on c2 by way of c1."""
    return ping(cluster.pods["a1"], cluster.pods["c2"].address, timeout=within).received == 1


def answers(cluster: Cluster, *, within: float = limits.PATIENCE_SECONDS) -> bool:
    """Whether c1 itself answers."""
    return ping(cluster.hosts["a1"], address("c1"), timeout=within).received == 1


@pytest.mark.parametrize(
    ("fault", "repair", "still_answers"),
    [
        (Host.port_down, Host.port_up, False),
        (Host.unplug, Host.plug_in, False),
        (lambda host: host.drop_everything(on=True), lambda host: host.drop_everything(on=False), False),
        (lambda host: host.set_forwarding(on=False), lambda host: host.set_forwarding(on=True), True),
        (lambda host: host.drop_forwarded(on=True), lambda host: host.drop_forwarded(on=False), True),
    ],
    ids=["port down", "unplugged", "everything dropped", "forwarding off", "FORWARD drop"],
)
def test_a_fault_of_a_forwarder_and_its_end(
    cluster: Cluster, fault: Callable[[Host], None], repair: Callable[[Host], None], *, still_answers: bool
) -> None:
    forwarder = cluster.hosts["c1"]
    assert relayed(cluster)

    fault(forwarder)
    fault(forwarder)

    assert not relayed(cluster, within=LOST)
    assert answers(cluster, within=limits.PATIENCE_SECONDS if still_answers else LOST) == still_answers
    repair(forwarder)
    repair(forwarder)
    cluster.configure("c1", forwarder)  # what an agent would see to
    assert relayed(cluster)
    assert answers(cluster)


def test_an_interface_that_is_plugged_in_again_is_another_one(cluster: Cluster) -> None:
    host = cluster.hosts["c1"]
    before = host.call(index_of_ens5)

    host.unplug()
    host.plug_in()

    assert host.call(index_of_ens5) != before
    assert answers(cluster)


def index_of_ens5() -> int:
    return socket.if_nametoindex("ens5")


def test_a_flap_takes_every_route_but_what_dhcp_restores(cluster: Cluster) -> None:
    host = cluster.hosts["c1"]
    assert str(block("c2")) in host.tool("ip", "route")

    host.flap()

    assert str(block("c2")) not in host.tool("ip", "route")
    assert "default via 10.0.32.1" in host.tool("ip", "route")
    assert answers(cluster)


def test_routes_are_flushed_by_their_protocol(cluster: Cluster) -> None:
    host = cluster.hosts["c1"]
    host.ip("route add 192.0.2.0/24 via 10.0.32.1 proto 112", "route add 198.51.100.0/24 via 10.0.32.1")

    host.flush_routes(112)

    assert "192.0.2.0/24" not in host.tool("ip", "route")
    assert "198.51.100.0/24" in host.tool("ip", "route")


def test_a_full_table_of_flows_takes_no_new_one(cluster: Cluster) -> None:
    host = cluster.hosts["c1"]
    host.tool("iptables-nft", "-A", "OUTPUT", "-m", "conntrack", "--ctstate", "NEW", "-j", "ACCEPT")
    assert host.fill_conntrack() == conntrack.limit() == conntrack.tracked(host)

    with host.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as sender, pytest.raises(PermissionError):
        sender.sendto(b"new", ("127.0.0.1", 9))
    host.empty_conntrack()
    with host.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        assert sender.sendto(b"new", ("127.0.0.1", 9)) == 3


def test_a_frozen_process_does_nothing_until_it_is_thawed(cluster: Cluster) -> None:
    host = cluster.hosts["c1"]
    count = host.directory / "count"
    process = host.popen(["sh", "-c", f"while sleep 0.01; do echo >> {count}; done"])

    def size() -> int:
        return count.stat().st_size if count.exists() else 0

    assert eventually(lambda: size() > 0)
    process.freeze()
    frozen = size()
    assert not eventually(lambda: size() > frozen + 1, within=0.3)
    process.thaw()
    assert eventually(lambda: size() > frozen + 1)
    process.freeze()
    process.end()
    assert process.poll() is not None
