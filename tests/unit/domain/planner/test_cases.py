"""Clusters as operators have them: the sensible answer to each, by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from podway.domain.addressing import Prefix
from podway.domain.model import (
    Cluster,
    ForwarderPreference,
    Health,
    Node,
    NodeState,
    Route,
    RouteOrigin,
    RouteState,
    RouteTable,
    Subnet,
    TablePlan,
)
from podway.domain.planner.plan import plan
from podway.domain.transition.verify import verify_transition

POD = Prefix.parse("100.64.0.0/16")
NETS = {"a": Prefix.parse("100.64.0.0/20"), "b": Prefix.parse("100.64.128.0/20")}


def node(subnet: str, number: int, **more: object) -> Node:
    block = Prefix(4, NETS[subnet].value + number * 64, 26)
    plain = Node(f"i-{subnet}{number}", subnet, f"eni-{subnet}{number}", (block,))
    return replace(plain, **more)  # type: ignore[arg-type]  # fields by name


def cluster(*nodes: Node, quota: int = 500, routes: tuple[Route, ...] = (), tables: int = 1) -> Cluster:
    made = tuple(RouteTable(f"rtb-{i}", routes, quota=quota, reserve=0) for i in range(tables))
    subnets = tuple(Subnet(name, (net,)) for name, net in NETS.items())
    return Cluster("cases", (POD,), subnets, nodes, made)


def planned(of: Cluster, *, fresh: bool = True) -> TablePlan:
    made = plan(of, fresh=fresh).route_tables[0]
    assert verify_transition(of, of.route_tables[0], made.steps) == ()
    return made


def hops(made: TablePlan) -> dict[str, str]:
    return {str(route.destination): route.next_hop for route in made.routes}


def settled(of: Cluster) -> Cluster:
    tables = []
    for table, made in zip(of.route_tables, plan(of).route_tables, strict=True):
        owned = tuple(Route(r.destination, r.network_interface, owned=True) for r in made.routes)
        tables.append(replace(table, routes=tuple(r for r in table.routes if not r.owned) + owned))
    return replace(of, route_tables=tuple(tables))


def test_an_empty_cluster_wants_nothing() -> None:
    of = Cluster("empty", (POD,), (), (), (RouteTable("rtb-0", ()),))

    made = planned(of)

    assert (made.routes, made.steps, made.holes, made.total_weight) == ((), (), (), 0)


def test_one_node_gets_its_anchor() -> None:
    assert hops(planned(cluster(node("a", 0)))) == {"100.64.0.0/20": "i-a0"}


def test_one_subnet_alone_needs_its_anchor_in_its_own_table_and_all_routes_in_the_main_one() -> None:
    of = replace(cluster(*(node("a", i) for i in range(3))), subnets=(Subnet("a", (NETS["a"],)),))
    own = replace(of, route_tables=(replace(of.route_tables[0], subnets=("a",)),))

    assert hops(planned(own)).keys() == {"100.64.0.0/20"}
    assert planned(own).total_weight == 0
    assert planned(of).direct_weight == planned(of).total_weight == 3


def test_a_draining_forwarder_hands_over_what_it_relays_and_keeps_its_own() -> None:
    of = settled(cluster(*(node("a", i) for i in range(6)), node("b", 0), quota=4))
    draining = next(r.target for r in of.route_tables[0].routes if r.destination == NETS["a"])
    nodes = tuple(
        replace(n, state=NodeState.DRAINING) if n.network_interface == draining else n for n in of.nodes
    )

    made = planned(replace(of, nodes=nodes), fresh=False)

    assert made.holes == ()
    assert all(r.kind == "direct" for r in made.routes if r.network_interface == draining)
    assert [step.destination for step in made.steps] == [NETS["a"]]


def test_a_filtered_route_steers_nothing_and_an_advertised_one_takes_no_slot() -> None:
    own = Prefix(4, NETS["a"].value, 26)
    of = cluster(
        node("a", 0),
        quota=5,
        routes=(
            Route(own, "eni-foreign", state=RouteState.FILTERED),
            Route(Prefix.parse("192.168.0.0/16"), "eni-server", origin=RouteOrigin.ADVERTISED),
        ),
    )

    made = planned(of)

    assert (made.holes, made.budget) == ((), {4: 4})


def test_a_table_of_one_subnet_needs_no_more_than_the_anchor_of_its_own() -> None:
    of = cluster(*(node("a", i) for i in range(5)), node("b", 0))
    of = replace(of, route_tables=(replace(of.route_tables[0], subnets=("a",)),))

    made = planned(of)

    assert hops(made).keys() == {"100.64.0.0/20", "100.64.128.0/20"}
    assert made.total_weight == 1


def test_the_own_anchor_is_the_first_to_go_and_no_hole() -> None:
    of = cluster(*(node("a", i) for i in range(5)), node("b", 0), quota=1)
    of = replace(of, route_tables=(replace(of.route_tables[0], subnets=("a",)),))

    made = plan(of, fresh=True)

    assert hops(made.route_tables[0]) == {"100.64.128.0/20": "i-b0"}
    assert made.route_tables[0].holes == ()
    assert any("no anchor" in warning for warning in made.warnings)


@pytest.mark.parametrize(
    "sick",
    [
        {"state": NodeState.DRAINING},
        {"health": Health.SUSPECT},
        {"forwarder": ForwarderPreference.NEVER},
    ],
    ids=str,
)
def test_who_may_not_relay_still_carries_its_own(sick: dict[str, object]) -> None:
    of = cluster(node("a", 0, **sick), node("a", 1), node("a", 2), quota=2)

    made = planned(of)

    assert made.holes == ()
    assert all(route.next_hop != "i-a0" or route.kind == "direct" for route in made.routes)
    assert all("i-a0" not in route.standbys for route in made.routes)


@pytest.mark.parametrize(
    "gone", [{"health": Health.FAILED}, {"state": NodeState.GONE}, {"state": NodeState.JOINING}]
)
def test_who_is_not_there_is_owed_no_route(gone: dict[str, object]) -> None:
    made = planned(cluster(node("a", 0, **gone), node("a", 1)))

    assert hops(made) == {"100.64.0.0/20": "i-a1"}
    assert made.total_weight == 1


def test_on_demand_stands_by_before_spot_and_prefer_before_both() -> None:
    of = cluster(
        node("a", 0, spot=True),
        node("a", 1),
        node("a", 2, forwarder=ForwarderPreference.PREFER),
        node("b", 0),
        quota=2,
    )

    made = planned(of)

    anchor = next(route for route in made.routes if route.destination == NETS["a"])
    assert (anchor.next_hop, anchor.standbys) == ("i-a2", ("i-a1", "i-a0"))


def test_a_laggard_serves_only_when_nobody_else_is_left() -> None:
    late = frozenset({Prefix(4, NETS["a"].value + 64, 26)})
    of = cluster(node("a", 0, behind=late), node("a", 1), node("a", 2), quota=1)

    assert hops(planned(of))["100.64.0.0/20"] != "i-a0"
    assert planned(of).routes[0].standbys[-1] == "i-a0"


def test_the_strong_node_relays_and_the_heavy_one_is_direct() -> None:
    strong = cluster(node("a", 0, capacity=10.0), node("a", 1), node("a", 2), quota=1)
    heavy = cluster(node("a", 0), node("a", 1, weight=9.0), node("a", 2), quota=1)

    assert (hops(planned(strong))["100.64.0.0/20"], planned(strong).max_relayed_load) == ("i-a0", 0.2)
    assert hops(planned(heavy))["100.64.0.0/20"] == "i-a1"


def test_next_hops_rotate_over_the_tables() -> None:
    of = cluster(*(node("a", i) for i in range(3)), quota=1, tables=3)

    made = plan(of, fresh=True)

    assert len({table.routes[0].next_hop for table in made.route_tables}) == 3


def test_foreign_routes_in_the_pod_cidr_are_planned_around_and_reported() -> None:
    own = Prefix(4, NETS["a"].value, 26)
    of = cluster(node("a", 0), node("a", 1), node("b", 0), routes=(Route(own, "eni-foreign"),))

    made = plan(of, fresh=True)

    assert [hole.block for hole in made.route_tables[0].holes] == [own]
    assert all(route.destination != own for route in made.route_tables[0].routes)
    assert any("captures" in warning for warning in made.warnings)


def test_prefix_lists_take_a_slot_and_propagated_routes_do_not() -> None:
    of = cluster(
        node("a", 0),
        quota=10,
        routes=(
            Route("pl-1", "vpce-1"),
            Route(Prefix.parse("192.168.0.0/16"), "vgw-1", origin=RouteOrigin.PROPAGATED),
            Route(Prefix.parse("10.0.0.0/16"), "local", origin=RouteOrigin.CREATE_ROUTE_TABLE),
        ),
    )

    assert planned(of).budget == {4: 8}


def test_a_quota_that_others_have_used_up_leaves_holes_and_makes_no_call() -> None:
    others = tuple(Route(Prefix(4, (10 << 24) + (i << 16), 16), "tgw-1") for i in range(5))
    of = cluster(node("a", 0), quota=3, routes=others)

    made = planned(of)

    assert (made.budget, made.routes, made.steps) == ({4: 0}, (), ())
    assert len(made.holes) == 1


def test_dual_stack_has_a_budget_and_routes_for_each_family() -> None:
    six = Prefix.parse("fd00:64::/56")
    net = Prefix.parse("fd00:64::/60")
    first, second = node("a", 0), node("a", 1)
    of = replace(
        cluster(replace(first, blocks=(*first.blocks, Prefix.parse("fd00:64::/80"))), second),
        pod_cidrs=(POD, six),
        subnets=(Subnet("a", (NETS["a"], net)), Subnet("b", ())),
    )

    made = planned(of)

    assert made.budget.keys() == {4, 6}
    assert hops(made)["fd00:64::/60"] == "i-a0"
    assert made.total_weight == made.direct_weight == 2


def test_ipv6_alone_is_planned_too() -> None:
    six = Prefix.parse("fd00:64::/56")
    of = Cluster(
        "six",
        (six,),
        (Subnet("a", (Prefix.parse("fd00:64::/60"),)),),
        (Node("i-1", "a", "eni-1", (Prefix.parse("fd00:64::/80"),)),),
        (RouteTable("rtb-0", ()),),
    )

    assert hops(planned(of)) == {"fd00:64::/60": "i-1"}


def test_a_failed_forwarder_costs_one_call_for_each_route_through_it() -> None:
    of = settled(cluster(*(node("a", i) for i in range(6)), *(node("b", i) for i in range(6)), quota=4))
    dead = next(r.target for r in of.route_tables[0].routes if r.destination == NETS["a"])
    through = [route for route in of.route_tables[0].routes if route.target == dead]
    nodes = tuple(replace(n, health=Health.FAILED) if n.network_interface == dead else n for n in of.nodes)

    made = planned(replace(of, nodes=nodes), fresh=False)

    assert {step.destination for step in made.steps} == {route.destination for route in through}


def test_a_join_costs_no_call_when_the_table_is_full() -> None:
    of = settled(cluster(*(node("a", i) for i in range(6)), node("b", 0), quota=3))

    made = planned(replace(of, nodes=(*of.nodes, node("a", 9))), fresh=False)

    assert made.steps == ()


def test_improvement_is_limited_in_calls() -> None:
    of = settled(cluster(*(node("a", i) for i in range(6)), quota=1))
    roomy = replace(of, route_tables=(replace(of.route_tables[0], quota=6),))

    needed, *more = (len(plan(roomy, improve=n).route_tables[0].steps) for n in (0, 1, 2))

    assert more == [needed + 1, needed + 2]
    assert plan(roomy).route_tables[0].direct_weight == 6


@pytest.mark.parametrize("quota", [3, 50])
@pytest.mark.parametrize("length", [20, 21])
def test_space_that_was_given_back_has_no_route_in_any_table_though_keeping_one_would_cost_no_call(
    quota: int, length: int
) -> None:
    before = settled(cluster(node("a", 0), node("a", 1), node("b", 0), node("b", 1), quota=quota))
    kept, half = NETS["a"].at(20).halves()
    extra = Route(half.at(length) if length > 20 else kept, "eni-a1", owned=True)
    (table,) = before.route_tables
    table = replace(table, routes=(*table.routes, extra), quota=quota + 1)
    subnets = (Subnet("a", (kept,)), Subnet("b", (NETS["b"],)))
    after = replace(before, subnets=subnets, route_tables=(table,))

    made = planned(replace(after, released=(half,)), fresh=False)
    free = planned(after, fresh=False)

    assert not any(half.overlaps(route.destination) for route in made.routes)
    assert any(half.overlaps(route.destination) for route in free.routes), "it would have gone anyway"
    assert hops(made).keys() >= {str(NETS["b"])}
    assert made.holes == ()


def test_a_plan_ends_where_rounding_makes_the_next_limit_the_present_one() -> None:
    rows = [
        ("a", "fd00:64::/124", Health.SUSPECT, ForwarderPreference.PREFER, 1.0, 4.0),
        ("a", "fd00:64::10/124", Health.SUSPECT, ForwarderPreference.NEVER, 7.5, 1.0),
        ("a", "fd00:64::20/124", Health.SUSPECT, ForwarderPreference.NEVER, 7.5, 1.0),
        ("a", "fd00:64::90/124", Health.HEALTHY, ForwarderPreference.ALLOW, 2.0, 1.0),
        ("a", "fd00:64::d0/124", Health.HEALTHY, ForwarderPreference.NEVER, 1.0, 1.0),
        ("b", "fd00:64::100/124", Health.HEALTHY, ForwarderPreference.PREFER, 1.0, 4.0),
        ("c", "fd00:64::1b0/124", Health.HEALTHY, ForwarderPreference.PREFER, 1.0, 1.0),
    ]
    nodes = tuple(
        Node(
            f"i-{number}",
            subnet,
            f"eni-{number}",
            (Prefix.parse(block),),
            health=health,
            forwarder=forwarder,
            weight=weight,
            capacity=capacity,
        )
        for number, (subnet, block, health, forwarder, weight, capacity) in enumerate(rows)
    )
    supernets = {"a": "fd00:64::/120", "b": "fd00:64::100/121", "c": "fd00:64::180/121"}
    subnets = tuple(Subnet(name, (Prefix.parse(net),)) for name, net in supernets.items())
    table = RouteTable("rtb-1", (), (), 5, 1)

    planned = plan(Cluster("world", (Prefix.parse("fd00:64::/119"),), subnets, nodes, (table,)))

    assert len(planned.route_tables[0].routes) <= 4
