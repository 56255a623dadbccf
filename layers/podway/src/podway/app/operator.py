"""What an operator asks and orders. Called by the commands over AWS, and by the lab.

Commands that change something use the ways that exist already:
- a drain is an event for the lifecycle function, or its hand-over in this process;
- adopted routes are recorded under the one writer's lease;
- a release keeps that lease for good, so that no run of reconcile makes anew what was removed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from podway.app.adoption import adopt_route
from podway.app.errors import PodwayError, TryAgain
from podway.app.failover import Failover
from podway.app.ledger import Ledger, take_lease
from podway.app.observe import observe
from podway.app.ports import RELEASED, Alarms, Clock, Cloud, Hints, HistoryEntry
from podway.app.restore import Restore
from podway.app.stores import OperatorStore
from podway.domain.addressing import Prefix
from podway.domain.health.reassess import DRAINED
from podway.domain.health.verdict import Evidence, Severity
from podway.domain.members.adoption import Adopted, NotAdopted, Release, release
from podway.domain.members.trust import Doubt, NodeIdentity, doubts
from podway.domain.model import Delete, describe
from podway.domain.operator.overview import Heard, Overview, OverviewFacts, overview
from podway.domain.run.decide import foresee
from podway.domain.run.memory import acknowledged_by, newest_of
from podway.domain.run.seen import Rules, Seen

PASSES = 5
"""How often a release reads the tables again: what EC2 shows may be older than our routes."""


class Bus(Protocol):
    """The event bus."""

    def ask_drain(self, instances: Iterable[str]) -> None:
        """Have the lifecycle function hand over what these instances relay.

        Repeat: safe, the function may run once more. Cut off: asked or not. Raises TryAgain, NeedsOperator.
        """
        ...


class Identities(Protocol):
    """The roles that nodes run under, and how their IMDS answers."""

    def of_members(self) -> tuple[NodeIdentity, ...]:
        """One for every instance with the cluster's tag."""
        ...


@dataclass(frozen=True, slots=True)
class Status:
    """An overview and how the control plane fares."""

    overview: Overview
    last_run: datetime | None
    released: bool
    at: datetime


@dataclass(slots=True)
class Released:
    """What a release did, or would do."""

    found: Release
    deleted: list[tuple[str, Delete]] = field(default_factory=list)
    failed: list[tuple[str, Delete, PodwayError]] = field(default_factory=list)
    alarms: tuple[str, ...] = ()
    """Nodes whose alarms are removed too."""
    marks: Mapping[str, str] = field(default_factory=dict)
    """Tables that a stack has marked as its own: its mark is removed too."""
    alarms_left: str = ""
    """Why some of them could not be."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing of ours is left."""
        return not self.failed and not self.alarms_left and {*self.found.deletes} <= {*self.deleted}


class NoSuchNode(PodwayError):
    """It is not a member of this cluster."""


