"""Space of the pod CIDRs that nobody new may have, since something else captures its packets.

Reconcile asks before it allocates. Whoever has a block there keeps it, and is named.

    a range of the VPC          its local route wins, and CreateRoute is refused inside it
    a foreign route             it is longer than our anchor would be, or as long; we never touch it
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from podway.domain.addressing import Prefix
from podway.domain.model import RouteState, RouteTable

_NAMED = 3
"""Prefixes that one warning names."""


@dataclass(frozen=True, slots=True)
class ClosedSpace:
    """The prefixes, and a sentence for each reason."""

    prefixes: tuple[Prefix, ...] = ()
    warnings: tuple[str, ...] = ()


def closed_space(
    pod_cidrs: Collection[Prefix],
    *,
    vpc_cidrs: Iterable[Prefix],
    tables: Iterable[RouteTable],
    supernets: Collection[Prefix],
    blocks: Collection[Prefix],
) -> ClosedSpace:
    """What is closed by VPC ranges and by foreign routes of *tables*, whose own routes are marked.

    A foreign route that contains one of the *supernets* captures nothing of it: the anchor is longer.
    """
    vpc = sorted(vpc_cidrs)
    ranges = [cidr for cidr in vpc if any(pod.contains(cidr) for pod in pod_cidrs)]
    found = {*ranges, *(pod for pod in pod_cidrs if any(cidr.contains(pod) for cidr in vpc))}
    warnings = [f"the VPC's {cidr} lies inside the pod CIDR: no block is given there" for cidr in ranges]
    for table in tables:
        foreign = sorted(set(_foreign(table, pod_cidrs)) - found - set(supernets))
        captures = [one for one in foreign if not any(one.contains(net) for net in supernets)]
        found |= set(captures)
        if captures:
            warnings.append(f"{table.id}: no block is given where foreign routes lead: {_some(captures)}")
        taken = [block for block in blocks if any(one.contains(block) for one in captures)]
        if taken:
            warnings.append(f"{table.id}: foreign routes capture packets for {_some(taken)}")
    return ClosedSpace(tuple(sorted(found)), tuple(warnings))


def _foreign(table: RouteTable, pod_cidrs: Collection[Prefix]) -> Iterator[Prefix]:
    """Destinations of foreign routes that steer traffic, strictly inside a pod CIDR."""
    for route in table.routes:
        destination = route.destination
        if route.owned or route.state is RouteState.FILTERED or not isinstance(destination, Prefix):
            continue
        if any(pod.contains(destination) and pod != destination for pod in pod_cidrs):
            yield destination


def _some(prefixes: Collection[Prefix]) -> str:
    named = ", ".join(map(str, sorted(prefixes)[:_NAMED]))
    rest = len(prefixes) - _NAMED
    return f"{named} and {rest} more" if rest > 0 else named
