"""What an operator sees of a cluster: nodes, routes and tables as they are, and what is wrong with them.

The online commands ask and print it; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from podway.domain.addressing import Prefix
from podway.domain.health.verdict import Verdict
from podway.domain.inventory import HeldBlock, Instance, Member
from podway.domain.members.cluster import Conflict
from podway.domain.model import (
    Cluster,
    Health,
    Hole,
    Node,
    NodeState,
    Plan,
    Route,
    RouteKind,
    RouteState,
    RouteTable,
    TablePlan,
)
from podway.domain.routing import Block, Facts, TableFacts, is_in_service


@dataclass(frozen=True, slots=True)
class Heard:
    """An agent's last report: the generation that its kernel holds, and when it said so."""

    generation: int
    at: datetime


class Ownership(StrEnum):
    """Whose a route inside the pod CIDR is."""

    MANAGED = "managed"
    FOREIGN = "foreign"
    TAKEN = "taken"
    """Recorded as ours, but its target is no member's: left alone."""


@dataclass(frozen=True, slots=True)
class RouteView:
    """A present route inside the pod CIDR; *wanted* is the next hop that the plan has for it."""

    table: str
    destination: Prefix
    target: str
    next_hop: str | None
    ownership: Ownership
    kind: RouteKind | None
    state: RouteState
    wanted: str | None
    relays: bool
    """Whether it carries blocks that are not its next hop's own."""
    standbys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TableView:
    """A managed table: its routes of ours against the budget, and the blocks that it leaves out."""

    id: str
    subnets: tuple[str, ...]
    quota: int
    routes: Mapping[int, int]
    """Managed routes, per address family."""
    budget: Mapping[int, int]
    steps: int
    """Those that the next run of reconcile would make."""
    holes: tuple[Hole, ...]


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node, what it does, and the evidence against it."""

    id: str
    subnet: str
    network_interface: str
    address: str
    state: NodeState
    health: Health
    blocks: tuple[HeldBlock, ...]
    routes: int
    """Managed routes that lead to it."""
    forwards: int
    """Those of them that carry blocks of others."""
    spot: bool
    heard: Heard | None
    newest: int
    """Generation of its subnet's map: a lower one in *heard* means that its agent is behind."""
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything at one moment."""

    cluster: str
    nodes: tuple[NodeView, ...]
    tables: tuple[TableView, ...]
    routes: tuple[RouteView, ...]
    frozen: Mapping[str, str]
    """Subnets in which nothing is taken from present forwarders, and why."""
    warnings: tuple[str, ...] = ()

    def forwarders(self) -> tuple[str, ...]:
        """Nodes that carry blocks of others."""
        return tuple(node.id for node in self.nodes if node.forwards)

    def unhealthy(self) -> tuple[NodeView, ...]:
        """Nodes that failed or are suspect, or against which there is evidence."""
        return tuple(
            node
            for node in self.nodes
            if node.health is not Health.HEALTHY or (node.verdict is not None and node.verdict.evidence)
        )


@dataclass(frozen=True, slots=True)
class OverviewFacts:
    """What an overview is made from; the routes of *cluster* are marked as owned."""

    cluster: Cluster
    planned: Plan
    members: tuple[Member, ...]
    instances: tuple[Instance, ...]
    verdicts: Mapping[str, Verdict]
    heard: Mapping[str, Heard]
    newest: Mapping[str, int]
    """Generation of each subnet's map."""
    conflicts: tuple[Conflict, ...] = ()
    frozen: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def overview(facts: OverviewFacts) -> Overview:
    """The cluster as it is, sorted by ids and addresses."""
    families = {version: Facts(facts.cluster, version) for version in (4, 6)}
    plans = {table.table: table for table in facts.planned.route_tables}
    tables, routes = [], []
    for table in sorted(facts.cluster.route_tables, key=lambda one: one.id):
        looks = [_Look(TableFacts(table, families[version])) for version in _families(facts.cluster)]
        tables.append(_table_view(table, looks, plans.get(table.id)))
        routes += [route for look in looks for route in _route_views(look, plans.get(table.id), facts)]
    return Overview(
        cluster=facts.cluster.name,
        nodes=tuple(_node_views(facts, routes)),
        tables=tuple(tables),
        routes=tuple(routes),
        frozen=facts.frozen,
        warnings=facts.warnings,
    )


def _families(cluster: Cluster) -> list[int]:
    return sorted({cidr.version for cidr in cluster.pod_cidrs})


