"""What every plan must be, whatever the cluster: valid, deterministic, idempotent, monotone in the budget."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from podway.domain.addressing import Prefix
from podway.domain.model import (
    Cluster,
    Create,
    Delete,
    ForwarderPreference,
    Health,
    Node,
    Replace,
    Route,
    RouteTable,
    Subnet,
    TablePlan,
)
from podway.domain.planner import fresh
from podway.domain.planner.plan import plan
from podway.domain.planner.problem import TableProblem
from podway.domain.routing import Facts, TableFacts
from podway.domain.transition.verify import verify_transition

from tests.oracle.brute import Judge, World

POD = {4: Prefix.parse("100.64.0.0/23"), 6: Prefix.parse("fd00:64::/119")}
PLACES = 32
"""Blocks of sixteen addresses."""


def block(version: int, index: int) -> Prefix:
    width = {4: 32, 6: 128}[version]
    return Prefix(version, POD[version].value + index * 16, width - 4)


def supernets(version: int) -> dict[str, Prefix]:
    """a: the lower half; b and c: a quarter each."""
    length = POD[version].length
    value = POD[version].value
    return {
        "a": Prefix(version, value, length + 1),
        "b": Prefix(version, value + 256, length + 2),
        "c": Prefix(version, value + 384, length + 2),
    }


@st.composite
def worlds(draw: st.DrawFn, *, version: int = 4, plain: bool = False) -> Cluster:
    nets = supernets(version)
    nodes = []
    for index in sorted(draw(st.sets(st.integers(0, PLACES - 1), max_size=26))):
        place = block(version, index)
        nodes.append(
            Node(
                id=f"i-{index:02}",
                subnet=next(name for name, net in nets.items() if net.contains(place)),
                network_interface=f"eni-{index:02}",
                blocks=(place,),
                health=Health.HEALTHY if plain else draw(st.sampled_from([*Health, Health.HEALTHY])),
                forwarder=ForwarderPreference.ALLOW if plain else draw(st.sampled_from(ForwarderPreference)),
                weight=1.0 if plain else draw(st.sampled_from([1.0, 1.0, 2.0, 7.5])),
                capacity=1.0 if plain else draw(st.sampled_from([1.0, 1.0, 4.0])),
            )
        )
    foreign = () if plain else draw(st.sets(st.integers(0, PLACES - 1), max_size=2))
    table = RouteTable(
        id="rtb-1",
        routes=tuple(Route(block(version, index), "eni-foreign") for index in sorted(foreign)),
        subnets=draw(st.sampled_from([(), ("a",), ("b", "c")])),
        quota=draw(st.integers(4, 30)) + len(foreign),
        reserve=1,
    )
    subnets = tuple(Subnet(name, (net,)) for name, net in nets.items())
    return Cluster("world", (POD[version],), subnets, tuple(nodes), (table,))


def carried_out(cluster: Cluster, planned: TablePlan) -> Cluster:
    table = cluster.route_tables[0]
    routes = {r.destination: r for r in table.routes}
    for step in planned.steps:
        match step:
            case Create(destination, interface) | Replace(destination, interface):
                routes[destination] = Route(destination, interface, owned=True)
            case Delete(destination):
                del routes[destination]
    return replace(cluster, route_tables=(replace(table, routes=tuple(routes.values())),))


@settings(max_examples=150, deadline=None)
@given(worlds(), st.booleans())
def test_a_plan_is_valid_and_tells_the_truth_about_itself(cluster: Cluster, fresh: bool) -> None:
    planned = plan(cluster, fresh=fresh).route_tables[0]

    world = World(cluster, cluster.route_tables[0])
    score = Judge(world, home=False).score_of({r.destination: r.next_hop for r in planned.routes})
    assert score is not None
    assert len(planned.routes) <= planned.budget[4]
    assert score[1:] == pytest.approx((planned.max_relayed_load, -planned.direct_weight), abs=1e-3)


@settings(max_examples=100, deadline=None)
@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_the_facts_does_not_matter(cluster: Cluster, random: Random) -> None:
    nodes, subnets = list(cluster.nodes), list(cluster.subnets)
    routes = list(cluster.route_tables[0].routes)
    for several in (nodes, subnets, routes):
        random.shuffle(several)
    table = replace(cluster.route_tables[0], routes=tuple(routes))
    shuffled = replace(cluster, nodes=tuple(nodes), subnets=tuple(subnets), route_tables=(table,))

    assert plan(shuffled) == plan(cluster)


@settings(max_examples=100, deadline=None)
@given(worlds(), st.booleans())
def test_a_plan_that_is_carried_out_is_what_the_next_one_wants(cluster: Cluster, fresh: bool) -> None:
    first = plan(cluster, fresh=fresh).route_tables[0]

    after = carried_out(cluster, first)

    assert verify_transition(cluster, cluster.route_tables[0], first.steps) == ()
    assert plan(after).route_tables[0].steps == ()


@settings(max_examples=60, deadline=None)
@given(worlds(plain=True))
def test_more_budget_never_loads_the_busiest_more(cluster: Cluster) -> None:
    table = cluster.route_tables[0]
    loads = []
    for quota in range(table.quota, table.quota + 6):
        planned = plan(replace(cluster, route_tables=(replace(table, quota=quota),)), fresh=True)
        loads.append(planned.route_tables[0].max_relayed_load)

    assert loads == sorted(loads, reverse=True)


@settings(max_examples=80, deadline=None)
@given(worlds(plain=True))
def test_the_quick_paths_find_the_limit_that_the_general_programme_finds(cluster: Cluster) -> None:
    view = TableFacts(cluster.route_tables[0], Facts(cluster, 4))
    assume(view.counted[0] and view.budget >= len(cluster.subnets))

    general = fresh._large(TableProblem(view))
    even = fresh.fresh_choice(TableProblem(view), small=0)
    weighted = fresh._at_home(TableProblem(view))

    assert even.limit == pytest.approx(general.limit)
    assert weighted is not None
    assert weighted.limit == pytest.approx(general.limit)


@settings(max_examples=60, deadline=None)
@given(worlds(version=6))
def test_ipv6_is_planned_by_the_same_rules(cluster: Cluster) -> None:
    planned = plan(cluster).route_tables[0]

    after = plan(carried_out(cluster, planned)).route_tables[0]

    assert verify_transition(cluster, cluster.route_tables[0], planned.steps) == ()
    assert after.steps == ()
