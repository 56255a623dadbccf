"""Failover cards from a plan: what must move at once when a node fails, and to whom.

Reconcile asks once a run, and writes the cards before it changes a route.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from podway.domain.addressing import WIDTH, Prefix
from podway.domain.failover.decide import Card, CardRoute, Standby
from podway.domain.health.watchers import assign_watchers
from podway.domain.model import Cluster, Node, Plan, PlannedRoute, RouteKind


def make_cards(
    plan: Plan, cluster: Cluster, *, watched: Collection[str] = (), joining: Collection[str] = ()
) -> tuple[Card, ...]:
    """A card for every node: the routes through it that carry blocks of others, and all anchors.

    A card names the routes that the plan gives the node and those that still lead to it: until a route is
    moved, its node can die with it. It names no direct route: that of a dead node leads to dead pods.

    Nodes with watchers: those that relay, and those of *watched*, which relay no more but are under vote.
    Nodes whose acknowledgement blocks wait for: next hops, first standbys, and the *joining*.
    """
    nodes = {node.id: node for node in cluster.nodes}
    sizes = Counter(node.subnet for node in cluster.nodes)
    weigh = _Weights(cluster)
    routes: dict[str, list[CardRoute]] = {identity: [] for identity in nodes}
    for table in plan.route_tables:
        for route in table.routes:
            weight = weigh.relayed(route.destination, route.next_hop)
            # the block of a joining node makes no route aggregated yet, and may be ready in a moment
            if weight or route.kind is RouteKind.AGGREGATED or weigh.is_anchor(route.destination):
                standbys = _standbys(route.standbys, nodes)
                routes[route.next_hop].append(CardRoute(table.table, route.destination, standbys, weight))
    here = {node.network_interface: (node.id, node.subnet) for node in cluster.nodes}
    for hop, leaving in _moving_away(plan, cluster, here, weigh).items():
        routes[hop] += leaving
    standing_by = {one.standbys[0].node for held in routes.values() for one in held if one.standbys}
    relaying = {node for node, held in routes.items() if _relays(held)}
    watchers = assign_watchers(cluster, relaying.union(watched))
    return tuple(
        Card(
            node.id,
            node.subnet,
            node.network_interface,
            sizes[node.subnet],
            tuple(routes[node.id]),
            cluster_size=len(cluster.nodes),
            watchers=watchers.get(node.id, ()),
            is_awaited=bool(routes[node.id]) or node.id in standing_by or node.id in joining,
        )
        for node in cluster.nodes
    )


def ended_cards(plan: Plan, cluster: Cluster, stored: Iterable[Card]) -> tuple[Card, ...]:
    """The *stored* cards of nodes that the cluster has no more: they name what still leads to them.

    The failover of such a node may be at work just now, or come late. Nothing else of the card changes.
    """
    nodes = {node.id for node in cluster.nodes}
    ended = [card for card in stored if card.node not in nodes]
    if not ended:
        return ()
    gone = {card.network_interface: (card.node, card.subnet) for card in ended}
    leaving = _moving_away(plan, cluster, gone, _Weights(cluster))
    return tuple(
        replace(one, routes=tuple(leaving.get(one.node, ())), version=0, claim=None) for one in ended
    )


def keep_unseen(
    cards: Iterable[Card], stored: Mapping[str, Card], *, nodes: Collection[str], tables: Collection[str]
) -> tuple[Card, ...]:
    """The cards with what the *stored* ones say of *nodes* and *tables* that EC2 does not show.

    Such a node stays a standby, ranked last: that it is not shown is no reason to leave a route without one.
    The routes of such a table stay on their cards.
    """
    if not (nodes or tables):
        return tuple(cards)
    before = {
        (card.node, route.table, route.destination): [one for one in route.standbys if one.node in nodes]
        for card in stored.values()
        for route in card.routes
    }

    def kept(card: Card, route: CardRoute) -> CardRoute:
        former = before.get((card.node, route.table, route.destination), [])
        return replace(route, standbys=tuple(dict.fromkeys((*route.standbys, *former))))

    def unseen(card: Card) -> tuple[CardRoute, ...]:
        routes = stored[card.node].routes if card.node in stored else ()
        return tuple(one for one in routes if one.table in tables)

    return tuple(
        replace(card, routes=(*(kept(card, one) for one in card.routes), *unseen(card))) for card in cards
    )


def forwarders(cards: Iterable[Card]) -> frozenset[str]:
    """The nodes that relay: those with a route that carries blocks of others."""
    return frozenset(card.node for card in cards if _relays(card.routes))


def _relays(routes: Iterable[CardRoute]) -> bool:
    return any(route.weight > 0 for route in routes)


def _standbys(ranked: Iterable[str], nodes: Mapping[str, Node]) -> tuple[Standby, ...]:
    return tuple(Standby(one, nodes[one].network_interface) for one in ranked)


def _moving_away(
    plan: Plan, cluster: Cluster, hops: Mapping[str, tuple[str, str]], weigh: _Weights
) -> dict[str, list[CardRoute]]:
    """Anchors and relaying routes that the plan moves or removes, by the node that each leads to now.

    *hops* are the nodes in question: node and subnet by interface. The routes' standbys are the new next hop
    and its standbys, or those of the wider route that takes over.
    """
    nodes = {node.id: node for node in cluster.nodes}
    planned = {
        table.table: {route.destination: route for route in table.routes} for table in plan.route_tables
    }
    found: dict[str, list[CardRoute]] = {}
    for table in cluster.route_tables:
        wanted = planned.get(table.id, {})
        for present in table.routes:
            destination = present.destination
            if not present.owned or present.target not in hops or not isinstance(destination, Prefix):
                continue
            hop, subnet = hops[present.target]
            after = wanted.get(destination)
            if after is not None and after.next_hop == hop:
                continue
            weight = weigh.relayed(destination, hop)
            if not weight and not weigh.is_anchor(destination):
                continue
            after = after or _widening(wanted, destination)
            ranked = (after.next_hop, *after.standbys) if after is not None else ()
            others = [one for one in ranked if one != hop and nodes[one].subnet == subnet]
            route = CardRoute(table.id, destination, _standbys(others, nodes), weight)
            found.setdefault(hop, []).append(route)
    return found


def _widening(wanted: Mapping[Prefix, PlannedRoute], destination: Prefix) -> PlannedRoute | None:
    """The route that catches what *destination* caught, once that is gone."""
    wider = (destination.at(length) for length in range(destination.length - 1, -1, -1))
    return next((wanted[prefix] for prefix in wider if prefix in wanted), None)


class _Weights:
    """What routes carry of whom."""

    def __init__(self, cluster: Cluster) -> None:
        self._anchors = {supernet for subnet in cluster.subnets for supernet in subnet.supernets}
        shares = sorted(
            (block, node.id, node.weight / len(node.blocks))
            for node in cluster.nodes
            for block in node.blocks
        )
        self._blocks = [block for block, _, _ in shares]
        self._shares = [(node, share) for _, node, share in shares]

    def is_anchor(self, destination: Prefix) -> bool:
        return destination in self._anchors

    def relayed(self, destination: Prefix, hop: str) -> float:
        """The weight of others' blocks inside *destination*."""
        last = Prefix(destination.version, destination.last, WIDTH[destination.version])
        inside = slice(bisect_left(self._blocks, destination), bisect_right(self._blocks, last))
        return sum(share for node, share in self._shares[inside] if node != hop)
