"""Whose doing it is that a route leads where it leads."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from podway.domain.addressing import Prefix
from podway.domain.failover.decide import Card, CardRoute, Claim
from podway.domain.health.verdict import Severity
from podway.domain.inventory import HeldBlock, Member
from podway.domain.model import Route, RouteTable
from podway.domain.operator.drift import Diverted, diverted

NOW = datetime(2026, 11, 27, tzinfo=UTC)
ANCHOR = Prefix.parse("100.64.128.0/20")
BLOCKS = [Prefix.parse(f"100.64.128.{64 * number}/26") for number in range(3)]
MEMBERS = tuple(
    Member(f"i-b{number}", "b", f"eni-b{number}", "", (HeldBlock(block, 1, ready=True),))
    for number, block in enumerate(BLOCKS)
)


def cards(*holders: str, claimed: bool = False) -> dict[str, Card]:
    """A card for each member; those of *holders* name the anchor."""
    claim = Claim("event", Severity.DEFINITIVE, NOW, done=True) if claimed else None
    made = {one.id: Card(one.id, "b", one.network_interface, len(MEMBERS)) for one in MEMBERS}
    for holder in holders:
        named = (CardRoute("rtb-a", ANCHOR, ()),)
        made[holder] = replace(made[holder], routes=named, claim=claim)
    return made


def table(*routes: tuple[Prefix, str]) -> RouteTable:
    return RouteTable("rtb-a", tuple(Route(at, target, owned=True) for at, target in routes), ("a",))


def test_a_route_whose_next_hops_card_does_not_know_it_was_moved_by_somebody() -> None:
    found = diverted([table((ANCHOR, "eni-b1"))], members=MEMBERS, cards=cards("i-b0"))

    assert found == (Diverted("rtb-a", ANCHOR, "i-b1", ("i-b0",)),)


@pytest.mark.parametrize(
    "known",
    [cards("i-b0", "i-b1"), cards("i-b0", claimed=True), cards()],
    ids=["both cards name it: it is on its way", "a failover has claimed the card", "no card names it"],
)
def test_what_may_be_our_own_doing_is_not(known: dict[str, Card]) -> None:
    assert diverted([table((ANCHOR, "eni-b1"))], members=MEMBERS, cards=known) == ()


def test_what_was_with_a_node_that_something_is_said_of_may_have_been_failed_over() -> None:
    tables, known = [table((ANCHOR, "eni-b1"))], cards("i-b0")

    assert diverted(tables, members=MEMBERS, cards=known, doubted={"i-b0"}) == ()
    assert diverted(tables, members=MEMBERS, cards=known, doubted={"i-b1", "i-b2"}) != ()


def test_a_route_that_became_direct_is_on_no_card_and_the_former_next_hops_may_be_older() -> None:
    others = [(BLOCKS[number], f"eni-b{number}") for number in (0, 2)]

    assert diverted([table((ANCHOR, "eni-b1"), *others)], members=MEMBERS, cards=cards("i-b0")) == ()


def test_a_neighbour_whose_block_rests_makes_no_route_anothers() -> None:
    resting = tuple(replace(one, gone_at=NOW) if one.id != "i-b1" else one for one in MEMBERS)

    assert diverted([table((ANCHOR, "eni-b1"))], members=resting, cards=cards("i-b0")) == ()


def test_a_direct_route_that_leads_to_a_neighbour_was_its_owners() -> None:
    found = diverted([table((BLOCKS[0], "eni-b1"))], members=MEMBERS, cards=cards())

    assert found == (Diverted("rtb-a", BLOCKS[0], "i-b1", ("i-b0",)),)


def test_a_nodes_former_interface_is_its_own_and_foreign_routes_are_nobodys() -> None:
    moved = (replace(MEMBERS[0], network_interface="eni-new", former_interfaces=("eni-b0",)), *MEMBERS[1:])
    foreign = RouteTable("rtb-a", (Route(ANCHOR, "eni-b1"),), ("a",))

    assert diverted([table((ANCHOR, "eni-b0"))], members=moved, cards=cards("i-b0")) == ()
    assert diverted([foreign], members=MEMBERS, cards=cards("i-b0")) == ()