class Operator:
    """Reads and steers one cluster."""

    def __init__(
        self,
        *,
        rules: Rules,
        cloud: Cloud,
        store: OperatorStore,
        ledger: Ledger,
        bus: Bus,
        hints: Hints,
        clock: Clock,
        alarms: Alarms,
        identities: Identities,
        failover: Failover,
        pause: Callable[[float], None],
    ) -> None:
        self._rules, self._cloud, self._store, self._ledger = rules, cloud, store, ledger
        self._bus, self._hints, self._clock = bus, hints, clock
        self._alarms, self._identities = alarms, identities
        self._failover, self._pause = failover, pause

    # Reading

    def overview(self) -> Overview:
        """Nodes, tables and routes as they are now."""
        return self._overview(self._observe())

    def status(self) -> Status:
        """The overview, and how old the last run of reconcile is."""
        seen = self.overview()
        lease = self._ledger.lease()
        return Status(seen, lease.began, released=lease.owner == RELEASED, at=self._clock.now())

    def history(self, since: datetime) -> tuple[HistoryEntry, ...]:
        """Who moved where, when, why, from *since* until now."""
        return tuple(self._ledger.history(since, self._clock.now()))

    def check(self) -> tuple[Doubt, ...]:
        """Ways in which somebody else than a node may act under the node's identity."""
        return doubts(self._identities.of_members())

    def _observe(self) -> Seen:
        """What a run of reconcile would see now."""
        return observe(self._cloud, self._store, self._clock, quarantine=self._rules.quarantine)

    def _overview(self, seen: Seen) -> Overview:
        """What is there, and what the next run of reconcile would make of it."""
        decided = foresee(seen, self._rules)
        memory, members = seen.memory, decided.seen.membership.present
        acknowledged = acknowledged_by(memory, members)
        return overview(
            OverviewFacts(
                cluster=decided.as_it_is(),
                planned=decided.next_steps,
                members=members,
                instances=tuple(seen.membership.instances.values()),
                verdicts=memory.verdicts,
                heard={
                    member.id: Heard(acknowledged.get(member.id, 0), one.heartbeat)
                    for member in members
                    if (one := memory.reports.get(member.id)) is not None and one.subnet == member.subnet
                },
                newest=newest_of(memory),
                conflicts=decided.owned.conflicts,
                frozen=decided.why_frozen,
                warnings=decided.warnings,
            )
        )

    # Steering

    def drain(self, node: str, *, here: bool = False) -> None:
        """Ask the lifecycle function to move what *node* relays, or move it *here*. Raises NoSuchNode."""
        self._member(node)
        if not here:
            self._bus.ask_drain((node,))
            return
        now = self._clock.now()
        evidence = Evidence(DRAINED, Severity.HANDOVER, now)
        self._failover.fail_over(node, evidence, event=f"operator at {now.isoformat()}")

    def is_drained(self, node: str) -> bool:
        """Whether the drain was recorded, and no route leads to blocks of others through *node*."""
        if DRAINED not in self._evidence(node):
            return False
        return node not in self.overview().forwarders()

    def undrain(self, node: str, *, every: bool = False) -> tuple[str, ...]:
        """Withdraw the drain, or *every* planned hand-over. Returns their sources. Raises NoSuchNode."""
        self._member(node)
        sources = [
            source
            for source, severity in self._evidence(node).items()
            if source == DRAINED or (every and severity is Severity.HANDOVER)
        ]
        for source in sources:
            self._failover.withdraw(node, source, as_of=self._clock.now())
        return tuple(sorted(sources))

    def adopt(self, table: str, destination: Prefix, *, patience: timedelta) -> Adopted | NotAdopted:
        """Record an existing route as ours. Raises TryAgain when the lease stays taken for *patience*."""
        owner = f"operator at {self._clock.now().isoformat()}"
        self._take_lease(owner, patience)
        try:
            decided = adopt_route(
                self._cloud,
                self._store,
                owner,
                self._observe(),
                table,
                destination,
                pod_cidrs=self._rules.pod_cidrs,
            )
            if isinstance(decided, Adopted):
                to = f"{decided.target}, which is gone," if decided.is_dead else decided.node
                self._remember("adopt", f"{destination} in {table} via {to} is ours from now on")
        finally:
            self._store.release_lease(owner)
        if isinstance(decided, Adopted):
            self._hints.hint(f"{destination} of {table} was adopted")
        return decided

    def plan_forget(self, nodes: Collection[str] = ()) -> dict[str, str]:
        """Which of *nodes* can be given up, or of all members, and why each does not show as a member.

        Raises NoSuchNode for one that does, or that nobody remembers.
        """
        members = self._observe().membership
        if shown := sorted(set(nodes) - members.strays.keys()):
            known = {one.id for one in members.present}
            why = "shows as a member: take its tag away first" if shown[0] in known else "is no member"
            raise NoSuchNode(f"{shown[0]} {why}")
        return {node: why for node, why in members.strays.items() if not nodes or node in nodes}

    def forget(self, nodes: Collection[str], *, patience: timedelta) -> None:
        """Have the next run of reconcile treat *nodes* as ended: their routes go, their blocks rest.

        Repeat: safe. A node that shows as a member again by then stays one. Raises NoSuchNode as
        `plan_forget` does, and TryAgain when a run of reconcile holds the lease for *patience*.
        """
        owner = f"operator at {self._clock.now().isoformat()}"
        self._take_lease(owner, patience)
        try:
            given_up = self.plan_forget(nodes)
            members = [one for one in self._store.recall().members if one.id in given_up]
            changed = [replace(one, is_given_up=True) for one in members]
            self._store.save_inventory(owner, members=changed, forgotten=(), supernets={})
            self._remember("forget", *(f"{node} {why}: given up" for node, why in given_up.items()))
        finally:
            self._store.release_lease(owner)
        self._hints.hint(f"{', '.join(sorted(given_up))} were given up")

    def plan_release(self) -> Released:
        """What a release would remove. Changes nothing."""
        seen = self._observe()
        found = release(seen.survey.route_tables, seen.memory.records, seen.interfaces)
        return Released(found, alarms=tuple(sorted(self._alarms.seen().ours)), marks=seen.survey.marks)

    def release(self, *, patience: timedelta) -> Released:
        """Keep reconcile out for good, then remove every managed route, and the alarms on nodes.

        Repeat: goes on where the last call stopped. Raises TryAgain when a run of reconcile holds the lease
        for *patience*, NeedsOperator when a call is refused.
        """
        self._take_lease(RELEASED, patience)
        done = self.plan_release()
        deletes = done.found.deletes
        for _ in range(PASSES):
            if not deletes:
                break
            self._remove(done, deletes)
            deletes = self.plan_release().found.deletes
        self._forget_records(done)
        whose = set(done.marks.values())
        for stack in whose & {self._rules.stack or one for one in whose}:
            self._cloud.unmark_tables(done.marks.keys(), stack)
        try:
            self._alarms.forget(done.alarms)
        except PodwayError as error:
            done.alarms_left = str(error)
        return done

    def resume(self) -> bool:
        """Let reconcile manage the cluster again. False if it had not been released."""
        if self._ledger.lease().owner != RELEASED:
            return False
        self._store.release_lease(RELEASED)
        self._remember("release", "the cluster is managed again")
        self._hints.hint("the cluster is managed again")
        return True

    def restoring(self) -> Restore:
        """The beginning of a new epoch of the store."""
        return Restore(
            cluster=self._rules.cluster,
            stack=self._rules.stack,
            quarantine=self._rules.quarantine,
            cloud=self._cloud,
            store=self._store,
            ledger=self._ledger,
            hints=self._hints,
            clock=self._clock,
            pause=self._pause,
        )

    def _remove(self, done: Released, deletes: Iterable[tuple[str, Delete]]) -> None:
        done.failed, deleted = [], []
        for table, step in deletes:
            try:
                self._delete(table, step)
            except PodwayError as error:
                done.failed.append((table, step, error))
            else:
                deleted.append((table, step))
        done.deleted += deleted
        self._remember("release", *(f"{describe(step)} in {table}" for table, step in deleted))

    def _delete(self, table: str, step: Delete) -> None:
        """Delete one route. Wait and try again while EC2 is busy: it allows some five deletions a second."""
        for wait in (1.0, 2.0, 4.0, 8.0):
            try:
                self._cloud.apply(table, step)
            except TryAgain:
                self._pause(wait)
            else:
                return
        self._cloud.apply(table, step)

    def _forget_records(self, done: Released) -> None:
        """Remove the records of deleted routes. What failed stays recorded for the next attempt."""
        failed: dict[str, set[Prefix]] = {}
        for table, step, _ in done.failed:
            failed.setdefault(table, set()).add(step.destination)
        for table, ours in sorted(self._store.recall().records.items()):
            if table not in done.found.lost and (ours - failed.get(table, set())):
                self._store.record_routes(RELEASED, table, frozenset(ours & failed.get(table, set())))

    def _member(self, node: str) -> None:
        if self._cloud.member(node) is None:
            raise NoSuchNode(f"{node} is not a running member of {self._rules.cluster}")

    def _evidence(self, node: str) -> dict[str, Severity]:
        verdict = self._store.verdicts().get(node)
        return {source: one.severity for source, one in verdict.evidence.items()} if verdict else {}

    def _take_lease(self, owner: str, patience: timedelta) -> None:
        name = self._rules.cluster
        take_lease(self._ledger, self._clock, owner, patience, pause=self._pause, cluster=name)

    def _remember(self, actor: str, *what: str) -> None:
        now = self._clock.now()
        event = f"operator at {now.isoformat()}"
        self._store.add_history(
            HistoryEntry(now, actor, event, one, "asked for by an operator") for one in what
        )
