"""Anchors: the widest route of a supernet is made the supernet's own prefix, wherever that is free.

The draft asks. Longest-prefix match leaves every covered block where it was, so nothing of the optimum is
lost. A new block of the supernet is then covered before it exists, and a join costs no call.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from podway.domain.addressing import Prefix
from podway.domain.planner.problem import TableProblem


def anchored(
    table: TableProblem, routes: Mapping[Prefix, int], *, kept: Collection[Prefix]
) -> dict[Prefix, int]:
    """*routes* (destinations and colours) with one route of every supernet widened to the supernet.

    Routes in *kept* stay as they are: they are in the table, and another prefix would cost two calls.
    """
    wider = dict(routes)
    for supernet, colour in table.spaces:
        chosen = _widest_of(table, wider, supernet, colour, kept)
        if chosen is not None:
            del wider[chosen]
            wider[supernet] = colour
    return wider


def _widest_of(
    table: TableProblem,
    routes: Mapping[Prefix, int],
    supernet: Prefix,
    colour: int,
    kept: Collection[Prefix],
) -> Prefix | None:
    """The route to widen; None where there is an anchor, or where it would catch what it must not."""
    if any(route.contains(supernet) for route in routes) or supernet in table.view.foreign:
        return None
    inside = [prefix for prefix in sorted(routes) if supernet.contains(prefix)]
    tops: list[Prefix] = []
    for prefix in inside:
        if not tops or not tops[-1].contains(prefix):
            tops.append(prefix)
    foreign = [other for other in table.view.foreign if supernet.contains(other)]
    free = [
        prefix
        for prefix in tops
        if routes[prefix] == colour and prefix not in kept and not _under(prefix, foreign)
    ]
    if not free or would_catch(table, supernet, colour, [*tops, *foreign]):
        return None
    return min(free, key=lambda prefix: (prefix.length, prefix))


def _under(prefix: Prefix, others: Collection[Prefix]) -> bool:
    return any(other.contains(prefix) for other in others)


def would_catch(table: TableProblem, supernet: Prefix, colour: int, tops: Collection[Prefix]) -> bool:
    """Whether required blocks, or space of another subnet, lie in the supernet under none of its routes."""
    spaces = (prefix for prefix, other in table.spaces if other != colour)
    forbidden = (leaf.prefix for leaf in table.problem.leaves if leaf.hard or leaf.colour != colour)
    return any(
        supernet.contains(prefix) and not _under(prefix, tops)
        for several in (spaces, forbidden)
        for prefix in several
    )
