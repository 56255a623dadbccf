"""The maps that agents get: who is in their subnet, and what they must program.

Reconcile asks after it has planned, and publishes each map that differs as its subnet's snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from podway.domain.addressing import Prefix
from podway.domain.inventory import HeldBlock, Member
from podway.domain.model import Cluster, Node, NodeState, Plan, Route, RouteKind
from podway.domain.routing import longest_match


@dataclass(frozen=True, slots=True)
class MapMember:
    """A node as its siblings must know it."""

    id: str
    address: str
    network_interface: str
    state: NodeState
    blocks: tuple[HeldBlock, ...]


@dataclass(frozen=True, slots=True)
class SubnetMap:
    """What the agents of a subnet program. ``generation`` grows with every change of the rest."""

    cluster: str
    subnet: str
    pod_cidrs: tuple[Prefix, ...]
    subnet_cidrs: tuple[Prefix, ...]
    reachable_here: tuple[Prefix, ...]
    elsewhere: tuple[Prefix, ...]
    forwarders: tuple[str, ...]
    members: tuple[MapMember, ...]
    generation: int = 0
    watches: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Each forwarder with the siblings that probe through it."""
    led_here: tuple[Prefix, ...] = ()
    """Of ``reachable_here`` what every table of this subnet leads to its nodes, now and by the plan."""
    epoch: int = 1
    """The store's life that ``generation`` counts in."""


def make_maps(
    cluster: Cluster,
    plan: Plan,
    members: Iterable[Member],
    subnet_cidrs: Mapping[str, tuple[Prefix, ...]],
    watches: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> tuple[SubnetMap, ...]:
    """One map for every subnet that has supernets or members; *watches* names each forwarder's watchers."""
    members = tuple(members)
    return tuple(
        replace(
            _subnet_map(cluster, plan, subnet.id, members, subnet_cidrs.get(subnet.id, ())),
            watches=_watched(cluster, subnet.id, watches),
        )
        for subnet in cluster.subnets
        if subnet.supernets or any(member.subnet == subnet.id for member in members)
    )


def _subnet_map(
    cluster: Cluster,
    plan: Plan,
    subnet: str,
    members: tuple[Member, ...],
    subnet_cidrs: tuple[Prefix, ...],
) -> SubnetMap:
    nodes = {node.id: node for node in cluster.nodes if node.subnet == subnet}
    mine = {prefix for one in cluster.subnets if one.id == subnet for prefix in one.supernets}
    theirs = {prefix for one in cluster.subnets if one.id != subnet for prefix in one.supernets}
    destinations, forwarders = _pointing_here(cluster, plan, nodes)
    reachable = mine | destinations
    return SubnetMap(
        cluster=cluster.name,
        subnet=subnet,
        pod_cidrs=tuple(sorted(cluster.pod_cidrs)),
        subnet_cidrs=tuple(sorted(subnet_cidrs)),
        reachable_here=_widest(reachable),
        led_here=_led_here(cluster, plan, subnet, nodes, _widest(reachable)),
        elsewhere=tuple(sorted(one for one in theirs if any(wide.contains(one) for wide in reachable))),
        forwarders=tuple(sorted(forwarders)),
        members=tuple(
            MapMember(
                member.id,
                member.address,
                member.network_interface,
                nodes[member.id].state if member.id in nodes else NodeState.JOINING,
                member.blocks,
            )
            for member in sorted(members, key=lambda member: member.id)
            if member.subnet == subnet and member.gone_at is None
        ),
    )


def _watched(
    cluster: Cluster, subnet: str, watches: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    here = {node.id for node in cluster.nodes if node.subnet == subnet}
    return tuple(sorted((one, watchers) for one, watchers in watches.items() if one in here and watchers))


def _pointing_here(cluster: Cluster, plan: Plan, nodes: Mapping[str, Node]) -> tuple[set[Prefix], set[str]]:
    """Destinations whose route points, or will point, at these nodes, and the nodes that poll fast.

    Forwarders and first standbys poll fast: blocks wait for their acknowledgement. A node that has only
    direct routes to itself does not, or every node would where a table has no aggregates.
    """
    anchors = {prefix for subnet in cluster.subnets for prefix in subnet.supernets}
    by_interface = {node.network_interface: node.id for node in nodes.values()}
    destinations: set[Prefix] = set()
    forwarders: set[str] = set()
    for table in cluster.route_tables:
        for present in table.routes:
            if present.owned and present.target in by_interface and isinstance(present.destination, Prefix):
                destinations.add(present.destination)
                hop = by_interface[present.target]
                if not any(block.contains(present.destination) for block in nodes[hop].blocks):
                    forwarders.add(hop)
    for planned in plan.route_tables:
        for route in planned.routes:
            if route.next_hop in nodes:
                destinations.add(route.destination)
                if route.kind is RouteKind.AGGREGATED or route.destination in anchors:
                    forwarders.update({route.next_hop, *route.standbys[:1]})
    return destinations, forwarders & nodes.keys()


def _led_here(
    cluster: Cluster, plan: Plan, subnet: str, nodes: Mapping[str, Node], prefixes: Iterable[Prefix]
) -> tuple[Prefix, ...]:
    """Those of *prefixes* that the subnet's own tables lead to *nodes*, now and by the plan.

    A packet for an address in any other that nobody has would be swallowed, or leave the VPC.
    """
    interfaces = {node.network_interface for node in nodes.values()}
    own = [table for table in cluster.route_tables if subnet in table.subnets]
    planned = {
        table.table: [Route(route.destination, route.network_interface) for route in table.routes]
        for table in plan.route_tables
    }
    states = [routes for table in own for routes in (table.routes, planned.get(table.id, ()))]

    def lead(routes: Iterable[Route], prefix: Prefix) -> bool:
        route = longest_match(routes, prefix)
        return route is not None and route.target in interfaces

    return tuple(one for one in prefixes if states and all(lead(routes, one) for routes in states))


def _widest(prefixes: Iterable[Prefix]) -> tuple[Prefix, ...]:
    kept: list[Prefix] = []
    for prefix in sorted(prefixes):
        if not kept or not kept[-1].contains(prefix):
            kept.append(prefix)
    return tuple(kept)
