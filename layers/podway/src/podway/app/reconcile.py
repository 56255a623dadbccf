"""The complete path: observe → allocate → plan → order → apply → record.

Called by the reconcile function for every hint. It starts from what is there and not from what it
remembers having done, so a run that was cut short, throttled or overtaken is finished by the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from podway.app.addresses import acknowledged_by, blocks_wanted, reclaim_space, save_addresses
from podway.app.apply import Applier
from podway.app.cards import write_cards
from podway.app.errors import Superseded, TryAgain
from podway.app.handout import publish_maps
from podway.app.inheritance import claim_tables, finish_first_run, take_up
from podway.app.observe import Seen, observe
from podway.app.ports import Alarms, Clock, Cloud, Hints, Hooks, Memory, Store
from podway.app.report import (
    ReconcileOutcome,
    diversion_history,
    note_diverted,
    note_drift,
    note_plan,
    note_seen,
    route_history,
)
from podway.app.upkeep import clear_checks, keep_alarms, keep_hooks, read_alarms
from podway.app.verdicts import keep_verdicts
from podway.domain.addressing import Prefix
from podway.domain.failover.card_changes import HandsOff, card_changes, touched
from podway.domain.failover.cards import forwarders, make_cards
from podway.domain.failover.decide import Card
from podway.domain.health.alarms import alarms_against, wanted_alarms
from podway.domain.health.freeze import freeze, keep_routes, relaying
from podway.domain.health.quorum import is_watched
from podway.domain.health.reassess import AlarmsSeen
from podway.domain.health.verdict import is_accused
from podway.domain.inventory import Member, Survey
from podway.domain.ipam.allocation import MemberAllocation, allocate_to_members
from podway.domain.ipam.closed import closed_space
from podway.domain.ipam.reclaim import is_due
from podway.domain.members.cluster import NodeFacts, Owned, make_cluster, mark_owned
from podway.domain.members.epochs import StoreLife
from podway.domain.members.maps import SubnetMap
from podway.domain.members.membership import Membership
from podway.domain.members.readiness import mark_ready
from podway.domain.model import Cluster, Delete, Plan, RouteTable
from podway.domain.planner.plan import plan
from podway.domain.pod_cidrs import pod_cidrs_that_count
from podway.domain.tables import leave_untagged

IMPROVEMENT = 10
"""Steps per run that only make a table better."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator decided, as plain values."""

    cluster: str
    pod_cidrs: tuple[Prefix, ...]
    block_length: int
    quarantine: timedelta
    hold_down: timedelta
    lease: timedelta
    """How long a killed run keeps others out: a little longer than the function may run."""
    stack: str = ""
    """The id that marks our tables; empty: none are marked or compared."""


@dataclass(frozen=True, slots=True)
class _World:
    cloud: Cloud
    store: Store
    hints: Hints
    clock: Clock
    alarms: Alarms
    hooks: Hooks


class Reconcile:
    """Makes routes, blocks, maps, cards and alarms what they should be."""

    def __init__(
        self,
        *,
        cloud: Cloud,
        store: Store,
        hints: Hints,
        clock: Clock,
        alarms: Alarms,
        hooks: Hooks,
        rules: Rules,
    ) -> None:
        self._world = _World(cloud, store, hints, clock, alarms, hooks)
        self._rules = rules

    def run(self, owner: str, *, deadline: datetime | None = None) -> ReconcileOutcome:
        """Make one complete run under the lease. It stops before *deadline*, and then hints the next run.

        Raises TryAgain when EC2 or the store could not be read. Failures of single steps are in the outcome,
        because the other tables do not depend on them.
        """
        store, now = self._world.store, self._world.clock.now()
        if not store.acquire_lease(owner, now=now, until=now + self._rules.lease):
            return ReconcileOutcome(busy=True)
        try:
            return _Run(self._world, self._rules, owner, deadline).go()
        except Superseded as error:
            return ReconcileOutcome(busy=True, warnings=[f"overtaken by another run: {error}"])
        finally:
            store.release_lease(owner)


