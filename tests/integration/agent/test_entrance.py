"""What comes in for an address that nobody here knows is refused by a real kernel, and only that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from podway.wire.snapshot import Snapshot
from podway_agent import uninstall
from podway_agent.kernel import nft
from podway_agent.kernel.nft import NftFailed, Table
from podway_lab.fabric.namespace import Namespace, new_namespace
from podway_lab.fabric.probes import TRACE_PORT, who_refuses

from tests.integration.agent.node import MAC, Node
from tests.unit.agent.snapshots import ME, OTHER, SIBLING, member, snapshot

pytestmark = pytest.mark.fabric

SUPERNET = "100.64.0.0/20"
UNKNOWN, SIBLINGS, ELSEWHERE = "100.64.5.5", "100.64.0.70", "100.64.8.1"
OWN = "unreachable 100.64.0.0/26 backstop"
ASKING = "100.64.16.9"
REFUSED = "refused"
MACS = {"10.0.0.1": "02:00:00:00:00:01", "10.0.0.11": "02:00:00:00:00:11", "10.0.0.99": "02:00:00:00:00:99"}
"""Of the VPC router, of a sibling, and of somebody whom others' routes name."""
ROUTER, SIBLINGS_NODE, STRANGER = MACS


class Network(NamedTuple):
    """A node whose wire ends elsewhere: what comes in over it, and where the node sends it on."""

    node: Node
    vpc: Namespace

    def meet(self, interface: str = "ens5") -> None:
        """Let the node know who is on its wire."""
        known = (
            f"neighbour replace {one} lladdr {mac} dev {interface} nud permanent" for one, mac in MACS.items()
        )
        self.node.ip(*known)

    def lay(self) -> None:
        """Lead the node's wire to the VPC, whose only machine is the router and sees all frames."""
        self.node.ip(f"link set wire netns {self.vpc.path}")
        self.meet()
        self.vpc.ip(
            f"link set wire address {MACS[ROUTER]} up",
            f"neighbour replace 10.0.0.10 lladdr {MAC} dev wire nud permanent",
            f"route replace 100.64.0.0/16 via 10.0.0.10 dev wire src {ASKING} onlink",
        )
        seen = "".join(
            f"counter c{number} {{ }}\n chain to{number} {{\n"
            " type filter hook ingress device wire priority 0\n"
            f" ether daddr {mac} udp dport {TRACE_PORT} counter name c{number}\n }}\n"
            for number, mac in enumerate(MACS.values())
        )
        self.vpc.nft(f"table netdev seen\ndelete table netdev seen\ntable netdev seen {{\n {seen} }}\n")

    def way_in(self, address: str) -> str:
        """Where the node sends what comes in for *address*: to whom on the wire, or it refuses at once."""
        self.vpc.nft("reset counters table netdev seen\n")
        if refused := who_refuses(self.vpc, address, timeout=0.3):
            assert refused == "10.0.0.10"
        told = json.loads(self.vpc.tool("nft", "-j", "list", "counters", "table", "netdev", "seen"))
        counts = [one["counter"]["packets"] for one in told["nftables"] if "counter" in one]
        hops = [hop for hop, count in zip(MACS, counts, strict=True) if count]
        return REFUSED if refused and not hops else " ".join(hops)

    def way_out(self, address: str) -> str:
        """Where the node sends what it itself, or one of its pods, has for *address*."""
        asked = self.node.namespace.run(["ip", "route", "get", address])
        if asked.returncode:
            return REFUSED
        words = asked.stdout.split()
        return words[words.index("via") + 1]


@pytest.fixture
def network(node: Node) -> Iterator[Network]:
    with new_namespace() as vpc:
        vpc.ip("link set lo up", f"address add {ASKING}/32 dev lo")
        made = Network(node, vpc)
        made.lay()
        yield made


def led(*cidrs: str, generation: int = 1) -> Snapshot:
    """The subnet's snapshot, whose route table leads *cidrs* to its nodes."""
    return snapshot(ME, SIBLING, OTHER, generation=generation, led_here=cidrs, elsewhere=["100.64.8.0/24"])


