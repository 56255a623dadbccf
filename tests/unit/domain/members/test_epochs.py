"""What counts of an agent's word in a new epoch, and what does not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from podway.domain.addressing import Prefix
from podway.domain.inventory import Epoch, HeldBlock, Member
from podway.domain.members.epochs import (
    Claimed,
    StoreLife,
    Word,
    claim_held,
    found_in_tables,
    next_epoch,
    present_epoch,
)
from podway.domain.model import Route, RouteOrigin, RouteTable

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LIFE = StoreLife(Epoch(2, "table", NOW, is_inherited=True))
HOME = Prefix.parse("100.64.0.0/20")
BLOCK, OTHER = Prefix.parse("100.64.0.0/26"), Prefix.parse("100.64.0.64/26")


def member(name: str, *blocks: Prefix, gone: bool = False) -> Member:
    held = tuple(HeldBlock(one, 1, ready=True) for one in blocks)
    return Member(f"i-{name}", "subnet-a", f"eni-{name}", "", held, gone_at=NOW if gone else None)


def claimed(
    said: Mapping[str, tuple[Prefix, ...]], *present: Member, quarantined: tuple[Member, ...] = ()
) -> Claimed:
    return claim_held(
        LIFE,
        {f"i-{name}": Word("subnet-a", 2, 0, blocks) for name, blocks in said.items()},
        present=present,
        quarantined=quarantined,
        supernets={"subnet-a": (HOME,)},
        newest={"subnet-a": 4},
        host_bits=6,
    )


def test_what_an_ended_node_is_recorded_with_goes_to_the_living_one_that_holds_it() -> None:
    found = claimed({"1": (BLOCK,)}, member("1"), quarantined=(member("2", BLOCK, OTHER, gone=True),))

    assert [one.blocks for one in found.present] == [(HeldBlock(BLOCK, 5, ready=True),)]
    assert [one.prefixes for one in found.quarantined] == [(OTHER,)]


def test_what_another_present_node_is_recorded_with_stays_its_own() -> None:
    found = claimed({"1": (BLOCK,)}, member("1"), member("2", BLOCK))

    assert [one.prefixes for one in found.present] == [(), (BLOCK,)]
    assert "recorded as that of i-2" in found.warnings[0]


def test_what_two_claim_is_kept_from_everybody() -> None:
    found = claimed({"1": (BLOCK,), "2": (BLOCK,)}, member("1"), member("2"))

    assert [one.prefixes for one in found.present] == [(), ()]
    assert set(found.kept_free) == {BLOCK}
    assert len(found.warnings) == 2


def test_a_pods_address_stands_for_its_block() -> None:
    said = tuple(map(Prefix.of_address, ("100.64.0.2", "100.64.0.9", "100.64.0.70")))

    assert claimed({"1": said}, member("1")).present[0].prefixes == (BLOCK, OTHER)


def test_a_word_keeps_eight_blocks_at_most_from_others() -> None:
    every = tuple(Prefix(4, HOME.value + 64 * n, 26) for n in range(64))

    found = claimed({"1": (HOME, *every)}, member("1"))

    assert found.present[0].prefixes == every[:8]
    assert found.kept_free == ()
    assert any("no node has more than 8" in one for one in found.warnings)


def test_nor_does_it_gain_eight_more_in_every_run() -> None:
    every = tuple(Prefix(4, HOME.value + 64 * n, 26) for n in range(64))
    once = claimed({"1": every}, member("1")).present[0]

    again = claimed({"1": every[8:]}, once)

    assert again.present == (once,)


def test_a_route_of_another_origin_or_outside_the_pod_cidr_is_not_taken_over() -> None:
    routes = (
        Route(HOME, "eni-1"),
        Route(BLOCK, "eni-1", origin=RouteOrigin.PROPAGATED),
        Route(OTHER, "eni-9"),
        Route(Prefix.parse("10.9.0.0/16"), "eni-1"),
    )

    found = found_in_tables(
        [RouteTable("rtb-1", routes, ("subnet-a",), 500)],
        pod_cidrs=[Prefix.parse("100.64.0.0/16")],
        members=[member("1")],
        recorded={},
        supernets={},
    )

    assert found.records == {"rtb-1": frozenset({HOME})}
    assert found.supernets == {"subnet-a": (HOME,)}


def test_what_leads_to_two_subnets_or_to_anothers_blocks_is_nobodys_supernet() -> None:
    held = HeldBlock(Prefix.parse("100.64.32.0/26"), 1)
    here, there = member("1"), Member("i-2", "subnet-b", "eni-2", "", (held,))
    wide, theirs = Prefix.parse("100.64.16.0/20"), Prefix.parse("100.64.32.0/20")
    tables = [
        RouteTable("rtb-1", (Route(wide, "eni-1"), Route(theirs, "eni-1")), ("subnet-a",), 500),
        RouteTable("rtb-2", (Route(wide, "eni-2"),), ("subnet-b",), 500),
    ]

    found = found_in_tables(
        tables,
        pod_cidrs=[Prefix.parse("100.64.0.0/16")],
        members=[here, there],
        recorded={},
        supernets={"subnet-b": (theirs.at(19),)},
    )

    assert found.supernets == {}


def test_what_leads_into_anothers_supernet_is_borrowed_there() -> None:
    here, lender = member("1"), Prefix.parse("100.64.32.0/20")
    lent = Prefix.parse("100.64.47.0/24")
    table = RouteTable("rtb-1", (Route(lent, "eni-1"), Route(lent.at(26), "eni-1")), ("subnet-a",), 500)

    found = found_in_tables(
        [table],
        pod_cidrs=[Prefix.parse("100.64.0.0/16")],
        members=[here],
        recorded={},
        supernets={"subnet-b": (lender,)},
    )

    assert found.supernets == {"subnet-a": (lent,)}


@pytest.mark.parametrize(
    ("recorded", "is_new", "wanted"),
    [
        (None, True, Epoch(1, "table", NOW, is_taken_up=False)),
        (None, False, Epoch(1, "table")),
        (Epoch(1), False, Epoch(1, "table")),
        (Epoch(3, "older", NOW), False, Epoch(3, "older", NOW)),
    ],
    ids=["new", "from before epochs", "id unread so far", "restored"],
)
def test_the_epoch_of_a_store(recorded: Epoch | None, is_new: bool, wanted: Epoch) -> None:
    assert present_epoch(recorded, "table", is_new=is_new, now=NOW) == wanted


def test_one_agent_alone_does_not_push_the_epochs_number() -> None:
    words = [Word("subnet-a", number, 0) for number in (4, 4, 10**9)]

    after = next_epoch(Epoch(1, "old"), "new", words=words, now=NOW + timedelta(hours=1))

    assert after == Epoch(5, "new", NOW + timedelta(hours=1), is_taken_up=False, is_inherited=True)
