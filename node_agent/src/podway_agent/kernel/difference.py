"""From routes desired and observed to the changes between them. Pure. Dataplane and doctor ask."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from podway.domain.addressing import Prefix

from podway_agent.kernel.routing import KernelRoute, Key, Kind, Route, Target, keys_of


class Add(NamedTuple):
    """No route is at the key."""

    route: Route


class Replace(NamedTuple):
    """A route of ours is at the key and leads elsewhere: one atomic exchange."""

    route: Route


class Remove(NamedTuple):
    """A route of ours that should not be."""

    route: Route


Change: TypeAlias = Add | Replace | Remove


class Conflict(NamedTuple):
    """A foreign route that takes the packets of a route that we want."""

    wanted: Route
    foreign: KernelRoute

    @property
    def blocks_ours(self) -> bool:
        """Whether it is at our route's key (rather than beside it, with a better metric)."""
        return self.wanted.key == self.foreign.key


@dataclass(frozen=True)
class Difference:
    """The changes, in the order in which they lose no packet, and the conflicts."""

    changes: tuple[Change, ...]
    conflicts: tuple[Conflict, ...]
    present: int
    """How many desired routes the kernel already holds."""

    @property
    def is_complete(self) -> bool:
        """Whether the kernel does with every packet what is desired."""
        return not self.changes and not self.conflicts


def difference(*, desired: Mapping[Key, Target], observed: Iterable[KernelRoute]) -> Difference:
    """What to change so that our routes among *observed* become *desired*.

    Foreign routes are never changed. A foreign route at a desired key, or beside it with a better
    metric, is a conflict, unless it leads where ours would.
    Order: replacements, then routes that lead somewhere, then ``unreachable``, and removals last,
    longest prefix first, so that no packet meets a gap that neither state has.
    """
    ours: dict[Key, list[Target]] = defaultdict(list)
    foreign: dict[Prefix, list[KernelRoute]] = defaultdict(list)
    for route in observed:
        if route.is_ours:
            ours[route.key].append(route.target)
        elif any(key in desired for key in keys_of(route.key.prefix)):
            foreign[route.key.prefix].append(route)
    conflicts = _conflicts(desired, foreign)
    occupied = {conflict.wanted.key for conflict in conflicts if conflict.blocks_ours}
    occupied |= {route.key for routes in foreign.values() for route in routes}

    replaced: list[Route] = []
    added: list[Route] = []
    removed = [Route(key, target) for key in ours.keys() - desired.keys() for target in ours[key]]
    present = 0
    for key, target in desired.items():
        held = ours.get(key, ())
        if target in held:
            present += 1
            removed += [Route(key, other) for other in held if other != target]
        elif key in occupied:
            removed += [Route(key, other) for other in held]
        elif held:
            replaced.append(Route(key, target))
            removed += [Route(key, other) for other in held[1:]]
        else:
            added.append(Route(key, target))
    return Difference(_ordered(replaced, added, removed), conflicts, present)


def _conflicts(
    desired: Mapping[Key, Target], foreign: Mapping[Prefix, list[KernelRoute]]
) -> tuple[Conflict, ...]:
    """Foreign routes at a desired key, or preferred to the best desired one, that lead elsewhere."""
    if not foreign:
        return ()
    best: dict[Prefix, int] = {}
    for key in desired:
        best[key.prefix] = min(key.metric, best.get(key.prefix, key.metric))
    return tuple(
        Conflict(Route(key, target), route)
        for key, target in sorted(desired.items())
        for route in foreign.get(key.prefix, ())
        if (route.key == key or route.key.metric < key.metric == best[key.prefix])
        and not _same_effect(route.target, target)
    )


def _same_effect(one: Target, other: Target) -> bool:
    return one._replace(onlink=False) == other._replace(onlink=False)


def _ordered(replaced: list[Route], added: list[Route], removed: list[Route]) -> tuple[Change, ...]:
    """Sorted, so that the same facts give the same changes."""
    leads_nowhere = [route for route in added if route.target.kind is not Kind.UNICAST]
    leads = [route for route in added if route.target.kind is Kind.UNICAST]
    narrow_first = sorted(removed, key=lambda route: (-route.key.prefix.length, route))
    return (
        *map(Replace, sorted(replaced)),
        *map(Add, sorted(leads)),
        *map(Add, sorted(leads_nowhere)),
        *map(Remove, narrow_first),
    )
