"""What a cluster document must hold to beyond its schema; every fault is one line that names its field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from podway.domain.addressing import Prefix
from podway.domain.model import Cluster

Named = tuple[str, Prefix]
"""A field and the prefix in it."""


def faults_of(cluster: Cluster) -> list[str]:
    """All faults, in the order of the document."""
    return [
        *_pod_cidrs(cluster),
        *_twice((f"subnets[{i}].id", subnet.id) for i, subnet in enumerate(cluster.subnets)),
        *_supernets(cluster),
        *_twice((f"nodes[{i}].id", node.id) for i, node in enumerate(cluster.nodes)),
        *_twice((f"nodes[{i}].network_interface", n.network_interface) for i, n in enumerate(cluster.nodes)),
        *_blocks(cluster),
        *_twice((f"route_tables[{i}].id", table.id) for i, table in enumerate(cluster.route_tables)),
        *_tables(cluster),
    ]


def _twice(named: Iterable[tuple[str, object]]) -> Iterator[str]:
    seen: dict[object, str] = {}
    for field, value in named:
        if value in seen:
            yield f"{field}: {value} is already {seen[value]}"
        else:
            seen[value] = field


def _pod_cidrs(cluster: Cluster) -> Iterator[str]:
    families: dict[int, Prefix] = {}
    for i, cidr in enumerate(cluster.pod_cidrs):
        if cidr.version in families:
            yield f"pod_cidrs[{i}]: {cidr} is a second one of its family beside {families[cidr.version]}"
        families.setdefault(cidr.version, cidr)
        for vpc in cluster.vpc_cidrs:
            if cidr.overlaps(vpc):
                yield f"pod_cidrs[{i}]: {cidr} overlaps the VPC's {vpc}"


def _supernets(cluster: Cluster) -> Iterator[str]:
    nets = [
        (f"subnets[{i}].supernets[{j}]", net)
        for i, subnet in enumerate(cluster.subnets)
        for j, net in enumerate(subnet.supernets)
    ]
    for field, net in nets:
        if not any(cidr.contains(net) for cidr in cluster.pod_cidrs):
            yield f"{field}: {net} is inside no pod CIDR"
    yield from _twice(nets)


def _blocks(cluster: Cluster) -> Iterator[str]:
    owner = {net: subnet.id for subnet in cluster.subnets for net in subnet.supernets}
    homes = set(owner.values())
    known = {subnet.id for subnet in cluster.subnets}
    blocks: list[Named] = []
    for i, node in enumerate(cluster.nodes):
        if node.subnet not in known:
            yield f"nodes[{i}].subnet: {node.subnet} is not among the subnets"
            continue
        for j, block in enumerate(node.blocks):
            field = f"nodes[{i}].blocks[{j}]"
            blocks.append((field, block))
            if not any(cidr.contains(block) for cidr in cluster.pod_cidrs):
                yield f"{field}: {block} is inside no pod CIDR"
            elif node.subnet in homes and _owner_around(block, owner) != node.subnet:
                yield f"{field}: {block} is inside no supernet of {node.subnet}"
    yield from _overlaps(blocks)
    yield from _inner_supernets(blocks, owner)


def _owner_around(block: Prefix, owner: dict[Prefix, str]) -> str | None:
    """The subnet of the innermost supernet around the block."""
    for length in range(block.length, -1, -1):
        found = owner.get(block.at(length))
        if found is not None:
            return found
    return None


def _overlaps(blocks: list[Named]) -> Iterator[str]:
    stack: list[Named] = []
    for field, block in sorted(blocks, key=lambda named: named[1]):
        while stack and not stack[-1][1].contains(block):
            stack.pop()
        if stack:
            yield f"{field}: {block} overlaps {stack[-1][1]} ({stack[-1][0]})"
        stack.append((field, block))


def _inner_supernets(blocks: list[Named], owner: dict[Prefix, str]) -> Iterator[str]:
    """A block may not reach over the edge of a supernet inside it."""
    at = {block: field for field, block in blocks}
    for net in sorted(owner):
        for length in range(net.length):
            block = net.at(length)
            if block in at:
                yield f"{at[block]}: {block} has the supernet {net} of {owner[net]} inside it"


def _tables(cluster: Cluster) -> Iterator[str]:
    for i, table in enumerate(cluster.route_tables):
        yield from _twice(
            (f"route_tables[{i}].routes[{j}].destination", r.destination) for j, r in enumerate(table.routes)
        )
    yield from _twice(
        (f"route_tables[{i}].subnets[{j}]", subnet)
        for i, table in enumerate(cluster.route_tables)
        for j, subnet in enumerate(table.subnets)
    )
