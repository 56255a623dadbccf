"""What must hold of routes in both families: drift, lost events, foreign routes, addresses, interfaces."""

from __future__ import annotations

import socket
from dataclasses import dataclass

import pytest
from podway.wire.snapshot import Snapshot
from podway_agent.loop import SHORTEST_PAUSE_SECONDS, Loop

from tests.integration.agent.node import Node
from tests.unit.agent.snapshots import ME, member, snapshot

pytestmark = pytest.mark.fabric


@dataclass(frozen=True)
class Family:
    """One address family's words for the same subnet: a sibling, a supernet, space of another subnet."""

    option: str
    wires: tuple[str, ...]
    sibling: tuple[str, str]
    supernet: str
    elsewhere: str
    router: str
    spare: str
    secondary: str
    switch: str

    def snapshot(self, generation: int = 1) -> Snapshot:
        return snapshot(
            ME,
            member("i-0b", *self.sibling),
            generation=generation,
            pod_cidrs=["100.64.0.0/16", "fd00:64::/48"],
            reachable_here=[self.supernet],
            elsewhere=[self.elsewhere],
        )

    def ip(self, node: Node, *lines: str) -> None:
        node.namespace.tool("ip", self.option, "-batch", "-", text="\n".join(lines) + "\n")

    def ours(self, node: Node) -> list[str]:
        """Our routes: where to, and by what."""
        lines = (line for line in node.routes(self.option) if "proto 112" in line)
        return sorted(" ".join(line.split()[:3]) for line in lines if self.is_about(line))

    def is_about(self, line: str) -> bool:
        return any(prefix in line for prefix in (self.sibling[1], self.supernet, self.elsewhere))

    @property
    def wanted(self) -> list[str]:
        address, block = self.sibling
        ways = [f"{block} via {address}", f"{self.elsewhere} via {self.router}"]
        return sorted([*ways, f"unreachable {self.supernet} " + ("proto" if self.option == "-4" else "dev")])


IPV4 = Family(
    "-4",
    (),
    ("10.0.0.11", "100.64.0.64/26"),
    "100.64.0.0/20",
    "100.64.8.0/24",
    "10.0.0.1",
    "10.0.0.77",
    "10.0.0.50/20",
    "ipv4/ip_forward",
)
IPV6 = Family(
    "-6",
    ("address add 2001:db8::10/64 dev ens5 nodad", "route add default via 2001:db8::1"),
    ("2001:db8::11", "fd00:64:0:1::/80"),
    "fd00:64::/52",
    "fd00:64:8::/64",
    "2001:db8::1",
    "2001:db8::77",
    "2001:db8::50/64",
    "ipv6/conf/all/forwarding",
)


@pytest.fixture(params=[IPV4, IPV6], ids=["IPv4", "IPv6"])
def family(request: pytest.FixtureRequest, node: Node) -> Family:
    found: Family = request.param
    node.ip(*found.wires)
    return found


@pytest.fixture
def loop(node: Node, family: Family) -> Loop:
    """A loop whose kernel holds the snapshot."""
    made = node.watch()
    made.deliver(family.snapshot())
    node.turn(made, lambda: bool(node.told))
    assert node.told[-1].is_complete, node.told[-1].faults
    assert family.ours(node) == family.wanted
    return made


def test_routes_are_there_after_each_kind_of_drift(node: Node, family: Family, loop: Loop) -> None:
    block, other = family.sibling[1], family.spare
    for number, drift in enumerate(
        [
            f"route del {block}",
            "route flush proto 112",
            f"route replace {block} via {other} dev ens5 proto 112",
        ]
    ):
        family.ip(node, drift)
        assert family.ours(node) != family.wanted, "the drift this test is about never happened"

        node.turn(loop, lambda: family.ours(node) == family.wanted)
        assert loop.counters.drift > number


def test_a_flap_is_repaired_when_its_events_come(node: Node, family: Family, loop: Loop) -> None:
    node.ip("link set ens5 down")
    node.turn(loop, lambda: not node.told[-1].is_complete)

    node.ip("link set ens5 up", "route replace default via 10.0.0.1", *family.wires)

    node.turn(loop, lambda: family.ours(node) == family.wanted and node.told[-1].is_complete)


def test_an_interface_made_anew_gets_its_routes_when_its_events_come(
    node: Node, family: Family, loop: Loop
) -> None:
    before = node.dataplane.link

    node.ip("link del ens5")
    node.turn(loop, lambda: not node.told[-1].is_complete)
    node.wire_up()
    node.ip(*family.wires)

    node.turn(loop, lambda: family.ours(node) == family.wanted and node.told[-1].is_complete)
    assert before is not None
    assert node.dataplane.link is not None
    assert node.dataplane.link.number != before.number