@dataclass(slots=True)
class _Run:
    world: _World
    rules: Rules
    owner: str
    deadline: datetime | None
    outcome: ReconcileOutcome = field(default_factory=ReconcileOutcome)

    @property
    def store(self) -> Store:
        return self.world.store

    def go(self) -> ReconcileOutcome:
        """The order of work."""
        began = self.world.clock.now()
        seen = observe(self.world.cloud, self.store, self.world.clock, quarantine=self.rules.quarantine)
        if not claim_tables(self.world.cloud, seen.survey, self.rules.stack, self.outcome):
            return self.outcome
        self.outcome.checks, refused = clear_checks(self.world.cloud, seen.survey.instances)
        self.outcome.warnings += refused
        if seen.life.went_back:
            note_seen(self.outcome, seen.membership, seen.life, seen.warnings)
            return self.outcome
        self._check_settings(seen)
        seen, claimed = take_up(
            self.store, self.owner, seen, pod_cidrs=self.rules.pod_cidrs, block_length=self.rules.block_length
        )
        note_seen(self.outcome, seen.membership, seen.life, (*seen.warnings, *claimed.warnings))
        survey, membership, now = seen.survey, seen.membership, seen.at
        memory, alarms = self._judge(seen)
        owned = mark_owned(survey.route_tables, memory.records, seen.interfaces)
        allocation = self._allocate(survey, memory, membership, owned, seen.life, claimed.kept_free, now)
        members = allocation.members
        judged = self._cluster(survey, memory, membership, allocation, owned, now)
        frozen = freeze(judged, membership.missing_in_a_mass)
        self.outcome.frozen = {subnet: str(why) for subnet, why in frozen.subnets.items()}
        cluster = frozen.cluster
        wanted = keep_routes(plan(cluster, improve=IMPROVEMENT), frozen)
        planned = leave_untagged(wanted, survey.untagged_tables)
        watched = {node for node, verdict in memory.verdicts.items() if is_watched(verdict)}
        joining = {one.id for one in members if not all(block.ready for block in one.blocks)}
        cards = make_cards(planned, cluster, watched=watched, joining=joining)
        waits = bool(seen.life.awaited)
        told = (self.store, self.world.clock, survey, memory)
        maps = {} if waits else publish_maps(*told, memory.maps, cluster, planned, members, cards)
        hands_off = self._write_cards(memory, cards, planned, membership, seen.life, began)
        finish_first_run(self.store, self.owner, seen.life)
        tables, late = owned.tables, False
        if not waits:
            tables, late = self._apply(cluster, planned, memory, hands_off)
            barred = hands_off.no_new_routes
            self._mark_ready(survey, memory, maps, cluster, planned, members, tables, cards, barred)
        self._keep_alarms_and_hooks(memory, alarms, cards, cluster, tables)
        note_plan(self.outcome, judged, planned, allocation)
        note_drift(self.outcome, survey, memory, owned, cluster)
        note_diverted(self.outcome, owned, memory, planned, tables)
        self._report(cluster, planned, late=late)
        return self.outcome

    # Observe

    def _judge(self, seen: Seen) -> tuple[Memory, AlarmsSeen | None]:
        """The verdicts by what can be observed now, and the alarms that count."""
        alarms, warnings = read_alarms(self.world.alarms, alarms_against(seen.memory.verdicts))
        self.outcome.warnings += warnings
        verdicts = keep_verdicts(
            seen.membership.instances,
            seen.memory,
            alarms or AlarmsSeen(),
            store=self.store,
            now=seen.at,
            hold_down=self.rules.hold_down,
        )
        return replace(seen.memory, verdicts=verdicts), alarms

    def _check_settings(self, seen: Seen) -> None:
        """Go on with the former pod CIDRs where those that were set would orphan what is in use."""
        held = {prefix for member in seen.memory.members for prefix in member.prefixes}
        held |= {prefix for several in seen.memory.supernets.values() for prefix in several}
        counting = pod_cidrs_that_count(
            self.rules.pod_cidrs,
            former={cidr for one in seen.memory.maps.values() for cidr in one.pod_cidrs},
            held=held,
            vpc_cidrs=seen.survey.vpc_cidrs,
        )
        self.rules = replace(self.rules, pod_cidrs=counting.cidrs)
        self.outcome.warnings += counting.warnings

    # Allocate

    def _allocate(
        self,
        survey: Survey,
        memory: Memory,
        membership: Membership,
        owned: Owned,
        life: StoreLife,
        kept_free: Iterable[Prefix],
        now: datetime,
    ) -> MemberAllocation:
        """Decide who has which supernets and blocks, and write it before agents read of it.

        While agents are still to say what they hold, nobody gets anything.
        """
        rules = self.rules
        space = reclaim_space(memory, membership, owned, now=now, quarantine=rules.quarantine)
        closed = closed_space(
            rules.pod_cidrs,
            vpc_cidrs=survey.vpc_cidrs,
            tables=owned.tables,
            supernets=[prefix for several in memory.supernets.values() for prefix in several],
            blocks=[prefix for member in membership.present for prefix in member.prefixes],
        )
        self.outcome.warnings += (*space.warnings, *closed.warnings)
        everybody = {member.id for member in membership.present}
        allocation = allocate_to_members(
            membership.present,
            membership.quarantined,
            memory.supernets,
            pod_cidrs=rules.pod_cidrs,
            block_length=rules.block_length,
            subnets={member.subnet for member in membership.present} | memory.supernets.keys(),
            generations={subnet: one.generation for subnet, one in memory.maps.items()},
            now=now,
            quarantine=rules.quarantine,
            wanted=blocks_wanted(memory, membership.present),
            closed=everybody if life.awaited else membership.strays.keys() | life.silent,
            closed_space=(*closed.prefixes, *kept_free),
            released=space.pending,
            release=not life.awaited and is_due(memory.given_back, now=now),
        )
        save_addresses(self.store, self.owner, memory, allocation, membership, now=now)
        return allocation

    # Plan

    def _cluster(
        self,
        survey: Survey,
        memory: Memory,
        membership: Membership,
        allocation: MemberAllocation,
        owned: Owned,
        now: datetime,
    ) -> Cluster:
        acknowledged = acknowledged_by(memory, allocation.members)
        heard = {identity: report.heartbeat for identity, report in memory.reports.items()}
        facts = {
            member.id: NodeFacts(
                membership.instances[member.id],
                memory.verdicts.get(member.id),
                acknowledged.get(member.id, 0),
                heard.get(member.id),
                is_stray=member.id in membership.strays,
            )
            for member in allocation.members
        }
        return make_cluster(
            self.rules.cluster,
            self.rules.pod_cidrs,
            survey,
            owned.tables,
            members=allocation.members,
            facts=facts,
            supernets=allocation.supernets,
            released=[one.prefix for one in allocation.released],
            now=now,
        )

    def _write_cards(
        self,
        memory: Memory,
        cards: Iterable[Card],
        planned: Plan,
        membership: Membership,
        life: StoreLife,
        began: datetime,
    ) -> HandsOff:
        """Before routes; *began*: when this run began to look. An epoch's first run writes all anew."""
        stored, moved, cards = memory.cards, touched(planned), tuple(cards)
        if not life.epoch.is_taken_up:
            stored = {node: replace(card, claim=None) for node, card in stored.items()}
            moved |= {card.network_interface for card in cards}
        changes = card_changes(
            cards,
            stored,
            members={member.id for member in (*membership.present, *membership.quarantined)},
            touched=moved,
            began=began,
            now=self.world.clock.now(),
        )
        return write_cards(self.store, changes)

    # Apply

    def _apply(
        self, cluster: Cluster, planned: Plan, memory: Memory, hands_off: HandsOff
    ) -> tuple[tuple[RouteTable, ...], bool]:
        """The tables after the steps, and whether another run must follow."""
        applier = Applier(
            cloud=self.world.cloud,
            store=self.store,
            clock=self.world.clock,
            owner=self.owner,
            deadline=self.deadline,
        )
        applied = applier.apply(cluster, planned, memory.records, hands_off=hands_off)
        outcome = self.outcome
        outcome.applied, outcome.failed, outcome.steps_left = applied.done, applied.failed, applied.left
        outcome.warnings += applied.warnings
        outcome.routes = {table.id: sum(one.owned for one in table.routes) for table in applied.tables}
        return applied.tables, applied.late

    # Record

    def _mark_ready(
        self,
        survey: Survey,
        memory: Memory,
        maps: Mapping[str, SubnetMap],
        cluster: Cluster,
        planned: Plan,
        members: tuple[Member, ...],
        tables: tuple[RouteTable, ...],
        cards: Iterable[Card],
        barred: frozenset[str],
    ) -> None:
        """Write which blocks are ready now, and then publish it to the agents."""
        acknowledged = acknowledged_by(memory, members)
        after = mark_ready(members, cluster, planned, tables=tables, acknowledged=acknowledged, barred=barred)
        changed = [new for new, old in zip(after, members, strict=True) if new != old]
        if not changed:
            return
        self.store.save_inventory(self.owner, members=changed, forgotten=(), supernets={})
        told = (self.store, self.world.clock, survey, memory)
        publish_maps(*told, maps, cluster, planned, after, cards)
        self.outcome.joined = [member.id for member in changed]

    def _keep_alarms_and_hooks(
        self,
        memory: Memory,
        alarms: AlarmsSeen | None,
        cards: tuple[Card, ...],
        cluster: Cluster,
        tables: tuple[RouteTable, ...],
    ) -> None:
        """Keep alarms on the nodes that relay, and the hooks of nodes that will go."""
        present = {node.id for node in cluster.nodes}
        if alarms is not None:
            wanted = wanted_alarms(self.rules.cluster, forwarders(cards), present, memory.verdicts)
            self.outcome.warnings += keep_alarms(self.world.alarms, wanted=wanted, seen=alarms.ours)
        self.outcome.warnings += keep_hooks(
            self.world.hooks,
            self.store,
            memory.hooks,
            alive=present,
            relaying=relaying(cluster.nodes, tables),
            now=self.world.clock.now(),
        )

    def _report(self, cluster: Cluster, planned: Plan, *, late: bool) -> None:
        """Write the history, and hint the next run if something is left to do."""
        outcome, now = self.outcome, self.world.clock.now()
        found = diversion_history(outcome, owner=self.owner, at=now)
        self.store.add_history((*found, *route_history(outcome.applied, planned, owner=self.owner, at=now)))
        fallen = self._fallen_next_hops(cluster)
        busy = any(isinstance(error, TryAgain) for *_, error in outcome.failed)
        if fallen or busy or late:
            self.world.hints.hint("the last run left something to do")

    def _fallen_next_hops(self, cluster: Cluster) -> set[str]:
        """Nodes that got routes in this run, and against which there is evidence now."""
        new_hops = {
            step.network_interface for _, step in self.outcome.applied if not isinstance(step, Delete)
        }
        if not new_hops:
            return set()
        verdicts = self.store.verdicts()
        return {
            node.id
            for node in cluster.nodes
            if node.network_interface in new_hops and is_accused(verdicts.get(node.id))
        }
