"""The agent's hold on a real kernel, without the store."""

from __future__ import annotations

import errno
import ipaddress
import socket

import pytest
from podway.domain.addressing import Prefix
from podway_agent.host.ena import ethtool, exceeded, statistics
from podway_agent.kernel.routing import Key, Kind, Route, Target, adding, removing
from podway_agent.uninstall import remove_routes

from tests.integration.agent.node import Node
from tests.unit.agent.snapshots import HERE, ME, SIBLING, member, snapshot

pytestmark = pytest.mark.fabric

SIBLINGS_WAY = "100.64.0.64/26 via 10.0.0.11 dev ens5 onlink"
BACKSTOPS = ["unreachable 100.64.0.0/20 backstop", "unreachable 100.64.0.0/26 backstop"]
WANTED = [
    "100.64.0.128/26 via 10.0.0.12 dev ens5 onlink",
    SIBLINGS_WAY,
    "100.64.3.0/26 via 10.0.0.12 dev ens5 onlink",
    *BACKSTOPS,
]


def test_the_kernel_comes_to_hold_the_snapshot(node: Node) -> None:
    outcome = node.converge(snapshot())

    assert outcome.is_complete
    assert (outcome.desired, outcome.present, outcome.changed) == (5, 5, 5)
    assert node.ours() == WANTED
    assert node.switch("ipv4/ip_forward") == "1"
    assert node.switch("ipv4/conf/ens5/rp_filter") == "2"
    assert {node.switch(f"ipv4/conf/{scope}/send_redirects") for scope in ("all", "ens5")} == {"0"}


def test_a_second_time_there_is_nothing_to_do(node: Node) -> None:
    node.converge(snapshot())

    assert node.converge(snapshot()).changed == 0


def test_the_conflist_is_written_with_the_interfaces_mtu(node: Node) -> None:
    assert node.converge(snapshot()).cni_written
    text = (node.settings.cni_conf_dir / "10-podway.conflist").read_text()
    assert '"mtu": 9001' in text


def test_members_come_move_and_go(node: Node) -> None:
    node.converge(snapshot())
    moved = member("i-0b", "10.0.0.99", "100.64.0.64/26")

    node.converge(snapshot(ME, moved, elsewhere=["100.64.8.0/24"], generation=2))

    assert node.ours() == [
        "100.64.0.64/26 via 10.0.0.99 dev ens5 onlink",
        "100.64.8.0/24 via 10.0.0.1 dev ens5 onlink",
        *BACKSTOPS,
    ]


def test_ipv6_blocks_are_routed_too(node: Node) -> None:
    node.ip("address add 2001:db8::10/64 dev ens5 nodad")
    six = member("i-0b", "2001:db8::11", "fd00:64:0:1::/80")

    outcome = node.converge(
        snapshot(ME, six, pod_cidrs=["100.64.0.0/16", "fd00:64::/48"], reachable_here=["fd00:64::/52"])
    )

    assert outcome.is_complete, outcome.faults
    found = [line for line in node.routes("-6") if "proto 112" in line]
    assert [line.partition(" pref")[0] for line in found] == [
        "fd00:64:0:1::/80 via 2001:db8::11 dev ens5 proto 112 metric 1024 onlink",
        "unreachable fd00:64::/52 dev lo proto 112 metric 4278198272",
    ]
    assert node.switch("ipv6/conf/all/forwarding") == "1"
    assert node.switch("ipv6/conf/ens5/accept_ra") == "2"
    assert node.converge(snapshot(ME)).is_complete
    assert "proto 112" not in "".join(node.routes("-6"))


@pytest.mark.parametrize(
    "theirs",
    ["100.64.0.64/26 via 10.0.0.77 dev ens5 proto static", "blackhole 100.64.0.64/26 proto 77"],
)
def test_a_foreign_route_is_left_alone_and_reported(node: Node, theirs: str) -> None:
    node.ip(f"route add {theirs}")

    outcome = node.converge(snapshot())

    assert not outcome.is_complete
    assert len(outcome.faults) == 1
    assert "100.64.0.64/26" in outcome.faults[0]
    assert outcome.present == outcome.desired - 1
    assert theirs in node.routes()
    assert not outcome.cni_written

    node.ip(f"route del {theirs}")

    assert node.converge(snapshot()).is_complete
    assert node.ours() == WANTED


