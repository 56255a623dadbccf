"""The quick path for weights, capacities and foreign routes, as long as every subnet stays at home.

``fresh`` asks where no supernet holds anything of another subnet. It is the programme of ``cover`` for one
colour at a time: the blocks of a supernet are split into stretches by the foreign routes that capture them.
The state of a subtree is the fewest routes in it and the undominated (weight, reach) of what may be left
open at that price. Closing that costs one route more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from podway.domain.addressing import Prefix
from podway.domain.planner.even import merges
from podway.domain.planner.parts import parts
from podway.domain.routing import Block, Facts

_FRONT = 4
"""States kept per subtree; with equal capacities one or two are all there are."""

_NO_REACH = -1.0
"""Nobody among the owners may relay."""

_Trace = Any
"""Nested pairs down to the destinations of routes."""
_Rest = tuple[float, float, _Trace]
"""Weight, reach (own weight + limit x capacity of the best owner), and the routes below."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Blocks of one subnet that see no foreign route between them; *anchor* closes what is left, if any."""

    subnet: str
    anchor: Prefix | None
    blocks: Sequence[Block]
    order: Sequence[tuple[int, int, int]]


class Weighing:
    """The programme for the stretches of one table; :meth:`solve` for one limit after another."""

    def __init__(self, stretches: Sequence[Stretch], facts: Facts, strongest: Mapping[str, float]) -> None:
        self.stretches = stretches
        self.capacity = [
            node.capacity if may else 0.0 for node, may in zip(facts.nodes, facts.may_relay, strict=True)
        ]
        self.strongest = strongest
        self.largest = max(strongest.values(), default=1.0)
        self.limit = 0.0
        self.next_limit = float("inf")

    def solve(self, limit: float, budget: int) -> dict[Prefix, str] | None:
        """The fewest destinations (with their subnets) within the limit; None if they exceed the budget."""
        self.limit, self.next_limit = limit, float("inf")
        answers = [self._fewest(stretch) for stretch in self.stretches]
        if sum(count for count, _ in answers) > budget:
            return None
        return {
            prefix: stretch.subnet
            for stretch, (_, trace) in zip(self.stretches, answers, strict=True)
            for prefix in _flat(trace)
        }

    def _fewest(self, stretch: Stretch) -> tuple[int, _Trace]:
        capacity, limit = self.capacity, self.limit
        alone = self.strongest.get(stretch.subnet, 0.0) * limit
        length = [block.prefix.length for block in stretch.blocks]
        cost = [1] * len(stretch.blocks)
        rests: list[list[_Rest]] = []
        for block in stretch.blocks:
            room = capacity[block.node]
            rests.append([(block.weight, block.weight + limit * room if room else _NO_REACH, None)])
        for left, right, common in stretch.order:
            both = self._both(rests[left], rests[right], alone)
            cost[left] += cost[right]
            if both:
                cost[left] -= 1
                rests[left] = both
            else:
                here = _with_cut(rests[left], rests[right], stretch.blocks[right].prefix.at(length[right]))
                here += _with_cut(rests[right], rests[left], stretch.blocks[left].prefix.at(length[left]))
                rests[left] = here if len(here) < 2 else _best(here)  # noqa: PLR2004  (nothing to compare)
            length[left] = common
        top = stretch.blocks[0].prefix.at(length[0]) if stretch.anchor is None else stretch.anchor
        return cost[0], (rests[0][0][2], top)

    def _both(self, left: list[_Rest], right: list[_Rest], alone: float) -> list[_Rest]:
        """Both left open together, where some node could take them."""
        found: list[_Rest] = []
        for weight, reach, trace in left:
            for weight2, reach2, trace2 in right:
                total = weight + weight2
                best = reach if reach > reach2 else reach2  # noqa: FURB136  (a tenth faster than a call)
                if total <= (best if best >= 0.0 else alone):
                    found.append((total, best, (trace, trace2) if trace and trace2 else trace or trace2))
                elif best >= 0.0:
                    self.next_limit = min(self.next_limit, self.limit + (total - best) / self.largest)
                elif alone:
                    self.next_limit = min(self.next_limit, total * self.limit / alone)
                else:
                    self.next_limit = min(self.next_limit, total / self.largest)
        return found if len(found) < 2 else _best(found)  # noqa: PLR2004  (nothing to compare)


def _with_cut(open_: list[_Rest], closed: list[_Rest], at: Prefix) -> list[_Rest]:
    """The one side left open, the other closed by a route of its own."""
    cut = (closed[0][2], at)
    return [(weight, reach, (trace, cut) if trace else cut) for weight, reach, trace in open_]


def _best(rests: list[_Rest]) -> list[_Rest]:
    """Those that no other beats in weight and slack."""
    kept: list[_Rest] = []
    rests.sort(key=lambda rest: (rest[0], rest[0] - rest[1]))
    slack = float("inf")
    for rest in rests:
        if rest[0] - rest[1] < slack:
            slack = rest[0] - rest[1]
            kept.append(rest)
            if len(kept) == _FRONT:
                break
    return kept


def _flat(trace: _Trace) -> Iterator[Prefix]:
    stack = [trace]
    while stack:
        here = stack.pop()
        if isinstance(here, Prefix):
            yield here
        elif here is not None:
            stack.extend(here)


def stretches_of(
    supernet: Prefix, subnet: str, blocks: Sequence[Block], foreign: Collection[Prefix]
) -> list[Stretch]:
    """The blocks of a supernet, apart by the innermost foreign route that captures them.

    What a foreign route captures has no anchor: a route on it would be the foreign one's own place.
    """
    order = sorted(other for other in foreign if supernet.contains(other))
    captors: list[Prefix] = [other for other in foreign if other.contains(supernet)]
    outermost = max(captors, key=lambda other: other.length, default=None)
    caught, free = parts(order, blocks)
    found = []
    for captor, several in ((None, free), *caught.items()):
        group = [block for block in several if block.prefix not in {captor, outermost}]
        if not group:
            continue
        if captor is None:
            anchor = None if supernet in foreign else supernet
            found += _apart(subnet, anchor, group, supernet if anchor is None else None)
        else:
            found += _apart(subnet, None, group, captor)
    return found


def _apart(subnet: str, anchor: Prefix | None, blocks: list[Block], captor: Prefix | None) -> list[Stretch]:
    """One stretch, or two where the only common route would stand in the foreign one's place."""
    order = merges([block.prefix for block in blocks])
    if captor is not None and order and order[-1][2] <= captor.length:
        _, right, _ = order[-1]
        halves = (blocks[:right], blocks[right:])
        return [stretch for half in halves for stretch in _apart(subnet, None, half, None)]
    return [Stretch(subnet, anchor, blocks, order)]
