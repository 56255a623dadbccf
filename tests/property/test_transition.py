"""Whatever the tables, no step list opens an avoidable hole, exceeds the quota or touches others."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from podway.domain.addressing import Prefix
from podway.domain.model import Cluster, Create, Delete, Replace, Route, Step
from podway.domain.planner.plan import plan
from podway.domain.transition.order import transition
from podway.domain.transition.verify import verify_transition

from tests.property.worlds import clusters


def after(present: dict[Prefix, str], steps: tuple[Step, ...]) -> dict[Prefix, str]:
    routes = dict(present)
    for step in steps:
        match step:
            case Create(destination, interface) | Replace(destination, interface):
                routes[destination] = interface
            case Delete(destination):
                del routes[destination]
    return routes


def managed(cluster: Cluster) -> dict[Prefix, str]:
    return {
        route.destination: route.target
        for route in cluster.route_tables[0].routes
        if route.owned and isinstance(route.destination, Prefix)
    }


@settings(max_examples=600, deadline=None)
@given(clusters(home=True), st.booleans())
def test_in_home_mode_a_plan_with_a_spare_slot_breaks_nothing_on_its_way(
    cluster: Cluster, fresh: bool
) -> None:
    table = replace(cluster.route_tables[0], reserve=max(1, cluster.route_tables[0].reserve))
    cluster = replace(cluster, route_tables=(table,))

    made = plan(cluster, fresh=fresh).route_tables[0]

    wrong_colours = [b for b in verify_transition(cluster, table, made.steps) if b.invariant != "I1"]
    assert wrong_colours == []
    assert after(managed(cluster), made.steps) == {r.destination: r.network_interface for r in made.routes}


@settings(max_examples=600, deadline=None)
@given(clusters(home=True, sick=False), st.lists(st.booleans(), min_size=16, max_size=16), st.booleans())
def test_from_one_plan_to_the_next_it_is_hitless_and_as_short_as_the_difference(
    cluster: Cluster, stay: list[bool], fresh: bool
) -> None:
    table = replace(cluster.route_tables[0], routes=(), reserve=1)
    before = replace(cluster, route_tables=(table,))
    first = plan(before).route_tables[0]
    routes = after({}, first.steps)
    later = replace(
        cluster,
        nodes=tuple(node for number, node in enumerate(cluster.nodes) if stay[number]),
        route_tables=(
            replace(
                table,
                routes=tuple(
                    Route(destination, target, owned=True) for destination, target in routes.items()
                ),
            ),
        ),
    )

    second = plan(later, fresh=fresh).route_tables[0]
    assume(not first.holes and not second.holes)  # which blocks to give up is another question

    goal = {route.destination: route.network_interface for route in second.routes}
    assert verify_transition(later, later.route_tables[0], second.steps) == ()
    assert after(routes, second.steps) == goal
    assert len(second.steps) == len(_differing(routes, goal))


def _differing(have: dict[Prefix, str], want: dict[Prefix, str]) -> set[Prefix]:
    return {prefix for prefix in have.keys() | want.keys() if have.get(prefix) != want.get(prefix)}


@settings(max_examples=300, deadline=None)
@given(clusters(home=False))
def test_any_change_arrives_within_quota_and_ownership(cluster: Cluster) -> None:
    table = cluster.route_tables[0]
    goal = {
        route.destination: route.network_interface
        for route in plan(cluster, fresh=True).route_tables[0].routes
    }

    steps = transition(cluster, table, goal)

    assert [breach for breach in verify_transition(cluster, table, steps) if breach.invariant != "I1"] == []
    assert after(managed(cluster), steps) == goal
