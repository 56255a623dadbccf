"""A subnet that grew gives back what it does not need: withdraw, wait, and only then let others have it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from podway.domain.addressing import Prefix
from podway.domain.ipam.reclaim import ROUND

from tests.integration.control_plane.plane import LEASE, QUARANTINE, Plane
from tests.integration.control_plane.test_every_call import (
    ENDINGS,
    Ending,
    assert_all_is_well,
    at_work,
    calls_of,
)
from tests.integration.control_plane.test_life import mutations

SMALL = Prefix.parse("100.64.0.0/22")
"""Sixteen blocks of /26: two subnets begin with two each, and can double twice."""
GROWN, SHRUNK = Prefix.parse("100.64.0.0/23"), Prefix.parse("100.64.0.0/24")
HALF = Prefix.parse("100.64.1.0/24")


def shrinkable(dynamodb: Any = None) -> Plane:
    """Subnet a had eight nodes and has two; what the others had has rested, and a round is due."""
    plane = Plane(nodes=("a1", "a2", "b1"), pod_cidrs=(SMALL,), dynamodb=dynamodb)
    plane.settle()
    for number in range(3, 9):
        plane.launch(f"a{number}")
    plane.settle()
    assert supernets(plane, "a") == (GROWN,), "subnet a has not grown"
    for number in range(3, 9):
        plane.terminate(f"a{number}")
    plane.settle()
    pass_time(plane, QUARANTINE)
    pass_time(plane, ROUND)
    return plane


def pass_time(plane: Plane, time: timedelta) -> None:
    plane.clock.go_on(seconds=time.total_seconds())
    plane.agents_acknowledge()


def shrunk() -> Plane:
    """It has given back the half."""
    plane = shrinkable()
    plane.settle()
    return plane


def settled() -> Plane:
    """What it gave back is anybody's."""
    plane = shrunk()
    pass_time(plane, QUARANTINE)
    plane.settle()
    assert leaving(plane) == []
    return plane


def leaving(plane: Plane) -> list[Prefix]:
    return [one.prefix for one in plane.store.recall().released]


def supernets(plane: Plane, letter: str) -> tuple[Prefix, ...]:
    found: tuple[Prefix, ...] = plane.store.recall().supernets[plane.subnets[letter]]
    return found


def blocks_of(plane: Plane, letter: str) -> set[Prefix]:
    here = [one for one in plane.members() if one.gone_at is None and one.subnet == plane.subnets[letter]]
    return {prefix for one in here for prefix in one.prefixes}


def fill(plane: Plane, letter: str, count: int) -> None:
    """Nodes join that subnet until it has so many."""
    for number in range(1, count + 1):
        if f"{letter}{number}" not in plane.ids:
            plane.launch(f"{letter}{number}")


def test_an_empty_half_goes_back_and_another_subnet_gets_it(dynamodb: Any) -> None:
    plane = shrinkable(dynamodb)
    before = blocks_of(plane, "a")

    plane.settle()
    tables = [plane.table(letter) for letter in "ab"]
    pass_time(plane, QUARANTINE)
    plane.settle()
    fill(plane, "b", 10)
    plane.settle()

    assert supernets(plane, "a") == (SHRUNK,)
    assert not any(HALF.overlaps(destination) for table in tables for destination in table)
    assert leaving(plane) == []
    assert any(HALF.contains(block) for block in blocks_of(plane, "b"))
    assert blocks_of(plane, "a") == before
    assert plane.uncovered() == []
    assert plane.breaches() == []


def test_nobody_else_gets_it_before_it_has_rested() -> None:
    plane = shrunk()

    fill(plane, "b", 10)
    plane.settle()
    early = blocks_of(plane, "b")
    pass_time(plane, QUARANTINE / 2)
    plane.settle()

    assert leaving(plane) == [HALF]
    assert len(early) == 10, "nobody borrowed while the half rested"
    assert not any(HALF.overlaps(block) for block in early)
    assert plane.uncovered() == []
    assert plane.breaches() == []


def test_nobody_else_gets_it_while_a_route_leads_there() -> None:
    plane = shrinkable()
    target = plane.table("b")[GROWN]
    plane.settle()
    plane.ec2.create_route(
        RouteTableId=plane.tables["b"], DestinationCidrBlock=str(HALF), NetworkInterfaceId=target
    )
    plane.store.records[plane.tables["b"]] |= {HALF}
    pass_time(plane, QUARANTINE)

    plane.reconcile()
    (one,) = plane.store.recall().released

    assert one.gone_at is None, "its rest begins anew"
    assert HALF not in plane.table("b")
    pass_time(plane, QUARANTINE / 2)
    plane.settle()
    assert leaving(plane) == [HALF]


def test_nobody_else_gets_it_before_every_kernel_of_the_subnet_knows() -> None:
    plane = shrinkable()
    reports = dict(plane.store.reports)
    plane.settle()
    deaf = plane.ids["a2"]
    plane.store.reports[deaf] = reports[deaf]
    plane.clock.go_on(seconds=QUARANTINE.total_seconds())

    outcome = plane.reconcile()

    assert leaving(plane) == [HALF]
    assert any(str(HALF) in warning and deaf in warning for warning in outcome.warnings)
    plane.agents_acknowledge()
    plane.reconcile()
    assert leaving(plane) == []


