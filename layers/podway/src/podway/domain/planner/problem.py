"""From a table's facts to the problem that the dynamic programmes solve.

The draft makes one per table and family; ``fresh``, ``stable`` and ``anchor`` read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from podway.domain.addressing import Prefix
from podway.domain.planner.cover import Present
from podway.domain.planner.even import Grove
from podway.domain.planner.parts import parts
from podway.domain.planner.trie import NOBODY, Leaf, Problem, Trie, build
from podway.domain.planner.weighted import Weighing, stretches_of
from podway.domain.routing import Block, Facts, TableFacts


@dataclass(frozen=True)
class TableProblem:
    """One table and family: the colours are the subnets in order of their ids."""

    view: TableFacts

    @cached_property
    def subnets(self) -> tuple[str, ...]:
        named = {node.subnet for node in self.view.facts.nodes}
        return tuple(sorted(named | {subnet for _, subnet in self.view.facts.supernets}))

    @cached_property
    def colour(self) -> Mapping[str, int]:
        return {subnet: colour for colour, subnet in enumerate(self.subnets)}

    @cached_property
    def least_capacity(self) -> float:
        """Of the nodes that may relay."""
        facts = self.view.facts
        return facts.cached(
            "least capacity",
            lambda: min(
                (node.capacity for node, may in zip(facts.nodes, facts.may_relay, strict=True) if may),
                default=1.0,
            ),
        )

    @cached_property
    def spaces(self) -> list[tuple[Prefix, int]]:
        """Supernets with their colours, in trie order."""
        return [(prefix, self.colour[subnet]) for prefix, subnet in self.view.facts.supernets]

    @cached_property
    def problem(self) -> Problem:
        """The problem in home mode.

        Required blocks must be covered. No route of another subnet may catch the rest: blocks of the
        table's own subnet, of nodes that are not in service, and those that a foreign route takes whole.
        """
        facts = self.view.facts
        strongest: dict[int, float] = {}
        capacity: dict[int, float] = {}
        for subnet, numbers in facts.forwarders.items():
            for number in numbers:
                capacity[number] = facts.nodes[number].capacity
            strongest[self.colour[subnet]] = max(facts.nodes[number].capacity for number in numbers)
        return Problem(
            roots=facts.pod_cidrs,
            leaves=self._leaves(),
            spaces=self.spaces,
            foreign=frozenset(self.view.foreign),
            capacity=capacity,
            strongest=strongest,
            homes=frozenset(self.colour[subnet] for _, subnet in facts.supernets),
        )

    def _leaves(self) -> list[Leaf]:
        facts = self.view.facts
        leaves = {}
        for number, node in enumerate(facts.nodes):
            for prefix in node.blocks:
                if prefix.version == facts.version:
                    leaves[prefix] = Leaf(prefix, self.colour[node.subnet], number, 0.0, hard=False)
        for block in facts.blocks:
            subnet = facts.nodes[block.node].subnet
            if subnet != self.view.own_subnet and block.prefix not in self.view.foreign:
                leaves[block.prefix] = Leaf(block.prefix, self.colour[subnet], block.node, block.weight)
        return [leaves[prefix] for prefix in sorted(leaves)]

    @cached_property
    def even(self) -> Mapping[str, tuple[Grove, ...]] | None:
        """The blocks to cover by subnet and supernet, if the fast path can plan them; else None."""
        groves = self.view.facts.cached("groves", lambda: even_groves(self.view.facts))
        if groves is None or self.view.foreign:
            return None
        return {subnet: several for subnet, several in groves.items() if subnet != self.view.own_subnet}

    @cached_property
    def weighing(self) -> Weighing | None:
        """The blocks to cover, if no supernet holds anything of another subnet; else None."""
        facts = self.view.facts
        homes = facts.cached("homes", lambda: blocks_at_home(facts))
        if homes is None or any(blocks and subnet not in facts.forwarders for _, subnet, blocks in homes):
            return None
        stretches = [
            stretch
            for supernet, subnet, blocks in homes
            if subnet != self.view.own_subnet and blocks
            for stretch in stretches_of(supernet, subnet, blocks, self.view.foreign)
        ]
        strongest = {
            subnet: max(facts.nodes[number].capacity for number in numbers)
            for subnet, numbers in facts.forwarders.items()
        }
        return Weighing(stretches, facts, strongest)

    def without(self, uncovered: frozenset[Prefix]) -> Problem:
        """The problem when these blocks are left uncovered."""
        leaves = [
            replace(leaf, hard=False, uncovered=True) if leaf.prefix in uncovered else leaf
            for leaf in self.problem.leaves
        ]
        return replace(self.problem, leaves=leaves)

    @cached_property
    def present(self) -> Mapping[Prefix, int]:
        """Present managed routes that may stay, and the node each leads to (NOBODY: a dead end).

        In a table of one subnet nothing but the anchors is kept of that subnet's own routes.
        """
        facts = self.view.facts
        own = self.view.own_subnet
        anchors = {prefix for prefix, subnet in facts.supernets if subnet == own}
        kept = {}
        for prefix, number in self.view.targets.items():
            node = None if number is None else facts.nodes[number]
            if node is not None and node.subnet == own and anchors and prefix not in anchors:
                continue
            kept[prefix] = NOBODY if number is None or node is None else number
        return kept

    def prices(self, trie: Trie) -> dict[int, Present]:
        """The present routes by position in the trie."""
        at_of = {prefix: at for at, prefix in enumerate(trie.prefix)}
        found: dict[int, Present] = {}
        facts = self.view.facts
        for prefix in sorted(self.present):
            at = at_of.get(prefix)
            if at is None:
                continue
            level = 0
            above = trie.parent[at]
            while above != NOBODY:
                level += above in found
                above = trie.parent[above]
            hop = self.present[prefix]
            colour = NOBODY if hop == NOBODY else self.colour[facts.nodes[hop].subnet]
            able = hop != NOBODY and (facts.may_relay[hop] or trie.sole[at] == hop)
            found[at] = Present(hop if able else NOBODY, level, colour)
        return found

    def trie(self, problem: Problem, *, present: bool) -> Trie:
        """The trie, with the present routes' places if they matter."""
        halves = self.mingled or not problem.confined
        return build(problem, self.present if present else (), halves=halves)

    @cached_property
    def mingled(self) -> bool:
        """Whether blocks of one subnet lie in unallocated space of another."""
        spaces = [Leaf(prefix, colour, NOBODY, 0.0) for prefix, colour in self.problem.spaces]
        around, _ = parts((space.prefix for space in spaces), self.problem.leaves)
        colour = {space.prefix: space.colour for space in spaces}
        return any(leaf.colour != colour[prefix] for prefix, leaves in around.items() for leaf in leaves)


