"""A cluster and its tables as one address family sees them, and which nodes may carry what.

Planner and transition compute on ``Facts`` and ``TableFacts``; health, members and the operator's room ask
for the rules on single nodes and routes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeVar, cast
from zlib import crc32

from podway.domain.addressing import WIDTH, Prefix
from podway.domain.model import (
    Cluster,
    ForwarderPreference,
    Health,
    Node,
    NodeState,
    Route,
    RouteState,
    RouteTable,
)

Made = TypeVar("Made")

NOBODYS = ""
"""Stands for the owner of released space: a subnet without a node, so no route may lead there."""

LENGTH_BITS = 8
"""Bits that hold the length of a prefix of either family."""


# Looked up once: an enumeration's members are slow to reach by name, and every node is asked.
_READY, _DRAINING = NodeState.READY, NodeState.DRAINING
_HEALTHY, _FAILED = Health.HEALTHY, Health.FAILED
_NEVER = ForwarderPreference.NEVER


def is_in_service(node: Node) -> bool:
    """Whether it is ready or draining, and not failed: its blocks must be reachable, at least by itself."""
    return (node.state is _READY or node.state is _DRAINING) and node.health is not _FAILED


def eligible(node: Node) -> bool:
    """Whether the node may be a next hop for blocks of others."""
    return node.state is _READY and node.health is _HEALTHY and node.forwarder is not _NEVER


def longest_match(routes: Iterable[Route], address: Prefix) -> Route | None:
    """The CIDR route that EC2 would use for all of *address*: the longest that contains it."""
    best: Route | None = None
    for route in routes:
        destination = route.destination
        if (
            isinstance(destination, Prefix)
            and destination.contains(address)
            and (best is None or destination.length > best.destination.length)  # type: ignore[union-attr]  # best has a Prefix: checked above
        ):
            best = route
    return best


class Block(NamedTuple):
    """A block that must be reachable: its node's number, and its share of the node's weight."""

    prefix: Prefix
    node: int
    weight: float


@dataclass(frozen=True)
class Facts:
    """The cluster seen from one address family. Nodes are numbered in order of their ids."""

    cluster: Cluster
    version: int

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        return tuple(sorted(self.cluster.nodes, key=lambda node: node.id))

    @cached_property
    def width(self) -> int:
        return WIDTH[self.version]

    @cached_property
    def pod_cidrs(self) -> tuple[Prefix, ...]:
        return tuple(sorted(cidr for cidr in self.cluster.pod_cidrs if cidr.version == self.version))

    @cached_property
    def by_interface(self) -> Mapping[str, int]:
        """Node number by network interface."""
        return {node.network_interface: number for number, node in enumerate(self.nodes)}

    @cached_property
    def number(self) -> Mapping[str, int]:
        """Node number by node id."""
        return {node.id: number for number, node in enumerate(self.nodes)}

    @cached_property
    def may_relay(self) -> tuple[bool, ...]:
        """Per node: may it be a next hop for others."""
        return tuple(eligible(node) for node in self.nodes)

    @cached_property
    def forwarders(self) -> Mapping[str, tuple[int, ...]]:
        """Eligible nodes by subnet."""
        found: dict[str, list[int]] = {}
        for number, node in enumerate(self.nodes):
            if self.may_relay[number]:
                found.setdefault(node.subnet, []).append(number)
        return {subnet: tuple(numbers) for subnet, numbers in found.items()}

    @cached_property
    def standby_classes(self) -> Mapping[str, list[list[int]]]:
        """Eligible nodes by subnet in classes: ``prefer`` first, on-demand before Spot."""
        found = {}
        for subnet, numbers in self.forwarders.items():
            classes: list[list[int]] = [[], [], [], []]
            for number in numbers:
                classes[self.preference[number]].append(number)
            found[subnet] = [level for level in classes if level]
        return found

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Blocks that must be reachable, in trie order."""
        # One integer to compare instead of nested tuples; equal prefixes stay in the nodes' order.
        return tuple(sorted(self._blocks(), key=lambda block: block[0][1] << LENGTH_BITS | block[0][2]))

    def _blocks(self) -> Iterator[Block]:
        version = self.version
        for number, node in enumerate(self.nodes):
            blocks = node.blocks
            if blocks and is_in_service(node):
                share = node.weight / len(blocks)
                for prefix in blocks:
                    if prefix[0] == version:
                        yield Block(prefix, number, share)

    @cached_property
    def weights(self) -> Mapping[str, tuple[int, float, float]]:
        """Per subnet: how many blocks must be reachable, their weight, and the heaviest."""
        nodes = self.nodes
        found: defaultdict[str, list[float]] = defaultdict(list)
        for _, node, weight in self.blocks:
            found[nodes[node].subnet].append(weight)
        return {subnet: (len(some), sum(some, 0.0), max(some)) for subnet, some in found.items()}

    @cached_property
    def preference(self) -> tuple[int, ...]:
        """Per node: ``prefer`` before the others, on-demand before Spot; the smaller, the better."""
        prefer = ForwarderPreference.PREFER
        return tuple((0 if node.forwarder is prefer else 2) + node.spot for node in self.nodes)

    @cached_property
    def laggards(self) -> bool:
        """Whether any node has yet to acknowledge something."""
        return any(node.behind for node in self.nodes)

    @cached_property
    def lots(self) -> tuple[int, ...]:
        """Per node: a number drawn from its id, for ties."""
        return tuple(crc32(node.id.encode()) for node in self.nodes)

    @cached_property
    def supernets(self) -> tuple[tuple[Prefix, str], ...]:
        """Every supernet with its subnet, in trie order; also space that is released, as nobody's."""
        owned = [(prefix, subnet.id) for subnet in self.cluster.subnets for prefix in subnet.supernets]
        left = [(prefix, NOBODYS) for prefix in self.cluster.released]
        return tuple(sorted(pair for pair in (*owned, *left) if pair[0].version == self.version))

    @cached_property
    def _derived(self) -> dict[str, object]:
        return {}

    def cached(self, name: str, make: Callable[[], Made]) -> Made:
        """What *make* returns, made once for all tables of the cluster."""
        if name not in self._derived:
            self._derived[name] = make()
        return cast("Made", self._derived[name])