def test_unknown_addresses_are_refused_where_they_come_in_and_only_there(network: Network) -> None:
    outcome = network.node.converge(led(SUPERNET))

    assert (outcome.faults, outcome.warnings) == ((), ())
    assert OWN in network.node.ours()
    assert f"unreachable {SUPERNET} backstop" not in network.node.ours()
    for address, inward, outward in (
        (UNKNOWN, REFUSED, ROUTER),
        (SIBLINGS, SIBLINGS_NODE, SIBLINGS_NODE),
        (ELSEWHERE, ROUTER, ROUTER),
        ("100.64.0.9", REFUSED, REFUSED),
    ):
        assert (network.way_in(address), network.way_out(address)) == (inward, outward), address


@pytest.mark.parametrize("told", [led(), snapshot(led_here=["100.64.0.0/21"])], ids=["nothing", "a part"])
def test_where_the_route_table_does_not_lead_here_all_of_it_stays_unreachable(
    network: Network, told: Snapshot
) -> None:
    network.node.converge(told)

    assert f"unreachable {SUPERNET} backstop" in network.node.ours()
    assert network.way_in(UNKNOWN) == network.way_out(UNKNOWN) == REFUSED


def test_a_second_time_there_is_nothing_to_do(node: Node) -> None:
    node.converge(led(SUPERNET))

    assert node.converge(led(SUPERNET)).changed == 0
    assert node.dataplane.table.repairs == 0


def test_only_the_route_comes_and_goes_with_the_snapshot(network: Network) -> None:
    tables = set()
    for generation, cidrs in enumerate([(), (SUPERNET,), ()], 1):
        assert network.node.converge(led(*cidrs, generation=generation)).is_complete
        assert (f"unreachable {SUPERNET} backstop" in network.node.ours()) == (not cidrs)
        assert network.way_in(UNKNOWN) == REFUSED
        tables.add(network.node.namespace.call(nft.present_table))
    assert len(tables) == 1, "what refuses is never taken away"