def test_a_foreign_route_that_leads_the_same_way_is_no_fault(node: Node) -> None:
    node.ip("route add 100.64.0.64/26 via 10.0.0.11 dev ens5 proto static")

    assert node.converge(snapshot()).is_complete
    assert "100.64.0.64/26 via 10.0.0.11 dev ens5 proto static" in node.routes()


def test_a_foreign_route_that_comes_between_look_and_change_is_not_overwritten(node: Node) -> None:
    theirs = "100.64.0.64/26 via 10.0.0.77 dev ens5 proto static"
    node.converge(snapshot(ME))
    node.ip(f"route add {theirs}")
    assert node.dataplane.link is not None
    way = Target(
        Kind.UNICAST, int(ipaddress.ip_address("10.0.0.11")), node.dataplane.link.number, onlink=True
    )
    ours = Route(Key(Prefix.parse("100.64.0.64/26"), 0), way)
    same = Route(ours.key, way._replace(gateway=int(ipaddress.ip_address("10.0.0.77"))))

    refusals = node.dataplane.kernel.ask([adding(ours), removing(ours), removing(same)])

    assert [refusal and refusal.errno for refusal in refusals] == [errno.EEXIST, errno.ESRCH, errno.ESRCH]
    assert theirs in node.routes()


def test_nothing_of_others_is_touched(node: Node) -> None:
    node.ip("route add 100.64.0.3 dev wire scope host", "route add 10.9.0.0/16 via 10.0.0.1")
    before = node.routes()

    node.converge(snapshot())
    node.converge(snapshot(SIBLING, generation=2))
    node.namespace.call(remove_routes)

    assert node.routes() == before


def test_without_its_interface_it_says_so_and_heals(node: Node) -> None:
    node.ip("link set wire down")

    assert node.converge(snapshot()).faults == ("no interface with 10.0.0.10 is up",)

    node.ip("link set wire up")
    assert node.converge(snapshot()).is_complete


def test_an_interface_made_anew_is_found_under_its_new_number(node: Node) -> None:
    node.converge(snapshot())
    node.ip("link del ens5")
    node.wire_up()

    assert node.converge(snapshot()).is_complete
    assert node.ours() == WANTED


# --- drift, noticed by the kernel's own events -------------------------------------------


@pytest.mark.parametrize(
    "drift",
    [
        ["route del 100.64.0.64/26"],
        ["route flush proto 112"],
        ["route replace 100.64.0.64/26 via 10.0.0.66 dev ens5 proto 112"],
        ["route add 100.64.1.0/26 via 10.0.0.66 dev ens5 proto 112"],
        ["link set ens5 down", "link set ens5 up"],
        ["address del 10.0.0.10/20 dev ens5", "address add 10.0.0.10/20 dev ens5"],
    ],
    ids=lambda commands: commands[0],
)
def test_drift_is_repaired_on_the_kernels_event(node: Node, drift: list[str]) -> None:
    loop = node.watch()
    loop.deliver(snapshot())
    node.turn(loop, lambda: bool(node.told))
    assert node.ours() == WANTED

    node.ip(*drift)
    assert node.ours() != WANTED, "the drift this test is about never happened"

    node.turn(loop, lambda: node.ours() == WANTED)
    assert loop.counters.drift > 0
    assert node.told[-1].is_complete


def test_our_own_changes_and_pods_coming_and_going_are_no_drift(node: Node) -> None:
    loop = node.watch()
    loop.deliver(snapshot())
    node.turn(loop, lambda: bool(node.told))

    node.ip("link add name veth9 type veth peer name veth8", "link set veth9 up")
    node.ip("route add 100.64.0.5 dev veth9", "link del veth9")
    loop.deliver(snapshot(ME, generation=2))
    node.turn(loop, lambda: len(node.told) == 2)
    assert node.ours() == BACKSTOPS
    for _ in range(5):
        node.namespace.call(lambda: loop.step(0.05))

    assert loop.counters.convergences == 2


def test_a_route_taken_over_is_reported_and_ours_returns_after_it(node: Node) -> None:
    loop = node.watch()
    loop.deliver(snapshot())
    node.turn(loop, lambda: bool(node.told))

    node.ip("route replace 100.64.0.64/26 via 10.0.0.66 dev ens5 proto static")
    node.turn(loop, lambda: not node.told[-1].is_complete)
    assert "100.64.0.64/26 via 10.0.0.66 dev ens5 proto static" in node.routes()

    node.ip("route del 100.64.0.64/26 via 10.0.0.66")
    node.turn(loop, lambda: node.told[-1].is_complete)
    assert node.ours() == WANTED


