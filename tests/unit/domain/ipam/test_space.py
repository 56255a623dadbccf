"""Addresses step by step: who grows where, who borrows from whom, and how borrowed space becomes own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from podway.domain.addressing import Prefix
from podway.domain.inventory import ReleasedSpace
from podway.domain.ipam.pool import Pool
from podway.domain.ipam.space import AddressSpace, Assigned, Supernet, Want, allocate, trim

POD = Prefix.parse("100.64.0.0/20")
"""Sixty-four blocks of /26."""
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def block(index: int) -> Prefix:
    return Prefix(4, POD.value + 64 * index, 26)


def supernet(text: str, subnet: str) -> Supernet:
    return Supernet(Prefix.parse(text), subnet)


def space(supernets: list[Supernet], blocks: dict[int, str]) -> AddressSpace:
    held = [Assigned(block(index), f"i-{index}", subnet) for index, subnet in blocks.items()]
    return AddressSpace((POD,), tuple(sorted(supernets)), tuple(sorted(held)))


def supernets(of: AddressSpace) -> dict[str, str]:
    return {str(net.prefix): net.subnet for net in of.supernets}


def test_first_supernets_lie_far_apart_and_double_in_place() -> None:
    pool = Pool(POD, expected=2)

    first = [pool.place(name, 26) for name in ("a", "b")]
    more = [pool.place("a", 26) for _ in range(15)]

    assert first == [block(0), block(32)]
    assert more == [block(index) for index in range(1, 16)]
    assert dict(pool.supernets()) == {Prefix.parse("100.64.0.0/22"): "a", Prefix.parse("100.64.8.0/23"): "b"}


def test_a_second_block_is_the_buddy_of_the_first() -> None:
    of = space([supernet("100.64.0.0/22", "a")], {5: "a"})

    (placed,) = allocate(of, [Want("a", "i-5", 26)], now=NOW).placed

    assert placed.prefix == block(4)


def test_who_finds_no_room_borrows_at_the_top_end_of_the_lender() -> None:
    blocks = dict.fromkeys(range(32), "a") | {32: "b", 48: "b"}
    of = space([supernet("100.64.0.0/21", "a"), supernet("100.64.8.0/21", "b")], blocks)

    after = allocate(of, [Want("a", "i-new", 26)], now=NOW)

    assert [placed.prefix for placed in after.placed] == [block(60)]
    assert supernets(after.space) == {
        "100.64.0.0/21": "a",
        "100.64.8.0/21": "b",
        "100.64.15.0/24": "a",
    }


def test_borrowed_space_doubles_in_place_instead_of_costing_another_route() -> None:
    blocks = dict.fromkeys(range(32), "a") | {32: "b", 48: "b", 62: "a", 63: "a"}
    of = space(
        [supernet("100.64.0.0/21", "a"), supernet("100.64.8.0/21", "b"), supernet("100.64.15.128/25", "a")],
        blocks,
    )

    after = allocate(of, [Want("a", "i-new", 26)], now=NOW)

    assert [placed.prefix for placed in after.placed] == [block(60)]
    assert supernets(after.space) == {
        "100.64.0.0/21": "a",
        "100.64.8.0/21": "b",
        "100.64.15.0/24": "a",
    }


def test_a_half_in_which_only_others_borrow_goes_and_they_keep_what_they_have() -> None:
    of = space(
        [supernet("100.64.0.0/21", "a"), supernet("100.64.8.0/21", "b"), supernet("100.64.15.0/24", "a")],
        {0: "a", 32: "b", 60: "a"},
    )

    after = trim(of, now=NOW, subnets=["a", "b"])

    assert supernets(after) == {"100.64.0.0/25": "a", "100.64.8.0/25": "b", "100.64.15.0/25": "a"}


def test_two_supernets_of_a_subnet_that_are_buddies_become_one() -> None:
    blocks = dict.fromkeys(range(48, 64), "b") | dict.fromkeys(range(8), "a")
    of = space(
        [
            supernet("100.64.0.0/24", "a"),
            supernet("100.64.1.0/24", "a"),
            supernet("100.64.12.0/23", "b"),
            supernet("100.64.14.0/23", "b"),
        ],
        blocks,
    )

    after = trim(of, now=NOW, subnets=["a", "b"])

    assert supernets(after) == {"100.64.0.0/23": "a", "100.64.12.0/22": "b"}
    assert after.blocks == of.blocks


def test_buddies_inside_a_lender_unite_but_never_to_all_of_it() -> None:
    of = space(
        [
            supernet("100.64.0.0/22", "a"),
            supernet("100.64.2.0/24", "b"),
            supernet("100.64.3.0/24", "b"),
            supernet("100.64.8.0/22", "b"),
        ],
        {0: "a", 1: "a", 2: "a", 3: "a", 4: "a", 5: "a", 6: "a", 8: "b", 12: "b"}
        | dict.fromkeys(range(9, 12), "b")
        | dict.fromkeys(range(13, 16), "b")
        | dict.fromkeys(range(32, 48), "b"),
    )

    after = trim(of, now=NOW, subnets=["a", "b"])

    assert supernets(after) == {"100.64.0.0/22": "a", "100.64.2.0/23": "b", "100.64.8.0/22": "b"}


def half_given_back() -> AddressSpace:
    """Subnet a has its lower quarter still, and gave back the upper half and the second quarter."""
    of = space([supernet("100.64.0.0/21", "a"), supernet("100.64.8.0/22", "b")], {0: "a", 32: "b"})
    after = trim(of, now=NOW, subnets=["a", "b"])
    assert supernets(after)["100.64.0.0/25"] == "a"
    return after


def released(of: AddressSpace, subnet: str) -> set[str]:
    return {str(one.prefix) for one in of.released if one.subnet == subnet}


def test_what_was_given_back_is_named_until_it_is_dropped() -> None:
    after = half_given_back()

    assert released(after, "a") == {
        "100.64.0.128/25", "100.64.1.0/24", "100.64.2.0/23", "100.64.4.0/22"
    }  # fmt: skip
    assert released(trim(after, now=NOW, subnets=["a", "b"]), "a") == released(after, "a")


def test_nobody_else_gets_what_is_released_and_anybody_gets_what_has_left() -> None:
    after = half_given_back()
    wants = [Want("b", f"i-new-{number:02}", 26) for number in range(60)]
    gone = [one.prefix for one in after.released if one.subnet == "a"]

    crowded = allocate(after, wants, now=NOW)
    free = allocate(replace(after, released=()), wants, now=NOW)

    assert not any(one.overlaps(placed.prefix) for one in gone for placed in crowded.placed)
    assert crowded.refused
    assert any(one.overlaps(placed.prefix) for one in gone for placed in free.placed)
    assert not free.refused


def test_its_subnet_takes_back_what_is_released_piece_by_piece() -> None:
    after = half_given_back()

    grown = allocate(after, [Want("a", f"i-new-{number}", 26) for number in range(5)], now=NOW)

    assert supernets(grown.space)["100.64.0.0/23"] == "a"
    assert released(grown.space, "a") == {"100.64.2.0/23", "100.64.4.0/22"}
    assert grown.refused == ()


def test_what_is_known_of_released_space_stays_with_what_is_left_of_it() -> None:
    after = half_given_back()
    since = ReleasedSpace(Prefix.parse("100.64.0.128/25"), "a", NOW, 7)
    known = replace(after, released=(ReleasedSpace(Prefix.parse("100.64.2.0/23"), "a", NOW, 5), since))

    again = trim(known, now=NOW, subnets=["a", "b"])

    assert again.released == tuple(sorted(known.released))


def test_borrowed_space_that_went_back_is_not_its_lenders_before_it_has_left() -> None:
    blocks = dict.fromkeys(range(1, 32), "a") | {32: "b"}
    borrowed = Supernet(block(0), "b")
    of = space([supernet("100.64.0.0/21", "a"), borrowed, supernet("100.64.8.0/21", "b")], blocks)

    after = trim(of, now=NOW, below=0.0, subnets=["a", "b"])
    early, late = (
        allocate(one, [Want("a", "i-new", 26)], now=NOW) for one in (after, replace(after, released=()))
    )

    assert borrowed not in after.supernets
    assert released(after, "b") == {str(block(0))}
    assert [one.prefix for one in early.placed] != [block(0)]
    assert [one.prefix for one in late.placed] == [block(0)]


def test_who_finds_no_room_makes_the_others_give_back_what_is_empty_and_costs_no_one_a_block() -> None:
    full = space([supernet("100.64.0.0/20", "a"), supernet("100.64.8.0/22", "b")], {0: "a"})
    wants = [Want("b", "i-huge", 21), Want("b", "i-small", 26), Want("c", "i-other", 26)]

    after = allocate(
        replace(full, supernets=(*full.supernets, supernet("100.64.8.0/22", "b"))), wants, now=NOW
    )

    assert [one.want.node for one in after.refused] == ["i-huge"]
    assert {one.node for one in after.placed} == {"i-small", "i-other"}
    assert released(after.space, "a")
