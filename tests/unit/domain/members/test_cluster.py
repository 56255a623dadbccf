"""From EC2's word and ours to the cluster that the planner sees."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from podway.domain.addressing import Prefix
from podway.domain.health.verdict import Evidence, Severity, Verdict, accuse
from podway.domain.inventory import HeldBlock, Instance, Member, Survey, VpcSubnet
from podway.domain.members.cluster import (
    SILENCE,
    Conflict,
    NodeFacts,
    make_cluster,
    make_node,
    mark_owned,
    node_health,
    node_state,
)
from podway.domain.model import Cluster, Health, NodeState, Route, RouteTable
from podway.domain.routing import longest_match
from podway.domain.signals import GONE, InstanceState

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
BLOCK = Prefix.parse("100.64.0.0/26")
POD = Prefix.parse("100.64.0.0/20")
MEMBER = Member("i-1", "subnet-a", "eni-1", "10.0.0.4", (HeldBlock(BLOCK, 3),))
INSTANCE = Instance("i-1", InstanceState.RUNNING, "subnet-a", "eni-1", "10.0.0.4", source_dest_check=False)
FACTS = NodeFacts(INSTANCE, None, 3)
OURS = Route(POD, "eni-1")


def against(severity: Severity) -> Verdict:
    return accuse(Verdict("i-1", "subnet-a"), Evidence("source", severity, NOW))


def cluster(*members: Member, facts: dict[str, NodeFacts]) -> Cluster:
    survey = Survey((INSTANCE,), (VpcSubnet("subnet-a", (), "us-west-2a"),), (), ())
    return make_cluster(
        "demo",
        (Prefix.parse("100.64.0.0/16"),),
        survey,
        (),
        members=members,
        facts=facts,
        supernets={"subnet-a": (POD,)},
        now=NOW,
    )


def test_a_route_is_ours_when_it_is_recorded_and_leads_to_a_node_of_ours() -> None:
    table = RouteTable("rtb-1", (OURS, Route(BLOCK, "eni-1"), Route("pl-1", "eni-1")))

    owned = mark_owned((table,), {"rtb-1": frozenset({POD})}, frozenset({"eni-1"}))

    assert [route.owned for route in owned.tables[0].routes] == [True, False, False]
    assert owned.conflicts == ()


def test_a_recorded_route_that_leads_to_nobody_of_ours_is_foreign_and_reported() -> None:
    table = RouteTable("rtb-1", (OURS,))

    owned = mark_owned((table,), {"rtb-1": frozenset({POD})}, frozenset({"eni-2"}))

    assert owned.tables == (table,)
    assert owned.conflicts == (Conflict("rtb-1", POD, "eni-1"),)


def test_what_is_recorded_of_one_table_says_nothing_of_another() -> None:
    owned = mark_owned((RouteTable("rtb-2", (OURS,)),), {"rtb-1": frozenset({POD})}, frozenset({"eni-1"}))

    assert not owned.tables[0].routes[0].owned
    assert owned.conflicts == ()


@pytest.mark.parametrize("state", sorted(GONE))
def test_who_does_not_run_has_failed_whatever_else_is_said(state: InstanceState) -> None:
    assert node_health(replace(FACTS, instance=replace(INSTANCE, state=state)), now=NOW) is Health.FAILED


def test_a_node_whose_agent_fell_silent_is_suspect_and_one_never_heard_is_not() -> None:
    silent = NOW - SILENCE - timedelta(seconds=1)

    assert node_health(replace(FACTS, heard=silent), now=NOW) is Health.SUSPECT
    assert node_health(replace(FACTS, heard=NOW - SILENCE), now=NOW) is Health.HEALTHY
    assert node_health(FACTS, now=NOW) is Health.HEALTHY


def test_silence_does_not_make_a_dead_node_less_dead() -> None:
    silent = replace(FACTS, heard=NOW - 2 * SILENCE, verdict=against(Severity.DEFINITIVE))

    assert node_health(silent, now=NOW) is Health.FAILED


@pytest.mark.parametrize(
    "facts",
    [
        replace(FACTS, acknowledged=2),
        replace(FACTS, instance=replace(INSTANCE, source_dest_check=True)),
        replace(FACTS, instance=replace(INSTANCE, state=InstanceState.PENDING)),
    ],
    ids=["its kernel knows nothing of the block", "EC2 would drop its packets", "it does not run yet"],
)
def test_a_node_joins_until_packets_for_its_blocks_would_arrive(facts: NodeFacts) -> None:
    assert node_state(MEMBER, facts) is NodeState.JOINING
    assert node_state(MEMBER, FACTS) is NodeState.READY


def test_a_state_that_nobody_knows_does_not_make_a_routable_node_join_again() -> None:
    """Case h: its routes would leave it."""
    odd = replace(FACTS, instance=replace(INSTANCE, state=InstanceState.read("not shown")))

    assert node_state(MEMBER, odd) is NodeState.READY
    assert node_state(MEMBER, replace(odd, acknowledged=2)) is NodeState.JOINING


def test_a_node_whose_block_was_handed_out_never_joins_again() -> None:
    handed_out = replace(MEMBER, blocks=(HeldBlock(BLOCK, 3, ready=True),))

    assert node_state(handed_out, replace(FACTS, acknowledged=0)) is NodeState.READY


def test_a_node_that_boots_again_relays_for_nobody_before_it_runs() -> None:
    handed_out = replace(MEMBER, blocks=tuple(replace(block, ready=True) for block in MEMBER.blocks))
    booting = replace(FACTS, instance=replace(INSTANCE, state=InstanceState.PENDING))

    assert node_state(handed_out, booting) is NodeState.JOINING


def test_a_node_that_hands_over_drains_once_it_has_joined() -> None:
    leaving = replace(FACTS, verdict=against(Severity.HANDOVER))

    assert node_state(MEMBER, leaving) is NodeState.DRAINING
    assert node_state(MEMBER, replace(leaving, acknowledged=0)) is NodeState.JOINING


def test_a_node_is_behind_by_the_ready_blocks_of_others_that_it_has_not_acknowledged() -> None:
    older, newer, own = (
        HeldBlock(Prefix.parse(f"100.64.{third}.0/26"), third, ready=True) for third in (2, 4, 5)
    )
    member = replace(MEMBER, blocks=(own,))

    node = make_node(member, FACTS, (older, newer, own), now=NOW)

    assert node.behind == {newer.prefix}


def test_members_that_are_gone_or_have_no_block_are_no_nodes() -> None:
    gone = replace(MEMBER, id="i-2", blocks=(HeldBlock(Prefix.parse("100.64.1.0/26"), 1),))
    bare = replace(MEMBER, id="i-3", blocks=())

    made = cluster(gone, MEMBER, bare, facts={"i-1": FACTS, "i-3": FACTS})

    assert [node.id for node in made.nodes] == ["i-1"]
    assert [(subnet.id, subnet.supernets) for subnet in made.subnets] == [("subnet-a", (POD,))]


def test_blocks_that_are_not_handed_out_yet_put_nobody_behind() -> None:
    joining = replace(MEMBER, id="i-2", blocks=(HeldBlock(Prefix.parse("100.64.1.0/26"), 9),))

    made = cluster(MEMBER, joining, facts={"i-1": FACTS, "i-2": FACTS})

    assert [node.behind for node in made.nodes] == [frozenset(), frozenset()]


@pytest.mark.parametrize(
    ("destinations", "matched"),
    [
        (("0.0.0.0/0", "100.64.0.0/16", "100.64.0.0/20"), "100.64.0.0/20"),
        (("0.0.0.0/0", "100.64.0.0/27"), "0.0.0.0/0"),
        (("100.65.0.0/16",), None),
        (("100.64.0.0/26",), "100.64.0.0/26"),
    ],
)
def test_the_longest_route_that_contains_all_of_a_block_carries_it(
    destinations: Iterable[str], matched: str | None
) -> None:
    routes = [Route("pl-1", "eni-1"), *(Route(Prefix.parse(one), "eni-1") for one in destinations)]

    found = longest_match(routes, BLOCK)

    assert (str(found.destination) if found else None) == matched
