"""The quick path for weights, capacities and foreign routes, as long as every subnet stays at home.

The same programme as ``cover`` where only one colour matters: inside a supernet, outside what foreign
routes capture, and inside each captured piece. The state of a subtree is the fewest routes in it and
the undominated (weight, reach) of what may be left open at that price; closing costs one route more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from podway.domain.addressing import Prefix
from podway.domain.planner.even import merges
from podway.domain.planner.parts import parts
from podway.domain.routing import Block, Facts

FRONT = 4
"""Open rests kept per subtree; with equal capacities one or two are all there are."""

NO_REACH = -1.0
"""Nobody among the owners may relay."""

Trace = Any
"""Nested pairs down to the destinations of routes."""
Rest = tuple[float, float, Trace]
"""Weight, reach (own weight + limit x capacity of the best owner), and the routes below."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Blocks of one subnet that see no foreign route between them; *anchor* closes what is left, if any."""

    subnet: str
    anchor: Prefix | None
    blocks: Sequence[Block]
    order: Sequence[tuple[int, int, int]]


class Weighing:
    """The programme for the pieces of one table; :meth:`solve` for one limit after another."""

    def __init__(self, pieces: Sequence[Piece], facts: Facts, strongest: Mapping[str, float]) -> None:
        self.pieces = pieces
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
        answers = [self._fewest(piece) for piece in self.pieces]
        if sum(count for count, _ in answers) > budget:
            return None
        return {
            prefix: piece.subnet
            for piece, (_, trace) in zip(self.pieces, answers, strict=True)
            for prefix in _flat(trace)
        }

    def _fewest(self, piece: Piece) -> tuple[int, Trace]:
        capacity, limit = self.capacity, self.limit
        alone = self.strongest.get(piece.subnet, 0.0) * limit
        length = [block.prefix.length for block in piece.blocks]
        cost = [1] * len(piece.blocks)
        rests: list[list[Rest]] = []
        for block in piece.blocks:
            room = capacity[block.node]
            rests.append([(block.weight, block.weight + limit * room if room else NO_REACH, None)])
        for left, right, common in piece.order:
            both = self._both(rests[left], rests[right], alone)
            cost[left] += cost[right]
            if both:
                cost[left] -= 1
                rests[left] = both
            else:
                here = _with_cut(rests[left], rests[right], piece.blocks[right].prefix.at(length[right]))
                here += _with_cut(rests[right], rests[left], piece.blocks[left].prefix.at(length[left]))
                rests[left] = here if len(here) < 2 else _best(here)  # noqa: PLR2004  (nothing to compare)
            length[left] = common
        top = piece.blocks[0].prefix.at(length[0]) if piece.anchor is None else piece.anchor
        return cost[0], (rests[0][0][2], top)

    def _both(self, left: list[Rest], right: list[Rest], alone: float) -> list[Rest]:
        """Both rests left open together, where somebody could take them."""
        found: list[Rest] = []
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


def _with_cut(open_: list[Rest], closed: list[Rest], at: Prefix) -> list[Rest]:
    """The one side left open, the other closed by a route of its own."""
    cut = (closed[0][2], at)
    return [(weight, reach, (trace, cut) if trace else cut) for weight, reach, trace in open_]


def _best(rests: list[Rest]) -> list[Rest]:
    """Those that no other beats in weight and slack."""
    kept: list[Rest] = []
    rests.sort(key=lambda rest: (rest[0], rest[0] - rest[1]))
    slack = float("inf")
    for rest in rests:
        if rest[0] - rest[1] < slack:
            slack = rest[0] - rest[1]
            kept.append(rest)
            if len(kept) == FRONT:
                break
    return kept


def _flat(trace: Trace) -> Iterator[Prefix]:
    stack = [trace]
    while stack:
        here = stack.pop()
        if isinstance(here, Prefix):
            yield here
        elif here is not None:
            stack.extend(here)


def pieces_of(
    supernet: Prefix, subnet: str, blocks: Sequence[Block], foreign: Collection[Prefix]
) -> list[Piece]:
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


def _apart(subnet: str, anchor: Prefix | None, blocks: list[Block], captor: Prefix | None) -> list[Piece]:
    """One piece, or two where the only common route would stand in the foreign one's place."""
    order = merges([block.prefix for block in blocks])
    if captor is not None and order and order[-1][2] <= captor.length:
        _, right, _ = order[-1]
        halves = (blocks[:right], blocks[right:])
        return [piece for half in halves for piece in _apart(subnet, None, half, None)]
    return [Piece(subnet, anchor, blocks, order)]
