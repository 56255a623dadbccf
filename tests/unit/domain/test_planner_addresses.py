"""Addresses step by step: who grows where, who borrows from whom, and how borrowed space becomes own."""

from __future__ import annotations

from datetime import UTC, datetime

from podway.domain.addressing import Prefix
from podway.domain.ipam import AddressSpace, Assigned, Supernet, Want, allocate, trim
from podway.domain.ipam.pool import Pool

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
