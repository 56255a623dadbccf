"""Security groups and network ACLs on the fabric, as on AWS: what they do to packets that are relayed."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from podway.domain.addressing import Prefix
from podway_lab.fabric.counting import count_packets
from podway_lab.fabric.fabric import ENDPOINT, Fabric
from podway_lab.fabric.probes import exchange, ping
from podway_lab.fabric.rules import (
    ANYWHERE,
    AclRule,
    GroupRule,
    Selection,
    Way,
    documented,
    wide_open,
)
from podway_lab.fabric.tracking import Tracking

from tests.lab.handmade import SUPERNETS, Cluster, address, attach, eventually, interface

pytestmark = pytest.mark.fabric

PODS = Prefix.parse("100.64.0.0/16")
PORT = 8080
WEB = Selection("tcp", PORT, PORT)
SILENCE = 0.5
"""Seconds after which a packet that must not come is given up."""


def guard(cluster: Cluster, rules: Iterable[GroupRule], nodes: Iterable[str] = ()) -> None:
    """Put *nodes*, or all, into the group ``nodes``, which has *rules*."""
    cluster.fabric.set_group("nodes", rules)
    cluster.fabric.join_groups([interface(one) for one in nodes or cluster.hosts], ["nodes"])


def refused(cluster: Cluster) -> dict[str, int]:
    """How many packets the group dropped at each node, where it did."""
    counts = {name: cluster.fabric.refused_by_groups(interface(name)) for name in cluster.hosts}
    return {name: count for name, count in counts.items() if count}


def connects(cluster: Cluster, source: str, target: str, port: int = PORT) -> bool:
    return exchange(cluster.pods[source], cluster.pods[target], port=port, size=20_000).complete


def is_cut(cluster: Cluster, source: str, target: str, port: int = PORT) -> bool:
    answer = exchange(cluster.pods[source], cluster.pods[target], port=port, timeout=SILENCE)
    return answer.error == "timed out"


@contextlib.contextmanager
def connection(cluster: Cluster, source: str, target: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a TCP connection between pods, over two forwarders unless they are nodes' 1."""
    with cluster.pods[target].open_socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((cluster.pods[target].address, PORT))
        server.listen(1)
        client = cluster.pods[source].open_socket(socket.AF_INET, socket.SOCK_STREAM)
        client.settimeout(10)
        client.connect(server.getsockname())
        served = server.accept()[0]
        served.settimeout(10)
        with client, served:
            yield client, served


def says(sender: socket.socket, receiver: socket.socket) -> bool:
    """Whether a byte arrives."""
    sender.send(b"x")
    with contextlib.suppress(TimeoutError):
        return receiver.recv(1) == b"x"
    return False


def test_the_documented_group_lets_everything_pass_that_passes_without_one(cluster: Cluster) -> None:
    """So the lab's default, no rules at all, is it in effect."""
    guard(cluster, documented("nodes", PODS))

    lost = [
        (source, target)
        for source in cluster.pods
        for target in cluster.pods
        if ping(cluster.pods[source], cluster.pods[target].address).lost
    ]

    assert lost == []
    assert connects(cluster, "a2", "b2")
    assert connects(cluster, "b2", "a1", port=9999)
    assert ping(cluster.hosts["a2"], address("c2")).received
    assert ping(cluster.hosts["a2"], cluster.pods["c2"].address).received
    assert ping(cluster.pods["a2"], address("c2")).received
    assert ping(cluster.pods["a1"], "100.64.32.199").refused_by == address("c1")
    assert refused(cluster) == {}


def test_a_node_under_the_documented_group_reaches_the_regions_endpoints(cluster: Cluster) -> None:
    """Nobody's rule lets the endpoint in: its answers belong to flows that the node began."""
    guard(cluster, documented("nodes", PODS))

    with (
        cluster.fabric.home.listen(ENDPOINT, 0) as server,
        cluster.hosts["b2"].open_socket(socket.AF_INET, socket.SOCK_STREAM) as client,
    ):
        client.settimeout(10)
        client.connect(server.getsockname())
        assert server.accept()[1][0] == address("b2")
    assert refused(cluster) == {}
    assert ping(cluster.fabric.home, address("b2"), timeout=SILENCE).lost, "nor may it begin one"


