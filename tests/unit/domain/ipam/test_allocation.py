"""Blocks for members: each family once, inside the subnet's supernets, never one that rests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from podway.domain.addressing import Prefix
from podway.domain.inventory import HeldBlock, Member, ReleasedSpace
from podway.domain.ipam.allocation import CONTENT, MOST_BLOCKS, MemberAllocation, allocate_to_members

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
REST = timedelta(minutes=10)
POD_CIDR = Prefix.parse("100.64.0.0/16")
NEWCOMER = Member("i-1", "subnet-a", "eni-1", "10.0.0.4")


def allocated(
    present: Iterable[Member],
    quarantined: Iterable[Member] = (),
    *,
    supernets: Mapping[str, tuple[Prefix, ...]] | None = None,
    pod_cidrs: tuple[Prefix, ...] = (POD_CIDR,),
    now: datetime = NOW,
    wanted: Mapping[str, int] = CONTENT,
    released: tuple[ReleasedSpace, ...] = (),
    release: bool = False,
) -> MemberAllocation:
    present = tuple(present)
    return allocate_to_members(
        present,
        quarantined,
        supernets or {},
        pod_cidrs=pod_cidrs,
        block_length=26,
        subnets={member.subnet for member in present},
        generations={"subnet-a": 7},
        now=now,
        quarantine=REST,
        wanted=wanted,
        released=released,
        release=release,
    )


def test_a_newcomer_gets_a_block_inside_its_subnets_supernet_that_the_next_map_shows() -> None:
    found = allocated([NEWCOMER, replace(NEWCOMER, id="i-2", subnet="subnet-b")])

    for member, generation in zip(found.members, (8, 1), strict=True):
        (block,) = member.blocks
        (supernet,) = found.supernets[member.subnet]
        assert supernet.contains(block.prefix)
        assert (block.prefix.length, block.since, block.ready) == (26, generation, False)


def test_who_has_a_block_keeps_it_and_nothing_changes() -> None:
    first = allocated([NEWCOMER])

    again = allocated(first.members, supernets=first.supernets)

    assert again == first


def test_every_family_gives_a_block_of_as_many_addresses() -> None:
    found = allocated([NEWCOMER], pod_cidrs=(POD_CIDR, Prefix.parse("fd00:64::/48")))

    assert [(one.prefix.version, one.prefix.length) for one in found.members[0].blocks] == [(4, 26), (6, 122)]


def test_a_second_family_later_leaves_the_first_ones_block_alone() -> None:
    first = allocated([NEWCOMER])

    found = allocated(
        first.members, supernets=first.supernets, pod_cidrs=(POD_CIDR, Prefix.parse("fd00:64::/48"))
    )

    assert found.members[0].blocks[0] == first.members[0].blocks[0]
    assert [one.prefix.version for one in found.members[0].blocks] == [4, 6]


def test_a_resting_members_block_is_given_to_nobody_even_when_its_time_is_up() -> None:
    first = allocated([NEWCOMER])
    gone = replace(first.members[0], gone_at=NOW)
    heir = replace(NEWCOMER, id="i-2")

    for now in (NOW, NOW + 9 * REST):  # remembered means: something still leads there
        found = allocated([heir], [gone], supernets=first.supernets, now=now)
        assert not set(found.members[0].prefixes) & set(gone.prefixes)


def test_a_forgotten_members_block_is_free() -> None:
    first = allocated([NEWCOMER])

    found = allocated([replace(NEWCOMER, id="i-2")], supernets=first.supernets)

    assert found.members[0].prefixes == first.members[0].prefixes


def test_who_finds_no_room_is_named_and_costs_nobody_else_a_block() -> None:
    small = Prefix.parse("100.64.0.0/26")
    holder = replace(NEWCOMER, blocks=(HeldBlock(small, 1),))

    found = allocated(
        [holder, replace(NEWCOMER, id="i-2")], pod_cidrs=(small,), supernets={"subnet-a": (small,)}
    )

    assert found.members[0] == holder
    assert found.members[1].blocks == ()
    assert [one.want.node for one in found.refused] == ["i-2"]


def test_who_needs_more_addresses_gets_the_buddy_of_its_block_where_that_is_free() -> None:
    first = allocated([NEWCOMER])

    found = allocated(first.members, supernets=first.supernets, wanted={"i-1": 2})

    old, new = found.members[0].blocks
    assert old == first.members[0].blocks[0]
    assert (new.prefix, new.since, new.ready) == (old.prefix.buddy(), 8, False)
    assert found.supernets == first.supernets


def test_where_the_buddy_is_taken_another_block_of_the_subnet_will_do() -> None:
    first = allocated([NEWCOMER, replace(NEWCOMER, id="i-2")])
    one, two = (member.prefixes[0] for member in first.members)
    assert two == one.buddy(), "the neighbour that this test is about is not there"

    found = allocated(first.members, supernets=first.supernets, wanted={"i-1": 2})

    further = found.members[0].prefixes[1]
    assert not {further} & {one, two}
    assert any(net.contains(further) for net in found.supernets["subnet-a"])


def test_a_wish_is_met_once_whoever_repeats_it_and_taken_back_costs_no_block() -> None:
    members, supernets = allocated([NEWCOMER]).members, allocated([NEWCOMER]).supernets

    held = []
    for wish in (2, 2, 2, 0, 3):
        found = allocated(members, supernets=supernets, wanted={"i-1": wish})
        members, supernets = found.members, found.supernets
        held.append(len(members[0].blocks))

    assert held == [2, 2, 2, 2, 3]


def test_a_wish_without_end_gets_one_block_a_run_and_ends_at_the_most() -> None:
    found = allocated([NEWCOMER])

    held = []
    for _ in range(MOST_BLOCKS + 2):
        found = allocated(found.members, supernets=found.supernets, wanted={"i-1": 1000})
        held.append(len(found.members[0].blocks))

    assert held == [*range(2, MOST_BLOCKS + 1), *[MOST_BLOCKS] * 3]


def test_a_wish_is_one_for_every_family() -> None:
    both = (POD_CIDR, Prefix.parse("fd00:64::/48"))
    first = allocated([NEWCOMER], pod_cidrs=both)

    found = allocated(first.members, supernets=first.supernets, pod_cidrs=both, wanted={"i-1": 2})

    assert sorted(one.version for one in found.members[0].prefixes) == [4, 4, 6, 6]


def test_in_a_round_subnets_give_back_what_they_do_not_need_and_nobody_loses_a_block() -> None:
    first = allocated([NEWCOMER])
    (supernet,) = first.supernets["subnet-a"]

    found = allocated(first.members, supernets=first.supernets, release=True)
    again = allocated(found.members, supernets=found.supernets, released=found.released, release=True)

    (kept,) = found.supernets["subnet-a"]
    assert found.members == first.members
    assert kept.length > supernet.length
    assert kept.size + sum(one.prefix.size for one in found.released) == supernet.size
    assert {one.subnet for one in found.released} == {"subnet-a"}
    assert again == found


def test_what_rests_is_not_given_back() -> None:
    first = allocated([NEWCOMER, replace(NEWCOMER, id="i-2")])
    gone = replace(first.members[1], gone_at=NOW)

    found = allocated(first.members[:1], [gone], supernets=first.supernets, release=True)

    assert not any(one.prefix.overlaps(gone.prefixes[0]) for one in found.released)
