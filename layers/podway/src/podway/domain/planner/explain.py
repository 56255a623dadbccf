"""Where a packet to an address goes, and where it would go if the next hop died."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from podway.domain.addressing import Prefix
from podway.domain.model import Cluster, Health, Node, Plan, PlannedRoute, Route, RouteTable
from podway.domain.planner.plan import plan
from podway.domain.routing import Facts, TableFacts, owed


class Verdict(StrEnum):
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
    verdict: Verdict
    if_next_hop_dies: Path | None = None


def explain(cluster: Cluster, address: Prefix, *, sources: Sequence[str] | None = None) -> tuple[Path, ...]:
    """The path to *address* from each source subnet (all by default) once the tables are as planned."""
    made = plan(cluster)
    subnets = [subnet.id for subnet in cluster.subnets] if sources is None else list(sources)
    settled = _settled(cluster, made)
    after: dict[str, tuple[Cluster, Plan]] = {}
    paths = []
    for subnet in subnets:
        path = _path(cluster, made, address, subnet)
        if path.next_hop is not None:
            if path.next_hop not in after:
                worse = _without(settled, path.next_hop)
                after[path.next_hop] = (worse, plan(worse, improve=0))
            path = replace(path, if_next_hop_dies=_path(*after[path.next_hop], address, subnet))
        paths.append(path)
    return tuple(paths)


def _settled(cluster: Cluster, made: Plan) -> Cluster:
    """The cluster after the plan was carried out."""
    tables = []
    for table in sorted(cluster.route_tables, key=lambda table: table.id):
        planned = next(entry for entry in made.route_tables if entry.table == table.id)
        facts = [TableFacts(table, Facts(cluster, cidr.version)) for cidr in cluster.pod_cidrs]
        others = [route for route in table.routes if not any(fact.manages(route) for fact in facts)]
        ours = [Route(route.destination, route.network_interface, owned=True) for route in planned.routes]
        tables.append(replace(table, routes=(*others, *ours)))
    return replace(cluster, route_tables=tuple(tables))


def _without(cluster: Cluster, dead: str) -> Cluster:
    nodes = tuple(replace(n, health=Health.FAILED) if n.id == dead else n for n in cluster.nodes)
    return replace(cluster, nodes=nodes)


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
        verdict=Verdict.HOLE if owner else Verdict.UNALLOCATED,
    )
    if not any(cidr.contains(address) for cidr in cluster.pod_cidrs):
        return replace(base, verdict=Verdict.OUTSIDE)
    if owner is not None and owner.subnet == subnet and owed(owner):
        return replace(base, verdict=Verdict.SAME_SUBNET)
    return base if table is None else _over(base, _match(cluster, made, table, address), owner)


def _over(base: Path, route: PlannedRoute | Prefix | None, owner: Node | None) -> Path:
    """The path once it is known what catches the address in the table."""
    if isinstance(route, Prefix):
        return replace(base, route=route, verdict=Verdict.FOREIGN)
    if route is None:
        return base
    base = replace(base, route=route.destination, next_hop=route.next_hop)
    if owner is None or not owed(owner):
        return base
    relayed = route.next_hop != owner.id
    return replace(base, relayed=relayed, verdict=Verdict.RELAYED if relayed else Verdict.DIRECT)


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