def test_a_switch_that_was_reset_is_set_again_and_a_quarrel_reported(node: Node) -> None:
    node.converge(snapshot())
    for _ in range(3):
        node.namespace.sysctl("net.ipv4.ip_forward", 0)
        outcome = node.converge(snapshot())
        assert node.switch("ipv4/ip_forward") == "1"

    assert outcome.warnings == ("something else keeps resetting ipv4/ip_forward",)
    assert outcome.is_complete


# --- filters -----------------------------------------------------------------------------


def test_the_table_says_what_is_relayed_and_what_is_ours(node: Node) -> None:
    node.converge(snapshot())

    rules = node.rules()
    assert 'iifname "ens5" ip daddr @relayed4 ip daddr != @own4' in rules
    assert "elements = { 100.64.0.0/20 }" in rules
    assert "elements = { 100.64.0.0/26 }" in rules


@pytest.mark.parametrize(
    "meddling",
    ["flush ruleset", "flush chain inet podway relayed", "add element inet podway own4 { 1.2.3.4 }"],
)
def test_a_table_that_was_changed_is_put_back(node: Node, meddling: str) -> None:
    node.converge(snapshot())
    before = node.rules()
    node.namespace.nft(meddling)
    assert node.rules() != before, "the meddling this test is about never happened"

    assert node.converge(snapshot()).is_complete

    assert node.rules() == before
    assert node.dataplane.table.repairs == 1


def test_other_tables_are_not_touched(node: Node) -> None:
    node.namespace.nft("table inet theirs {\nchain c {\ntype filter hook forward priority 0;\n}\n}")
    before = node.rules()

    node.converge(snapshot())
    node.namespace.call(node.dataplane.table.remove)

    assert node.rules() == before


@pytest.mark.parametrize("program", ["iptables-nft", "iptables-legacy"])
def test_pods_are_accepted_where_forward_drops(node: Node, program: str) -> None:
    node.namespace.tool(program, "-P", "FORWARD", "DROP")
    node.namespace.tool(program, "-A", "FORWARD", "-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP")

    assert node.converge(snapshot()).is_complete
    assert node.converge(snapshot()).is_complete

    mark = "-m comment --comment podway -j ACCEPT"
    assert node.namespace.tool(program, "-S", "FORWARD").splitlines() == [
        "-P FORWARD DROP",
        f"-A FORWARD -d 100.64.0.0/16 -i ens5 -o ens5 {mark}",
        "-A FORWARD -m conntrack --ctstate INVALID -j DROP",
        f"-A FORWARD -s 100.64.0.0/16 {mark}",
        f"-A FORWARD -d 100.64.0.0/16 {mark}",
    ]


def test_where_nothing_drops_iptables_stays_as_it_is(node: Node) -> None:
    node.converge(snapshot())

    assert "table ip filter" not in node.rules()


def test_a_chain_that_drops_and_is_not_iptables_is_reported(node: Node) -> None:
    node.namespace.nft(
        "table inet strict {\nchain c {\ntype filter hook forward priority 0; policy drop;\n}\n}"
    )

    assert node.converge(snapshot()).warnings == (
        "chain inet strict c drops what it does not accept, and is not ours to change",
    )


def test_a_node_that_is_not_ready_gets_everything_but_the_conflist(node: Node) -> None:
    joining = member(HERE, "10.0.0.10", "100.64.0.0/26", state="joining", ready=False)

    outcome = node.converge(snapshot(joining, SIBLING))

    assert outcome.is_complete
    assert SIBLINGS_WAY in node.ours()
    assert not outcome.cni_written


def test_statistics_are_read_from_a_driver_that_has_some(node: Node) -> None:
    found = node.namespace.call(lambda: statistics(ethtool("ens5")))

    assert found["peer_ifindex"] == node.namespace.call(lambda: socket.if_nametoindex("wire"))
    assert node.namespace.call(lambda: exceeded(ethtool("ens5"))) == {}
    assert node.namespace.call(lambda: exceeded(ethtool("nowhere"))) == {}
