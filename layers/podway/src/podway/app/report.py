"""What a run of reconcile did and found, for logs, metrics and the history.

Reconcile fills in a `ReconcileOutcome` by the functions here, `handling` logs and counts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from podway.app.errors import PodwayError, Throttled
from podway.app.ports import HistoryEntry
from podway.domain.addressing import Prefix
from podway.domain.model import Create, Health, Plan, RouteTable, Step, describe
from podway.domain.operator.drift import Diverted, diverted
from podway.domain.operator.limits import Pressure
from podway.domain.run.decide import RunDecision
from podway.domain.run.seen import Seen


@dataclass(slots=True)
class ReconcileOutcome:
    """What a run did and found."""

    busy: bool = False
    """Another run holds the lease, so this one did nothing, or stopped."""
    applied: list[tuple[str, Step]] = field(default_factory=list)
    failed: list[tuple[str, Step, PodwayError]] = field(default_factory=list)
    steps_left: int = 0
    routes: dict[str, int] = field(default_factory=dict)
    """Managed routes per table after the run."""
    budget: dict[str, int] = field(default_factory=dict)
    """How many managed routes each table may hold."""
    holes: int = 0
    """Blocks that must be reachable and that no route covers, summed over the tables."""
    frozen: dict[str, str] = field(default_factory=dict)
    """Frozen subnets, and why. The run took nothing from their present forwarders."""
    unhealthy: list[str] = field(default_factory=list)
    """Members that fail, are suspected or held down."""
    missing: list[str] = field(default_factory=list)
    """Members that do not show as such: they keep what they have."""
    is_mass_missing: bool = False
    """So many of them that EC2, a tag or a setting is the likelier fault."""
    went_back: str = ""
    """Why this run wrote nothing: the store is not the one that the cluster lives by."""
    other_stacks: list[str] = field(default_factory=list)
    """Stacks of the same cluster that were there first: this run wrote nothing."""
    awaited: list[str] = field(default_factory=list)
    """Members that are still to say what they hold in a new epoch of the store."""
    drifted: list[tuple[str, Prefix]] = field(default_factory=list)
    """Routes of ours that somebody removed, took or diverted, as table and destination."""
    diverted: list[tuple[Diverted, str]] = field(default_factory=list)
    """Routes of ours that somebody gave to another member, and what the plan does with each."""
    repaired: int = 0
    """How many of the drifted routes are right again after the run."""
    checks: list[str] = field(default_factory=list)
    """Nodes whose source/dest check was on, and that this run switched off."""
    pressures: tuple[Pressure, ...] = ()
    warnings: list[str] = field(default_factory=list)
    joined: list[str] = field(default_factory=list)
    """Nodes whose blocks became ready in this run."""

    @property
    def throttled(self) -> int:
        """Route calls that EC2 refused because there were too many."""
        return sum(isinstance(error, Throttled) for *_, error in self.failed)


def note_seen(outcome: ReconcileOutcome, seen: Seen) -> None:
    """Note who does not show as a member, and what the store's epoch asks for."""
    outcome.missing = sorted(seen.membership.strays)
    outcome.is_mass_missing = seen.membership.is_mass_missing
    outcome.went_back = seen.life.went_back
    outcome.awaited = [node for nodes in seen.life.awaited.values() for node in nodes]


def note_decided(outcome: ReconcileOutcome, decided: RunDecision) -> None:
    """Note budgets, holes, unhealthy members, how near the limits are, and what the decision warns of."""
    note_seen(outcome, decided.seen)
    tables = decided.plan.route_tables
    outcome.frozen = decided.why_frozen
    outcome.budget = {one.table: max(one.budget.values(), default=0) for one in tables}
    outcome.holes = sum(len(one.holes) for one in tables)
    outcome.unhealthy = [node.id for node in decided.judged.nodes if node.health is not Health.HEALTHY]
    outcome.pressures = decided.pressures
    outcome.warnings += decided.warnings


def note_drift(outcome: ReconcileOutcome, decided: RunDecision) -> None:
    """Note our routes that are gone or were taken."""
    survey = decided.seen.survey
    there = {(table.id, route.destination) for table in survey.route_tables for route in table.routes}
    known = {table.id for table in survey.route_tables}
    missing = {
        (table, destination)
        for table, recorded in decided.seen.memory.records.items()
        if table in known
        for destination in recorded
        if (table, destination) not in there
    }
    taken = {(one.table, one.destination) for one in decided.owned.conflicts}
    made = {(table, step.destination) for table, step in outcome.applied if isinstance(step, Create)}
    outcome.drifted = sorted(missing | taken)
    outcome.repaired = len(missing & made)


def note_diverted(outcome: ReconcileOutcome, decided: RunDecision, tables: Iterable[RouteTable]) -> None:
    """Note our routes that somebody gave to another member.

    A route counts as repaired if it is as planned in *tables*, after the run.
    """
    memory, planned = decided.seen.memory, decided.plan.route_tables
    wanted = {(one.table, route.destination): route for one in planned for route in one.routes}
    now = {(table.id, route.destination): route.target for table in tables for route in table.routes}
    cards, doubted = memory.cards, memory.verdicts.keys()
    for one in diverted(decided.owned.tables, members=memory.members, cards=cards, doubted=doubted):
        where = (one.table, one.destination)
        route = wanted.get(where)
        outcome.repaired += now.get(where) == (route.network_interface if route else None)
        plan = f"the plan wants it at {route.next_hop}" if route else "the plan does without it"
        outcome.diverted.append((one, plan))
        outcome.drifted.append(where)


def route_history(
    applied: Iterable[tuple[str, Step]], planned: Plan, *, owner: str, at: datetime
) -> Iterable[HistoryEntry]:
    """An entry for each step that was made, with the plan's reason."""
    reasons: Mapping[tuple[str, Prefix], str] = {
        (one.table, route.destination): route.reason for one in planned.route_tables for route in one.routes
    }
    for table, step in applied:
        why = reasons.get((table, step.destination), "no longer needed")
        yield HistoryEntry(at, "reconcile", owner, f"{describe(step)} in {table}", why)


def diversion_history(outcome: ReconcileOutcome, *, owner: str, at: datetime) -> Iterable[HistoryEntry]:
    """An entry for each route that somebody else moved."""
    for one, plan in outcome.diverted:
        before = " or ".join(one.expected)
        what = f"somebody moved {one.destination} in {one.table} from {before} to {one.found}"
        yield HistoryEntry(at, "reconcile", owner, what, plan)