def test_when_the_kernel_drops_events_everything_is_compared(node: Node, family: Family, loop: Loop) -> None:
    loop._watch._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    foreign = "192.0.2" if family is IPV4 else "2001:db8:2"
    separator = "." if family is IPV4 else "::"
    routes = [f"{foreign}{separator}{number}" for number in range(1, 200)]

    family.ip(node, *(f"route add {route} dev ens5" for route in routes))
    family.ip(node, f"route del {family.sibling[1]}")  # the event of this one is lost

    node.turn(loop, lambda: family.ours(node) == family.wanted)
    assert loop.counters.overflows > 0, "the kernel dropped nothing"


def test_a_foreign_route_stays_and_is_reported_until_it_goes(node: Node, family: Family, loop: Loop) -> None:
    block = family.sibling[1]
    theirs = f"{block} via {family.spare} dev ens5 proto static"
    family.ip(node, f"route replace {theirs}")
    node.turn(loop, lambda: not node.told[-1].is_complete)

    assert [fault for fault in node.told[-1].faults if block in fault]
    assert any(line.startswith(f"{block} via {family.spare}") for line in node.routes(family.option))

    family.ip(node, f"route del {theirs}")
    node.turn(loop, lambda: family.ours(node) == family.wanted and node.told[-1].is_complete)


def test_secondary_addresses_come_and_go_unnoticed(node: Node, family: Family, loop: Loop) -> None:
    compared = loop.counters.convergences

    family.ip(node, f"address add {family.secondary} dev ens5")
    family.ip(node, f"address del {family.secondary} dev ens5")
    for _ in range(4):
        node.namespace.call(lambda: loop.step(0.05))

    assert family.ours(node) == family.wanted
    assert loop.counters.convergences == compared


def test_another_interface_leads_nothing_of_ours(node: Node, family: Family) -> None:
    """A second interface of the subnet, with a better default route than the first's."""
    gateway = "10.0.0.2" if family is IPV4 else "2001:db8::2"
    node.ip(
        "link add name ens6 type veth peer name wire6",
        "link set ens6 up",
        "link set wire6 up",
        f"address add {family.secondary} dev ens6" + (" nodad" if family is IPV6 else ""),
        f"route add default via {gateway} dev ens6 metric 5",
        f"route replace default via {family.router} dev ens5 metric 2000",
    )

    assert node.converge(family.snapshot()).is_complete

    assert family.ours(node) == family.wanted
    ways = [line for line in node.routes(family.option) if "proto 112" in line and "via" in line]
    assert all("dev ens5" in line for line in ways)


def test_forwarding_switched_off_is_switched_on_when_the_kernel_tells(
    node: Node, family: Family, loop: Loop
) -> None:
    node.namespace.sysctl(f"net/{family.switch}", 0)

    node.turn(loop, lambda: node.switch(family.switch) == "1")

    assert node.dataplane.switches.resets[family.switch] == 1
    compared = loop.counters.convergences
    for _ in range(4):
        node.namespace.call(lambda: loop.step(0.05))
    assert loop.counters.convergences == compared, "our own setting was taken for somebody's"


@pytest.mark.parametrize(
    ("switch", "theirs"), [("ipv4/conf/ens5/forwarding", 0), ("ipv4/conf/ens5/rp_filter", 1)]
)
def test_an_interfaces_own_switch_is_set_again_when_the_kernel_tells(
    node: Node, switch: str, theirs: int
) -> None:
    loop = node.watch()
    loop.deliver(IPV4.snapshot())
    node.turn(loop, lambda: bool(node.told))
    ours = node.switch(switch)
    assert ours != str(theirs)

    node.namespace.sysctl(f"net/{switch}", theirs)

    node.turn(loop, lambda: node.switch(switch) == ours)


def test_a_quarrel_over_a_switch_slows_down(node: Node) -> None:
    loop = node.watch()
    loop.deliver(IPV4.snapshot())
    node.turn(loop, lambda: bool(node.told))
    for _ in range(4):
        node.namespace.sysctl("net.ipv4.ip_forward", 0)
        node.turn(loop, lambda: node.switch("ipv4/ip_forward") == "1")

    assert node.told[-1].warnings == ("something else keeps resetting ipv4/ip_forward",)
    assert loop._pace.pause > SHORTEST_PAUSE_SECONDS, "the next repair comes as soon as the first one came"
