"""What comes in for an address that nobody here knows is refused by a real kernel, and only that."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import pytest
from podway.wire.snapshot import Snapshot
from podway_agent import entrance, uninstall
from podway_agent.dataplane import Outcome
from podway_agent.netlink import RTM_NEWRULE, KernelRefused, Request, attribute
from podway_agent.routing import U32
from podway_agent.rules import FRA_PRIORITY

from tests.integration.agent.node import Node, soon
from tests.unit.agent.snapshots import ME, OTHER, SIBLING, member, snapshot

pytestmark = pytest.mark.fabric

SUPERNET = "100.64.0.0/20"
UNKNOWN, SIBLINGS, ELSEWHERE = "100.64.5.5", "100.64.0.70", "100.64.8.1"
OWN = "unreachable 100.64.0.0/26 backstop"
REFUSED, ROUTER = "unreachable", "via 10.0.0.1"


def led(*cidrs: str, generation: int = 1) -> Snapshot:
    """The subnet's snapshot, whose route table leads *cidrs* to its nodes."""
    return snapshot(ME, SIBLING, OTHER, generation=generation, led_here=cidrs, elsewhere=["100.64.8.0/24"])


def rules(node: Node, option: str = "-4") -> list[str]:
    """Our rules for what comes in."""
    lines = node.namespace.tool("ip", option, "rule", "show").splitlines()
    return [" ".join(line.split()) for line in lines if line.startswith(("113:", "114:"))]


def guard(interface: str, prefix: str = SUPERNET, wide: int = 19) -> list[str]:
    return [
        f"113: from all to {prefix} iif {interface} lookup main suppress_prefixlength {wide} proto 112",
        f"114: from all to {prefix} iif {interface} unreachable proto 112",
    ]


def way(node: Node, address: str, *, enters: str = "") -> str:
    """Where the kernel sends a packet: what it itself sends, or what came in by an interface."""
    by = ["from", "100.64.16.9", "iif", enters] if enters else []
    asked = node.namespace.run(["ip", "route", "get", address, *by])
    if asked.returncode:
        return REFUSED
    words = asked.stdout.split()
    return f"via {words[words.index('via') + 1]}" if "via" in words else "here"


def whole(node: Node) -> bool:
    return rules(node) == guard("ens5") and f"unreachable {SUPERNET} backstop" not in node.ours()


def test_unknown_addresses_are_refused_where_they_come_in_and_only_there(node: Node) -> None:
    outcome = node.converge(led(SUPERNET))

    assert (outcome.faults, outcome.warnings) == ((), ())
    assert whole(node)
    assert OWN in node.ours()
    for address, inward, outward in (
        (UNKNOWN, REFUSED, ROUTER),
        (SIBLINGS, "via 10.0.0.11", "via 10.0.0.11"),
        (ELSEWHERE, ROUTER, ROUTER),
        ("100.64.0.9", REFUSED, REFUSED),
        ("192.0.2.1", ROUTER, ROUTER),
    ):
        assert (way(node, address, enters="ens5"), way(node, address)) == (inward, outward), address


def test_a_pod_is_found_by_what_comes_in(node: Node) -> None:
    node.converge(led(SUPERNET))
    node.ip("link add name veth9 type veth peer name veth8", "link set veth9 up", "link set veth8 up")
    node.ip("route add 100.64.0.9 dev veth9")

    assert way(node, "100.64.0.9", enters="ens5") == "here"


@pytest.mark.parametrize("told", [led(), snapshot(led_here=["100.64.0.0/21"])], ids=["nothing", "a part"])
def test_where_the_route_table_does_not_lead_here_all_of_it_stays_unreachable(
    node: Node, told: Snapshot
) -> None:
    node.converge(told)

    assert rules(node) == []
    assert f"unreachable {SUPERNET} backstop" in node.ours()
    assert way(node, UNKNOWN) == REFUSED


def test_a_second_time_there_is_nothing_to_do(node: Node) -> None:
    node.converge(led(SUPERNET))

    assert node.converge(led(SUPERNET)).changed == 0
    assert node.dataplane.entrance.repairs == 0


def test_the_guard_comes_and_goes_with_the_snapshot(node: Node) -> None:
    for generation, (cidrs, wanted) in enumerate([((), []), ((SUPERNET,), guard("ens5")), ((), [])], 1):
        assert node.converge(led(*cidrs, generation=generation)).is_complete
        assert rules(node) == wanted
        assert (f"unreachable {SUPERNET} backstop" in node.ours()) == (not cidrs)


def test_rules_stay_while_the_route_that_takes_over_cannot_be_made(node: Node) -> None:
    node.converge(led(SUPERNET))
    node.ip(f"route add {SUPERNET} via 10.0.0.77 metric 4278198272 proto static")

    outcome = node.converge(led(generation=2))

    assert not outcome.is_complete
    assert rules(node) == guard("ens5")
    node.ip(f"route del {SUPERNET}")
    assert node.converge(led(generation=2)).is_complete
    assert rules(node) == []


@pytest.mark.parametrize("priority", [entrance.KNOWN, entrance.REFUSED])
def test_where_the_kernel_refuses_a_rule_all_of_it_is_unreachable(
    node: Node, monkeypatch: pytest.MonkeyPatch, priority: int
) -> None:
    kernel = node.dataplane.kernel
    ask = kernel.ask

    def refuse(requests: Sequence[Request]) -> list[KernelRefused | None]:
        """Say no to whoever adds a rule of that priority."""
        about = attribute(FRA_PRIORITY, U32.pack(priority))
        if any(one.kind == RTM_NEWRULE and about in one.payload for one in requests):
            return [KernelRefused(errno.EOPNOTSUPP, "no such rules") for _ in requests]
        return ask(requests)

    with monkeypatch.context() as patched:
        patched.setattr(kernel, "ask", refuse)
        outcome = node.converge(led(SUPERNET))

    assert outcome.is_complete
    assert outcome.warnings == ("rules: the kernel refuses: [Errno 95] no such rules",)
    assert f"unreachable {SUPERNET} backstop" in node.ours()
    assert way(node, UNKNOWN, enters="ens5") == REFUSED
    assert way(node, SIBLINGS, enters="ens5") == "via 10.0.0.11"
    assert node.converge(led(SUPERNET)).warnings == ()
    assert whole(node)


