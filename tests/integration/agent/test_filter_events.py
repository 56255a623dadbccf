"""Filters that somebody else changes are put right when the kernel tells of it, not minutes later."""

from __future__ import annotations

import pytest
from podway_agent.loop import SHORTEST_PAUSE_SECONDS, Loop

from tests.integration.agent.node import Node
from tests.unit.agent.snapshots import ME, snapshot

pytestmark = pytest.mark.fabric

RULE = "-A FORWARD -d 100.64.0.0/16 -i ens5 -o ens5 -m comment --comment podway -j ACCEPT"


@pytest.fixture
def loop(node: Node) -> Loop:
    made = node.watch()
    made.deliver(snapshot())
    node.turn(made, lambda: bool(node.told))
    return made


def accepted(node: Node) -> bool:
    return RULE in node.namespace.tool("iptables-nft", "-S", "FORWARD").splitlines()


def rest(node: Node, loop: Loop) -> int:
    """Convergences after some turns in which nothing should happen."""
    for _ in range(5):
        node.namespace.call(lambda: loop.step(0.05))
    return loop.counters.convergences


@pytest.mark.parametrize(
    "meddling", ["flush ruleset", "flush chain inet podway relayed", "delete table inet podway"]
)
def test_our_table_is_put_back(node: Node, loop: Loop, meddling: str) -> None:
    before = node.rules()

    node.namespace.nft(meddling)
    assert node.rules() != before, "the meddling this test is about never happened"

    node.turn(loop, lambda: node.rules() == before)
    assert node.dataplane.table.repairs == 1


def test_a_quarrel_over_our_table_slows_down(node: Node, loop: Loop) -> None:
    before = node.rules()
    for _ in range(4):
        node.namespace.nft("delete table inet podway")
        node.turn(loop, lambda: node.rules() == before)

    assert loop._pace.pause > SHORTEST_PAUSE_SECONDS


def test_docker_that_comes_later_stops_no_pod(node: Node, loop: Loop) -> None:
    """It sets FORWARD's policy to DROP when it starts."""
    assert not accepted(node)

    node.namespace.tool("iptables-nft", "-P", "FORWARD", "DROP")

    node.turn(loop, lambda: accepted(node))


def test_our_rules_in_forward_return_when_somebody_flushes_it(node: Node, loop: Loop) -> None:
    node.namespace.tool("iptables-nft", "-P", "FORWARD", "DROP")
    node.turn(loop, lambda: accepted(node))

    node.namespace.tool("iptables-nft", "-F", "FORWARD")

    node.turn(loop, lambda: accepted(node))


def test_neither_our_own_changes_nor_kube_proxys_make_us_look(node: Node, loop: Loop) -> None:
    loop.deliver(snapshot(ME, generation=2))
    node.turn(loop, lambda: len(node.told) == 2)
    assert rest(node, loop) == 2

    for rule in (
        ["-N", "KUBE-FORWARD"],
        ["-I", "FORWARD", "-j", "KUBE-FORWARD"],
        ["-A", "KUBE-FORWARD", "-j", "RETURN"],
    ):
        node.namespace.tool("iptables-nft", *rule)
    compared = rest(node, loop)
    for _ in range(3):
        node.namespace.tool(
            "iptables-nft-restore",
            "--noflush",
            text="*filter\n:KUBE-FORWARD - [0:0]\n-A KUBE-FORWARD -j RETURN\nCOMMIT\n",
        )

    assert rest(node, loop) == compared
