"""From what EC2 and the store say to the cluster that the planner sees.

Reconcile and the operator's commands ask, once the tables, the verdicts and the membership are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from podway.domain.addressing import Prefix
from podway.domain.health.verdict import Verdict, health, is_handing_over
from podway.domain.inventory import HeldBlock, Instance, Member, Survey
from podway.domain.model import (
    Cluster,
    Health,
    Node,
    NodeState,
    RouteTable,
    Subnet,
)
from podway.domain.signals import InstanceState

SILENCE = timedelta(minutes=12)
"""An agent writes at least every five minutes. After so long without a report its node is suspect."""


AHEAD = timedelta(seconds=60)
"""How far ahead an agent's clock may be."""


def is_heard(heartbeat: datetime, *, now: datetime) -> bool:
    """Whether an agent that wrote at *heartbeat*, by its own clock, may be taken to live.

    One whose clock is further ahead may have died long ago: what its item says is not taken for its word.
    """
    return now - SILENCE <= heartbeat <= now + AHEAD


@dataclass(frozen=True, slots=True)
class Conflict:
    """A destination recorded as ours whose target is no member's interface: we leave it alone."""

    table: str
    destination: Prefix
    target: str


@dataclass(frozen=True, slots=True)
class Owned:
    """Route tables with our routes marked, and the recorded destinations that lead elsewhere."""

    tables: tuple[RouteTable, ...]
    conflicts: tuple[Conflict, ...]


def mark_owned(
    tables: Iterable[RouteTable], records: Mapping[str, frozenset[Prefix]], interfaces: frozenset[str]
) -> Owned:
    """Which routes are ours: recorded, and pointing at one of the members' *interfaces*.

    Any other recorded destination is foreign until it is adopted: somebody else put
    that route there.
    """
    marked, conflicts = [], []
    for table in tables:
        recorded = records.get(table.id, frozenset())
        routes = []
        for route in table.routes:
            ours = route.destination in recorded and route.target in interfaces
            if isinstance(route.destination, Prefix) and route.destination in recorded and not ours:
                conflicts.append(Conflict(table.id, route.destination, route.target))
            routes.append(replace(route, owned=True) if ours else route)
        marked.append(replace(table, routes=tuple(routes)))
    return Owned(tuple(marked), tuple(conflicts))


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """The observed facts by which a node is judged: its instance, our verdict, and its agent's report."""

    instance: Instance
    verdict: Verdict | None
    acknowledged: int
    """Generation of its subnet's map that its kernel holds; 0 before the first."""
    heard: datetime | None = None
    """When its agent last wrote; None before the first time."""
    is_stray: bool = False
    """Whether it does not show as a member any more: it ranks with the draining."""


def is_routable(member: Member, facts: NodeFacts) -> bool:
    """Whether packets for its blocks would arrive: it runs, EC2 lets them in, its kernel is set up.

    A word that we do not know says nothing against what its agent has acknowledged.
    """
    since = max((block.since for block in member.blocks), default=None)
    state = facts.instance.state
    return (
        since is not None
        and (state is InstanceState.RUNNING or not state.is_known)
        and not facts.instance.source_dest_check
        and facts.acknowledged >= since
    )


def node_health(facts: NodeFacts, *, now: datetime) -> Health:
    """Failed on EC2's word (it does not run) or on ours; suspect when its agent has fallen silent."""
    state = facts.instance.state
    if state.is_known and state not in (InstanceState.PENDING, InstanceState.RUNNING):
        return Health.FAILED  # a word that we do not know says nothing
    judged = health(facts.verdict, now=now)
    silent = facts.heard is not None and now - facts.heard > SILENCE
    return Health.SUSPECT if silent and judged is Health.HEALTHY else judged


def node_state(member: Member, facts: NodeFacts) -> NodeState:
    """Joining until its blocks were handed out once or packets for them would arrive, and while it boots.

    A stray drains: others take over what it relays, where there are others.
    """
    boots = facts.instance.state is InstanceState.PENDING
    if boots or (not any(block.ready for block in member.blocks) and not is_routable(member, facts)):
        return NodeState.JOINING
    return NodeState.DRAINING if facts.is_stray or is_handing_over(facts.verdict) else NodeState.READY


def make_node(member: Member, facts: NodeFacts, ready: Iterable[HeldBlock], *, now: datetime) -> Node:
    """The planner's view of a member; *ready* are all ready blocks of its subnet."""
    behind = {block.prefix for block in ready if block.since > facts.acknowledged}
    instance = facts.instance
    return Node(
        id=member.id,
        subnet=member.subnet,
        network_interface=member.network_interface,
        blocks=member.prefixes,
        state=node_state(member, facts),
        health=node_health(facts, now=now),
        capacity=member.capacity,
        forwarder=instance.forwarder,
        spot=instance.spot,
        behind=frozenset(behind.difference(member.prefixes)),
    )


def make_cluster(
    name: str,
    pod_cidrs: tuple[Prefix, ...],
    survey: Survey,
    tables: tuple[RouteTable, ...],
    *,
    members: Iterable[Member],
    facts: Mapping[str, NodeFacts],
    supernets: Mapping[str, tuple[Prefix, ...]],
    now: datetime,
    released: Iterable[Prefix] = (),
) -> Cluster:
    """All facts as the planner wants them. Members without *facts* are gone and have no node.

    Borrowed space that is *released* lies in its lender's supernet, whose route may cover it.
    """
    present = [member for member in members if member.id in facts]
    ready: dict[str, list[HeldBlock]] = {}
    for member in present:
        ready.setdefault(member.subnet, []).extend(block for block in member.blocks if block.ready)
    subnets = {subnet.id: subnet.availability_zone for subnet in survey.subnets}
    owned = [prefix for several in supernets.values() for prefix in several]
    return Cluster(
        name=name,
        pod_cidrs=pod_cidrs,
        vpc_cidrs=survey.vpc_cidrs,
        subnets=tuple(
            Subnet(identity, tuple(sorted(supernets.get(identity, ()))), zone)
            for identity, zone in sorted(subnets.items())
        ),
        nodes=tuple(
            make_node(member, facts[member.id], ready[member.subnet], now=now)
            for member in sorted(present, key=lambda member: member.id)
            if member.blocks
        ),
        route_tables=tables,
        released=tuple(sorted(one for one in released if not any(net.contains(one) for net in owned))),
    )
