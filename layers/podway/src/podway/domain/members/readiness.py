"""Which blocks are ready: pods may use them, since packets would arrive.

Reconcile asks last, when it has applied what it could of a plan.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from podway.domain.inventory import HeldBlock, Member
from podway.domain.model import Cluster, Node, NodeState, Plan, Route, RouteKind, RouteTable
from podway.domain.routing import eligible, longest_match


def mark_ready(
    members: Iterable[Member],
    cluster: Cluster,
    plan: Plan,
    *,
    tables: Iterable[RouteTable],
    acknowledged: Mapping[str, int],
    barred: Collection[str] = (),
) -> tuple[Member, ...]:
    """The members with every block marked ready that pods may use now.

    A block becomes ready when all hold: (1) every table that must carry it matches it by a route to its own
    node or to an eligible one of its subnet; (2) its own node, those next hops and the first standbys have
    acknowledged it. A direct route has no standby: it dies with its node. A next hop is *barred* while a
    failover moves its routes, and covers only its own blocks. A ready block stays ready: pods live on it.

    The table of the block's own subnet need not carry it, since senders there use host routes. But siblings
    whose agents do not know the block yet send by that table, so the node that it leads to must know it.
    """
    needs = _Needs(cluster, plan, tuple(tables), barred)
    joined = {node.id for node in cluster.nodes if node.state is not NodeState.JOINING}

    def is_covered(member: Member, block: HeldBlock) -> bool:
        awaited = needs.knowing(member, block)
        return awaited is not None and all(acknowledged.get(one, 0) >= block.since for one in awaited)

    def settled(member: Member) -> Member:
        blocks = tuple(
            replace(block, ready=True) if not block.ready and is_covered(member, block) else block
            for block in member.blocks
        )
        return replace(member, blocks=blocks)

    return tuple(settled(member) if member.id in joined else member for member in members)


class _Needs:
    """Whom a block waits for."""

    def __init__(
        self, cluster: Cluster, plan: Plan, tables: tuple[RouteTable, ...], barred: Collection[str]
    ) -> None:
        self._tables, self._barred = tables, barred
        self._nodes = {node.network_interface: node for node in cluster.nodes}
        self._standbys = {
            (table.table, route.destination): route.standbys[:1]
            for table in plan.route_tables
            for route in table.routes
            if route.kind is RouteKind.AGGREGATED  # nobody takes over a direct route
        }

    def knowing(self, member: Member, block: HeldBlock) -> set[str] | None:
        """The nodes that must have acknowledged the block; None while a table does not carry it."""
        found = {member.id}
        for table in self._tables:
            led = self._way(table, member, block)
            if table.subnets == (member.subnet,):
                found |= {led[1].id} if led else set()
            elif led is None:
                return None
            else:
                route, hop = led
                found |= {hop.id, *self._standbys.get((table.id, route.destination), ())}  # type: ignore[arg-type]  # matched routes have a Prefix
        return found

    def _way(self, table: RouteTable, member: Member, block: HeldBlock) -> tuple[Route, Node] | None:
        """The route by which the table leads to the block, and its next hop; None if it may not carry it."""
        route = longest_match(table.routes, block.prefix)
        hop = self._nodes.get(route.target) if route is not None else None
        if route is None or hop is None or hop.subnet != member.subnet:
            return None
        relays = eligible(hop) and hop.network_interface not in self._barred
        return (route, hop) if hop.id == member.id or relays else None
