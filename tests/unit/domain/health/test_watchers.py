"""Who watches whom, and how many of them must agree."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from podway.domain.addressing import Prefix
from podway.domain.health.watchers import WATCHERS, assign_watchers, quorum, watches_of
from podway.domain.model import Cluster, Health, Node, NodeState, Subnet


def node(number: int, subnet: str = "subnet-a") -> Node:
    return Node(f"i-{number:03}", subnet, f"eni-{number}", (Prefix(4, number << 6, 26),))


NODES = tuple(node(number) for number in range(20))


def cluster(*nodes: Node) -> Cluster:
    return Cluster("demo", (Prefix.parse("0.0.0.0/0"),), (Subnet("subnet-a", ()),), nodes, ())


def test_three_siblings_of_its_own_subnet_watch_a_forwarder() -> None:
    strangers = tuple(node(number, "subnet-b") for number in range(20, 40))

    watches = assign_watchers(cluster(*NODES, *strangers), {"i-000", "i-007"})

    assert watches.keys() == {"i-000", "i-007"}
    for forwarder, watchers in watches.items():
        assert len(set(watchers)) == WATCHERS
        assert forwarder not in watchers
        assert set(watchers) <= {one.id for one in NODES}


def test_a_loss_changes_only_the_assignments_of_the_lost() -> None:
    everybody = {one.id for one in NODES}
    before = assign_watchers(cluster(*NODES), everybody)

    after = assign_watchers(cluster(*NODES[1:]), everybody)

    kept = {one: watchers for one, watchers in before.items() if one != "i-000" and "i-000" not in watchers}
    assert kept
    assert {one: after[one] for one in kept} == kept


def test_the_work_is_spread() -> None:
    watches = assign_watchers(cluster(*NODES), {one.id for one in NODES})

    load = Counter(watcher for watchers in watches.values() for watcher in watchers)

    assert max(load.values()) <= 3 * WATCHERS
    assert sum(len(watches_of(one.id, watches)) for one in NODES) == WATCHERS * len(NODES)


def test_who_joins_or_is_dead_watches_nobody_and_who_is_suspected_goes_on() -> None:
    odd = (
        replace(NODES[1], state=NodeState.JOINING),
        replace(NODES[2], health=Health.FAILED),
        replace(NODES[3], health=Health.SUSPECT),
    )

    assert assign_watchers(cluster(NODES[0], *odd), {"i-000"}) == {"i-000": ("i-003",)}


@pytest.mark.parametrize(
    ("watchers", "needed"), [("", None), ("a", None), ("ab", 2), ("abc", 2), ("abcd", 3), ("abcde", 3)]
)
def test_a_quorum_is_a_majority_of_at_least_two(watchers: str, needed: int | None) -> None:
    assert quorum(tuple(watchers)) == needed
