"""Where a packet to an address goes, and where it would go if the next hop died. ``podway explain`` asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from podway.domain.addressing import Prefix
from podway.domain.model import Cluster, Health, Node, Plan, PlannedRoute, RouteKind, RouteTable
from podway.domain.planner.plan import plan
from podway.domain.routing import Facts, TableFacts, is_in_service


class PathVerdict(StrEnum):
    """What becomes of the packet."""

    DIRECT = "direct"
    RELAYED = "relayed"
    SAME_SUBNET = "same-subnet"
    UNALLOCATED = "unallocated"
    HOLE = "hole"
    FOREIGN = "foreign"
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Path:
    """The way of a packet from one subnet."""

    subnet: str
    route_table: str | None
    route: Prefix | None
    next_hop: str | None
    relayed: bool
    node: str | None
    verdict: PathVerdict
    reason: str = ""
    """Why nothing reaches it, for a hole."""
    if_next_hop_dies: Path | None = None


def explain(cluster: Cluster, address: Prefix, *, sources: Sequence[str] | None = None) -> tuple[Path, ...]:
    """The path to *address* from each source subnet (all by default) once the tables are as planned.

    ``if_next_hop_dies`` is the path after failover has moved that node's routes to their first standbys.
    """
    made = plan(cluster)
    subnets = [subnet.id for subnet in cluster.subnets] if sources is None else list(sources)
    after: dict[str, tuple[Cluster, Plan]] = {}
    paths = []
    for subnet in subnets:
        path = _path(cluster, made, address, subnet)
        if path.next_hop is not None:
            if path.next_hop not in after:
                after[path.next_hop] = _failed_over(cluster, made, path.next_hop)
            path = replace(path, if_next_hop_dies=_path(*after[path.next_hop], address, subnet))
        paths.append(path)
    return tuple(paths)


def _failed_over(cluster: Cluster, made: Plan, dead: str) -> tuple[Cluster, Plan]:
    """The cluster and its tables after failover, and after reconcile has removed what failover did not move.

    Failover moves aggregated routes and anchors: those that are on cards (``failover.cards``).
    """
    nodes = tuple(replace(n, health=Health.FAILED) if n.id == dead else n for n in cluster.nodes)
    anchors = {supernet for subnet in cluster.subnets for supernet in subnet.supernets}
    interfaces = {node.id: node.network_interface for node in cluster.nodes}

    def moved(route: PlannedRoute) -> PlannedRoute | None:
        if route.next_hop != dead:
            return route
        if route.kind is RouteKind.DIRECT and route.destination not in anchors:
            return None
        if not route.standbys:
            return route
        first = route.standbys[0]
        return replace(route, next_hop=first, network_interface=interfaces[first])

    tables = tuple(
        replace(table, routes=tuple(after for route in table.routes if (after := moved(route)) is not None))
        for table in made.route_tables
    )
    return replace(cluster, nodes=nodes), replace(made, route_tables=tables)


def _table_of(cluster: Cluster, subnet: str) -> RouteTable | None:
    """The subnet's table; one without explicit subnets (the main table) serves the rest."""
    tables = sorted(cluster.route_tables, key=lambda table: table.id)
    named = [table for table in tables if subnet in table.subnets]
    return next(iter([*named, *(table for table in tables if not table.subnets)]), None)


def _owner(cluster: Cluster, address: Prefix) -> Node | None:
    return next((n for n in cluster.nodes if any(block.contains(address) for block in n.blocks)), None)


def _path(cluster: Cluster, made: Plan, address: Prefix, subnet: str) -> Path:
    table = _table_of(cluster, subnet)
    owner = _owner(cluster, address)
    base = Path(
        subnet=subnet,
        route_table=table.id if table else None,
        route=None,
        next_hop=None,
        relayed=False,
        node=owner.id if owner else None,
        verdict=PathVerdict.HOLE if owner else PathVerdict.UNALLOCATED,
    )
    if not any(cidr.contains(address) for cidr in cluster.pod_cidrs):
        return replace(base, verdict=PathVerdict.OUTSIDE)
    if owner is not None and owner.subnet == subnet and is_in_service(owner):
        return replace(base, verdict=PathVerdict.SAME_SUBNET)
    if table is None:
        return replace(base, reason=f"no route table serves {subnet}")
    path = _over(base, _match(cluster, made, table, address), owner, cluster.nodes)
    if path.verdict is not PathVerdict.HOLE or owner is None:
        return path
    return replace(path, reason=_why(made, path, owner, address))


def _over(base: Path, route: PlannedRoute | Prefix | None, owner: Node | None, nodes: Sequence[Node]) -> Path:
    """The path once it is known what catches the address in the table."""
    if isinstance(route, Prefix):
        return replace(base, route=route, verdict=PathVerdict.FOREIGN)
    if route is None:
        return base
    base = replace(base, route=route.destination, next_hop=route.next_hop)
    if owner is None or not is_in_service(owner):
        return base
    if any(node.id == route.next_hop and node.health is Health.FAILED for node in nodes):
        return base
    relayed = route.next_hop != owner.id
    return replace(base, relayed=relayed, verdict=PathVerdict.RELAYED if relayed else PathVerdict.DIRECT)


def _why(made: Plan, path: Path, owner: Node, address: Prefix) -> str:
    if owner.health is Health.FAILED:
        return f"{owner.id} has failed"
    if not is_in_service(owner):
        return f"{owner.id} is {owner.state}"
    planned = next(table for table in made.route_tables if table.table == path.route_table)
    if path.next_hop is not None:
        return f"{path.next_hop} has failed and no standby is eligible"
    found = next((hole.reason for hole in planned.holes if hole.block.contains(address)), "")
    return found or f"no route of {path.route_table} catches it"


def _match(cluster: Cluster, made: Plan, table: RouteTable, address: Prefix) -> PlannedRoute | Prefix | None:
    """The planned route that catches the address, or the destination of the foreign one that does."""
    planned = next(entry for entry in made.route_tables if entry.table == table.id)
    foreign = TableFacts(table, Facts(cluster, address.version)).foreign
    ours = [route for route in planned.routes if route.destination.contains(address)]
    best = max(ours, key=lambda route: route.destination.length, default=None)
    captor = max((p for p in foreign if p.contains(address)), key=lambda p: p.length, default=None)
    if captor is not None and (best is None or captor.length > best.destination.length):
        return captor
    return best
