"""Which node each route leads to, and who stands by. ``assign`` and the draft ask.

In order of preference: (1) a node that has acknowledged what is behind the route; (2) the present next hop,
if the load limit lets it stay; (3) within the limit the most direct weight, beyond it the least load;
(4) ``prefer``; (5) on-demand before Spot; (6) the node that relays least in the other tables, so that next
hops rotate over the tables among equals; (7) a rendezvous hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from zlib import crc32

from podway.domain.addressing import Prefix
from podway.domain.routing import Block, Facts

STANDBYS = 3
"""Standbys named per route: enough to outlive the next hop and what fails with it."""

SLACK = 1e-9
"""Rounding of sums of weights."""

Rank = tuple[bool, float, float, int, float, int]


@dataclass(slots=True)
class Loads:
    """Relayed weight / capacity per node: in this table, and in the tables planned before it."""

    here: dict[int, float] = field(default_factory=dict)
    elsewhere: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """The blocks that one route catches, what they weigh in this table, and what each node owns of it."""

    destination: Prefix
    subnet: str
    blocks: Sequence[Block]
    weight: float
    own: Mapping[int, float]
    lot: int
    """A number drawn from the destination: with the nodes' own it makes the rendezvous hash."""

    @property
    def sole(self) -> int | None:
        """The only node with blocks here."""
        return next(iter(self.own)) if len(self.own) == 1 else None


def part_of(destination: Prefix, subnet: str, blocks: Sequence[Block], *, counted: bool) -> Part:
    """The part; blocks of the table's own subnet are not *counted* and weigh nothing."""
    lot = crc32(b"%d/%d" % (destination.value, destination.length))
    own: dict[int, float] = {}
    for _, node, weight in blocks:
        own[node] = own.get(node, 0.0) + (weight if counted else 0.0)
    return Part(destination, subnet, blocks, sum(own.values()), own, lot)


class Chooser:
    """Chooses next hops for the parts of one table and family."""

    def __init__(self, facts: Facts, loads: Loads, limit: float) -> None:
        self.facts = facts
        self.loads = loads
        self.limit = limit
        self._queues: dict[str, list[int]] = {}
        self._ties: dict[str, int] = {}

    def may_take(self, part: Part, node: int) -> bool:
        """Whether *node* may be the part's next hop."""
        if self.facts.nodes[node].subnet != part.subnet:
            return False
        return self.facts.may_relay[node] or part.sole == node

    def is_behind(self, part: Part, node: int) -> bool:
        """Whether the node has yet to acknowledge a block of somebody else behind the route."""
        if not self.facts.laggards:
            return False
        behind = self.facts.nodes[node].behind
        return bool(behind) and any(part.destination.contains(block) for block in behind)

    def load_with(self, part: Part, node: int) -> float:
        """What *node* would relay in this table if it took the part too."""
        relayed = (part.weight - part.own.get(node, 0.0)) / self.facts.nodes[node].capacity
        return self.loads.here.get(node, 0.0) + relayed

    def rank(self, part: Part, node: int) -> Rank:
        """The smaller, the better."""
        return next(self._ranks(part, (node,)))

    def _ranks(self, part: Part, nodes: Iterable[int]) -> Iterator[Rank]:
        """Their ranks, in one loop: a part may have thousands of owners."""
        facts = self.facts
        here, elsewhere, limit = self.loads.here, self.loads.elsewhere, self.limit + SLACK
        weight, shares, lot = part.weight, part.own, part.lot
        for node in nodes:
            own = shares.get(node, 0.0)
            load = here.get(node, 0.0) + (weight - own) / facts.nodes[node].capacity
            yield (
                facts.laggards and self.is_behind(part, node),
                load if load > limit else 0.0,
                -own,
                facts.preference[node],
                elsewhere.get(node, 0.0),
                facts.lots[node] ^ lot,
            )

    def keeps(self, part: Part, present: int | None) -> bool:
        """Whether the present next hop may stay."""
        return (
            present is not None
            and self.may_take(part, present)
            and not self.is_behind(part, present)
            and self.load_with(part, present) <= self.limit + SLACK
        )

    def choose(self, part: Part) -> int | None:
        """The best node for the part; None when nobody may take it."""
        sole = part.sole
        if sole is not None and part.blocks and not self.is_behind(part, sole):
            return sole
        owners = [node for node in part.own if self.facts.may_relay[node]]
        best = self._best(part, owners)
        if best is None or self.rank(part, best)[:2] > (False, 0.0):
            best = self._best(part, self.facts.forwarders.get(part.subnet, ()))
        return best if best is not None else sole

    def _best(self, part: Part, nodes: Iterable[int]) -> int | None:
        several = list(nodes)
        if len(several) <= 1:
            return several[0] if several else None
        return min(zip(self._ranks(part, several), several, strict=True))[1]

    def add(self, part: Part, node: int) -> None:
        """Count the part as relayed by *node*."""
        self.loads.here[node] = self.load_with(part, node)

    def standbys(self, part: Part, next_hop: int) -> tuple[str, ...]:
        """Who takes over when the next hop dies, best first: ``prefer``, on-demand, least loaded.

        Among equals each route starts at another node, so a dead next hop's routes spread.
        """
        queue = self._queue(part.subnet)
        if not queue:
            return ()
        ties = self._ties[part.subnet]
        start = part.lot % ties
        found: list[int] = []
        behind: list[int] = []
        for step in range(len(queue)):
            node = queue[(start + step) % ties] if step < ties else queue[step]
            if node == next_hop:
                continue
            (behind if self.is_behind(part, node) else found).append(node)
            if len(found) == STANDBYS:
                break
        return tuple(self.facts.nodes[node].id for node in [*found, *behind][:STANDBYS])

    def _queue(self, subnet: str) -> list[int]:
        queue = self._queues.get(subnet)
        if queue is None:
            here = self.loads.here
            queue = self._queues[subnet] = []
            for level in self.facts.standby_classes.get(subnet, ()):
                idle = [node for node in level if here.get(node, 0.0) < SLACK]
                busy = sorted((here[node], node) for node in level if here.get(node, 0.0) >= SLACK)
                if not queue:
                    self._ties[subnet] = len(idle) or 1
                queue += [*idle, *(node for _, node in busy)]
        return queue
