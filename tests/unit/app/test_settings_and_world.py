"""Settings are checked against what is there, every run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from podway.domain.addressing import Prefix
from podway.domain.model import Route
from podway.domain.signals import InstanceState

from tests.unit.app.cluster import POD_CIDR, TABLES, Play


def settled(*nodes: str) -> Play:
    play = Play(nodes=nodes) if nodes else Play()
    play.settle()
    return play


def blocks(play: Play) -> dict[Prefix, str]:
    return {prefix: one.id for one in play.store.found_members.values() for prefix in one.prefixes}


@pytest.mark.parametrize("wanted", ["100.64.0.0/20", "100.96.0.0/16", "10.0.0.0/17"])
def test_a_pod_cidr_that_would_orphan_what_pods_use_is_not_obeyed(wanted: str) -> None:
    """Case o: narrowed, changed, or put inside the VPC, on a live cluster; a death is still dealt with."""
    play = settled()
    before, maps = blocks(play), {one.pod_cidrs for one in play.store.maps.values()}
    play.pod_cidrs = (Prefix.parse(wanted),)

    play.settle()
    play.cloud.enter("i-a1", InstanceState.TERMINATED)
    play.settle_all_but("i-a1")
    outcome = play.reconcile()

    assert maps == {(POD_CIDR,)} == {one.pod_cidrs for one in play.store.maps.values()}
    assert before.items() >= blocks(play).items()
    assert play.uncovered() == []
    assert any(wanted in warning and "stays 100.64.0.0/16" in warning for warning in outcome.warnings)


def test_a_pod_cidr_may_grow() -> None:
    play = settled()
    play.pod_cidrs = (Prefix.parse("100.64.0.0/14"),)

    play.settle()

    assert {one.pod_cidrs for one in play.store.maps.values()} == {play.pod_cidrs}
    assert play.reconcile().warnings == []


def test_no_block_is_given_inside_a_range_of_the_vpc() -> None:
    """Case p: a secondary VPC CIDR inside free pod space; the first blocks would lie there."""
    inside = Prefix.parse("100.64.0.0/24")
    play = Play()
    play.cloud.surveyed = replace(play.cloud.surveyed, vpc_cidrs=(*play.cloud.surveyed.vpc_cidrs, inside))

    play.settle()

    assert not any(inside.overlaps(block) for block in blocks(play))
    assert any("100.64.0.0/24 lies inside the pod CIDR" in one for one in play.reconcile().warnings)


def test_a_pod_cidr_inside_the_vpc_is_named_and_no_route_of_it_is_drift() -> None:
    """Case q."""
    play = Play()
    play.pod_cidrs = (Prefix.parse("10.0.128.0/17"),)

    for _ in range(3):
        outcome = play.reconcile()
        play.agents_acknowledge()

    assert any("10.0.128.0/17 is inside the VPC's 10.0.0.0/16" in one for one in outcome.warnings)
    assert outcome.drifted == []
    assert play.cloud.writes == []


@pytest.mark.parametrize("length", [26, 24, 20])
def test_no_block_is_given_where_a_foreign_route_captures_it(length: int) -> None:
    """Case t: four nodes, one foreign route, a thousand free blocks."""
    play = Play(nodes=("a1", "a2", "b1", "b2"))
    foreign = Prefix.parse(f"100.64.0.0/{length}")
    play.cloud.edit("rtb-b", lambda one: replace(one, routes=(*one.routes, Route(foreign, "tgw-1"))))

    play.settle()

    assert not any(foreign.overlaps(block) for block in blocks(play))
    assert play.uncovered() == []
    assert any(str(foreign) in one for one in play.reconcile().warnings)


def test_over_the_leftovers_of_a_former_stack_every_node_gets_ready() -> None:
    """Case t: its anchors and direct routes lead to interfaces that are gone."""
    nodes = tuple(f"{subnet}{number}" for subnet in "ab" for number in range(1, 6))
    former = settled(*nodes)
    left = {table: former.cloud.table(table) for table in TABLES.values()}
    play = Play(nodes=nodes)
    for table, routes in left.items():
        dead = tuple(Route(prefix, f"eni-old-{number}") for number, prefix in enumerate(routes))
        play.cloud.edit(table, lambda one, dead=dead: replace(one, routes=(*one.routes, *dead)))  # type: ignore[misc]  # bound now

    play.settle()

    assert play.uncovered() == []
    for table, routes in left.items():
        assert {prefix: target for prefix, target in play.cloud.table(table).items() if "old" in target} == {
            prefix: f"eni-old-{number}" for number, prefix in enumerate(routes)
        }, "what is not ours is not touched"


def test_a_foreign_route_over_a_block_that_is_in_use_is_named() -> None:
    play = settled()
    taken = play.block("i-b1")
    play.cloud.edit("rtb-a", lambda one: replace(one, routes=(*one.routes, Route(taken, "tgw-1"))))

    outcome = play.reconcile()

    assert any("capture packets" in one and str(taken) in one for one in outcome.warnings)