def test_while_our_table_cannot_be_made_all_of_it_is_unreachable(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = network.node

    def refuse(*_: object, **__: object) -> None:
        raise NftFailed("nft: no such thing")

    with monkeypatch.context() as patched:
        patched.setattr(nft, "run_nft", refuse)
        outcome = node.converge(led(SUPERNET), look=False)

    assert outcome.faults == ("nft: no such thing",)
    assert f"unreachable {SUPERNET} backstop" in node.ours()
    assert network.way_in(UNKNOWN) == REFUSED
    assert network.way_in(SIBLINGS) == SIBLINGS_NODE
    assert node.converge(led(SUPERNET)).is_complete
    assert (network.way_in(UNKNOWN), network.way_out(UNKNOWN)) == (REFUSED, ROUTER)


def test_what_refuses_is_put_back_on_the_kernels_event(network: Network) -> None:
    node = network.node
    loop = node.watch()
    loop.deliver(led(SUPERNET))
    node.turn(loop, lambda: bool(node.told))
    node.namespace.nft("flush chain inet podway entering")
    assert network.way_in(UNKNOWN) == ROUTER, "the drift this test is about never happened"

    node.turn(loop, lambda: node.dataplane.table.repairs > 0)

    assert network.way_in(UNKNOWN) == REFUSED


def test_during_a_link_flap_and_after_it_nothing_is_sent_back(network: Network) -> None:
    node = network.node
    loop = node.watch()
    loop.deliver(led(SUPERNET))
    node.turn(loop, lambda: bool(node.told))
    node.ip("link set ens5 down", "link set ens5 up", "route replace default via 10.0.0.1")
    network.meet()

    assert network.way_in(SIBLINGS) == network.way_in(UNKNOWN) == REFUSED, "DHCP restores its own route only"

    node.turn(loop, lambda: network.way_out(SIBLINGS) == SIBLINGS_NODE)
    assert (network.way_in(SIBLINGS), network.way_in(UNKNOWN)) == (SIBLINGS_NODE, REFUSED)


def test_it_follows_an_interface_that_is_renamed_and_one_that_is_made_anew(network: Network) -> None:
    node = network.node
    node.converge(led(SUPERNET))
    node.ip("link set ens5 down", "link set ens5 name eth0", "link set eth0 up")
    node.ip("route replace default via 10.0.0.1")
    network.meet("eth0")

    assert node.converge(led(SUPERNET)).is_complete
    assert network.way_in(UNKNOWN) == REFUSED

    node.ip("link del eth0")
    node.wire_up()
    network.lay()
    assert node.converge(led(SUPERNET)).is_complete
    assert (network.way_in(UNKNOWN), network.way_in(SIBLINGS)) == (REFUSED, SIBLINGS_NODE)


def test_a_default_route_by_another_gateway_or_interface_leads_nowhere_either(network: Network) -> None:
    node = network.node
    node.ip(f"route add {ASKING} via {ROUTER}", f"route replace default via {STRANGER}")
    node.converge(led(SUPERNET))
    assert (network.way_in(UNKNOWN), network.way_out(UNKNOWN)) == (REFUSED, STRANGER)

    node.ip("link add name ens6 type veth peer name wire6", "link set ens6 up", "link set wire6 up")
    node.ip("address add 10.9.0.2/24 dev ens6", "route replace default via 10.9.0.1 dev ens6")
    assert node.converge(led(SUPERNET)).is_complete
    assert (network.way_in(UNKNOWN), network.way_out(UNKNOWN)) == (REFUSED, "10.9.0.1")


def test_others_routes_into_our_space_are_followed_unless_they_lead_back(network: Network) -> None:
    network.node.ip(f"route add 100.64.5.0/26 via {STRANGER}", "route add 100.64.5.64/26 via 10.0.0.1")
    network.node.converge(led(SUPERNET))

    assert (network.way_in("100.64.5.5"), network.way_in("100.64.5.70")) == (STRANGER, REFUSED)


def test_ipv6_is_refused_too(network: Network) -> None:
    node = network.node
    node.ip("address add 2001:db8::10/64 dev ens5 nodad", "route add default via 2001:db8::1")
    six = member("i-0b", "2001:db8::11", "fd00:64:0:1::/80")
    supernet = "fd00:64::/52"
    cidrs = ["100.64.0.0/16", "fd00:64::/48"]
    told = snapshot(ME, six, pod_cidrs=cidrs, reachable_here=[supernet], led_here=[supernet])
    node.ip(f"neighbour replace 2001:db8::1 lladdr {MACS[ROUTER]} dev ens5 nud permanent")
    network.vpc.ip(
        "address add 2001:db8::1/64 dev wire nodad",
        "address add fd00:64:8::9/128 dev lo nodad",
        f"neighbour replace 2001:db8::10 lladdr {MAC} dev wire nud permanent",
        "route add fd00:64::/48 via 2001:db8::10 dev wire src fd00:64:8::9",
    )

    outcome = node.converge(told)

    assert (outcome.faults, outcome.warnings) == ((), ())
    said = network.vpc.run(["ping", "-6", "-c", "1", "-W", "1", "fd00:64:0:7::7"]).stdout
    assert "From 2001:db8::10 icmp_seq=1 Destination unreachable: Address unreachable" in said
    outward = node.namespace.tool("ip", "-6", "route", "get", "fd00:64:0:7::7")
    assert " via 2001:db8::1 " in outward


def test_what_pods_do_not_have_costs_their_packets_nothing(node: Node) -> None:
    node.converge(led(SUPERNET))

    assert "ip6" not in node.rules()


def test_uninstalling_removes_it(node: Node) -> None:
    before = node.routes(), node.rules()
    assert node.converge(led(SUPERNET)).is_complete

    node.namespace.call(uninstall.remove_routes)
    node.namespace.call(Table.remove)

    assert (node.routes(), node.rules()) == before
