"""Reclaims the space that subnets released: others may have it only when nothing leads there any more.

Reconcile asks once a run; subnets release space once a day. Reclaimed when all hold: (1) no route of the
subnet leads there; (2) the subnet's map does not name it; (3) its quarantine since then is over; (4) the
subnet's kernels hold such a map. One that still calls the space unreachable would cut its pods off from the
nodes that get it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from podway.domain.addressing import Prefix
from podway.domain.inventory import Member, ReleasedSpace
from podway.domain.members.maps import SubnetMap
from podway.domain.model import RouteTable

ROUND = timedelta(days=1)
"""How often space is released. More often would cost calls, since subnets breathe with the day."""


@dataclass(frozen=True, slots=True)
class Reclaim:
    """What is not reclaimed yet, and the nodes whose kernels some of it waits for after its quarantine."""

    pending: tuple[ReleasedSpace, ...]
    waits: Mapping[Prefix, tuple[str, ...]]

    @property
    def warnings(self) -> list[str]:
        """What waits, and for whom."""
        return [
            f"{prefix} was given back, and nobody gets it: the kernels of {', '.join(nodes)} may not know"
            for prefix, nodes in self.waits.items()
        ]


def is_due(last: datetime | None, *, now: datetime) -> bool:
    """Whether subnets may release space again; not before the first day is over."""
    return last is not None and now - last >= ROUND


def reclaim(
    released: Iterable[ReleasedSpace],
    *,
    tables: Iterable[RouteTable],
    members: Collection[Member],
    maps: Mapping[str, SubnetMap],
    acknowledged: Mapping[str, int],
    now: datetime,
    quarantine: timedelta,
) -> Reclaim:
    """What of *released* nobody else may have yet; everything else of it may be anybody's.

    *tables* are the present ones with our routes marked; *members* all whose interfaces routes may target;
    *acknowledged* holds the running ones that have ever said what their kernels hold. If a route or a map
    names the space again, its quarantine starts anew.
    """
    ways = _ways(tables, members)
    subnets = {member.id: member.subnet for member in members}
    kept: list[ReleasedSpace] = []
    waits: dict[Prefix, tuple[str, ...]] = {}
    for one in released:
        known = maps.get(one.subnet)
        named = (*ways.get(one.subnet, ()), *(known.reachable_here if known else ()))
        if any(prefix.overlaps(one.prefix) for prefix in named):
            kept.append(replace(one, gone_at=None, generation=0))
        elif one.gone_at is None:
            kept.append(replace(one, gone_at=now, generation=known.generation if known else 0))
        elif now - one.gone_at < quarantine:
            kept.append(one)
        elif behind := [
            node
            for node, generation in sorted(acknowledged.items())
            if subnets.get(node) == one.subnet and generation < one.generation
        ]:
            kept.append(one)
            waits[one.prefix] = tuple(behind)
    return Reclaim(tuple(kept), waits)


def _ways(tables: Iterable[RouteTable], members: Iterable[Member]) -> dict[str, set[Prefix]]:
    """Destinations of our routes, by the subnet that they lead to."""
    homes = {interface: member.subnet for member in members for interface in member.interfaces}
    found: dict[str, set[Prefix]] = {}
    for table in tables:
        for route in table.routes:
            if route.owned and isinstance(route.destination, Prefix) and route.target in homes:
                found.setdefault(homes[route.target], set()).add(route.destination)
    return found
