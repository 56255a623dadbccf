"""Carry out the steps of a plan, table by table; called by reconcile under its lease.

What is ours is recorded before it exists, and forgotten after it is gone: a run may end between any two
calls, and whoever reads a table afterwards must know our routes from others'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from podway.app.errors import PodwayError, TryAgain
from podway.app.pace import Pace
from podway.app.ports import Clock, Cloud, Store
from podway.domain.addressing import Prefix
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


@dataclass(frozen=True, slots=True)
class HandsOff:
    """Interfaces that failovers are at work on."""

    giving: frozenset[str] = frozenset()
    """They get no route."""
    moving: frozenset[str] = frozenset()
    """A failover moves their routes just now."""
    moved: frozenset[str] = frozenset()
    """A failover may have moved theirs since the tables were looked at."""


@dataclass(slots=True)
class Applied:
    """What was done; *tables* are as they stand afterwards, *left* counts steps not made."""

    tables: tuple[RouteTable, ...] = ()
    done: list[tuple[str, Step]] = field(default_factory=list)
    failed: list[tuple[str, Step, PodwayError]] = field(default_factory=list)
    left: int = 0
    late: bool = False
    """The deadline came before the last step, or a failover was at work there: another run must follow."""
    warnings: list[str] = field(default_factory=list)


class Applier:
    """Writes routes for one run of reconcile."""

    def __init__(
        self, *, cloud: Cloud, store: Store, clock: Clock, owner: str, deadline: datetime | None
    ) -> None:
        self._cloud, self._store, self._clock = cloud, store, clock
        self._owner, self._deadline = owner, deadline
        self._pace = Pace(store=store, clock=clock)

    def apply(self, cluster: Cluster, planned: Plan, records: Records, *, hands_off: HandsOff) -> Applied:
        """Make the steps of every table, but for those that others' work forbids just now.

        A failure ends its own table only. Raises Superseded when the lease was lost.
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

        A record outlives a table that does not show its route: the view may be older than the route.
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
        """One call per step; the first failure ends it, since later steps may depend on earlier ones."""
        for made, step in enumerate(steps):
            late = self._is_anothers(table, step, hands_off) or not self._wait_for(
                step, left=len(steps) - made
            )
            if late or (not isinstance(step, Delete) and step.network_interface in hands_off.giving):
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

    def _is_anothers(self, table: RouteTable, step: Step, hands_off: HandsOff) -> bool:
        """Whether a failover moves the route or, by a second look, has moved it: once is enough."""
        if not isinstance(step, Replace):
            return False
        if step.was in hands_off.moving:
            return True
        if step.was not in hands_off.moved:
            return False
        seen = next((one.routes for one in self._cloud.route_tables() if one.id == table.id), ())
        return all((route.destination, route.target) != (step.destination, step.was) for route in seen)

    def _wait_for(self, step: Step, *, left: int) -> bool:
        """Until EC2 allows the call; False where the deadline comes before."""
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
    """The steps up to the first that would break an invariant; a plan is checked before it is believed."""
    breaches = verify_transition(cluster, table, wanted.steps)
    applied.warnings += [f"{table.id}: not applied: {one.subject}: {one.reason}" for one in breaches]
    end = min((one.step for one in breaches), default=len(wanted.steps))
    applied.left += len(wanted.steps) - end
    return wanted.steps[:end]
