"""What probing puts into a kernel: complete, put right, and taken away without a trace of anything else."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from podway.wire.snapshot import Snapshot, Watch
from podway_agent.dataplane import Dataplane
from podway_agent.host.identity import Identity
from podway_agent.kernel.netlink import Netlink
from podway_agent.probing import paths
from podway_agent.probing.echo import EchoSocket
from podway_agent.probing.prober import Prober
from podway_agent.probing.suspicion import ProbeFinding
from podway_agent.probing.targets import ProbeTargets
from podway_lab.fabric.namespace import Namespace, new_namespace

from tests.integration.agent.node import Node, settings, soon
from tests.unit.agent.snapshots import HERE, ME, OTHER, SIBLING, member, snapshot

pytestmark = pytest.mark.fabric

RULE = "fwmark 0x70 lookup 11200 proto 112"
PATH = "default via 10.0.0.11 dev ens5 proto 112 metric 1024 onlink"
BACKSTOP = "unreachable default proto 112 metric 4278198272"


def watching(*forwarders: str, generation: int = 1) -> Snapshot:
    watches = tuple(Watch(forwarder=one, watchers=(HERE,)) for one in forwarders)
    return snapshot(ME, SIBLING, OTHER, generation=generation, watches=watches)


def seen(node: Node) -> tuple[list[str], list[str], list[str]]:
    """Rules of ours, routes in the first table, and addresses of our pod range on loopback."""
    rules = [line.split("\t", 1)[1] for line in show(node, "rule", "show") if "proto 112" in line]
    table = node.namespace.run(["ip", "route", "show", "table", "11200"])
    routes = [] if table.returncode else table.stdout.splitlines()
    addresses = [line.split()[3] for line in show(node, "-o", "address", "show", "dev", "lo")]
    return (
        [" ".join(rule.removeprefix("from all ").split()) for rule in rules],
        [" ".join(route.split()) for route in routes],
        [one for one in addresses if one.startswith("100.")],
    )


def show(node: Node, *arguments: str) -> list[str]:
    return node.namespace.tool("ip", *arguments).splitlines()


WHOLE = ([RULE], [PATH, BACKSTOP], ["100.64.0.0/32"])


def test_a_watcher_has_a_way_through_its_forwarder_and_an_address(node: Node) -> None:
    outcome = node.converge(watching("i-0b"))

    assert (outcome.faults, outcome.warnings) == ((), ())
    assert seen(node) == WHOLE
    assert "scope host" in "".join(show(node, "-o", "address", "show", "dev", "lo", "to", "100.64.0.0/32"))


def test_a_second_time_there_is_nothing_to_do(node: Node) -> None:
    node.converge(watching("i-0b"))
    with node.namespace.call(Netlink) as kernel:
        present = paths.observed(kernel)

    assert paths.changes(wanted=node.dataplane.paths.wanted, present=present) == []
    node.converge(watching("i-0b"))
    assert node.dataplane.paths.repairs == 0


def test_ways_come_and_go_with_the_snapshot(node: Node) -> None:
    node.converge(watching("i-0b"))
    node.converge(watching("i-0c", generation=2))
    rules, routes, _ = seen(node)
    node.converge(watching(generation=3))

    assert (rules, routes[0]) == ([RULE], PATH.replace("10.0.0.11", "10.0.0.12"))
    assert seen(node) == ([], [], ["100.64.0.0/32"])


def test_who_watches_nobody_by_its_settings_still_answers(node: Node, tmp_path: Path) -> None:
    node.dataplane.settings = settings(tmp_path, probe_seconds=0)
    node.converge(watching("i-0b"))

    assert seen(node) == ([], [], ["100.64.0.0/32"])


@pytest.mark.parametrize(
    "drift",
    [
        ["rule del pref 112"],
        ["route flush table 11200"],
        ["route del default table 11200 via 10.0.0.11"],
        ["address del 100.64.0.0/32 dev lo"],
        ["link set ens5 down", "link set ens5 up", "route replace default via 10.0.0.1"],
    ],
    ids=lambda lines: lines[0],
)
def test_drift_is_repaired_on_the_kernels_event(node: Node, drift: list[str]) -> None:
    loop = node.watch()
    loop.deliver(watching("i-0b"))
    node.turn(loop, lambda: bool(node.told))
    node.ip(*drift)
    broken = seen(node)
    node.turn(loop, lambda: seen(node) == WHOLE)

    assert broken != WHOLE, "nothing drifted"


def test_after_a_flap_a_marked_packet_finds_no_way_rather_than_the_usual_one(node: Node) -> None:
    node.converge(watching("i-0b"))
    node.ip("link set ens5 down", "link set ens5 up", "route replace default via 10.0.0.1")

    assert seen(node)[:2] == ([RULE], [BACKSTOP])


def test_what_is_removed_is_ours_alone(node: Node) -> None:
    node.ip(
        "rule add pref 112 fwmark 0x99 lookup 99",
        "route add default via 10.0.0.1 table 99",
        "route add 192.0.2.0/24 via 10.0.0.1 table 11200",
        "address add 100.64.0.5/32 dev lo",
    )
    before = node.namespace.tool("ip", "rule"), *seen(node)
    node.converge(watching("i-0b"))
    meanwhile = seen(node)
    node.namespace.call(paths.remove)

    assert set(WHOLE[1]) < set(meanwhile[1])
    assert (node.namespace.tool("ip", "rule"), *seen(node)) == before


def test_ipv6_nodes_probe_through_each_other(tmp_path: Path) -> None:
    """Three nodes on one wire, with addresses of version 6 alone."""
    names = [HERE, "i-0b", "i-0c"]
    with new_namespace() as switch:
        switch.ip("link add name wire type bridge", "link set wire up")
        nodes = {name: ipv6_node(switch, number) for number, name in enumerate(names, 1)}
        told = ipv6_snapshot(names)
        planes: dict[str, Dataplane] = {}
        for name, inside in nodes.items():
            who = Identity(name, "subnet-a", ipv6_address(names.index(name) + 1), "", "us-west-2", "")
            planes[name] = inside.call(partial(Dataplane, settings(tmp_path / name), who))
            outcome = inside.call(partial(planes[name].converge, told, look=True))
            assert (outcome.faults, outcome.warnings) == ((), ())
        prober, said = ipv6_prober(nodes[HERE], planes[HERE].targets)
        soon(lambda: turned(prober) is ProbeFinding.RELAYS)
        nodes["i-0b"].sysctl("net.ipv6.conf.all.forwarding", 0)
        soon(lambda: turned(prober) is ProbeFinding.IDLE and prober.suspects)

        assert said == [{"i-0b"}]
        for inside in nodes.values():
            inside.close()


def ipv6_address(number: int) -> str:
    return f"2001:db8::{number:x}"


def ipv6_snapshot(names: list[str]) -> Snapshot:
    members = [
        member(name, ipv6_address(number), f"fd00:64:0:{number}::/64") for number, name in enumerate(names, 1)
    ]
    return snapshot(
        *members,
        pod_cidrs=["fd00:64::/48"],
        subnet_cidrs=["2001:db8::/64"],
        reachable_here=["fd00:64::/52"],
        watches=(Watch(forwarder="i-0b", watchers=(HERE,)),),
    )


def ipv6_node(switch: Namespace, number: int) -> Namespace:
    inside = new_namespace()
    switch.ip(
        f"link add name port{number} type veth peer name ens5 netns {inside.path}",
        f"link set port{number} master wire up",
    )
    inside.ip("link set lo up", f"address add {ipv6_address(number)}/64 dev ens5 nodad", "link set ens5 up")
    return inside


def ipv6_prober(inside: Namespace, targets: ProbeTargets) -> tuple[Prober, list[frozenset[str]]]:
    said: list[frozenset[str]] = []
    prober = Prober(
        said.append, 60.0, open_wire=lambda source, secret: inside.call(lambda: EchoSocket(source, secret))
    )
    prober.take(targets)
    prober.change_targets()
    return prober, said


def turned(prober: Prober) -> ProbeFinding:
    prober.turn()
    return prober.standings["i-0b"].last
