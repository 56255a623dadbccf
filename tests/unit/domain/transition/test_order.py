"""The order of steps where a next hop may carry its own blocks and no other's."""

from __future__ import annotations

import pytest
from podway.domain.addressing import Prefix
from podway.domain.model import Cluster, Create, Health, Node, NodeState, Replace, Route, RouteTable, Subnet
from podway.domain.transition.order import transition

POD = Prefix.parse("100.64.0.0/16")
ANCHOR = Prefix.parse("100.64.128.0/20")
BLOCKS = {name: Prefix.parse(f"100.64.128.{64 * number}/26") for number, name in enumerate(("b1", "b2"))}
SUSPECT, OTHER = (
    Node(f"i-{name}", "b", f"eni-{name}", (block,), state=NodeState.READY, health=health)
    for (name, block), health in zip(BLOCKS.items(), (Health.SUSPECT, Health.HEALTHY), strict=True)
)
ELSEWHERE = Route(Prefix.parse("100.64.0.0/20"), "eni-a1", owned=True)


def cluster(*routes: Route, quota: int = 50) -> Cluster:
    table = RouteTable("rtb-a", (ELSEWHERE, *routes), ("a",), quota=quota, reserve=0)
    subnets = (Subnet("a", (ELSEWHERE.destination,)), Subnet("b", (ANCHOR,)))  # type: ignore[arg-type]  # a Prefix
    reached = Node("i-a1", "a", "eni-a1", (Prefix.parse("100.64.0.0/26"),))
    return Cluster("order", (POD,), subnets, (reached, SUSPECT, OTHER), (table,))


WANTED = {
    ELSEWHERE.destination: "eni-a1",
    ANCHOR: SUSPECT.network_interface,  # with its own block: a direct route, once the other has one
    BLOCKS["b2"]: OTHER.network_interface,
}


def test_a_wide_route_to_a_suspect_is_made_after_the_routes_of_those_that_it_would_catch() -> None:
    of = cluster()

    steps = transition(of, of.route_tables[0], WANTED)  # type: ignore[arg-type]  # destinations are Prefixes

    assert steps == (Create(BLOCKS["b2"], "eni-b2"), Create(ANCHOR, "eni-b1"))


@pytest.mark.parametrize("quota", [50, 3])
def test_a_wide_route_is_given_to_a_suspect_after_the_others_have_theirs(quota: int) -> None:
    """It is healing: until now the route led to a node that is gone."""
    of = cluster(Route(ANCHOR, "eni-gone", owned=True), quota=quota)

    steps = transition(of, of.route_tables[0], WANTED)  # type: ignore[arg-type]  # destinations are Prefixes

    assert steps == (Create(BLOCKS["b2"], "eni-b2"), Replace(ANCHOR, "eni-b1", was="eni-gone"))


def test_where_only_one_slot_is_left_the_narrow_route_still_comes_first() -> None:
    of = cluster(quota=2)

    steps = transition(of, of.route_tables[0], WANTED)  # type: ignore[arg-type]  # destinations are Prefixes

    assert steps[0] == Create(BLOCKS["b2"], "eni-b2")
