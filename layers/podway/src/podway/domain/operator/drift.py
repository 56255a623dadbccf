"""Routes of ours that somebody gave to another of our nodes. Called by reconcile, for what it reports.

EC2 does not say who wrote a route. But when we give a node a route that carries others' blocks, its card
names it: reconcile writes that card before the call, failover after it, and failover claims the card that it
takes the route from. So a route that its next hop's card does not name was not given by us.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from podway.domain.addressing import Prefix
from podway.domain.failover.decide import Card
from podway.domain.inventory import Member
from podway.domain.model import RouteTable
from podway.domain.routing import longest_match


@dataclass(frozen=True, slots=True)
class Diverted:
    """A managed route that leads to *found*, and led to one of *expected*, nodes both."""

    table: str
    destination: Prefix
    found: str
    expected: tuple[str, ...]


def diverted(
    tables: Iterable[RouteTable],
    *,
    members: Iterable[Member],
    cards: Mapping[str, Card],
    doubted: Collection[str] = (),
) -> tuple[Diverted, ...]:
    """The routes of ours that somebody else gave to another member.

    *members* and *cards* are of one time, as the last run left them. A route that a claimed card names is
    left out: a failover moves it or has moved it, and will write the other card. So is a route of *doubted*
    nodes, on whom there is a verdict: reconcile may have rewritten their cards after the table was read.
    """
    members = tuple(members)
    by_interface = {name: member for member in members for name in member.interfaces}
    named: dict[tuple[str, Prefix], list[Card]] = {}
    for card in cards.values():
        for one in card.routes:
            named.setdefault((one.table, one.destination), []).append(card)
    found = []
    for table in tables:
        for route in table.routes:
            hop, destination = by_interface.get(route.target), route.destination
            if not route.owned or hop is None or not isinstance(destination, Prefix):
                continue
            holders = named.get((table.id, destination), [])
            expected = _expected(holders, hop, table, destination, members)
            if expected and not any(node in doubted for node in expected):
                found.append(Diverted(table.id, destination, hop.id, expected))
    return tuple(found)


def _expected(
    holders: list[Card], hop: Member, table: RouteTable, destination: Prefix, members: tuple[Member, ...]
) -> tuple[str, ...]:
    """The nodes that had the route; empty where we may have given it to *hop*, or nobody knows."""
    if any(card.node == hop.id or card.claim is not None for card in holders):
        return ()
    if not holders and any(block.overlaps(destination) for block in hop.prefixes):
        return ()  # a direct route, which is on no card
    owners = _owners(table, destination, members)
    if owners <= {hop.id}:
        return ()  # it has become a direct one, or carries nobody: then cards need not know of it
    return tuple(sorted({card.node for card in holders} or owners))


def _owners(table: RouteTable, destination: Prefix, members: tuple[Member, ...]) -> set[str]:
    """The nodes whose blocks the route catches, or lies inside. Cards do not count blocks of the dead."""
    owners = set()
    for member in members:
        if member.gone_at is not None:
            continue
        for block in member.prefixes:
            if block.contains(destination):
                owners.add(member.id)
            elif destination.contains(block):
                caught = longest_match(table.routes, block)
                if caught is not None and caught.destination == destination:
                    owners.add(member.id)
    return owners
