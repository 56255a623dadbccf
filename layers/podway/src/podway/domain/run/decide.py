"""All that a run of reconcile would write, as far as it does not hang on the answer to a write.

Reconcile carries it out (`app.carry_out`). Status asks `foresee`, so what people see is what the next run
would do. Which cards were refused, which blocks become ready and which hooks end is decided by the answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from podway.domain.addressing import Prefix
from podway.domain.failover.cards import ended_cards, forwarders, keep_unseen, make_cards
from podway.domain.failover.decide import Card
from podway.domain.health.alarms import wanted_alarms
from podway.domain.health.freeze import Frozen, freeze, keep_in_doubt, keep_routes
from podway.domain.health.quorum import is_watched
from podway.domain.health.reassess import AlarmsSeen
from podway.domain.inventory import Member, ReleasedSpace
from podway.domain.ipam.allocation import MemberAllocation
from podway.domain.members.cluster import NodeFacts, Owned, make_cluster, mark_owned
from podway.domain.members.maps import SubnetMap
from podway.domain.model import Cluster, Plan
from podway.domain.operator.limits import Pressure, pressures
from podway.domain.planner.plan import plan
from podway.domain.run.addresses import AddressChanges, address_changes, allot
from podway.domain.run.handout import new_maps
from podway.domain.run.inheritance import TakenUp, take_up
from podway.domain.run.memory import acknowledged_by
from podway.domain.run.seen import Rules, Seen
from podway.domain.run.verdicts import judge
from podway.domain.run.warnings import conflict_text, table_warnings
from podway.domain.tables import leave_untagged

IMPROVEMENT = 10
"""Steps per run that only make a table better."""


@dataclass(frozen=True, slots=True)
class RunDecision:
    """What a run would write, and what it would say."""

    taken: TakenUp
    """What it was decided from."""
    owned: Owned
    """The tables as they are, with our routes marked."""
    allocation: MemberAllocation
    addresses: AddressChanges
    judged: Cluster
    """With the members' addresses as they will be."""
    frozen: Frozen
    plan: Plan
    cards: tuple[Card, ...]
    """One for every node, before it is known which are claimed."""
    ended_cards: tuple[Card, ...]
    """Those of nodes that have ended, and that are not forgotten yet."""
    maps: Mapping[str, SubnetMap]
    """Those to publish before routes."""
    alarms: frozenset[str]
    """The nodes that should have one."""
    pressures: tuple[Pressure, ...]
    is_waiting: bool
    """Whether neither maps nor routes are written: the store, a mark or an agent's word is in the way."""
    warnings: tuple[str, ...]

    @property
    def seen(self) -> Seen:
        """What was seen, as it counts."""
        return self.taken.seen

    @property
    def cluster(self) -> Cluster:
        """The cluster that is planned for: forwarders of frozen subnets count as eligible."""
        return self.frozen.cluster

    @property
    def members(self) -> tuple[Member, ...]:
        """The present members with their blocks as they will be."""
        return self.allocation.members

    @property
    def next_steps(self) -> Plan:
        """The plan with the steps that would be made: none while the run waits."""
        whole = [table.id for table in self.cluster.route_tables]
        return leave_untagged(self.plan, whole) if self.is_waiting else self.plan

    @property
    def why_frozen(self) -> dict[str, str]:
        """Frozen subnets, and why."""
        return {subnet: str(why) for subnet, why in self.frozen.subnets.items()}

    def as_it_is(self) -> Cluster:
        """The cluster with the addresses that members have now."""
        memory = self.seen.memory
        return _cluster(
            self.taken,
            self.owned,
            members=self.seen.membership.present,
            supernets=memory.supernets,
            released=memory.released,
        )


def foresee(seen: Seen, rules: Rules) -> RunDecision:
    """What the next run would decide, if no alarm says more than the verdicts know. Nothing is written."""
    taken = take_up(seen, rules)
    return decide_run(taken.judged(judge(taken, AlarmsSeen()).verdicts))


