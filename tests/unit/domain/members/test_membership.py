"""Who is a member: what EC2 says now, and what we remember."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podway.domain.addressing import Prefix
from podway.domain.inventory import FoundById, HeldBlock, Instance, Member
from podway.domain.members.cluster import SILENCE
from podway.domain.members.membership import GONE_AFTER, Membership, membership
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
    found: FoundById | None = None,
    heard: dict[str, datetime] | None = None,
) -> Membership:
    return membership(
        known, here, now=now, quarantine=REST, still_targeted=targeted, found=found, heard=heard
    )


def test_a_new_instance_is_a_member_without_blocks() -> None:
    assert decided(known=()) == Membership((replace(KNOWN, blocks=()),), (), (), {"i-1": HERE})


def test_a_known_instance_stays_as_it_is() -> None:
    assert decided() == Membership((KNOWN,), (), (), {"i-1": HERE})


def test_what_a_member_can_forward_is_remembered_where_ec2_does_not_say_it() -> None:
    big, unsaid = replace(HERE, capacity=6.25), replace(HERE, capacity=None)

    (seen,) = decided(here=(big,)).present

    assert seen.capacity == 6.25
    assert decided(known=(seen,), here=(unsaid,)).present == (seen,)
    assert decided(known=(seen,), here=()).present == (seen,), "nor by a list that leaves it out"


@pytest.mark.parametrize(
    ("found", "is_said"),
    [
        (FoundById(), False),
        (FoundById((replace(HERE, tagged=False),)), True),
        (FoundById((replace(HERE, tagged=False, address=""),)), False),
        (FoundById((replace(HERE, state=InstanceState.read("sleepwalking")),)), False),
        (FoundById(not_found=frozenset({"i-1"})), False),
    ],
)
def test_of_a_stray_ec2_says_something_only_where_it_shows_it_without_the_tag(
    found: FoundById, is_said: bool
) -> None:
    seen = decided(here=(), found=found)

    assert seen.strays.keys() == {"i-1"}
    assert seen.unsaid == (frozenset() if is_said else {"i-1"})


@pytest.mark.parametrize("state", sorted(set(InstanceState) - {InstanceState.TERMINATED}))
def test_an_instance_that_exists_keeps_its_block_whatever_its_state(state: InstanceState) -> None:
    assert decided(here=(replace(HERE, state=state),)).present == (KNOWN,)


def test_a_terminated_ones_block_begins_its_quarantine() -> None:
    dead = replace(HERE, state=InstanceState.TERMINATED)
    ended = Membership((), (replace(KNOWN, gone_at=NOW),), ())

    assert decided(here=(dead,)) == ended
    assert decided(here=(), found=FoundById((dead,))) == ended


# ---- absence is not an end ----------------------------------------------------------------------------


SIBLINGS = tuple(replace(KNOWN, id=f"i-{n}", network_interface=f"eni-{n}") for n in range(2, 6))
SHOWN = tuple(replace(HERE, id=f"i-{n}", network_interface=f"eni-{n}") for n in range(2, 6))
CLUSTER = (KNOWN, *SIBLINGS)
NOT_FOUND = FoundById(not_found=frozenset({"i-1"}))


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (FoundById(), "left out"),
        (FoundById((replace(HERE, tagged=False),)), "tag"),
        (FoundById((replace(HERE, state=InstanceState.read("sleepwalking")),)), "sleepwalking"),
        (FoundById((replace(HERE, address=""),)), "address"),
        (FoundById((replace(HERE, subnet=""),)), "address"),
        (NOT_FOUND, "not found"),
    ],
)
def test_a_member_that_a_list_leaves_out_is_a_stray_and_keeps_what_it_has(found: FoundById, why: str) -> None:
    after = decided(CLUSTER, SHOWN, found=found)

    assert {one.id: one.blocks for one in after.present} == {one.id: one.blocks for one in CLUSTER}
    assert after.strays.keys() == {"i-1"}
    assert why in after.warnings[0]
    assert after.instances["i-1"].network_interface == "eni-1"
    assert not after.is_mass_missing


def test_one_that_shows_again_is_no_stray_any_more() -> None:
    missing = replace(KNOWN, missing_since=NOW)

    assert decided((missing,)).present == (KNOWN,)


def test_who_is_not_found_has_ended_after_five_minutes_if_its_agent_is_silent() -> None:
    first = decided(CLUSTER, SHOWN, found=NOT_FOUND).present
    assert first[0].missing_since == NOW

    later = NOW + GONE_AFTER
    early = decided(first, SHOWN, found=NOT_FOUND, now=later - timedelta(seconds=1))
    speaks = decided(first, SHOWN, found=NOT_FOUND, now=later, heard={"i-1": later - timedelta(minutes=1)})
    silent = decided(first, SHOWN, found=NOT_FOUND, now=later, heard={"i-1": later - 2 * SILENCE})
    never = decided(first, SHOWN, found=NOT_FOUND, now=later)

    assert early.strays.keys() == speaks.strays.keys() == {"i-1"}
    for ended in (silent, never):
        assert ended.quarantined == (replace(KNOWN, gone_at=later),)
        assert ended.strays == {}


def test_an_answer_that_says_nothing_in_between_does_not_begin_the_five_minutes_anew() -> None:
    first = decided(CLUSTER, SHOWN, found=NOT_FOUND).present
    between = decided(first, SHOWN, now=NOW + timedelta(minutes=2)).present

    assert between[0].missing_since == NOW
    assert decided(between, SHOWN, found=NOT_FOUND, now=NOW + GONE_AFTER).quarantined != ()


def test_one_that_shows_in_between_without_its_tag_begins_the_five_minutes_anew() -> None:
    """Cases b and c: it was there at two minutes, so one NotFound more ends nothing."""
    first = decided(CLUSTER, SHOWN, found=NOT_FOUND).present
    untagged = FoundById((replace(HERE, tagged=False),))
    between = decided(first, SHOWN, found=untagged, now=NOW + timedelta(minutes=2)).present

    after = decided(between, SHOWN, found=NOT_FOUND, now=NOW + GONE_AFTER)

    assert after.strays.keys() == {"i-1"}
    assert after.quarantined == ()


def test_that_what_ec2_does_not_show_runs_is_not_said() -> None:
    """Case d: evidence that it does not run must outlive the zone's disruption."""
    assert not decided(CLUSTER, SHOWN).instances["i-1"].state.is_known


