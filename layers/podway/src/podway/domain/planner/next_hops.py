"""Which node each route leads to, and who stands by.

Order of preference: somebody who has acknowledged what is behind the route; the present next hop,
if it may stay; the lightest busiest forwarder; most direct weight; ``prefer``; on-demand before Spot;
the node that relays least in the other tables (so next hops rotate); a rendezvous hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from zlib import crc32

from podway.domain.addressing import Prefix
from podway.domain.model import ForwarderPreference
from podway.domain.routing import Block, Facts

STANDBYS = 3
"""Standbys named per route: one dies with the next hop's zone neighbour at worst, three rarely do."""

Rank = tuple[bool, float, float, bool, bool, float, int]


@dataclass(slots=True)
class Loads:
    """Relayed weight / capacity per node: in this table, and in the tables planned before it."""

    here: dict[int, float] = field(default_factory=dict)
    elsewhere: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """The blocks that one route catches; *counted* ones weigh, those of the table's own subnet do not."""

    destination: Prefix
    subnet: str
    blocks: Sequence[Block]
    weight: float
    own: Mapping[int, float]

    @property
    def sole(self) -> int | None:
        """The only node with blocks here."""
        owners = {block.node for block in self.blocks}
        return owners.pop() if len(owners) == 1 else None


def part_of(destination: Prefix, subnet: str, blocks: Sequence[Block], *, counted: bool) -> Part:
    """The part with its weight, and what of it each node owns."""
    own: dict[int, float] = {}
    for block in blocks:
        own[block.node] = own.get(block.node, 0.0) + (block.weight if counted else 0.0)
    return Part(destination, subnet, blocks, sum(own.values()), own)


@dataclass(frozen=True, slots=True)
class Chooser:
    """Chooses next hops for the parts of one table."""

    facts: Facts
    loads: Loads

    def candidates(self, part: Part) -> Iterable[int]:
        """Nodes that may take the part."""
        yield from self.facts.forwarders.get(part.subnet, ())
        sole = part.sole
        if sole is not None and not self.facts.may_relay[sole]:
            yield sole

    def may_take(self, part: Part, node: int | None) -> bool:
        """Whether *node* may be the part's next hop."""
        if node is None or self.facts.nodes[node].subnet != part.subnet:
            return False
        return self.facts.may_relay[node] or part.sole == node

    def is_behind(self, part: Part, node: int) -> bool:
        """Whether the node has yet to acknowledge a block of somebody else behind the route."""
        return any(part.destination.contains(block) for block in self.facts.nodes[node].behind)

    def rank(self, part: Part, node: int) -> Rank:
        """The smaller, the better."""
        facts = self.facts.nodes[node]
        own = part.own.get(node, 0.0)
        return (
            self.is_behind(part, node),
            self.loads.here.get(node, 0.0) + (part.weight - own) / facts.capacity,
            -own,
            facts.forwarder is not ForwarderPreference.PREFER,
            facts.spot,
            self.loads.elsewhere.get(node, 0.0),
            crc32(f"{part.destination}|{facts.id}".encode()),
        )

    def choose(self, part: Part) -> int | None:
        """The best node for the part; None when nobody may take it. Adds its load."""
        best = min(self.candidates(part), key=lambda node: self.rank(part, node), default=None)
        if best is not None:
            self.add(part, best)
        return best

    def add(self, part: Part, node: int) -> None:
        """Count the part as relayed by *node*."""
        relayed = (part.weight - part.own.get(node, 0.0)) / self.facts.nodes[node].capacity
        self.loads.here[node] = self.loads.here.get(node, 0.0) + relayed

    def standbys(self, part: Part, next_hop: int) -> tuple[str, ...]:
        """Who takes over when the next hop dies, best first."""
        others = [node for node in self.candidates(part) if node != next_hop]
        others = [node for node in others if self.facts.may_relay[node]]
        ranked = sorted(others, key=lambda node: self.rank(part, node))
        return tuple(self.facts.nodes[node].id for node in ranked[:STANDBYS])