@dataclass(frozen=True)
class TableFacts:
    """One table seen from one address family."""

    table: RouteTable
    facts: Facts

    @cached_property
    def managed(self) -> Mapping[Prefix, str]:
        """Present managed routes: destination and target."""
        return {prefix: route.target for prefix, route in self._routes() if self.manages(route)}

    @cached_property
    def foreign(self) -> Mapping[Prefix, Route]:
        """Foreign routes inside the pod CIDRs that steer traffic."""
        return {
            prefix: route
            for prefix, route in self._routes()
            if not self.manages(route)
            and route.state is not RouteState.FILTERED
            and any(cidr.contains(prefix) for cidr in self.facts.pod_cidrs)
        }

    def _routes(self) -> Iterator[tuple[Prefix, Route]]:
        for route in self.table.routes:
            if isinstance(route.destination, Prefix) and route.destination.version == self.facts.version:
                yield route.destination, route

    def manages(self, route: Route) -> bool:
        """Whether the route is ours: recorded as such, and inside a pod CIDR."""
        return (
            route.owned
            and isinstance(route.destination, Prefix)
            and any(cidr.contains(route.destination) for cidr in self.facts.cluster.pod_cidrs)
        )

    @cached_property
    def slots(self) -> int:
        """Managed routes that the quota allows.

        A prefix list takes a slot in both families: its own is not in the facts.
        """
        version = self.facts.version
        taken = sum(
            route.slots
            for route in self.table.routes
            if not self.manages(route)
            and (not isinstance(route.destination, Prefix) or route.destination.version == version)
        )
        return max(0, self.table.quota - taken)

    @cached_property
    def budget(self) -> int:
        """Managed routes that the plan may use."""
        return max(0, self.slots - self.table.reserve)

    @cached_property
    def counted(self) -> tuple[int, float, float]:
        """Of the blocks that this table must carry: their number, their weight, the heaviest."""
        several = [w for subnet, w in self.facts.weights.items() if subnet != self.own_subnet]
        return (
            sum(count for count, _, _ in several),
            sum((total for _, total, _ in several), 0.0),
            max((heaviest for _, _, heaviest in several), default=0.0),
        )

    @cached_property
    def own_subnet(self) -> str | None:
        """The table's subnet if it has exactly one: that subnet's nodes reach each other without it."""
        return self.table.subnets[0] if len(self.table.subnets) == 1 else None

    @cached_property
    def targets(self) -> Mapping[Prefix, int | None]:
        """Present managed routes: the number of the node each leads to; None for nobody's interface."""
        by_interface = self.facts.by_interface
        return {prefix: by_interface.get(target) for prefix, target in self.managed.items()}
