"""Routes of ours that somebody gave to another of our nodes. Called by reconcile, for what it reports.

EC2 does not say who wrote a route, but whoever of us gives a route that carries others' blocks to a node
writes that node's card, reconcile before and failover after the call, and failover claims the card that it
takes the route from. So a route whose next hop's card does not know it was not given by us.
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

    *members* and *cards* are those of one time, as the last run left them. Where a card that names the route
    bears a claim, a failover moves it or has moved it, and its word is on the way. A run that saw the table
    before and the cards after it has rewritten them: what was with *doubted* nodes, on whom there is a
    verdict, is left out.
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
    """Whose the route was; empty where it may be with *hop* by our own doing, or nobody knows."""
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
