"""Replays a step list and reports every breach; shares nothing with the code that ordered it.

Reconcile asks before it applies steps, tests after each plan. It is plain on purpose: dictionaries, and
longest-prefix match by trying every length. A fault in the ordering's bookkeeping cannot hide here as well.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from podway.domain.addressing import WIDTH, Prefix
from podway.domain.model import Cluster, Create, Delete, Node, RouteTable, Step


@dataclass(frozen=True, slots=True)
class Breach:
    """What a step (numbered from 0) breaks: ``I1`` coverage, ``I2`` ownership, ``I3`` quota, ``order``.

    ``order``: the step cannot be made, because its route is there, is not there, or has another target.
    """

    step: int
    invariant: str
    subject: Prefix
    reason: str


def verify_transition(cluster: Cluster, table: RouteTable, steps: Iterable[Step]) -> tuple[Breach, ...]:
    """Every breach of I1, I2 and I3 when *steps* are made one by one on *table*; empty if there is none."""
    replay = _Replay(cluster, table)
    breaches: list[Breach] = []
    for number, step in enumerate(steps):
        breaches += replay.make(number, step)
    return tuple(breaches)


class _Replay:
    def __init__(self, cluster: Cluster, table: RouteTable) -> None:
        self.cluster = cluster
        self.table = table
        self.ours: dict[Prefix, str] = {}
        self.foreign: dict[Prefix, str] = {}
        self.lengths: dict[tuple[int, int], int] = {}
        self.held = {4: 0, 6: 0}
        self.slots_of_others = {4: 0, 6: 0}
        for route in table.routes:
            self._enter(
                route.destination, route.target, str(route.state), str(route.origin), owned=route.owned
            )
        self.blocks = {
            block: node
            for node in cluster.nodes
            if node.state in {"ready", "draining"}
            and node.health != "failed"
            and table.subnets != (node.subnet,)  # its neighbours have host routes to it
            for block in node.blocks
        }
        self.sorted_blocks = sorted(self.blocks)
        self.nodes_at: dict[str, Node] = {node.network_interface: node for node in cluster.nodes}

    def _enter(self, destination: Prefix | str, target: str, state: str, origin: str, *, owned: bool) -> None:
        if isinstance(destination, Prefix) and owned and self._inside(destination):
            self.ours[destination] = target
            self.held[destination.version] += 1
            self._count(destination, 1)
            return
        if origin not in {"EnableVgwRoutePropagation", "Advertisement"}:
            for version in (4, 6):
                if isinstance(destination, str) or destination.version == version:
                    self.slots_of_others[version] += 1
        if isinstance(destination, Prefix) and state != "filtered" and self._inside(destination):
            self.foreign[destination] = target
            self._count(destination, 1)

    def _inside(self, prefix: Prefix) -> bool:
        return any(cidr.contains(prefix) for cidr in self.cluster.pod_cidrs)

    def _count(self, prefix: Prefix, change: int) -> None:
        key = (prefix.version, prefix.length)
        self.lengths[key] = self.lengths.get(key, 0) + change

    def _reaches(self, block: Prefix, node: Node) -> bool:
        for length in range(block.length, -1, -1):
            if not self.lengths.get((block.version, length)):
                continue
            candidate = block.at(length)
            if candidate in self.foreign and candidate not in self.ours:
                return False
            if candidate in self.ours:
                return self._may_carry(self.ours[candidate], node)
        return False

    def _may_carry(self, target: str, node: Node) -> bool:
        if target == node.network_interface:
            return True
        hop = self.nodes_at.get(target)
        return (
            hop is not None
            and hop.subnet == node.subnet
            and hop.state == "ready"
            and hop.health == "healthy"
            and hop.forwarder != "never"
        )

    def make(self, number: int, step: Step) -> list[Breach]:
        """Make the step; what it breaks."""
        refusal = self._refusal(number, step)
        if refusal is not None:
            return [refusal]
        under = self._under(step.destination)
        before = [block for block in under if self._reaches(block, self.blocks[block])]
        self._apply(step)
        breaches = [
            Breach(number, "I1", block, f"{step.destination} leaves {block} unreachable")
            for block in before
            if not self._reaches(block, self.blocks[block])
        ]
        version = step.destination.version
        held = self.held[version] + self.slots_of_others[version]
        if isinstance(step, Create) and held > self.table.quota:
            breaches.append(
                Breach(number, "I3", step.destination, f"{held} routes, quota {self.table.quota}")
            )
        return breaches

    def _under(self, prefix: Prefix) -> list[Prefix]:
        return self.sorted_blocks[
            bisect_left(self.sorted_blocks, prefix) : bisect_right(
                self.sorted_blocks, Prefix(prefix.version, prefix.last, WIDTH[prefix.version])
            )
        ]

    def _refusal(self, number: int, step: Step) -> Breach | None:
        destination = step.destination
        if not self._inside(destination):
            return Breach(number, "I2", destination, f"{destination} is outside the pod CIDR")
        if destination in self.foreign:
            return Breach(number, "I2", destination, f"{destination} is a foreign route")
        present = self.ours.get(destination)
        if isinstance(step, Create):
            if present is not None:
                return Breach(number, "order", destination, f"{destination} is already there")
        elif present != step.was:
            return Breach(number, "order", destination, f"{destination} leads to {present}, not {step.was}")
        return None

    def _apply(self, step: Step) -> None:
        if isinstance(step, Delete):
            del self.ours[step.destination]
            self.held[step.destination.version] -= 1
            self._count(step.destination, -1)
            return
        if step.destination not in self.ours:
            self.held[step.destination.version] += 1
            self._count(step.destination, 1)
        self.ours[step.destination] = step.network_interface
