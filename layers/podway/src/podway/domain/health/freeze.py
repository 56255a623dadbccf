"""Freezes a subnet of which so much fails that the monitor is the likelier fault: forwarders go on relaying.

Reconcile asks before it plans. A plan made of such news would take every route away (fail static, I6).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace

from podway.domain.addressing import Prefix
from podway.domain.model import (
    Cluster,
    Delete,
    Health,
    Node,
    NodeState,
    Plan,
    Replace,
    RouteTable,
    StayReason,
    Step,
)
from podway.domain.routing import eligible, is_in_service


@dataclass(frozen=True, slots=True)
class Frozen:
    """The cluster to plan for, and the subnets in which nothing is taken from present forwarders."""

    cluster: Cluster
    subnets: Mapping[str, StayReason]
    spared: frozenset[str] = frozenset()
    """Interfaces of which no route is taken: suspects that count as eligible there, and strays."""
    strays: frozenset[str] = frozenset()
    """The nodes among them that EC2 does not show as members."""


def freeze(cluster: Cluster, missing: Container[str] = (), unsaid: Container[str] = ()) -> Frozen:
    """The cluster in which the present forwarders of frozen subnets count as eligible.

    Frozen if any holds, of the nodes that have not failed: (1) more than half of the subnet's are suspect;
    (2) more than half of the cluster's are, and one of the subnet's; (3) the subnet has nodes in service,
    and none is eligible.

    A failed node never counts as eligible: EC2's states are definitive. If no forwarder is left, and no
    node is eligible, all nodes in service count: any of them is better than none.

    *missing* are nodes that EC2 does not show, as it does not show a mass of them. They get nothing new, and
    unless they have failed they lose nothing. *unsaid* are those of whom it says nothing: these lose nothing
    while there is no evidence against them.
    """
    everywhere = _is_mass(cluster.nodes)
    frozen = {
        subnet.id: why
        for subnet in cluster.subnets
        if (why := _why_frozen([node for node in cluster.nodes if node.subnet == subnet.id], everywhere))
        is not None
    }
    strays = [
        node
        for node in cluster.nodes
        if (node.id in missing and node.health is not Health.FAILED)
        or (node.id in unsaid and node.health is Health.HEALTHY)
    ]
    names, kept = frozenset(one.id for one in strays), frozenset(one.network_interface for one in strays)
    if not frozen:
        return Frozen(cluster, {}, kept, names)
    busy = relaying(cluster.nodes, cluster.route_tables)
    spared = {
        node.id
        for subnet in frozen
        for node in _spared([node for node in cluster.nodes if node.subnet == subnet], busy)
    }
    nodes = tuple(
        replace(node, state=NodeState.READY, health=Health.HEALTHY) if node.id in spared else node
        for node in cluster.nodes
    )
    trusted = frozenset(
        node.network_interface
        for node in cluster.nodes
        if node.id in spared and node.health is Health.SUSPECT and node.state is NodeState.READY
    )
    return Frozen(replace(cluster, nodes=nodes), frozen, trusted | kept, names)


def keep_routes(planned: Plan, frozen: Frozen) -> Plan:
    """The plan without the steps that take a route from a spared interface.

    Reconcile asks after it has planned. The planner may relieve those who are spared, because of their load
    or because others rank before them; but indirect evidence and absence alone must change nothing. The
    routes left out carry as well.
    """
    if not frozen.spared:
        return planned
    tables = (replace(one, steps=_without(one.steps, frozen.spared)) for one in planned.route_tables)
    return replace(planned, route_tables=tuple(tables))


def keep_in_doubt(planned: Plan, tables: Iterable[str], cluster: Cluster) -> Plan:
    """The plan in which these *tables* lose no more than what leads to nodes that have failed or are gone.

    It is not known whom they steer (`domain.tables.in_doubt`): each of their routes may be needed.
    """
    doubted = frozenset(tables)
    if not doubted:
        return planned
    living = {node.network_interface for node in cluster.nodes if node.health is not Health.FAILED}
    kept = (
        replace(one, steps=tuple(step for step in one.steps if _relieves_the_dead(step, living)))
        if one.table in doubted
        else one
        for one in planned.route_tables
    )
    return replace(planned, route_tables=tuple(kept))


def _relieves_the_dead(step: Step, living: Container[str]) -> bool:
    return isinstance(step, Replace | Delete) and step.was not in living


def _without(steps: Iterable[Step], spared: Container[str]) -> tuple[Step, ...]:
    """Without the steps that take a route from a *spared* interface, and what follows on the same route."""
    left: list[Step] = []
    held: set[Prefix] = set()
    for step in steps:
        if step.destination in held or (isinstance(step, Replace | Delete) and step.was in spared):
            held.add(step.destination)
        else:
            left.append(step)
    return tuple(left)


def _is_mass(nodes: Iterable[Node]) -> bool:
    """Whether more than half of the nodes that EC2 lets live are suspect."""
    alive = [node for node in nodes if node.health is not Health.FAILED]
    return 2 * sum(node.health is Health.SUSPECT for node in alive) > len(alive)


def _why_frozen(nodes: list[Node], everywhere: bool) -> StayReason | None:
    if _is_mass(nodes):
        return StayReason.FROZEN
    if everywhere and any(node.health is Health.SUSPECT for node in nodes):
        return StayReason.CLUSTER_FROZEN
    if any(is_in_service(node) for node in nodes) and not any(eligible(node) for node in nodes):
        return StayReason.NOBODY
    return None


def _spared(nodes: list[Node], busy: Container[str]) -> list[Node]:
    living = [node for node in nodes if is_in_service(node)]
    present = [node for node in living if node.id in busy]
    return present if present or any(map(eligible, living)) else living


def relaying(nodes: Iterable[Node], tables: Iterable[RouteTable]) -> set[str]:
    """Nodes that some route of ours leads to for more than their own blocks."""
    by_interface = {node.network_interface: node for node in nodes}
    found = set()
    for table in tables:
        for route in table.routes:
            node = by_interface.get(route.target)
            if node is None or not route.owned or not isinstance(route.destination, Prefix):
                continue
            if not any(block.contains(route.destination) for block in node.blocks):
                found.add(node.id)
    return found
