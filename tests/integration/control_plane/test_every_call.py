"""Whatever call is the last one that a function makes, or the one that fails, what follows mends it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from podway.app.errors import PodwayError, TryAgain
from podway.domain.addressing import Prefix
from podway.domain.model import Replace
from podway.domain.signals import StateChanged
from podway_lab.region.changes import Change, RouteWritten

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


def assert_all_is_well(plane: Plane, where: str) -> None:
    assert plane.uncovered() == [], where
    assert plane.orphans() == set(), where
    assert plane.breaches() == [], where


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
        assert_all_is_well(plane, where)


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
    assert writes | {"survey", "recall", "add_history", "verdicts"} <= calls


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
        assert_all_is_well(plane, where)


def bereft() -> Plane:
    """Nobody has heard that the forwarder of subnet b is gone: reconcile will move its routes."""
    plane = Plane(quota=4)
    plane.settle()
    plane.terminate(plane.busiest("b"))
    return plane


def half_done() -> Plane:
    """The same, and a run was killed just before it moved them: the card of who takes over is written."""
    plane = bereft()
    calls = calls_of(bereft, lambda other: other.reconcile())
    at_work(plane, Trip(calls.index("apply")), plane.reconcile)
    plane.clock.go_on(seconds=LEASE.total_seconds() + 1)
    return plane


def taker(make: Callable[[], Plane]) -> str:
    """The node that the next reconcile moves routes to."""
    plane = make()
    outcome = plane.reconcile()
    names = {plane.interface(name): name for name in ("b1", "b2", "b3") if plane.runs_still(name)}
    (name,) = {names[step.network_interface] for _, step in outcome.applied if isinstance(step, Replace)}
    return name


@dataclass
class Between(Trip):
    """Before call number *moment* something happens, whose own calls go well."""

    moment: int = 0
    happening: Callable[[], object] = lambda: None
    happened: bool = False

    def make(self, name: str, call: Callable[[], Any]) -> Any:
        if not self.happened and len(self.calls) == self.moment:
            self.happened = True
            self.happening()
        return super().make(name, call)


def with_a_failover_between(plane: Plane, moment: int, event: Callable[[], StateChanged]) -> None:
    """A reconcile, in which *event* happens before call number *moment* and is handled."""

    def fail_over() -> None:
        plane.trip = Trip()
        plane.failover.react(event())
        plane.trip = trip

    trip = plane.trip = Between(moment=moment, happening=fail_over)
    plane.reconcile()
    plane.trip = Trip()
    assert trip.happened, f"nothing came before call {moment}"


def with_a_stop_between(plane: Plane, moment: int, name: str) -> None:
    """The same, where the node *name* stops. Its interface stays, so EC2 refuses no route to it."""
    with_a_failover_between(plane, moment, lambda: plane.stops(name))


def relaying(plane: Plane, interface: str, name: str) -> set[Prefix]:
    """Routes of table a that lead to the interface for blocks of others."""
    own = {prefix for one in plane.members() if one.id == plane.ids[name] for prefix in one.prefixes}
    return {one for one, target in plane.table("a").items() if target == interface} - own


def count_moves(moved: Counter[Prefix], change: Change) -> None:
    """Count a route that was given another target."""
    if isinstance(change, RouteWritten) and isinstance(change.destination, Prefix):
        before, after = change.before, change.after
        moved[change.destination] += bool(before and after and before.target != after.target)


@pytest.mark.parametrize("make", [bereft, half_done], ids=["at first", "after a killed run"])
def test_a_failover_between_any_two_calls_of_a_reconcile_is_not_undone(make: Callable[[], Plane]) -> None:
    """Before its card is written it gets no route at all; after that, the next run takes it away again."""
    calls, name = calls_of(make, lambda plane: plane.reconcile()), taker(make)
    written = calls.index("put_card")
    assert written < calls.index("apply")

    for moment in range(1, len(calls)):
        plane, where = make(), f"before call {moment}, {calls[moment]}"
        interface = plane.interface(name)
        plane.hints.reasons.clear()
        with_a_stop_between(plane, moment, name)

        lost = relaying(plane, interface, name)
        assert plane.hints.reasons, where
        assert not lost or moment > written, where
        plane.reconcile()
        assert not relaying(plane, interface, name), where
        plane.clock.go_on(seconds=61)
        plane.settle()
        assert_all_is_well(plane, where)


@pytest.mark.parametrize("gone", [False, True], ids=["stopping", "terminated"])
@pytest.mark.parametrize("quota", [4, TIGHT])
def test_routes_of_a_dead_next_hop_move_once_whenever_its_failover_comes(quota: int, *, gone: bool) -> None:
    """Reconcile was on its way, and finds it dead too. Both choose, and not by the same order."""

    def dead_hop() -> tuple[Plane, StateChanged, set[Prefix], str]:
        plane = Plane(quota=quota)
        plane.settle()
        name = plane.busiest("b")
        interface = plane.interface(name)
        relayed = relaying(plane, interface, name)
        plane.trip = Trip()
        return plane, plane.dies(name) if gone else plane.stops(name), relayed, interface

    plane, *_ = dead_hop()
    plane.reconcile()
    calls = plane.trip.calls
    assert "apply" in calls

    for moment, call in enumerate(calls):
        plane, event, relayed, interface = dead_hop()
        moved = Counter[Prefix]()
        plane.region.subscribe(partial(count_moves, moved))
        with_a_failover_between(plane, moment, lambda: event)  # noqa: B023  (called at once)
        plane.settle()

        where = f"before call {moment}, {call}"
        assert relayed
        assert {one: moved[one] for one in relayed} == dict.fromkeys(relayed, 1), where
        assert interface not in plane.table("a").values(), where


def test_a_killed_reconcile_keeps_nobody_out_for_longer_than_its_lease() -> None:
    plane = changed()
    at_work(plane, Trip(5), plane.reconcile)

    during = plane.reconcile()
    plane.clock.go_on(seconds=(LEASE - timedelta(seconds=1)).total_seconds())
    after = plane.reconcile()

    assert during.busy
    assert not after.busy
