"""When a block may be used, and what the agents of a subnet are told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from podway.domain.addressing import Prefix
from podway.domain.inventory import HeldBlock, Member
from podway.domain.members.maps import make_maps
from podway.domain.members.readiness import mark_ready
from podway.domain.model import (
    Cluster,
    ForwarderPreference,
    Health,
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

POD_CIDR = Prefix.parse("100.64.0.0/16")
SUPERNET, ELSEWHERE = Prefix.parse("100.64.0.0/20"), Prefix.parse("100.64.16.0/20")
BLOCKS = {f"i-{number}": Prefix.parse(f"100.64.0.{64 * number}/26") for number in range(3)}
MEMBERS = tuple(
    Member(node, "subnet-a", node.replace("i-", "eni-"), f"10.0.0.{4 + number}", (HeldBlock(block, 5),))
    for number, (node, block) in enumerate(BLOCKS.items())
)
NODES = tuple(
    Node(member.id, "subnet-a", member.network_interface, member.prefixes, NodeState.READY)
    for member in MEMBERS
)
ANCHOR = Route(SUPERNET, "eni-0", owned=True)
TABLES = (RouteTable("rtb-b", (ANCHOR,), ("subnet-b",)), RouteTable("rtb-a", (), ("subnet-a",)))
CLUSTER = Cluster(
    "demo",
    (POD_CIDR,),
    (Subnet("subnet-a", (SUPERNET,)), Subnet("subnet-b", (ELSEWHERE,))),
    NODES,
    TABLES,
)
PLANNED = PlannedRoute(SUPERNET, "i-0", "eni-0", RouteKind.AGGREGATED, standbys=("i-1", "i-2"))
PLAN = Plan("demo", (TablePlan("rtb-b", {4: 1}, (PLANNED,), (), 0.0, 3.0, 3.0),))
KNOWN = dict.fromkeys(BLOCKS, 5)


def ready(
    cluster: Cluster = CLUSTER,
    tables: tuple[RouteTable, ...] = TABLES,
    acknowledged: dict[str, int] = KNOWN,
    plan: Plan = PLAN,
) -> dict[str, bool]:
    after = mark_ready(MEMBERS, cluster, plan, tables=tables, acknowledged=acknowledged)
    return {member.id: member.blocks[0].ready for member in after}


def with_node(number: int, **changes: object) -> Cluster:
    nodes = [replace(node, **changes) if node.id == f"i-{number}" else node for node in NODES]  # type: ignore[arg-type]  # changes are a Node's fields
    return replace(CLUSTER, nodes=tuple(nodes))


def test_a_block_is_handed_out_when_it_is_covered_and_its_forwarders_know_it() -> None:
    assert ready() == dict.fromkeys(BLOCKS, True)


@pytest.mark.parametrize("laggard", ["i-0", "i-1"], ids=["next hop", "first standby"])
def test_a_block_waits_for_the_next_hop_and_the_first_standby_of_its_route(laggard: str) -> None:
    found = ready(acknowledged=KNOWN | {laggard: 4})

    assert found == dict.fromkeys(BLOCKS, False)


@pytest.mark.parametrize("laggard", ["i-0", "i-1"])
def test_nobody_waits_for_who_would_stand_by_for_a_direct_route(laggard: str) -> None:
    direct = PlannedRoute(BLOCKS["i-2"], "i-2", "eni-2", RouteKind.DIRECT, standbys=(laggard,))
    table = replace(PLAN.route_tables[0], routes=(PLANNED, direct))
    tables = (replace(TABLES[0], routes=(ANCHOR, Route(BLOCKS["i-2"], "eni-2", owned=True))), TABLES[1])

    found = ready(tables=tables, acknowledged=KNOWN | {laggard: 4}, plan=replace(PLAN, route_tables=(table,)))

    assert found == {"i-0": False, "i-1": False, "i-2": True}


def test_a_block_waits_for_its_own_node_also_when_it_is_its_second_one() -> None:
    assert not ready(acknowledged=KNOWN | {"i-2": 4})["i-2"]


@pytest.mark.parametrize("tables", [TABLES[1:], ()], ids=["its own", "none"])
def test_a_block_waits_for_its_own_node_whatever_tables_there_are(tables: tuple[RouteTable, ...]) -> None:
    """A cluster of one subnet, or an answer that leaves the tables out."""
    found = ready(tables=tables, acknowledged=KNOWN | {"i-2": 4})

    assert found == {"i-0": True, "i-1": True, "i-2": False}


def test_who_has_only_its_own_direct_route_need_not_poll_fast() -> None:
    direct = PlannedRoute(BLOCKS["i-2"], "i-2", "eni-2", RouteKind.DIRECT, standbys=("i-1",))
    table = replace(PLAN.route_tables[0], routes=(direct,))
    cluster = replace(
        CLUSTER, route_tables=(replace(TABLES[0], routes=(Route(BLOCKS["i-2"], "eni-2", owned=True),)),)
    )

    (first, _) = make_maps(cluster, replace(PLAN, route_tables=(table,)), MEMBERS, {})

    assert first.forwarders == ()


def test_nobody_waits_for_a_second_standby() -> None:
    assert ready(acknowledged=KNOWN | {"i-2": 0})["i-1"]


def test_a_block_waits_for_a_route_in_every_table_but_its_own_subnets() -> None:
    bare = (replace(TABLES[0], routes=()), TABLES[1])
    shared = (replace(TABLES[1], subnets=("subnet-a", "subnet-c")), TABLES[0])

    assert not any(ready(tables=bare).values())
    assert not any(ready(tables=shared).values())


def with_own_anchor(hop: str) -> tuple[RouteTable, ...]:
    """The tables, that of the nodes' own subnet with an anchor, too."""
    return (TABLES[0], replace(TABLES[1], routes=(Route(SUPERNET, hop, owned=True),)))