def decide_run(taken: TakenUp) -> RunDecision:
    """Decide it all, by the verdicts that *taken* has."""
    seen, rules = taken.seen, taken.rules
    memory = seen.memory
    owned = mark_owned(seen.survey.route_tables, memory.records, seen.interfaces)
    allocation, closed = allot(taken, owned)
    judged = _cluster(
        taken,
        owned,
        members=allocation.members,
        supernets=allocation.supernets,
        released=allocation.released,
    )
    frozen = freeze(judged, seen.membership.missing_in_a_mass, seen.membership.unsaid)
    planned = _plan(frozen, seen)
    cards = _cards(taken, allocation.members, frozen, planned)
    claims = seen.claims(rules.stack)
    is_waiting = bool(seen.life.awaited or seen.life.went_back or claims.others)
    maps = (
        {}
        if is_waiting
        else new_maps(seen, memory.maps, frozen.cluster, planned, members=allocation.members, cards=cards)
    )
    present = {node.id for node in judged.nodes}
    near = pressures(judged, (one for member in allocation.members for one in member.prefixes))
    said = (*seen.warnings, *seen.life.warnings, *claims.warnings, *taken.warnings, *closed)
    return RunDecision(
        taken=taken,
        owned=owned,
        allocation=allocation,
        addresses=address_changes(seen, allocation),
        judged=judged,
        frozen=frozen,
        plan=planned,
        cards=cards,
        ended_cards=ended_cards(planned, frozen.cluster, memory.cards.values()),
        maps=maps,
        alarms=wanted_alarms(rules.cluster, forwarders(cards), present, memory.verdicts),
        pressures=near,
        is_waiting=is_waiting,
        warnings=(
            *said,
            *(one.warning for one in near if one.warning),
            *planned.warnings,
            *(f"{subnet} is frozen: {why}" for subnet, why in frozen.subnets.items()),
            *(f"{one.want.node}: {one.reason}" for one in allocation.refused),
            *(conflict_text(one, judged) for one in owned.conflicts),
            *table_warnings(seen.survey, seen.tables_in_doubt, judged.name),
        ),
    )


def _cluster(
    taken: TakenUp,
    owned: Owned,
    *,
    members: Iterable[Member],
    supernets: Mapping[str, tuple[Prefix, ...]],
    released: Iterable[ReleasedSpace],
) -> Cluster:
    """The cluster with these *members*: as they are, or as they will be."""
    seen, members = taken.seen, tuple(members)
    memory, membership = seen.memory, seen.membership
    acknowledged = acknowledged_by(memory, members)
    facts = {
        member.id: NodeFacts(
            membership.instances[member.id],
            memory.verdicts.get(member.id),
            acknowledged.get(member.id, 0),
            memory.reports[member.id].heartbeat if member.id in memory.reports else None,
            is_stray=member.id in membership.strays,
        )
        for member in members
    }
    return make_cluster(
        taken.rules.cluster,
        taken.rules.pod_cidrs,
        seen.survey,
        owned.tables,
        members=members,
        facts=facts,
        supernets=supernets,
        released=[one.prefix for one in released],
        now=seen.at,
    )


def _plan(frozen: Frozen, seen: Seen) -> Plan:
    """The best steps from here, without those that a freeze or a table that we cannot trust forbids."""
    kept = keep_routes(plan(frozen.cluster, improve=IMPROVEMENT), frozen)
    kept = keep_in_doubt(kept, seen.tables_in_doubt, frozen.cluster)
    return leave_untagged(kept, seen.survey.untagged_tables)


def _cards(taken: TakenUp, members: Iterable[Member], frozen: Frozen, planned: Plan) -> tuple[Card, ...]:
    seen = taken.seen
    verdicts = seen.memory.verdicts
    watched = {node for node, verdict in verdicts.items() if is_watched(verdict)}
    joining = {one.id for one in members if not all(block.ready for block in one.blocks)}
    cards = make_cards(planned, frozen.cluster, watched=watched, joining=joining)
    return keep_unseen(cards, seen.memory.cards, nodes=frozen.strays, tables=seen.unread_tables)
