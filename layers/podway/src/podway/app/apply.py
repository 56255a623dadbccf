"""Carries out the steps of a plan, table by table. Called by reconcile, which holds the lease.

A route is recorded as ours before it is created, and the record goes after the route is deleted. A run may
end between any two calls, and the next run must know our routes from others'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from podway.app.errors import PodwayError, TryAgain
from podway.app.pace import Pace
from podway.app.ports import Clock, Cloud
from podway.app.stores import RouteStore
from podway.domain.addressing import Prefix
from podway.domain.failover.card_changes import HandsOff
from podway.domain.model import (
    Cluster,
    Create,
    Delete,
    Plan,
    Replace,
    RouteTable,
    Step,
    TablePlan,
    apply_step,
)
from podway.domain.transition.verify import verify_transition

Records = Mapping[str, frozenset[Prefix]]
"""Destinations recorded as ours, by table."""


@dataclass(slots=True)
class Applied:
    """What was done, what failed, and what is left."""

    tables: tuple[RouteTable, ...] = ()
    """As they are afterwards."""
    done: list[tuple[str, Step]] = field(default_factory=list)
    failed: list[tuple[str, Step, PodwayError]] = field(default_factory=list)
    left: int = 0
    """Steps that were not made."""
    late: bool = False
    """Another run must follow: the deadline came before the last step, or a failover moves a route."""
    warnings: list[str] = field(default_factory=list)


class Applier:
    """Writes routes for one run of reconcile."""

    def __init__(
        self, *, cloud: Cloud, store: RouteStore, clock: Clock, owner: str, deadline: datetime | None
    ) -> None:
        self._cloud, self._store, self._clock = cloud, store, clock
        self._owner, self._deadline = owner, deadline
        self._pace = Pace(store=store, clock=clock)

    def apply(self, cluster: Cluster, planned: Plan, records: Records, *, hands_off: HandsOff) -> Applied:
        """Make the steps of every table, except those that *hands_off* forbids.

        A failure ends the work on its own table only. Raises Superseded when the lease was lost.
        """
        applied = Applied()
        plans = {one.table: one for one in planned.route_tables}
        applied.tables = tuple(
            self._table(
                applied, cluster, table, plans[table.id], records.get(table.id, frozenset()), hands_off
            )
            if table.id in plans
            else table
            for table in cluster.route_tables
        )
        return applied

    def _table(
        self,
        applied: Applied,
        cluster: Cluster,
        table: RouteTable,
        wanted: TablePlan,
        recorded: frozenset[Prefix],
        hands_off: HandsOff,
    ) -> RouteTable:
        """Record, write, record.

        Keep a record even if the table does not show its route. DescribeRouteTables may be older than our
        CreateRoute.
        """
        steps = _sound(applied, cluster, table, wanted)
        creates = {step.destination for step in steps if isinstance(step, Create)}
        if creates - recorded:
            self._store.record_routes(self._owner, table.id, recorded | creates)
        done_before, failed_before = len(applied.done), len(applied.failed)
        after = self._carry_out(applied, table, steps, hands_off)
        ours = set(recorded | creates)
        for _, step in applied.done[done_before:]:
            (ours.discard if isinstance(step, Delete) else ours.add)(step.destination)
        for _, step, error in applied.failed[failed_before:]:
            if (
                isinstance(step, Create)
                and not isinstance(error, TryAgain)
                and step.destination not in recorded
            ):
                ours.discard(step.destination)  # it is not there, or is somebody else's
        if ours != recorded | creates:
            self._store.record_routes(self._owner, table.id, frozenset(ours))
        return after

    def _carry_out(
        self, applied: Applied, table: RouteTable, steps: tuple[Step, ...], hands_off: HandsOff
    ) -> RouteTable:
        """One call per step. The first failure ends it, since later steps may depend on earlier ones."""
        for made, step in enumerate(steps):
            late = self._is_failovers(table, step, hands_off) or not self._wait_for(
                step, left=len(steps) - made
            )
            if late or (not isinstance(step, Delete) and step.network_interface in hands_off.no_new_routes):
                applied.late = applied.late or late
                applied.left += len(steps) - made
                return table
            try:
                self._cloud.apply(table.id, step)
            except PodwayError as error:
                applied.failed.append((table.id, step, error))
                applied.left += len(steps) - made
                return table
            applied.done.append((table.id, step))
            table = apply_step(table, step)
        return table

    def _is_failovers(self, table: RouteTable, step: Step, hands_off: HandsOff) -> bool:
        """Whether a failover moves this route or, by a second look at the table, has moved it already."""
        if not isinstance(step, Replace):
            return False
        if step.was in hands_off.being_moved:
            return True
        if step.was not in hands_off.look_again:
            return False
        seen = next((one.routes for one in self._cloud.route_tables() if one.id == table.id), ())
        return all((route.destination, route.target) != (step.destination, step.was) for route in seen)

    def _wait_for(self, step: Step, *, left: int) -> bool:
        """Sleep until EC2 allows the call. False, without sleeping, if the deadline comes before."""
        if self._is_late(self._clock.now()):
            return False
        due = self._pace.due(step, left=left)
        if self._is_late(due):
            return False
        wait = due - self._clock.now()
        if wait > timedelta(0):
            self._clock.sleep(wait.total_seconds())
        return True

    def _is_late(self, moment: datetime) -> bool:
        return self._deadline is not None and moment >= self._deadline


def _sound(applied: Applied, cluster: Cluster, table: RouteTable, wanted: TablePlan) -> tuple[Step, ...]:
    """The steps up to the first that would break an invariant: the planner's own word is not enough."""
    breaches = verify_transition(cluster, table, wanted.steps)
    applied.warnings += [f"{table.id}: not applied: {one.subject}: {one.reason}" for one in breaches]
    end = min((one.step for one in breaches), default=len(wanted.steps))
    applied.left += len(wanted.steps) - end
    return wanted.steps[:end]
