"""The rules for a cluster document beyond its schema (docs/contract/README.md). Called by `cluster`.

Every fault names its field. A rule is left out while a section that it needs is faulty itself: what the rule
would say might not be true.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator
from typing import Any

from podway.domain.addressing import Prefix
from podway.wire.cluster_draft import ClusterDraft, DraftCidr, Fault, Name, Place, field_path, text_of

HEAVIEST_LOAD = 1e300
"""The largest total weight, also divided by the smallest capacity. Beyond it sums would overflow."""

Inside = dict[Prefix, list[Prefix]]
"""The supernets inside each prefix, without the prefix itself."""


def rule_faults(draft: ClusterDraft, broken: Container[str]) -> Iterator[Fault]:
    """Every breach, in no particular order. *broken*: the sections that break the schema."""
    yield from _pod_cidrs(draft)
    yield from _unique_ids(draft)
    yield from _supernets(draft, broken)
    yield from _blocks(draft, broken)
    yield from _tables(draft)
    if "nodes" not in broken:
        yield from _loads(draft)


def _twice(named: Iterable[tuple[Place, object]]) -> Iterator[Fault]:
    seen: dict[object, Place] = {}
    for place, value in named:
        if value in seen:
            yield Fault(place, f"{value} is already {field_path(seen[value])}")
        else:
            seen[value] = place


def _unique_ids(draft: ClusterDraft) -> Iterator[Fault]:
    for section, key in (
        ("subnets", "id"),
        ("nodes", "id"),
        ("nodes", "network_interface"),
        ("route_tables", "id"),
    ):
        yield from _twice(_names(draft, section, key))


def _names(draft: ClusterDraft, section: str, key: str) -> Iterator[Name]:
    for place, entry in draft.entries(section):
        text = text_of(entry, key)
        if text is not None:
            yield Name((*place, key), text)


def _pod_cidrs(draft: ClusterDraft) -> Iterator[Fault]:
    families: dict[int, Prefix] = {}
    for place, cidr in draft.pod_cidrs:
        if cidr.version in families:
            yield Fault(place, f"{cidr} is a second one of its family beside {families[cidr.version]}")
        families.setdefault(cidr.version, cidr)
        for vpc in draft.vpc_cidrs:
            if cidr.overlaps(vpc.prefix):
                yield Fault(place, f"{cidr} overlaps the VPC's {vpc.prefix}")


def _outside(draft: ClusterDraft, broken: Container[str], cidr: DraftCidr) -> Iterator[Fault]:
    if "pod_cidrs" not in broken and not any(pod.prefix.contains(cidr.prefix) for pod in draft.pod_cidrs):
        yield Fault(cidr.place, f"{cidr.prefix} is inside no pod CIDR")


def _supernets(draft: ClusterDraft, broken: Container[str]) -> Iterator[Fault]:
    nets = [net for net, _ in _owned(draft)]
    for net in nets:
        yield from _outside(draft, broken, net)
    yield from _twice(nets)


def _owned(draft: ClusterDraft) -> Iterator[tuple[DraftCidr, str]]:
    """Every supernet with its subnet."""
    for place, entry in draft.entries("subnets"):
        for net in draft.cidrs(place, entry, "supernets"):
            yield net, str(entry.get("id"))


def _blocks(draft: ClusterDraft, broken: Container[str]) -> Iterator[Fault]:
    owner = {net.prefix: subnet for net, subnet in _owned(draft)}
    homes, inside = set(owner.values()), _inside(owner)
    known = {name.text for name in _names(draft, "subnets", "id")}
    blocks: list[DraftCidr] = []
    for place, entry in draft.entries("nodes"):
        subnet = text_of(entry, "subnet")
        if "subnets" not in broken and subnet is not None and subnet not in known:
            yield Fault((*place, "subnet"), f"{subnet} is not among the subnets")
        for block in draft.cidrs(place, entry, "blocks"):
            blocks.append(block)
            strays = list(_outside(draft, broken, block))
            yield from strays
            if "subnets" not in broken and subnet in homes and not strays:
                yield from _homeless(block, subnet, owner, inside)
    yield from _overlaps(blocks)


def _homeless(block: DraftCidr, subnet: str, owner: dict[Prefix, str], inside: Inside) -> Iterator[Fault]:
    """A fault unless the innermost supernet around every address of the block is its own subnet's."""
    if _owner_around(block.prefix, owner) != subnet:
        yield Fault(block.place, f"{block.prefix} is inside no supernet of {subnet}")
        return
    for net in inside.get(block.prefix, ()):
        if owner[net] != subnet:
            yield Fault(block.place, f"{block.prefix} has the supernet {net} of {owner[net]} inside it")
            return


def _inside(nets: Iterable[Prefix]) -> Inside:
    found: Inside = {}
    for net in sorted(nets):
        for length in range(net.length):
            found.setdefault(net.at(length), []).append(net)
    return found


def _owner_around(block: Prefix, owner: dict[Prefix, str]) -> str | None:
    """The subnet of the innermost supernet around the block."""
    for length in range(block.length, -1, -1):
        found = owner.get(block.at(length))
        if found is not None:
            return found
    return None


def _overlaps(blocks: list[DraftCidr]) -> Iterator[Fault]:
    stack: list[DraftCidr] = []
    for place, block in sorted(blocks, key=lambda cidr: cidr.prefix):
        while stack and not stack[-1].prefix.contains(block):
            stack.pop()
        if stack:
            other = stack[-1]
            yield Fault(place, f"{block} overlaps {other.prefix} ({field_path(other.place)})")
        stack.append(DraftCidr(place, block))


def _tables(draft: ClusterDraft) -> Iterator[Fault]:
    tables = list(draft.entries("route_tables"))
    for place, entry in tables:
        yield from _twice(_destinations(draft, place, entry))
    yield from _twice(name for place, entry in tables for name in draft.texts(place, entry, "subnets"))


def _destinations(draft: ClusterDraft, place: Place, entry: Any) -> Iterator[Name]:
    for where, route in draft.items(place, entry, "routes"):
        text = text_of(route, "destination") if isinstance(route, dict) else None
        if text is not None:
            yield Name((*where, "destination"), text)


def _loads(draft: ClusterDraft) -> Iterator[Fault]:
    """Faults of weights and capacities whose sums or ratios would overflow."""
    total, smallest = 0.0, math.inf
    for place, entry in draft.entries("nodes"):
        weight, capacity = float(entry.get("weight", 1)), float(entry.get("capacity", 1))
        total, smallest = total + weight, min(smallest, capacity)
        if total > HEAVIEST_LOAD:
            yield Fault((*place, "weight"), f"{weight:g} is too much: the weights add up to {total:g}")
            return
        if total / smallest > HEAVIEST_LOAD:
            yield Fault((*place, "capacity"), f"{capacity:g} is too little for a weight of {total:g}")
            return