@pytest.mark.parametrize(
    "drift",
    [
        ["rule del pref 114"],
        ["rule del pref 113"],
        ["rule flush", "rule add pref 32766 lookup main", "rule add pref 32767 lookup default"],
    ],
    ids=lambda lines: lines[0],
)
def test_a_rule_that_was_removed_is_put_back_on_the_kernels_event(node: Node, drift: list[str]) -> None:
    loop = node.watch()
    loop.deliver(led(SUPERNET))
    node.turn(loop, lambda: bool(node.told))
    node.ip(*drift)
    assert not whole(node), "the drift this test is about never happened"

    node.turn(loop, lambda: whole(node))

    assert node.dataplane.entrance.repairs > 0
    assert len(node.told) > 1


def test_after_a_link_flap_all_stands(node: Node) -> None:
    loop = node.watch()
    loop.deliver(led(SUPERNET))
    node.turn(loop, lambda: bool(node.told))
    node.ip("link set ens5 down", "link set ens5 up")
    meanwhile = rules(node)
    node.ip("route replace default via 10.0.0.1")

    node.turn(loop, lambda: way(node, SIBLINGS, enters="ens5") == "via 10.0.0.11")

    assert meanwhile == rules(node) == guard("ens5")
    assert way(node, UNKNOWN, enters="ens5") == REFUSED


def test_the_guard_follows_an_interface_that_is_renamed(node: Node) -> None:
    loop = node.watch()
    loop.deliver(led(SUPERNET))
    node.turn(loop, lambda: bool(node.told))
    node.ip("link set ens5 down", "link set ens5 name eth0", "link set eth0 up")
    node.ip("route replace default via 10.0.0.1")

    node.turn(loop, lambda: rules(node) == guard("eth0"))

    assert way(node, UNKNOWN, enters="eth0") == REFUSED
    assert soon(lambda: way(node, UNKNOWN) == ROUTER)


def test_the_guard_holds_for_an_interface_made_anew(node: Node) -> None:
    node.converge(led(SUPERNET))
    node.ip("link del ens5")
    node.wire_up()
    before = way(node, UNKNOWN, enters="ens5")

    assert node.converge(led(SUPERNET)).is_complete
    assert before == way(node, UNKNOWN, enters="ens5") == REFUSED
    assert rules(node) == guard("ens5")


def test_what_comes_in_by_another_interface_is_none_of_its_business(node: Node) -> None:
    node.ip("link add name ens6 type veth peer name wire6", "link set ens6 up", "link set wire6 up")
    node.namespace.sysctl("net.ipv4.conf.ens6.rp_filter", 0)

    node.converge(led(SUPERNET))

    assert way(node, UNKNOWN, enters="ens6") == ROUTER


def test_several_prefixes_are_guarded_each_by_its_own_width(node: Node) -> None:
    told = snapshot(reachable_here=[SUPERNET, "100.64.32.0/22"], led_here=[SUPERNET, "100.64.32.0/22"])
    node.ip("route add 100.64.32.0/21 via 10.0.0.1")  # somebody else's: between ours in width

    node.converge(told)

    assert sorted(rules(node)) == sorted([*guard("ens5"), *guard("ens5", "100.64.32.0/22", 21)])
    assert way(node, "100.64.32.1", enters="ens5") == REFUSED


def test_ipv6_is_guarded_too(node: Node) -> None:
    node.ip("address add 2001:db8::10/64 dev ens5 nodad", "route add default via 2001:db8::1")
    six = member("i-0b", "2001:db8::11", "fd00:64:0:1::/80")
    supernet = "fd00:64::/52"

    outcome = node.converge(
        snapshot(
            ME,
            six,
            pod_cidrs=["100.64.0.0/16", "fd00:64::/48"],
            reachable_here=[supernet],
            led_here=[supernet],
        )
    )

    assert (outcome.faults, outcome.warnings) == ((), ())
    assert rules(node, "-6") == guard("ens5", supernet, 51)
    assert way6(node, "fd00:64:0:1::7", enters="ens5") == way6(node, "fd00:64:0:1::7") == "2001:db8::11"
    assert (way6(node, "fd00:64:0:7::7", enters="ens5"), way6(node, "fd00:64:0:7::7")) == (
        REFUSED,
        "2001:db8::1",
    )


def way6(node: Node, address: str, *, enters: str = "") -> str:
    by = ["from", "2001:db8:9::9", "iif", enters] if enters else []
    asked = node.namespace.run(["ip", "-6", "route", "get", address, *by])
    words = asked.stdout.split()
    return REFUSED if asked.returncode or words[0] == REFUSED else words[words.index("via") + 1]


def test_uninstalling_removes_our_rules_and_nobody_elses(node: Node) -> None:
    node.ip("rule add pref 113 iif ens5 to 192.0.2.0/24 lookup main")
    before = node.namespace.tool("ip", "rule"), node.routes()
    outcome: Outcome = node.converge(led(SUPERNET))
    assert outcome.is_complete

    node.namespace.call(uninstall.remove_routes)
    node.namespace.call(entrance.remove)

    assert (node.namespace.tool("ip", "rule"), node.routes()) == before