def test_a_rule_for_a_port_kills_the_syn_ack_of_a_relayed_connection_at_the_other_forwarder(
    cluster: Cluster,
) -> None:
    guard(cluster, [GroupRule(Way.IN, WEB, PODS), GroupRule(Way.OUT, WEB, PODS)])
    answer = "tcp flags & (syn | ack) == (syn | ack)"

    assert connects(cluster, "a1", "b1"), "directly, both ends track it"
    assert refused(cluster) == {}
    with (
        count_packets(cluster.pods["b2"], f"tcp dport {PORT}") as asked,
        count_packets(cluster.fabric.home, f"{answer} ip daddr {cluster.pods['a2'].address}") as answered,
        count_packets(cluster.hosts["a1"], answer) as passed,
    ):
        assert is_cut(cluster, "a2", "b2")
        assert asked.packets > 0, "the way there is open"
        assert answered.packets > 0
        assert passed.packets == 0
    assert set(refused(cluster)) == {"a1"}


def test_a_rule_that_names_a_group_does_not_match_pods(cluster: Cluster) -> None:
    everything = Selection()
    guard(cluster, [GroupRule(way, everything, "nodes") for way in Way])

    assert ping(cluster.hosts["a2"], address("b2")).received
    for source, target in (("a1", "b1"), ("a1", "a2"), ("a2", "b2")):
        assert ping(cluster.pods[source], cluster.pods[target].address, timeout=SILENCE).lost
    assert set(refused(cluster)) == {"a1", "a2"}, "nothing leaves the senders"


def test_who_leaves_the_named_group_is_no_longer_let_in(cluster: Cluster) -> None:
    guard(cluster, [GroupRule(way, Selection("icmp"), "peers") for way in Way], ["a1"])
    cluster.fabric.set_group("peers", wide_open())
    cluster.fabric.join_groups([interface("a2")], ["peers"])
    inside = ping(cluster.hosts["a2"], address("a1")).received

    cluster.fabric.join_groups([interface("a2")], ["others"])
    cluster.fabric.set_group("others", wide_open())

    assert inside
    assert ping(cluster.hosts["b1"], address("a1"), timeout=SILENCE).lost


def test_a_reply_passes_whatever_the_rules_say_and_so_does_what_was_begun_before_they_changed(
    cluster: Cluster,
) -> None:
    guard(cluster, [GroupRule(Way.IN, WEB, PODS)], ["b1"])

    with connection(cluster, "a1", "b1") as (client, server):
        assert says(server, client), "no rule lets anything out"
        cluster.fabric.set_group("nodes", ())
        assert says(client, server)
        assert says(server, client)
    assert is_cut(cluster, "a1", "b1")


@pytest.mark.parametrize("source", ["a1", "a2"])
def test_an_acl_without_the_ports_of_replies_drops_them_as_it_has_no_memory(
    cluster: Cluster, source: str
) -> None:
    """Directly or relayed: a group would remember who asked."""
    asking = [AclRule(100, Way.IN, WEB, PODS), AclRule(100, Way.OUT, WEB, PODS)]
    with_replies = [*asking, AclRule(200, Way.OUT, Selection("tcp", 1024), PODS)]

    cluster.fabric.set_acl("subnet-b", asking)
    with count_packets(cluster.pods["b1"], f"tcp dport {PORT}") as asked:
        assert is_cut(cluster, source, "b1")
        assert asked.packets > 0
    assert cluster.fabric.refused_by_acl("subnet-b") > 0
    assert ping(cluster.pods["b2"], cluster.pods["b1"].address).received, "inside the subnet there is no ACL"

    cluster.fabric.set_acl("subnet-b", with_replies)
    assert connects(cluster, source, "b1")


