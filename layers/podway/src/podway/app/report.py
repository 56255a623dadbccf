"""What a run of reconcile did and found, for logs, metrics and the history.

Reconcile fills in a `ReconcileOutcome` by the functions here, `handling` logs and counts it. The operator's
overview uses the texts of the warnings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from podway.app.errors import PodwayError, Throttled
from podway.app.ports import HistoryEntry, Memory
from podway.domain.addressing import Prefix
from podway.domain.inventory import Survey
from podway.domain.ipam.allocation import MemberAllocation
from podway.domain.members.cluster import Conflict, Owned
from podway.domain.members.epochs import StoreLife
from podway.domain.members.membership import Membership
from podway.domain.model import Cluster, Create, Health, Plan, RouteTable, Step, describe
from podway.domain.operator.drift import Diverted, diverted
from podway.domain.operator.limits import Pressure, pressures


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


def note_seen(
    outcome: ReconcileOutcome, membership: Membership, life: StoreLife, warnings: Iterable[str]
) -> None:
    """Note who does not show as a member, and what the store's epoch asks for."""
    outcome.warnings += [*warnings, *life.warnings]
    outcome.missing = sorted(membership.strays)
    outcome.is_mass_missing = membership.is_mass_missing
    outcome.went_back = life.went_back
    outcome.awaited = [node for nodes in life.awaited.values() for node in nodes]


def note_plan(
    outcome: ReconcileOutcome, cluster: Cluster, planned: Plan, allocation: MemberAllocation
) -> None:
    """Note budgets, holes, unhealthy members, how near the limits are, and what the plan warns of."""
    outcome.budget = {one.table: max(one.budget.values(), default=0) for one in planned.route_tables}
    outcome.holes = sum(len(one.holes) for one in planned.route_tables)
    outcome.unhealthy = [node.id for node in cluster.nodes if node.health is not Health.HEALTHY]
    outcome.pressures = pressures(cluster, (one for member in allocation.members for one in member.prefixes))
    outcome.warnings += [one.warning for one in outcome.pressures if one.warning]
    outcome.warnings += planned.warnings
    outcome.warnings += [f"{subnet} is frozen: {why}" for subnet, why in outcome.frozen.items()]
    outcome.warnings += [f"{one.want.node}: {one.reason}" for one in allocation.refused]


def note_drift(
    outcome: ReconcileOutcome, survey: Survey, memory: Memory, owned: Owned, cluster: Cluster
) -> None:
    """Note our routes that are gone or were taken, and warn of them and of tables that cannot be managed."""
    there = {(table.id, route.destination) for table in survey.route_tables for route in table.routes}
    known = {table.id for table in survey.route_tables}
    missing = {
        (table, destination)
        for table, recorded in memory.records.items()
        if table in known
        for destination in recorded
        if (table, destination) not in there
    }
    taken = {(one.table, one.destination) for one in owned.conflicts}
    made = {(table, step.destination) for table, step in outcome.applied if isinstance(step, Create)}
    outcome.drifted = sorted(missing | taken)
    outcome.repaired = len(missing & made)
    outcome.warnings += [conflict_text(one, cluster) for one in owned.conflicts]
    outcome.warnings += table_warnings(survey, cluster.name)


def note_diverted(
    outcome: ReconcileOutcome, owned: Owned, memory: Memory, planned: Plan, tables: Iterable[RouteTable]
) -> None:
    """Note our routes that somebody gave to another member.

    A route counts as repaired if it is as planned after the run.
    """
    wanted = {(one.table, route.destination): route for one in planned.route_tables for route in one.routes}
    now = {(table.id, route.destination): route.target for table in tables for route in table.routes}
    cards, doubted = memory.cards, memory.verdicts.keys()
    for one in diverted(owned.tables, members=memory.members, cards=cards, doubted=doubted):
        where = (one.table, one.destination)
        route = wanted.get(where)
        outcome.repaired += now.get(where) == (route.network_interface if route else None)
        plan = f"the plan wants it at {route.next_hop}" if route else "the plan does without it"
        outcome.diverted.append((one, plan))
        outcome.drifted.append(where)


def table_warnings(survey: Survey, cluster: str) -> list[str]:
    """Warnings of tables that cannot be managed, and of tables without our tag: no role may write there."""
    excluded = [f"{table}: not managed: {why}" for table, why in survey.excluded_tables.items()]
    untagged = f"no tag podway:cluster={cluster}: no role may write there, and no failover looks there"
    return [*excluded, *(f"{table}: {untagged}" for table in survey.untagged_tables)]


def conflict_text(conflict: Conflict, cluster: Cluster) -> str:
    """A warning that names both parties: whose blocks the route is for, and who has it now."""
    whose = [
        node.id for node in cluster.nodes if any(conflict.destination.overlaps(one) for one in node.blocks)
    ]
    ours = f"{whose[0]} and {len(whose) - 1} more" if len(whose) > 1 else next(iter(whose), cluster.name)
    return (
        f"{conflict.table}: {conflict.destination}, for {ours}, was ours and now targets {conflict.target}: "
        "left alone until adopted"
    )


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