def even_groves(facts: Facts) -> Mapping[str, tuple[Grove, ...]] | None:
    """Blocks by subnet and supernet if all weigh the same and every node is as good as any other."""
    nodes = facts.nodes
    first = facts.blocks[0] if facts.blocks else None
    relays = facts.may_relay
    if first is None or len({block.node for block in facts.blocks}) < len(facts.blocks):
        return None
    if any(block.weight != first.weight or not relays[block.node] for block in facts.blocks):
        return None
    if len({node.capacity for node, may in zip(nodes, relays, strict=True) if may}) > 1:
        return None
    homes = blocks_at_home(facts)
    if homes is None:
        return None
    found: dict[str, list[Grove]] = {}
    for supernet, subnet, blocks in homes:
        found.setdefault(subnet, []).append(Grove(supernet, [block.prefix for block in blocks]))
    return {subnet: tuple(several) for subnet, several in found.items()}


def blocks_at_home(facts: Facts) -> list[tuple[Prefix, str, Sequence[Block]]] | None:
    """Supernet, subnet and blocks, by one walk in trie order; None if anything nests or lies outside."""
    found: list[tuple[Prefix, str, Sequence[Block]]] = []
    blocks = facts.blocks
    at = 0
    last = -1
    for supernet, subnet in facts.supernets:
        if supernet.value <= last:
            return None
        last = supernet.last
        start = at
        while at < len(blocks) and blocks[at].prefix.value <= last:
            if blocks[at].prefix < supernet or facts.nodes[blocks[at].node].subnet != subnet:
                return None
            at += 1
        found.append((supernet, subnet, blocks[start:at]))
    return found if at == len(blocks) else None