def test_an_acl_that_lets_pods_in_and_out_lets_relayed_connections_pass(cluster: Cluster) -> None:
    for subnet in "abc":
        rules = [AclRule(100, way, Selection(), PODS) for way in Way]
        cluster.fabric.set_acl(f"subnet-{subnet}", rules)

    assert connects(cluster, "a2", "b2")
    assert connects(cluster, "c2", "b1")
    assert [cluster.fabric.refused_by_acl(f"subnet-{subnet}") for subnet in "abc"] == [0, 0, 0]
    assert ping(cluster.hosts["a2"], address("b2"), timeout=SILENCE).lost, "it says nothing of nodes"
    for subnet in "abc":
        cluster.fabric.set_acl(f"subnet-{subnet}", None)
    assert ping(cluster.hosts["a2"], address("b2")).received


@pytest.mark.parametrize("numbers", [(100, 200), (200, 100)])
def test_of_an_acls_rules_the_lowest_number_that_fits_counts(
    cluster: Cluster, numbers: tuple[int, int]
) -> None:
    allow, deny = numbers
    everything = [AclRule(10, Way.OUT, Selection(), ANYWHERE)]
    web = [AclRule(allow, Way.IN, Selection(), PODS), AclRule(deny, Way.IN, WEB, PODS, allowed=False)]
    cluster.fabric.set_acl("subnet-b", [*web, *everything])

    if allow < deny:
        assert connects(cluster, "a2", "b2")
    else:
        assert is_cut(cluster, "a2", "b2")
    assert connects(cluster, "a2", "b2", port=PORT + 1)


def forget_soon(cluster: Cluster) -> None:
    """From their next packet on, TCP flows of b's forwarder are forgotten after a moment of silence."""
    tracking = replace(cluster.fabric.tracking(interface("b1")), tcp=0.5)
    cluster.fabric.track_flows([interface("b1")], tracking)


def want_syns(cluster: Cluster) -> None:
    """Let no interface take up a TCP connection in its middle."""
    cluster.fabric.track_flows(map(interface, cluster.hosts), Tracking(joins=False))


def halves(cluster: Cluster) -> int:
    """How many halves of TCP flows the forwarder of b tracks."""
    flows = cluster.fabric.tracked_flows(interface("b1"))
    return sum(one.half for one in flows if one.protocol in {"tcp", "6"})


def test_the_half_of_a_flow_stays_tracked_at_a_forwarder_until_it_has_been_idle(cluster: Cluster) -> None:
    """It sees no answer, so nothing tells it of the end: five days on AWS, 350 s on Nitro v6, or as set."""
    guard(cluster, documented("nodes", PODS))

    with connection(cluster, "a2", "b2"):
        assert halves(cluster) == 2, "what enters it, and the same packets as they leave"
    assert halves(cluster) == 2
    forget_soon(cluster)
    with connection(cluster, "a2", "b2"):
        assert halves(cluster) == 4
        assert eventually(lambda: halves(cluster) <= 2), "the one of which no packet has come since stays"


@pytest.mark.parametrize("joins", [True, False], ids=["rules decide", "a SYN is wanted"])
def test_an_idle_connection_is_cut_at_a_forwarder_that_tracked_it_if_aws_takes_up_no_middles(
    cluster: Cluster, joins: bool
) -> None:
    guard(cluster, documented("nodes", PODS))
    if not joins:
        want_syns(cluster)

    with connection(cluster, "a2", "b2") as (client, server):
        forget_soon(cluster)
        assert says(client, server)
        assert eventually(lambda: halves(cluster) == 0)
        server.settimeout(10 if joins else SILENCE)

        assert says(client, server) is joins
        assert set(refused(cluster)) == (set() if joins else {"b1"})


def test_an_idle_connection_that_is_not_tracked_goes_on(cluster: Cluster) -> None:
    """Everything from and to anywhere: nothing to forget, and no SYN is wanted."""
    guard(cluster, wide_open())
    want_syns(cluster)

    with connection(cluster, "a2", "b2") as (client, server):
        forget_soon(cluster)
        assert says(client, server)
        assert halves(cluster) == 0
        assert says(client, server)
        assert says(server, client)
    assert refused(cluster) == {}


