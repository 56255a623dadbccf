"""A card names what must move at once, to whom, and how heavy it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from podway.domain.addressing import Prefix
from podway.domain.failover.cards import ended_cards, forwarders, make_cards
from podway.domain.failover.decide import Card, CardRoute, Claim, Standby
from podway.domain.health.verdict import Severity
from podway.domain.model import (
    Cluster,
    Node,
    NodeState,
    Plan,
    PlannedRoute,
    Route,
    RouteKind,
    RouteTable,
    Subnet,
    TablePlan,
)

SUPERNET, HALF = Prefix.parse("100.64.0.0/20"), Prefix.parse("100.64.0.0/25")
NODES = tuple(
    Node(
        f"i-{number}", "subnet-a", f"eni-{number}", (Prefix.parse(f"100.64.0.{64 * number}/26"),), weight=2.0
    )
    for number in range(3)
)
ANCHOR = PlannedRoute(SUPERNET, "i-0", "eni-0", RouteKind.AGGREGATED, standbys=("i-1", "i-2"))
DIRECT = PlannedRoute(NODES[1].blocks[0], "i-1", "eni-1", RouteKind.DIRECT, standbys=("i-2",))
CLUSTER = Cluster(
    "demo",
    (Prefix.parse("100.64.0.0/16"),),
    (Subnet("subnet-a", (SUPERNET,)), Subnet("subnet-b", ())),
    NODES,
    (RouteTable("rtb-b", (), ("subnet-b",)),),
)


def planned(*routes: PlannedRoute) -> Plan:
    return Plan("demo", (TablePlan("rtb-b", {4: 9}, routes, (), 0.0, 6.0, 0.0),))


def holding(cluster: Cluster, *routes: Route) -> Cluster:
    return replace(cluster, route_tables=(replace(cluster.route_tables[0], routes=routes),))


def cards(
    *wanted: PlannedRoute, present: tuple[Route, ...] = (), cluster: Cluster = CLUSTER
) -> dict[str, Card]:
    return {card.node: card for card in make_cards(planned(*wanted), holding(cluster, *present))}


def standby(*nodes: str) -> tuple[Standby, ...]:
    return tuple(Standby(node, node.replace("i-", "eni-")) for node in nodes)


def test_a_relayed_route_is_on_its_next_hops_card_with_its_standbys_and_what_others_weigh() -> None:
    made = cards(ANCHOR, DIRECT)

    assert made["i-0"] == Card(
        "i-0",
        "subnet-a",
        "eni-0",
        3,
        (CardRoute("rtb-b", SUPERNET, standby("i-1", "i-2"), 4.0),),
        cluster_size=3,
        watchers=("i-1", "i-2"),
        is_awaited=True,
    )
    assert [made[node].is_awaited for node in ("i-1", "i-2")] == [True, False], "the first standby"


def test_everybody_has_a_card_and_a_direct_route_is_on_none() -> None:
    made = cards(ANCHOR, DIRECT)

    assert [made[node].routes for node in ("i-1", "i-2")] == [(), ()]
    assert [made[node].watchers for node in ("i-1", "i-2")] == [(), ()], "who relays nothing is not watched"
    assert forwarders(made.values()) == {"i-0"}


def test_an_anchor_that_relays_nothing_yet_is_on_its_card() -> None:
    alone = replace(CLUSTER, nodes=NODES[:1])

    made = cards(replace(ANCHOR, kind=RouteKind.DIRECT, standbys=()), cluster=alone)

    assert made["i-0"].routes == (CardRoute("rtb-b", SUPERNET, (), 0.0),)


def test_a_route_that_has_still_to_move_is_on_the_old_next_hops_card_and_the_new_ones() -> None:
    made = cards(ANCHOR, present=(Route(SUPERNET, "eni-1", owned=True),))

    assert made["i-1"].routes == (CardRoute("rtb-b", SUPERNET, standby("i-0", "i-2"), 4.0),)
    assert made["i-0"].routes != ()


def test_a_route_that_has_still_to_go_is_stood_in_for_by_the_one_that_takes_over() -> None:
    made = cards(ANCHOR, present=(Route(HALF, "eni-1", owned=True),))

    assert made["i-1"].routes == (CardRoute("rtb-b", HALF, standby("i-0", "i-2"), 2.0),)


def test_a_block_that_is_still_joining_counts_as_somebody_elses() -> None:
    joining = (*NODES[:1], replace(NODES[1], state=NodeState.JOINING))
    half = PlannedRoute(HALF, "i-0", "eni-0", RouteKind.DIRECT)

    made = cards(half, cluster=replace(CLUSTER, nodes=joining))

    assert [route.destination for route in made["i-0"].routes] == [HALF]


def test_foreign_routes_are_on_no_card() -> None:
    made = cards(ANCHOR, present=(Route(HALF, "eni-1"),))

    assert made["i-1"].routes == ()


def test_the_card_of_an_ended_node_names_what_still_leads_to_it_and_who_the_plan_gives_it_to() -> None:
    """Its failover may come late: then both give the route to the same node."""
    claim = Claim("event", Severity.DEFINITIVE, datetime(2026, 11, 22, tzinfo=UTC))
    old = Card("i-9", "subnet-a", "eni-9", 4, (), version=7, claim=claim, cluster_size=5, watchers=("i-1",))
    stored = (replace(old, node="i-0", network_interface="eni-0"), old)
    mine, others = Route(SUPERNET, "eni-9", owned=True), Route(NODES[2].blocks[0], "eni-2", owned=True)

    led = ended_cards(planned(ANCHOR), holding(CLUSTER, mine, others), stored)
    left = ended_cards(planned(ANCHOR), holding(CLUSTER, others), stored)

    route = CardRoute("rtb-b", SUPERNET, standby("i-0", "i-1", "i-2"), 6.0)
    assert led == (replace(old, routes=(route,), version=0, claim=None),)
    assert left == (replace(old, version=0, claim=None),), "and nothing else of it changes"