def test_a_block_waits_for_the_sibling_to_which_its_own_subnets_table_leads() -> None:
    late = KNOWN | {"i-2": 4}

    assert ready(tables=with_own_anchor("eni-2")) == dict.fromkeys(BLOCKS, True)
    assert ready(tables=with_own_anchor("eni-2"), acknowledged=late) == dict.fromkeys(BLOCKS, False)


@pytest.mark.parametrize(
    ("hop", "changes"),
    [
        ("eni-stranger", {}),
        ("eni-2", {"health": Health.SUSPECT}),
        ("eni-2", {"state": NodeState.DRAINING}),
        ("eni-2", {"subnet": "subnet-b"}),
    ],
    ids=str,
)
def test_nobody_waits_for_a_next_hop_of_the_own_table_that_may_not_relay(
    hop: str, changes: dict[str, object]
) -> None:
    found = ready(with_node(2, **changes), with_own_anchor(hop), KNOWN | {"i-2": 4})

    assert (found["i-0"], found["i-1"]) == (True, True)


def own_anchor(hop: str) -> TablePlan:
    """The plan for the table of the nodes' own subnet: its anchor."""
    node = hop.replace("eni-", "i-")
    anchor = PlannedRoute(SUPERNET, node, hop, RouteKind.AGGREGATED)
    return TablePlan("rtb-a", {4: 1}, (anchor,), (), 0.0, 3.0, 3.0)


@pytest.mark.parametrize(
    ("present", "planned", "led"),
    [
        ("eni-2", "eni-2", (SUPERNET,)),
        ("eni-1", "eni-2", (SUPERNET,)),
        ("", "eni-2", ()),
        ("eni-2", "", ()),
        ("eni-stranger", "eni-2", ()),
    ],
    ids=["both", "it moves", "not made yet", "to be removed", "leads astray"],
)
def test_a_map_names_what_the_subnets_own_table_leads_to_its_nodes_and_will(
    present: str, planned: str, led: tuple[Prefix, ...]
) -> None:
    tables = with_own_anchor(present) if present else TABLES
    plan = replace(PLAN, route_tables=(*PLAN.route_tables, *([own_anchor(planned)] if planned else [])))

    here, _ = make_maps(replace(CLUSTER, route_tables=tables), plan, MEMBERS, {})

    assert here.reachable_here == (SUPERNET,)
    assert here.led_here == led