def test_the_kernel_of_a_node_that_has_lost_its_tag_counts_too() -> None:
    """Case c: it runs, and what its kernel calls unreachable would be another subnet's."""
    plane = shrinkable()
    reports = dict(plane.store.reports)
    plane.settle()
    stray = plane.ids["a2"]
    plane.store.reports[stray] = reports[stray]
    plane.ec2.delete_tags(Resources=[stray], Tags=[{"Key": "podway:cluster"}])
    plane.clock.go_on(seconds=QUARANTINE.total_seconds())

    outcome = plane.reconcile()

    assert leaving(plane) == [HALF]
    assert any(str(HALF) in warning and stray in warning for warning in outcome.warnings)


def test_its_subnet_may_take_it_back_at_once() -> None:
    plane = shrunk()

    fill(plane, "a", 14)  # the dead keep their names: six more
    plane.settle()

    assert leaving(plane) == []
    assert supernets(plane, "a") == (GROWN,)
    assert sum(HALF.contains(block) for block in blocks_of(plane, "a")) == 4
    assert plane.uncovered() == []
    assert plane.breaches() == []


def test_space_is_given_back_once_a_day_whoever_runs() -> None:
    plane = Plane(nodes=("a1", "a2", "a3", "a4", "b1"), pod_cidrs=(SMALL,))
    plane.settle()
    pass_time(plane, ROUND)
    plane.settle()
    first = plane.store.recall().given_back
    for name in ("a2", "a3", "a4"):
        plane.terminate(name)
    plane.settle()
    pass_time(plane, QUARANTINE)
    plane.settle()
    same_day = supernets(plane, "a")
    pass_time(plane, ROUND)
    plane.settle()

    assert same_day == (SHRUNK,), "something was given back before the day was over"
    assert [one.length for one in supernets(plane, "a")] == [25]
    assert plane.store.recall().given_back - first >= ROUND


def test_a_new_cluster_keeps_its_first_supernets_for_a_day() -> None:
    plane = Plane(nodes=("a1", "b1"), pod_cidrs=(SMALL,))
    plane.settle()
    first = plane.store.recall().supernets
    plane.clock.go_on(seconds=(ROUND - timedelta(minutes=1)).total_seconds())
    plane.settle()

    assert plane.store.recall().supernets == first


@pytest.mark.parametrize("make", [shrinkable, shrunk], ids=["while it leaves", "while it rests"])
def test_a_shrunken_subnet_comes_to_rest_for_a_hundred_runs(make: Callable[[], Plane]) -> None:
    plane = make()
    plane.settle()
    pass_time(plane, QUARANTINE)
    plane.settle()
    plane.settle()
    writes, generations = plane.store.writes, plane.store.recall().maps

    for _ in range(100):
        mark = plane.region.calls.mark()
        outcome = plane.reconcile()
        plane.agents_acknowledge()
        assert (outcome.applied, outcome.failed, mutations(plane, mark)) == ([], [], [])

    assert plane.store.writes == writes
    assert plane.store.recall().maps == generations


def test_a_day_on_which_nothing_is_empty_costs_one_write_and_no_call() -> None:
    plane = settled()
    pass_time(plane, ROUND)
    plane.settle()
    pass_time(plane, ROUND)
    writes, mark = plane.store.writes, plane.region.calls.mark()

    plane.settle()

    assert mutations(plane, mark) == []
    assert plane.store.writes == writes + 1


def due() -> Plane:
    """It rests long enough: the next reconcile lets others have it."""
    plane = shrunk()
    pass_time(plane, QUARANTINE)
    fill(plane, "b", 9)
    return plane


def after(runs: int) -> Callable[[], Plane]:
    """So many runs after it was given back."""

    def make() -> Plane:
        plane = shrinkable()
        for _ in range(runs):
            plane.reconcile()
            plane.agents_acknowledge()
        return plane

    return make


STAGES: dict[str, tuple[Callable[[], Plane], str]] = {
    "its routes go": (shrinkable, "apply"),
    "its map forgets it": (after(1), "publish_map"),
    "it begins to rest": (after(2), "save_inventory"),
    "another gets it": (due, "save_inventory"),
}
"""What the next run does to the half, and a call that does it."""


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize(("make", "call"), STAGES.values(), ids=STAGES)
def test_a_run_that_ends_at_any_call_of_a_shrinking_is_finished_by_the_next_ones(
    make: Callable[[], Plane], call: str, ending: Ending
) -> None:
    calls = calls_of(make, lambda plane: plane.reconcile())
    assert call in calls

    for at, name in enumerate(calls):
        plane, trip = make(), ending(at)
        at_work(plane, trip, plane.reconcile)
        plane.clock.go_on(seconds=LEASE.total_seconds() + 1)
        plane.settle()
        pass_time(plane, QUARANTINE)
        plane.settle()

        where = f"call {at}, {name}"
        assert trip.fired, f"{where}: the failure this test is about never happened"
        assert leaving(plane) == [], where
        assert supernets(plane, "a") == (SHRUNK,), where
        assert GROWN not in plane.table("b"), where
        assert_all_is_well(plane, where)
