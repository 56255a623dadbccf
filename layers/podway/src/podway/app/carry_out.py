"""Does what a run of reconcile has decided, in the order that is safe wherever it is cut off.

Called by reconcile, which holds the lease. Addresses are written before anybody hears of them. Maps come
before routes: the next hop's kernel must know what it relays. Cards come before routes: a node may fail the
moment after it gets one. Blocks become ready after routes: only then packets arrive.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from podway.app.apply import Applier
from podway.app.errors import TryAgain
from podway.app.inheritance import finish_first_run
from podway.app.ports import Alarms, Clock, Cloud, Hints, Hooks
from podway.app.report import (
    ReconcileOutcome,
    diversion_history,
    note_decided,
    note_diverted,
    note_drift,
    route_history,
)
from podway.app.stores import Store
from podway.app.upkeep import keep_alarms, keep_hooks
from podway.domain.failover.card_changes import HandsOff, card_changes, touched
from podway.domain.health.freeze import relaying
from podway.domain.health.reassess import AlarmsSeen
from podway.domain.health.verdict import is_accused
from podway.domain.members.maps import SubnetMap
from podway.domain.members.readiness import mark_ready
from podway.domain.model import Cluster, Delete, RouteTable
from podway.domain.run.decide import RunDecision
from podway.domain.run.handout import new_maps
from podway.domain.run.hooks import hook_moves
from podway.domain.run.memory import acknowledged_by


@dataclass(frozen=True, slots=True)
class World:
    """All that a run of reconcile reads and writes."""

    cloud: Cloud
    store: Store
    hints: Hints
    clock: Clock
    alarms: Alarms
    hooks: Hooks


@dataclass(slots=True)
class CarryOut:
    """The writes of one run."""

    world: World
    owner: str
    deadline: datetime | None
    began: datetime
    """When this run began to look."""
    outcome: ReconcileOutcome

    @property
    def store(self) -> Store:
        return self.world.store

    def carry_out(self, decided: RunDecision, alarms: AlarmsSeen | None) -> None:
        """The order of work. *alarms* as they stand; None if nobody could read them.

        Failures of single steps are in the outcome. Raises PodwayError when the store fails, and Superseded
        when the lease was lost.
        """
        self._save_addresses(decided)
        self._publish(decided.maps.values())
        hands_off = self._write_cards(decided)
        finish_first_run(self.store, self.owner, decided.seen.life)
        tables, late = decided.owned.tables, False
        if not decided.is_waiting:
            tables, late = self._apply(decided, hands_off)
            self._mark_ready(decided, tables, hands_off)
        self._keep_alarms_and_hooks(decided, alarms, tables)
        note_decided(self.outcome, decided)
        note_drift(self.outcome, decided)
        note_diverted(self.outcome, decided, tables)
        self._report(decided, late=late)

    # Before routes

    def _save_addresses(self, decided: RunDecision) -> None:
        """Before agents read of them."""
        changes = decided.addresses
        self.store.save_inventory(
            self.owner,
            members=changes.members,
            forgotten=changes.forgotten,
            supernets=changes.supernets,
            released=changes.released,
            reclaimed=changes.reclaimed,
            given_back=changes.given_back,
        )

    def _publish(self, maps: Iterable[SubnetMap]) -> None:
        for one in maps:
            self.store.publish_map(one, now=self.world.clock.now())

    def _write_cards(self, decided: RunDecision) -> HandsOff:
        """An epoch's first run writes all anew. A card that was claimed since it was read is refused."""
        stored, moved, seen = decided.seen.memory.cards, touched(decided.next_steps), decided.seen
        if not seen.life.epoch.is_taken_up:
            stored = {node: replace(card, claim=None) for node, card in stored.items()}
            moved |= {card.network_interface for card in decided.cards}
        changes = card_changes(
            (*decided.cards, *decided.ended_cards),
            stored,
            members={member.id for member in (*seen.membership.present, *seen.membership.quarantined)},
            touched=moved,
            began=self.began,
            now=self.world.clock.now(),
        )
        refused = {card.network_interface for card in changes.write if not self.store.put_card(card)}
        for node in changes.remove:
            self.store.remove_card(node)
        return changes.without(refused)

    # Routes, and what follows from them

    def _apply(self, decided: RunDecision, hands_off: HandsOff) -> tuple[tuple[RouteTable, ...], bool]:
        """The tables after the steps, and whether another run must follow."""
        applier = Applier(
            cloud=self.world.cloud,
            store=self.store,
            clock=self.world.clock,
            owner=self.owner,
            deadline=self.deadline,
        )
        records = decided.seen.memory.records
        applied = applier.apply(decided.cluster, decided.plan, records, hands_off=hands_off)
        outcome = self.outcome
        outcome.applied, outcome.failed, outcome.steps_left = applied.done, applied.failed, applied.left
        outcome.warnings += applied.warnings
        outcome.routes = {table.id: sum(one.owned for one in table.routes) for table in applied.tables}
        return applied.tables, applied.late

    def _mark_ready(self, decided: RunDecision, tables: tuple[RouteTable, ...], hands_off: HandsOff) -> None:
        """Write which blocks are ready now, and then publish it to the agents."""
        seen, cluster, members = decided.seen, decided.cluster, decided.members
        after = mark_ready(
            members,
            cluster,
            decided.plan,
            tables=tables,
            acknowledged=acknowledged_by(seen.memory, members),
            barred=hands_off.no_new_routes,
        )
        changed = [new for new, old in zip(after, members, strict=True) if new != old]
        if not changed:
            return
        self.store.save_inventory(self.owner, members=changed, forgotten=(), supernets={})
        before = {**seen.memory.maps, **decided.maps}
        maps = new_maps(seen, before, cluster, decided.plan, members=after, cards=decided.cards)
        self._publish(maps.values())
        self.outcome.joined = [member.id for member in changed]

    def _keep_alarms_and_hooks(
        self, decided: RunDecision, alarms: AlarmsSeen | None, tables: tuple[RouteTable, ...]
    ) -> None:
        """Keep alarms on the nodes that relay, and the hooks of nodes that will go."""
        if alarms is not None:
            self.outcome.warnings += keep_alarms(self.world.alarms, wanted=decided.alarms, seen=alarms.ours)
        nodes = decided.cluster.nodes
        moves = hook_moves(
            decided.seen.memory.hooks,
            alive={node.id for node in nodes},
            relaying=relaying(nodes, tables),
            now=self.world.clock.now(),
        )
        self.outcome.warnings += keep_hooks(self.world.hooks, self.store, moves)

    # Record

    def _report(self, decided: RunDecision, *, late: bool) -> None:
        """Write the history, and hint the next run if something is left to do."""
        outcome, now = self.outcome, self.world.clock.now()
        found = diversion_history(outcome, owner=self.owner, at=now)
        made = route_history(outcome.applied, decided.plan, owner=self.owner, at=now)
        self.store.add_history((*found, *made))
        fallen = self._fallen_next_hops(decided.cluster)
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
