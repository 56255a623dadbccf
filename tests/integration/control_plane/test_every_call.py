"""Whatever call is the last one that a function makes, or the one that fails, what follows mends it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from podway.app.errors import PodwayError, TryAgain

from tests.integration.control_plane.plane import LEASE, KilledError, Plane, Trip

TIGHT = 7
"""A quota that leaves room for a few direct routes beside the anchors."""
Ending = Callable[[int], Trip]

ENDINGS: dict[str, Ending] = {
    "killed before": Trip,
    "killed after": lambda at: Trip(at, too_late=True),
    "refused": lambda at: Trip(at, TryAgain("busy")),
    "reply lost": lambda at: Trip(at, TryAgain("no answer"), too_late=True),
}


def at_work(plane: Plane, trip: Trip, work: Callable[[], object]) -> None:
    """The function runs into the trip, or not."""
    plane.trip = trip
    try:
        work()
    except (KilledError, PodwayError):
        pass
    finally:
        plane.trip = Trip()


def changed() -> Plane:
    """A settled cluster to which several things have happened that the next reconcile shall mend."""
    plane = Plane(quota=TIGHT)
    plane.settle()
    for name in ("a4", "b4"):
        plane.launch(name)
    plane.terminate("b3")
    destination = max(plane.table("a"))
    plane.ec2.delete_route(RouteTableId=plane.tables["a"], DestinationCidrBlock=str(destination))
    return plane


def known() -> Plane:
    """A new cluster whose agents have read their first maps: the next reconcile makes its routes."""
    plane = Plane(quota=TIGHT)
    plane.reconcile()
    plane.agents_acknowledge()
    return plane


MAKES: dict[str, Callable[[], Plane]] = {
    "a new cluster": Plane,
    "its first routes": known,
    "changes": changed,
}


def calls_of(make: Callable[[], Plane], work: Callable[[Plane], object]) -> list[str]:
    """The calls that *work* makes when nothing goes wrong."""
    plane = make()
    plane.trip = Trip()
    work(plane)
    return plane.trip.calls


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize(
    "make", [Plane, known, changed], ids=["a new cluster", "its first routes", "changes"]
)
def test_a_reconcile_that_ends_at_any_call_is_finished_by_the_next_ones(
    make: Callable[[], Plane], ending: Ending
) -> None:
    calls = calls_of(make, lambda plane: plane.reconcile())

    for at, call in enumerate(calls):
        plane, trip = make(), ending(at)
        at_work(plane, trip, plane.reconcile)
        plane.clock.go_on(seconds=LEASE.total_seconds() + 1)
        plane.settle()

        where = f"call {at}, {call}"
        assert trip.fired, f"{where}: the failure this test is about never happened"
        assert plane.uncovered() == [], where
        assert plane.breaches() == [], where


def test_those_reconciles_make_every_kind_of_call() -> None:
    calls = {call for make in MAKES.values() for call in calls_of(make, lambda plane: plane.reconcile())}

    writes = {
        "apply",
        "clear_source_dest_check",
        "put_card",
        "publish_map",
        "save_inventory",
        "record_routes",
    }
    assert writes | {"survey", "recall", "remember", "verdicts"} <= calls


def dying() -> Plane:
    plane = Plane(quota=4)
    plane.settle()
    return plane


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize("retried", [True, False], ids=["the event comes again", "it does not"])
def test_a_failover_that_ends_at_any_call_is_finished_by_the_retry_or_by_reconcile(
    ending: Ending, *, retried: bool
) -> None:
    def fail_over(plane: Plane) -> None:
        plane.failover.react(plane.dies(plane.busiest("b")))

    total = calls_of(dying, fail_over)
    assert {"claim_card", "apply", "change_verdict", "extend_card", "finish_card"} <= set(total)

    for at in range(len(total)):
        plane = dying()
        dead = plane.busiest("b")
        interface, event, trip = plane.interface(dead), plane.dies(dead), ending(at)
        at_work(plane, trip, lambda: plane.failover.react(event))  # noqa: B023  (called at once)
        where = f"call {at}, {total[at]}"
        assert trip.fired, f"{where}: the failure this test is about never happened"
        plane.clock.go_on(seconds=61)
        if retried:
            plane.failover.react(event)
            assert not {interface} & set(plane.table("a").values()), where
        plane.settle()

        assert not {interface} & set(plane.table("a").values()), where
        assert plane.uncovered() == [], where
        assert plane.breaches() == [], where


def test_a_failover_between_any_two_calls_of_a_reconcile_is_not_undone() -> None:
    def prepared() -> Plane:
        plane = Plane(quota=TIGHT)
        plane.settle()
        for name in ("a4", "b4"):
            plane.launch(name)
        return plane

    total = calls_of(prepared, lambda plane: plane.reconcile())
    for at in range(1, len(total)):
        plane = prepared()
        dead = plane.busiest("b")
        interface = plane.interface(dead)
        moved: list[str] = []

        class Between(Trip):
            def make(self, name: str, call: Callable[[], object]) -> object:
                if not moved and len(self.calls) == at:  # noqa: B023  (called at once)
                    moved.append(name)  # noqa: B023
                    plane.trip = Trip()  # noqa: B023
                    plane.failover.react(plane.dies(dead))  # noqa: B023
                    plane.trip = self  # noqa: B023
                return super().make(name, call)

        plane.trip = Between()
        plane.reconcile()
        plane.trip = Trip()

        where = f"before call {at}, {total[at]}"
        assert moved, f"{where}: nothing came between"
        pointing = [one for one, target in plane.table("a").items() if target == interface]
        own = {prefix for one in plane.members() if one.id == plane.ids[dead] for prefix in one.prefixes}
        assert set(pointing) <= own, where
        plane.clock.go_on(seconds=61)
        plane.settle()
        assert plane.uncovered() == [], where
        assert plane.breaches() == [], where


def test_a_killed_reconcile_keeps_nobody_out_for_longer_than_its_lease() -> None:
    plane = changed()
    at_work(plane, Trip(5), plane.reconcile)

    during = plane.reconcile()
    plane.clock.go_on(seconds=(LEASE - timedelta(seconds=1)).total_seconds())
    after = plane.reconcile()

    assert during.busy
    assert not after.busy
