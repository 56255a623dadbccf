"""From destinations to routes with next hops, and what they amount to.

The draft asks for its plan; ``fresh`` and ``stable`` ask to see what loads a choice leads to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from podway.domain.addressing import Prefix
from podway.domain.planner.next_hops import SLACK, Chooser, Loads, Part, part_of
from podway.domain.planner.parts import parts
from podway.domain.planner.problem import TableProblem
from podway.domain.planner.trie import NOBODY
from podway.domain.routing import Block


@dataclass(slots=True)
class Assignment:
    """Next hop and part by destination; loads by node; blocks that no route catches."""

    hops: dict[Prefix, int]
    parts: dict[Prefix, Part]
    missed: list[Block]
    chooser: Chooser

    @property
    def worst(self) -> float:
        """The busiest next hop's relayed weight / capacity in this table."""
        return max(self.chooser.loads.here.values(), default=0.0)


def assign(
    table: TableProblem,
    routes: Mapping[Prefix, int],
    loads: Loads,
    *,
    limit: float,
    present: Mapping[Prefix, int],
) -> Assignment:
    """A next hop for every destination: the present one where it may stay, else the best.

    Left out are routes that no node may take, and routes without blocks whose next hop is gone.
    """
    view = table.view
    facts = view.facts
    caught, missed = parts(routes, facts.blocks, view.foreign)
    chooser = Chooser(facts, loads, limit)
    done = Assignment({}, {}, missed, chooser)
    open_: list[tuple[Part, int | None]] = []
    for prefix, blocks in caught.items():
        hop = present.get(prefix)
        colour = routes[prefix]
        if colour == NOBODY:
            if hop is None or hop == NOBODY:
                continue
            colour = table.colour[facts.nodes[hop].subnet]
        subnet = table.subnets[colour]
        part = part_of(prefix, subnet, blocks, counted=subnet != view.own_subnet)
        done.parts[prefix] = part
        open_.append((part, None if hop == NOBODY else hop))
    rest = []
    for part, hop in open_:
        if hop is not None and chooser.keeps(part, hop):
            _take(done, part, hop)
        else:
            rest.append(part)
    for part in sorted(rest, key=lambda part: -part.weight):
        best = chooser.choose(part)
        if best is None:
            done.missed.extend(part.blocks)
            del done.parts[part.destination]
        else:
            _take(done, part, best)
    return done


def _take(done: Assignment, part: Part, hop: int) -> None:
    done.hops[part.destination] = hop
    done.chooser.add(part, hop)


def direct_weight(done: Assignment) -> float:
    """Weight of the blocks that their own node is the next hop for."""
    return sum((done.parts[prefix].own.get(hop, 0.0) for prefix, hop in done.hops.items()), 0.0)


def relayed_blocks(done: Assignment, routes: Iterable[Prefix]) -> Iterator[tuple[Block, Prefix]]:
    """Blocks that take the extra hop in this table, and the route of each; none of its own subnet."""
    for prefix in routes:
        part = done.parts[prefix]
        if part.weight > SLACK:
            hop = done.hops[prefix]
            for block in part.blocks:
                if block.node != hop:
                    yield block, prefix
