"""Space that was given back: when others may have it, and what makes them wait."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from podway.domain.addressing import Prefix
from podway.domain.inventory import Member, ReleasedSpace
from podway.domain.ipam.reclaim import ROUND, Reclaim, is_due, reclaim
from podway.domain.members.maps import SubnetMap
from podway.domain.model import Route, RouteTable

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
REST = timedelta(minutes=10)
HALF, WHOLE, LEFT = (Prefix.parse(text) for text in ("100.64.2.0/23", "100.64.0.0/22", "100.64.0.0/23"))
MEMBERS = (
    Member("i-a1", "subnet-a", "eni-a1", "10.0.0.4"),
    Member("i-a2", "subnet-a", "eni-a2", "10.0.0.5", former_interfaces=("eni-old",)),
    Member("i-b1", "subnet-b", "eni-b1", "10.0.1.4"),
)
LEAVES = ReleasedSpace(HALF, "subnet-a")
RESTED = replace(LEAVES, gone_at=NOW - REST, generation=7)
KNOWN = {"i-a1": 7, "i-a2": 8, "i-b1": 1}


def looked(
    one: ReleasedSpace,
    *routes: tuple[Prefix, str],
    reachable: Prefix = LEFT,
    acknowledged: Mapping[str, int] = KNOWN,
    foreign: bool = False,
) -> Reclaim:
    table = RouteTable("rtb-1", tuple(Route(*route, owned=not foreign) for route in routes))
    known = SubnetMap("demo", "subnet-a", (), (), (reachable,), (), (), (), generation=9)
    return reclaim(
        [one],
        tables=[table],
        members=MEMBERS,
        maps={"subnet-a": known},
        acknowledged=acknowledged,
        now=NOW,
        quarantine=REST,
    )


def test_a_rest_begins_when_no_route_leads_there_and_no_map_names_it() -> None:
    assert looked(LEAVES).pending == (replace(LEAVES, gone_at=NOW, generation=9),)


def test_after_the_rest_it_is_anybodys() -> None:
    assert looked(RESTED) == Reclaim((), {})
    assert looked(replace(RESTED, gone_at=NOW - REST + timedelta(seconds=1))).pending != ()


@pytest.mark.parametrize("target", ["eni-a1", "eni-old"])
@pytest.mark.parametrize("destination", [WHOLE, HALF, HALF.at(23), Prefix.parse("100.64.3.64/26")])
def test_a_route_of_its_subnet_over_it_or_inside_begins_the_wait_anew(
    destination: Prefix, target: str
) -> None:
    assert looked(RESTED, (destination, target)).pending == (LEAVES,)


def test_routes_beside_it_of_others_and_foreign_ones_do_not_hold_it() -> None:
    assert looked(RESTED, (LEFT, "eni-a1"), (WHOLE, "eni-b1")).pending == ()
    assert looked(RESTED, (WHOLE, "eni-a1"), foreign=True).pending == ()


def test_a_map_that_names_it_begins_the_wait_anew() -> None:
    assert looked(RESTED, reachable=WHOLE).pending == (LEAVES,)


def test_it_waits_for_every_kernel_of_its_subnet_and_says_for_whom() -> None:
    found = looked(RESTED, acknowledged={"i-a1": 6, "i-a2": 7, "i-b1": 1})

    assert found.pending == (RESTED,)
    assert found.waits == {HALF: ("i-a1",)}
    assert "100.64.2.0/23" in found.warnings[0]
    assert "i-a1" in found.warnings[0]


def test_a_round_is_due_a_day_after_the_last_and_never_before_the_first_day() -> None:
    assert not is_due(None, now=NOW)
    assert not is_due(NOW - ROUND + timedelta(seconds=1), now=NOW)
    assert is_due(NOW - ROUND, now=NOW)