class _Look:
    """One family of one table: which route catches each block that must be reachable."""

    def __init__(self, seen: TableFacts) -> None:
        self.seen, self.facts = seen, seen.facts
        self.routes: dict[Prefix, str] = {
            **{prefix: route.target for prefix, route in seen.foreign.items()},
            **seen.managed,
        }
        lengths = sorted({prefix.length for prefix in self.routes}, reverse=True)
        self.caught: dict[Prefix, list[Block]] = {}
        self.holes: list[Hole] = []
        for block in self.facts.blocks:
            around = (block.prefix.at(length) for length in lengths if length <= block.prefix.length)
            match = next((prefix for prefix in around if prefix in self.routes), None)
            if match is not None:
                self.caught.setdefault(match, []).append(block)
            if self.facts.nodes[block.node].subnet != seen.own_subnet:
                reason = self._why_not(block, match)
                if reason:
                    self.holes.append(Hole(block.prefix, reason))

    def hop(self, prefix: Prefix) -> Node | None:
        """The node that the route for *prefix* leads to."""
        number = self.facts.by_interface.get(self.routes[prefix])
        return None if number is None else self.facts.nodes[number]

    def kind(self, prefix: Prefix) -> RouteKind:
        """Direct, or aggregated, as it stands."""
        owners = {self.facts.nodes[block.node].id for block in self.caught.get(prefix, ())}
        hop = self.hop(prefix)
        return RouteKind.DIRECT if hop is not None and owners == {hop.id} else RouteKind.AGGREGATED

    def relays(self, prefix: Prefix) -> bool:
        """Whether the route carries blocks that are not its next hop's own."""
        hop = self.hop(prefix)
        return hop is not None and any(
            self.facts.nodes[block.node].id != hop.id for block in self.caught.get(prefix, ())
        )

    def _why_not(self, block: Block, match: Prefix | None) -> str:
        """Why the block is not reached; empty if it is."""
        owner = self.facts.nodes[block.node]
        if match is None:
            return f"no route catches the block of {owner.id}"
        if match not in self.seen.managed:
            return f"{match} catches it, which is not ours and leads to {self.routes[match]}"
        hop = self.hop(match)
        if hop is None:
            return f"{match} leads to {self.routes[match]}, which is no node's"
        if hop.subnet == owner.subnet and is_in_service(hop):  # a suspect or draining one forwards too
            return ""
        if hop.subnet != owner.subnet:
            return f"{match} leads to {hop.id} in {hop.subnet}, away from {owner.id}"
        return f"{match} leads to {hop.id}, which is {hop.state} and {hop.health}"


def _table_view(table: RouteTable, looks: list[_Look], wanted: TablePlan | None) -> TableView:
    return TableView(
        id=table.id,
        subnets=table.subnets,
        quota=table.quota,
        routes={look.facts.version: len(look.seen.managed) for look in looks},
        budget={look.facts.version: look.seen.budget for look in looks},
        steps=len(wanted.steps) if wanted else 0,
        holes=tuple(hole for look in looks for hole in look.holes),
    )


def _route_views(look: _Look, wanted: TablePlan | None, facts: OverviewFacts) -> Iterator[RouteView]:
    taken = {one.destination for one in facts.conflicts if one.table == look.seen.table.id}
    planned = {route.destination: route for route in wanted.routes} if wanted else {}
    for prefix, route in sorted(_inside(look.seen, facts.cluster.pod_cidrs), key=lambda one: one[0]):
        managed = prefix in look.seen.managed
        hop = look.hop(prefix) if prefix in look.routes else None
        aim = planned.get(prefix)
        foreign = Ownership.TAKEN if prefix in taken else Ownership.FOREIGN
        yield RouteView(
            table=look.seen.table.id,
            destination=prefix,
            target=route.target,
            next_hop=hop.id if hop else None,
            ownership=Ownership.MANAGED if managed else foreign,
            kind=look.kind(prefix) if managed else None,
            state=route.state,
            wanted=aim.next_hop if aim else None,
            relays=managed and look.relays(prefix),
            standbys=aim.standbys if aim else (),
        )


def _inside(seen: TableFacts, pod_cidrs: Iterable[Prefix]) -> Iterator[tuple[Prefix, Route]]:
    cidrs = [cidr for cidr in pod_cidrs if cidr.version == seen.facts.version]
    for route in seen.table.routes:
        destination = route.destination
        if isinstance(destination, Prefix) and any(cidr.contains(destination) for cidr in cidrs):
            yield destination, route


def _node_views(facts: OverviewFacts, routes: Iterable[RouteView]) -> Iterator[NodeView]:
    nodes = {node.id: node for node in facts.cluster.nodes}
    spot = {instance.id for instance in facts.instances if instance.spot}
    leading: dict[str, list[RouteView]] = {}
    for route in routes:
        if route.next_hop is not None and route.ownership is Ownership.MANAGED:
            leading.setdefault(route.next_hop, []).append(route)
    for member in sorted(facts.members, key=lambda one: one.id):
        mine = leading.get(member.id, [])
        yield _node_view(member, nodes.get(member.id), mine, facts, spot=member.id in spot)


def _node_view(
    member: Member, node: Node | None, mine: list[RouteView], facts: OverviewFacts, *, spot: bool
) -> NodeView:
    """A member without blocks is no node to the planner yet: it joins."""
    return NodeView(
        id=member.id,
        subnet=member.subnet,
        network_interface=member.network_interface,
        address=member.address,
        state=node.state if node else NodeState.JOINING,
        health=node.health if node else Health.HEALTHY,
        blocks=member.blocks,
        routes=len(mine),
        forwards=sum(one.relays for one in mine),
        spot=spot,
        heard=facts.heard.get(member.id),
        newest=facts.newest.get(member.subnet, 0),
        verdict=facts.verdicts.get(member.id),
    )
