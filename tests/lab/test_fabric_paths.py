"""Pods reach pods over the fabric as they would over a VPC, and the way they take can be seen."""

from __future__ import annotations

import socket

import pytest
from podway_lab.fabric.counting import count_packets
from podway_lab.fabric.fabric import ENDPOINT, Fabric
from podway_lab.fabric.probes import exchange, ping, trace

from tests.lab.handmade import Cluster, address, attach, block, eventually, interface

pytestmark = pytest.mark.fabric


def test_every_pod_reaches_every_pod(cluster: Cluster) -> None:
    lost = [
        (source.address, target.address)
        for source in cluster.pods.values()
        for target in cluster.pods.values()
        if ping(source, target.address).lost
    ]

    assert lost == []


def test_an_aggregated_route_leads_through_the_forwarder(cluster: Cluster) -> None:
    way = trace(cluster.pods["a1"], cluster.pods["c2"].address)

    assert way.reached
    assert way.hops[1:] == (address("c1"), address("c2"), cluster.pods["c2"].address)
    assert way.relays == (address("c1"),)


def test_a_route_of_the_nodes_own_leads_there_directly(cluster: Cluster) -> None:
    cluster.apply(cluster.aggregates() | {block("c2"): interface("c2")})

    way = trace(cluster.pods["a1"], cluster.pods["c2"].address)

    assert way.hops[1:] == (address("c2"), cluster.pods["c2"].address)
    assert way.relays == ()


def test_inside_a_subnet_the_router_is_not_needed(cluster: Cluster) -> None:
    cluster.apply({})

    way = trace(cluster.pods["a1"], cluster.pods["a2"].address)

    assert way.hops[1:] == (address("a2"), cluster.pods["a2"].address)
    assert ping(cluster.pods["a1"], cluster.pods["b1"].address, timeout=0.2).lost


def test_pods_of_one_node_reach_each_other(cluster: Cluster) -> None:
    neighbour = cluster.start_pod("a1", "neighbour")

    assert trace(cluster.pods["a1"], neighbour.address).hops[1:] == (neighbour.address,)


def test_tcp_crosses_a_forwarder(cluster: Cluster) -> None:
    assert exchange(cluster.pods["a1"], cluster.pods["c2"], size=300_000).complete


def test_tcp_that_finds_no_way_says_so(cluster: Cluster) -> None:
    cluster.apply({})

    answer = exchange(cluster.pods["a1"], cluster.pods["c2"], timeout=0.3)

    assert not answer.complete
    assert answer.error == "timed out"


def test_jumbo_packets_pass_and_larger_ones_do_not(cluster: Cluster) -> None:
    source, target = cluster.pods["a1"], cluster.pods["c2"].address

    assert ping(source, target, size=9001 - 28).received == 1
    assert ping(source, target, size=9001 - 27, timeout=0.2).received == 0


def test_the_router_of_the_vpc_is_no_hop(cluster: Cluster) -> None:
    """Between nodes it takes nothing off 64; between pods the two nodes on the way back take one each."""
    assert ping(cluster.pods["a1"], cluster.pods["c2"].address).ttl == 62
    assert ping(cluster.hosts["a1"], address("c2")).ttl == 64


@pytest.mark.parametrize("checked", ["a1", "c1", "c2"], ids=["sender", "forwarder", "receiver"])
def test_the_source_destination_check_blocks_pods_at_any_node(cluster: Cluster, checked: str) -> None:
    cluster.fabric.set_source_dest_check(interface(checked), on=True)
    with count_packets(cluster.hosts["c2"], "icmp type echo-request") as arrived:
        blocked = ping(cluster.pods["a1"], cluster.pods["c2"].address, timeout=0.2)
        assert (blocked.lost, arrived.packets) == (1, 0)
    between_nodes = ping(cluster.hosts["a1"], address("c2"))
    cluster.fabric.set_source_dest_check(interface(checked), on=False)

    assert between_nodes.received
    assert ping(cluster.pods["a1"], cluster.pods["c2"].address).received


def test_the_check_is_on_until_somebody_clears_it(fabric: Fabric) -> None:
    fabric.add_subnet("subnet-a", "10.0.0.0/20")
    first, second = attach(fabric, "a1"), attach(fabric, "a2")
    first.ip("address add 192.0.2.1/32 dev lo", "route add 192.0.2.2 via 10.0.0.12 src 192.0.2.1")
    second.ip("address add 192.0.2.2/32 dev lo", "route add 192.0.2.1 via 10.0.0.11 src 192.0.2.2")

    assert ping(first, "192.0.2.2", timeout=0.2).lost
    for name in ("a1", "a2"):
        fabric.set_source_dest_check(interface(name), on=False)
    assert ping(first, "192.0.2.2").received


def test_instances_reach_the_regions_endpoints_and_their_own_listeners(cluster: Cluster) -> None:
    host = cluster.hosts["b2"]
    host.add_address("169.254.169.254")
    endpoint = cluster.fabric.home.listen(ENDPOINT, 0)
    metadata = host.listen("169.254.169.254", 80)

    for server in (endpoint, metadata):
        with server, host.open_socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            client.connect(server.getsockname())
            peer = server.accept()[1]
            assert peer[0] in {address("b2"), "169.254.169.254"}


def test_the_router_is_silent_about_what_it_cannot_deliver(fabric: Fabric) -> None:
    fabric.add_subnet("subnet-a", "10.0.0.0/20")

    with count_packets(fabric.home, "ip daddr 192.0.2.1") as entered:
        answer = ping(attach(fabric, "a1"), "192.0.2.1", timeout=0.2)

        assert eventually(lambda: entered.packets == 1)
        assert (answer.received, answer.refused_by) == (0, None)


def test_an_unallocated_address_enters_a_forwarder_once(cluster: Cluster) -> None:
    with count_packets(cluster.hosts["c1"], "ip daddr 100.64.32.199") as entered:
        answer = ping(cluster.pods["a1"], "100.64.32.199", count=10, interval=0.001, timeout=1)

        assert answer.refused_by == address("c1")
        assert entered.packets == 10


def test_without_a_route_that_ends_it_a_stray_packet_loops(cluster: Cluster) -> None:
    """The same count, so that it can be seen to find a loop: c1 sends strays back to the router."""
    cluster.hosts["c1"].ip("route delete unreachable 100.64.32.0/20")

    with count_packets(cluster.hosts["c1"], "ip daddr 100.64.32.199") as entered:
        assert ping(cluster.pods["a1"], "100.64.32.199", count=10, interval=0.001, timeout=0.3).lost == 10

        assert eventually(lambda: entered.packets > 100)