def test_in_a_map_who_relays_for_the_own_subnet_polls_fast() -> None:
    here, _ = make_maps(replace(CLUSTER, route_tables=with_own_anchor("eni-2")), PLAN, MEMBERS, {})

    assert "i-2" in here.forwarders


def test_a_table_that_subnets_share_leads_all_of_them() -> None:
    shared = (replace(TABLES[0], subnets=("subnet-a", "subnet-b")),)

    here, there = make_maps(replace(CLUSTER, route_tables=shared), PLAN, MEMBERS, {})

    assert (here.led_here, there.led_here) == ((SUPERNET,), ())


@pytest.mark.parametrize(
    "changes",
    [
        {"health": Health.SUSPECT},
        {"state": NodeState.DRAINING},
        {"forwarder": ForwarderPreference.NEVER},
        {"subnet": "subnet-b"},
    ],
    ids=str,
)
def test_a_route_to_who_may_not_relay_covers_only_the_nodes_own_block(changes: dict[str, object]) -> None:
    found = ready(with_node(0, **changes))

    assert (found["i-1"], found["i-2"]) == (False, False)


def test_a_route_to_a_node_that_somebody_relieves_just_now_covers_only_the_nodes_own_block() -> None:
    after = mark_ready(MEMBERS, CLUSTER, PLAN, tables=TABLES, acknowledged=KNOWN, barred={"eni-0"})

    assert {member.id: member.blocks[0].ready for member in after} == {
        "i-0": True,
        "i-1": False,
        "i-2": False,
    }


def test_a_longer_route_to_a_stranger_uncovers_a_block() -> None:
    taken = (replace(TABLES[0], routes=(ANCHOR, Route(BLOCKS["i-1"], "eni-stranger"))), TABLES[1])

    assert ready(tables=taken) == {"i-0": True, "i-1": False, "i-2": True}


def test_a_joining_node_is_handed_nothing() -> None:
    assert ready(with_node(2, state=NodeState.JOINING)) == {"i-0": True, "i-1": True, "i-2": False}


def test_what_was_handed_out_stays_handed_out() -> None:
    handed_out = tuple(replace(one, blocks=(replace(one.blocks[0], ready=True),)) for one in MEMBERS)

    assert mark_ready(handed_out, CLUSTER, PLAN, tables=(), acknowledged={}) == handed_out
    bare = (replace(TABLES[0], routes=()),)
    assert mark_ready(handed_out, CLUSTER, PLAN, tables=bare, acknowledged={}) == handed_out


def test_a_map_names_the_subnets_members_forwarders_and_whatever_may_be_sent_there() -> None:
    far = PlannedRoute(POD_CIDR, "i-2", "eni-2", RouteKind.AGGREGATED)
    plan = Plan("demo", (replace(PLAN.route_tables[0], routes=(PLANNED, far)),))

    here, there = make_maps(CLUSTER, plan, MEMBERS, {"subnet-a": (Prefix.parse("10.0.0.0/20"),)})

    assert (here.subnet, here.subnet_cidrs) == ("subnet-a", (Prefix.parse("10.0.0.0/20"),))
    assert [member.id for member in here.members] == list(BLOCKS)
    assert here.forwarders == ("i-0", "i-1", "i-2")
    assert here.reachable_here == (POD_CIDR,), "the widest only"
    assert here.elsewhere == (ELSEWHERE,), "what another subnet owns inside it"
    assert (there.members, there.forwarders, there.reachable_here) == ((), (), (ELSEWHERE,))


def test_a_map_still_names_a_present_route_that_the_plan_moves_away() -> None:
    plan = Plan("demo", (replace(PLAN.route_tables[0], routes=()),))

    here, _ = make_maps(CLUSTER, plan, MEMBERS, {})

    assert here.forwarders == ("i-0",)


def test_members_without_a_node_are_shown_as_joining() -> None:
    here, _ = make_maps(replace(CLUSTER, nodes=NODES[:2]), PLAN, MEMBERS, {})

    assert [member.state for member in here.members] == [NodeState.READY, NodeState.READY, NodeState.JOINING]
