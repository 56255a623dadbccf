"""Who is a member: what EC2 says now, and what we remember."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from podway.domain.addressing import Prefix
from podway.domain.inventory import HeldBlock, Instance, Member
from podway.domain.members.membership import Membership, membership
from podway.domain.signals import InstanceState

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
REST = timedelta(minutes=10)
BLOCKS = (HeldBlock(Prefix.parse("100.64.0.0/26"), 3, ready=True),)
KNOWN = Member("i-1", "subnet-a", "eni-1", "10.0.0.4", BLOCKS)
HERE = Instance("i-1", InstanceState.RUNNING, "subnet-a", "eni-1", "10.0.0.4")


def decided(
    known: tuple[Member, ...] = (KNOWN,),
    here: tuple[Instance, ...] = (HERE,),
    *,
    now: datetime = NOW,
    targeted: frozenset[str] = frozenset(),
) -> Membership:
    return membership(known, here, now=now, quarantine=REST, still_targeted=targeted)


def test_a_new_instance_is_a_member_without_blocks() -> None:
    assert decided(known=()) == Membership((replace(KNOWN, blocks=()),), (), ())


def test_a_known_instance_stays_as_it_is() -> None:
    assert decided() == Membership((KNOWN,), (), ())


@pytest.mark.parametrize("state", sorted(set(InstanceState) - {InstanceState.TERMINATED}))
def test_an_instance_that_exists_keeps_its_block_whatever_its_state(state: InstanceState) -> None:
    assert decided(here=(replace(HERE, state=state),)).present == (KNOWN,)


def test_a_terminated_or_vanished_ones_block_begins_its_quarantine() -> None:
    dead = replace(HERE, state=InstanceState.TERMINATED)

    assert decided(here=(dead,)) == decided(here=()) == Membership((), (replace(KNOWN, gone_at=NOW),), ())


def test_the_rest_begins_once_and_ends_with_the_quarantine() -> None:
    gone = replace(KNOWN, gone_at=NOW)

    assert decided((gone,), (), now=NOW + REST - timedelta(seconds=1)).quarantined == (gone,)
    assert decided((gone,), (), now=NOW + REST).forgotten == ("i-1",)


def test_a_block_rests_for_as_long_as_a_route_leads_to_its_former_node() -> None:
    gone = replace(KNOWN, gone_at=NOW, former_interfaces=("eni-0",))

    for interface in ("eni-1", "eni-0"):
        assert decided((gone,), (), now=NOW + 9 * REST, targeted=frozenset({interface})).quarantined == (
            gone,
        )


def test_who_was_thought_gone_and_is_here_keeps_its_block() -> None:
    assert decided((replace(KNOWN, gone_at=NOW),)).present == (KNOWN,)


def test_the_same_node_on_another_interface_remembers_the_former_one_while_routes_lead_there() -> None:
    moved = replace(HERE, network_interface="eni-2")

    led = decided(here=(moved,), targeted=frozenset({"eni-1"})).present
    free = decided(here=(moved,)).present

    assert led == (replace(KNOWN, network_interface="eni-2", former_interfaces=("eni-1",)),)
    assert led[0].interfaces == ("eni-2", "eni-1")
    assert free == (replace(KNOWN, network_interface="eni-2"),)


def test_in_another_subnet_a_node_starts_anew() -> None:
    (member,) = decided(here=(replace(HERE, subnet="subnet-b", network_interface="eni-2"),)).present

    assert (member.subnet, member.blocks) == ("subnet-b", ())


def test_an_instance_without_an_interface_is_no_member_yet() -> None:
    assert decided((), (replace(HERE, network_interface=""),)) == Membership((), (), ())