def test_strays_are_relieved_unless_a_mass_is_missing() -> None:
    assert decided(CLUSTER, SHOWN).missing_in_a_mass == frozenset()
    assert decided(CLUSTER, SHOWN[3:]).missing_in_a_mass == {"i-1", "i-2", "i-3", "i-4"}


def test_when_more_than_half_is_missing_nobody_ends_by_what_ec2_does_not_say() -> None:
    gone = FoundById(not_found=frozenset({"i-1", "i-2", "i-3"}))
    first = decided(CLUSTER, SHOWN[2:], found=gone)
    later = decided(first.present, SHOWN[2:], found=gone, now=NOW + 9 * GONE_AFTER)

    assert later.is_mass_missing
    assert len(later.present) == 5
    assert "more than half" in later.warnings[0]


def test_half_of_one_subnet_is_enough_to_doubt() -> None:
    elsewhere = tuple(replace(one, subnet="subnet-b") for one in SIBLINGS)
    shown = tuple(replace(one, subnet="subnet-b") for one in SHOWN)

    assert decided((KNOWN, *elsewhere), shown, found=NOT_FOUND).is_mass_missing


def test_those_that_ec2_calls_terminated_end_however_many_they_are() -> None:
    dead = FoundById(tuple(replace(one, state=InstanceState.TERMINATED) for one in (HERE, *SHOWN[:3])))

    after = decided(CLUSTER, SHOWN[3:], found=dead)

    assert len(after.quarantined) == 4
    assert not after.is_mass_missing


@given(data=st.data())
def test_whatever_is_left_out_of_the_answers_no_member_loses_anything(data: st.DataObject) -> None:
    """Only *terminated* ends; everything else is absence."""
    everybody = (HERE, *SHOWN)
    listed = tuple(one for one in everybody if data.draw(st.booleans()))
    rest = [one for one in everybody if one not in listed]
    odd = [replace(one, tagged=False, address=data.draw(st.sampled_from(["", "10.0.0.9"]))) for one in rest]
    answered = tuple(one for one in odd if data.draw(st.booleans()))

    after = decided(CLUSTER, listed, found=FoundById(answered))

    assert {one.id: one.blocks for one in after.present} == {one.id: one.blocks for one in CLUSTER}
    assert after.strays.keys() == {one.id for one in rest}
    assert after.quarantined == ()
    assert after.forgotten == ()


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
