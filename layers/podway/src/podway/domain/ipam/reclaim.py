"""Space that subnets gave back: withdraw its routes, wait, and only then let others have it.

Reconcile asks once a run. Space is given back once a day; it waits until no route leads there, the
subnet's map does not name it, it has rested, and the kernels of the subnet hold such a map: one that
still calls the space unreachable would cut its pods off from whoever gets it.
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
"""Empty space is given back so often: more often would cost calls, since subnets breathe with the day."""


@dataclass(frozen=True, slots=True)
class Reclaim:
    """What is still leaving, and which nodes' kernels some of it waits for, although it has rested."""

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
    """Whether space may be given back again; not before the first day is over."""
    return last is not None and now - last >= ROUND


def reclaim(
    released: Iterable[ReleasedSpace],
    *,
    tables: Iterable[RouteTable],
    members: Collection[Member],
    maps: Mapping[str, SubnetMap],
    acknowledged: Mapping[str, int],
    now: datetime,
    rest: timedelta,
) -> Reclaim:
    """What nobody else may have yet; the rest may be anybody's.

    *tables* as they stand with our routes marked; *members* are all whose interfaces routes may target;
    *acknowledged* names the running ones that have ever said what their kernels hold. A route or a map
    that comes back starts the rest anew.
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
        elif now - one.gone_at < rest:
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