@pytest.mark.parametrize(
    ("rules", "goes_on"),
    [(documented("nodes", PODS), False), (wide_open(), True)],
    ids=["tracked", "untracked"],
)
def test_a_connection_led_to_another_forwarder_is_cut_where_it_must_begin_with_a_syn_unless_it_is_untracked(
    fabric: Fabric, rules: tuple[GroupRule, ...], goes_on: bool
) -> None:
    """The other forwarder has never seen it. Whether AWS wants a SYN there is not documented."""
    cluster = Cluster(fabric, per_subnet=3)
    guard(cluster, rules)
    want_syns(cluster)

    with connection(cluster, "a2", "b2") as (client, server):
        assert says(client, server)
        cluster.apply(cluster.aggregates() | {Prefix.parse(SUPERNETS["b"]): interface("b3")})
        server.settimeout(10 if goes_on else SILENCE)

        assert says(client, server) is goes_on
    assert set(refused(cluster)) == (set() if goes_on else {"b3"})
    assert connects(cluster, "a2", "b2"), "a new connection passes either way"


def test_pings_are_tracked_whatever_the_rules_say_and_a_group_of_one_port_leaves_the_others_tracked(
    cluster: Cluster,
) -> None:
    guard(cluster, [GroupRule(Way.IN, WEB, ANYWHERE), *documented("nodes", PODS)])

    assert connects(cluster, "a1", "b1")
    assert {one.protocol for one in cluster.fabric.tracked_flows(interface("b1"))} == set()
    assert connects(cluster, "a1", "b1", port=PORT + 1)
    assert ping(cluster.pods["a1"], cluster.pods["b1"].address).received
    assert {one.protocol for one in cluster.fabric.tracked_flows(interface("b1"))} == {"tcp", "icmp"}


def test_a_reply_over_udp_passes_until_the_flow_has_been_idle(cluster: Cluster) -> None:
    """Of the server's node no rule lets anything out: what it says unasked stays inside."""
    asked, asking = cluster.pods["b1"], cluster.pods["a1"]
    guard(cluster, [GroupRule(Way.IN, Selection("udp", PORT, PORT), PODS)], ["b1"])
    cluster.fabric.track_flows([interface("b1")], Tracking(udp_stream=0.5))
    with (
        asked.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        asking.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        for end, place, port in ((server, asked, PORT), (client, asking, 0)):
            end.bind((place.address, port))
            end.settimeout(10)

        client.sendto(b"x", server.getsockname())
        server.recv(1)
        (half,) = cluster.fabric.tracked_flows(interface("b1"))
        server.sendto(b"x", client.getsockname())
        answered = client.recv(1)
        assert eventually(lambda: not cluster.fabric.tracked_flows(interface("b1")))
        server.sendto(b"x", client.getsockname())

        assert half.half
        assert (half.protocol, half.local, half.local_port) == ("udp", asked.address, PORT)
        assert answered == b"x"
        assert eventually(lambda: refused(cluster) == {"b1": 1})


def test_a_newcomer_is_in_the_groups_of_newcomers_from_its_first_packet_on(fabric: Fabric) -> None:
    fabric.set_group("nodes", [GroupRule(way, Selection("icmp"), "nodes") for way in Way])
    fabric.add_subnet("subnet-a", "10.0.0.0/20")
    before = attach(fabric, "a1")
    fabric.group_newcomers(["nodes"])

    attach(fabric, "a2")
    attach(fabric, "a3")

    assert ping(before, address("a2"), timeout=SILENCE).lost, "who came before is in no group that is named"
    assert ping(fabric.hosts["i-a2"], address("a3")).received
    assert exchange(fabric.hosts["i-a2"], fabric.hosts["i-a3"], timeout=SILENCE).error == "timed out"


def test_an_interface_that_is_plugged_in_again_is_guarded_again(cluster: Cluster) -> None:
    guard(cluster, (), ["b2"])
    host = cluster.hosts["b2"]

    host.unplug()
    host.plug_in()

    assert ping(cluster.hosts["b1"], address("b2"), timeout=SILENCE).lost
    cluster.fabric.join_groups([interface("b2")], [])
    assert ping(cluster.hosts["b1"], address("b2")).received
