"""A route table under change: who catches what now, and what a step would do to it.

``order`` and ``detour`` play on it. All prefixes that can matter (present, desired, foreign, blocks,
temporaries) are laid out in trie order with their parents. So a longest-prefix match is a walk up, and a
route's part a walk down.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from podway.domain.addressing import Prefix
from podway.domain.model import Create, Delete, Replace, Step
from podway.domain.routing import Block, Facts, TableFacts

FOREIGN = ""
"""Stands for the target of a foreign route: good for no block."""


@dataclass(slots=True)
class Board:
    """The mutable table. ``target`` is None where there is no route."""

    prefixes: list[Prefix]
    parent: list[int]
    end: list[int]
    index: Mapping[Prefix, int]
    target: list[str | None]
    need: list[tuple[str, str, float] | None]
    """Per prefix that is a block: its subnet, its own node's interface, its weight."""
    serves: Mapping[str, str]
    """Subnet by interface of an eligible node."""
    slots: int
    used: int = 0
    steps: list[Step] = field(default_factory=list)

    def good(self, block: int, target: str | None) -> bool:
        """Whether the block is reachable through *target*."""
        need = self.need[block]
        if not target or need is None:
            return False
        return target == need[1] or self.serves.get(target) == need[0]

    def above(self, at: int) -> str | None:
        """The target that catches what the route at *at* would leave."""
        at = self.parent[at]
        while at >= 0 and self.target[at] is None:
            at = self.parent[at]
        return self.target[at] if at >= 0 else None

    def part(self, at: int) -> Iterator[int]:
        """The blocks that a route at *at* catches, or would catch."""
        if self.need[at] is not None:
            yield at
        here, end = at + 1, self.end[at]
        while here < end:
            if self.target[here] is not None:
                here = self.end[here]
                continue
            if self.need[here] is not None:
                yield here
            here += 1

    def effect(self, at: int, target: str | None) -> tuple[float, float]:
        """(weight newly covered, weight newly lost) by giving the route at *at* that target.

        A block of no weight still counts a little, so that no loss is ever free.
        """
        now = self.target[at]
        before = now if now is not None else self.above(at)
        after = target if target is not None else self.above(at)
        gained = lost = 0.0
        for block in self.part(at):
            was, will = self.good(block, before), self.good(block, after)
            need = self.need[block]
            weight = max(need[2], _TINY) if need else 0.0
            gained += weight if will and not was else 0.0
            lost += weight if was and not will else 0.0
        return gained, lost

    def misleads(self, at: int, target: str) -> bool:
        """Whether the route would catch a block that *target* may not carry."""
        return any(not self.good(block, target) for block in self.part(at))

    def set(self, at: int, target: str | None) -> None:
        """Make the change and note its step."""
        was = self.target[at]
        prefix = self.prefixes[at]
        if was == target:
            return
        if was is None and target is not None:
            self.used += 1
            self.steps.append(Create(prefix, target))
        elif target is None and was is not None:
            self.used -= 1
            self.steps.append(Delete(prefix, was))
        elif target is not None and was is not None:
            self.steps.append(Replace(prefix, target, was))
        self.target[at] = target

    @property
    def room(self) -> int:
        """Routes that may still be created."""
        return self.slots - self.used


_TINY = 1e-9
"""What a block without weight counts for."""


def board(
    facts: TableFacts,
    desired: Mapping[Prefix, str],
    *,
    present: Mapping[Prefix, str] | None = None,
    extra: Collection[Prefix] = (),
) -> Board:
    """The table (as it is, or *present*) laid out for a change to *desired*; *extra*: for temporaries.

    Blocks of the table's own subnet do not depend on it and cannot be lost here.
    """
    cluster = facts.facts
    managed = facts.managed if present is None else present
    changed = {p for p in managed.keys() | desired.keys() if managed.get(p) != desired.get(p)}
    needs = {
        block.prefix: (
            cluster.nodes[block.node].subnet,
            cluster.nodes[block.node].network_interface,
            block.weight,
        )
        for block in _touched(cluster, {*changed, *extra})
        if cluster.nodes[block.node].subnet != facts.own_subnet
    }
    prefixes = sorted({*managed, *desired, *facts.foreign, *needs, *extra})
    parent, end = _links(prefixes)
    target: list[str | None] = [managed.get(prefix) for prefix in prefixes]
    for at, prefix in enumerate(prefixes):
        if prefix in facts.foreign and target[at] is None:
            target[at] = FOREIGN
    return Board(
        prefixes=prefixes,
        parent=parent,
        end=end,
        index={prefix: at for at, prefix in enumerate(prefixes)},
        target=target,
        need=[needs.get(prefix) for prefix in prefixes],
        serves={
            node.network_interface: node.subnet
            for node, may in zip(cluster.nodes, cluster.may_relay, strict=True)
            if may
        },
        slots=facts.slots,
        used=len(managed),
    )


def _touched(cluster: Facts, prefixes: Collection[Prefix]) -> Iterator[Block]:
    """The blocks inside these prefixes; the others do not notice a change of routes there."""
    last = -1
    for prefix in sorted(prefixes):
        if prefix.value > last:
            last = prefix.last
            first = bisect_left(cluster.blocks, (prefix,))
            end = (Prefix(prefix.version, last, cluster.width), len(cluster.nodes))
            yield from cluster.blocks[first : bisect_right(cluster.blocks, end)]


def _links(prefixes: list[Prefix]) -> tuple[list[int], list[int]]:
    """Parent and end of the subtree of every prefix, for prefixes in trie order."""
    parent = [-1] * len(prefixes)
    end = [len(prefixes)] * len(prefixes)
    stack: list[int] = []
    for at, prefix in enumerate(prefixes):
        while stack and not prefixes[stack[-1]].contains(prefix):
            end[stack.pop()] = at
        if stack:
            parent[at] = stack[-1]
        stack.append(at)
    return parent, end
