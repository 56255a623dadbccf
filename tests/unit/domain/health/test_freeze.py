"""Fail static: where the monitor is the likelier fault, nothing is taken from those who relay."""

from __future__ import annotations

from dataclasses import replace

from podway.domain.addressing import Prefix
from podway.domain.health.freeze import freeze, keep_routes
from podway.domain.model import (
    Cluster,
    Create,
    Delete,
    Health,
    Node,
    NodeState,
    Replace,
    Route,
    RouteTable,
    StayReason,
    Subnet,
)
from podway.domain.planner.plan import plan
from podway.domain.routing import eligible

SUPERNET = Prefix.parse("100.64.0.0/20")
NODES = tuple(
    Node(f"i-{number}", "subnet-a", f"eni-{number}", (Prefix.parse(f"100.64.0.{64 * number}/26"),))
    for number in range(3)
)
ANCHOR, DIRECT = Route(SUPERNET, "eni-0", owned=True), Route(NODES[1].blocks[0], "eni-1", owned=True)
CLUSTER = Cluster(
    "demo",
    (Prefix.parse("100.64.0.0/16"),),
    (Subnet("subnet-a", (SUPERNET,)), Subnet("subnet-b", ())),
    NODES,
    (RouteTable("rtb-b", (ANCHOR, DIRECT), ("subnet-b",)),),
)


def after(*healths: Health, state: NodeState = NodeState.READY, cluster: Cluster = CLUSTER) -> Cluster:
    """The cluster with these healths, the first node's first."""
    nodes = tuple(
        replace(node, health=health, state=state) for node, health in zip(NODES, healths, strict=True)
    )
    return replace(cluster, nodes=nodes)


def serving(cluster: Cluster) -> set[str]:
    return {node.id for node in cluster.nodes if eligible(node)}


OK, SUSPECT, FAILED = Health.HEALTHY, Health.SUSPECT, Health.FAILED


def test_as_long_as_most_are_well_suspects_lose_their_routes() -> None:
    frozen = freeze(after(SUSPECT, OK, OK))

    assert frozen.subnets == {}
    assert serving(frozen.cluster) == {"i-1", "i-2"}


def test_more_than_half_suspect_leaves_the_present_forwarders_alone_and_serves_with_no_other_suspect() -> (
    None
):
    frozen = freeze(after(SUSPECT, SUSPECT, OK))

    assert frozen.subnets == {"subnet-a": StayReason.FROZEN}
    assert serving(frozen.cluster) == {"i-0", "i-2"}


def test_a_monitor_that_breaks_everywhere_freezes_subnets_in_which_few_are_suspect() -> None:
    others = tuple(
        Node(f"i-{number}", "subnet-b", f"eni-{number}", (Prefix(4, SUPERNET.last + 1 + 64 * number, 26),))
        for number in (10, 11, 12)
    )
    few = after(SUSPECT, OK, OK)
    many = tuple(replace(node, health=SUSPECT) for node in others)

    frozen = freeze(replace(few, nodes=(*few.nodes, *many)))
    calm = freeze(replace(few, nodes=(*few.nodes, *many[:1], *others[1:])))

    assert frozen.subnets == {"subnet-a": StayReason.CLUSTER_FROZEN, "subnet-b": StayReason.FROZEN}
    assert "i-0" in serving(frozen.cluster), "a present forwarder stays one"
    assert calm.subnets == {}


def test_a_plan_for_a_frozen_subnet_deletes_and_moves_nothing() -> None:
    (table,) = plan(freeze(after(SUSPECT, SUSPECT, SUSPECT)).cluster, improve=0).route_tables

    assert table.steps == ()


def test_without_the_freeze_the_same_news_would_move_a_route() -> None:
    (table,) = plan(after(SUSPECT, SUSPECT, OK), improve=0).route_tables

    assert table.steps != ()


def test_who_ec2_says_is_dead_is_not_brought_back() -> None:
    frozen = freeze(after(FAILED, SUSPECT, OK))

    assert frozen.subnets == {}
    assert serving(frozen.cluster) == {"i-2"}


def test_the_dead_do_not_count_among_those_that_could_be_well() -> None:
    frozen = freeze(after(FAILED, FAILED, SUSPECT))

    assert frozen.subnets == {"subnet-a": StayReason.FROZEN}
    assert serving(frozen.cluster) == {"i-2"}, "any node that lives is better than none"


def test_a_subnet_that_drains_as_a_whole_goes_on_relaying() -> None:
    frozen = freeze(after(OK, OK, OK, state=NodeState.DRAINING))

    assert frozen.subnets == {"subnet-a": StayReason.NOBODY}
    assert serving(frozen.cluster) == {"i-0"}


def test_a_subnet_without_a_node_to_reach_is_not_frozen() -> None:
    assert freeze(after(OK, OK, OK, state=NodeState.JOINING)).subnets == {}
    assert freeze(after(FAILED, FAILED, FAILED)).subnets == {}


def test_a_foreign_route_makes_nobody_a_forwarder() -> None:
    foreign = replace(ANCHOR, owned=False)
    tables = (replace(CLUSTER.route_tables[0], routes=(foreign, DIRECT)),)

    frozen = freeze(after(SUSPECT, SUSPECT, OK, cluster=replace(CLUSTER, route_tables=tables)))

    assert serving(frozen.cluster) == {"i-2"}


def test_no_suspect_of_a_frozen_subnet_is_relieved_because_of_its_load_and_all_else_goes_on() -> None:
    frozen = freeze(after(SUSPECT, SUSPECT, OK))
    made = plan(frozen.cluster)
    away, later = Replace(SUPERNET, "eni-2", was="eni-0"), Replace(SUPERNET, "eni-1", was="eni-2")
    others = (Create(NODES[2].blocks[0], "eni-2"), Delete(DIRECT.destination, was="eni-1"))  # type: ignore[arg-type]  # a Prefix
    (table,) = made.route_tables
    busy = replace(made, route_tables=(replace(table, steps=(away, *others, later)),))

    (held,) = keep_routes(busy, frozen).route_tables

    assert frozen.spared == {"eni-0"}
    assert held.steps == others
    assert keep_routes(busy, freeze(after(SUSPECT, OK, OK))) == busy
    assert freeze(after(SUSPECT, SUSPECT, OK, state=NodeState.DRAINING)).spared == frozenset()


def test_those_missing_in_a_mass_lose_nothing_unless_they_failed_and_are_not_taken_for_eligible() -> None:
    ready = after(OK, FAILED, OK)
    missing = tuple(replace(node, state=NodeState.DRAINING) for node in ready.nodes[:2])
    cluster = replace(ready, nodes=(*missing, ready.nodes[2]))

    frozen = freeze(cluster, {"i-0", "i-1"})

    assert frozen.spared == {"eni-0"}
    assert frozen.cluster == cluster, "they rank with the draining, and get nothing new"
