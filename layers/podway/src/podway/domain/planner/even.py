"""The fast path: blocks of equal weight, nodes of equal capacity, every owner eligible, home mode.

``fresh`` asks where ``problem`` finds it so. A part of k blocks then costs its next hop k-1, whichever of
its owners that is. So one number per subtree is its whole state, and a pass is one loop over the merges of
neighbouring blocks, deepest first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from podway.domain.addressing import WIDTH, Prefix


@dataclass(slots=True)
class Grove:
    """The blocks inside one supernet, in trie order, and how they merge; shared by all tables."""

    supernet: Prefix
    blocks: Sequence[Prefix]
    merges: list[tuple[int, int, int]] = field(init=False)
    """(left, right, length of the common prefix): both stand for their leftmost block."""
    _needed: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.merges = merges(self.blocks)

    def needed(self, most: int) -> int:
        """The fewest routes such that no part has more than *most* blocks; the anchor is one of them."""
        found = self._needed.get(most)
        if found is None:
            found = self._needed[most] = self._count(most)
        return found

    def _count(self, most: int) -> int:
        rest = [1] * len(self.blocks)
        cuts = 1 if rest else 0
        for left, right, _ in self.merges:
            both = rest[left] + rest[right]
            if both <= most:
                rest[left] = both
            else:
                cuts += 1
                rest[left] = min(rest[left], rest[right])
        return cuts

    def routes(self, most: int) -> list[Prefix]:
        """The destinations for that limit, the anchor first."""
        if not self.blocks:
            return []
        rest = [1] * len(self.blocks)
        length = [block.length for block in self.blocks]
        found = [self.supernet]
        for left, right, common in self.merges:
            both = rest[left] + rest[right]
            if both <= most:
                rest[left] = both
            else:
                cut = left if rest[right] < rest[left] else right
                found.append(self.blocks[cut].at(length[cut]))
                rest[left] = min(rest[left], rest[right])
            length[left] = common
        return found


def merges(blocks: Sequence[Prefix]) -> list[tuple[int, int, int]]:
    """The binary trie over the blocks, bottom-up (a Cartesian tree of neighbours' common lengths)."""
    if not blocks:
        return []
    width = WIDTH[blocks[0].version]
    found: list[tuple[int, int, int]] = []
    stack = [0]
    commons: list[int] = []
    last = blocks[0].value
    for at in range(1, len(blocks)):
        value = blocks[at].value
        common = width - (last ^ value).bit_length()
        while commons and commons[-1] > common:
            right = stack.pop()
            found.append((stack[-1], right, commons.pop()))
        stack.append(at)
        commons.append(common)
        last = value
    while commons:
        right = stack.pop()
        found.append((stack[-1], right, commons.pop()))
    return found


def smallest_part(groves: Sequence[Grove], budget: int) -> int | None:
    """The least size of the biggest part with which the groves fit the budget; None if nothing fits."""
    count = sum(len(grove.blocks) for grove in groves)
    if sum(1 for grove in groves if grove.blocks) > budget:
        return None

    def fits(most: int) -> bool:
        return sum(grove.needed(most) for grove in groves) <= budget

    low = max(1, -(-count // max(1, budget)))
    high = low
    while not fits(high):
        low, high = high + 1, high + max(1, high // 3)
    while low < high:
        middle = (low + high) // 2
        if fits(middle):
            high = middle
        else:
            low = middle + 1
    return high


def even_routes(groves: Mapping[str, Sequence[Grove]], most: int) -> dict[Prefix, str]:
    """Destination and subnet of every route for that limit."""
    return {
        prefix: subnet
        for subnet, several in sorted(groves.items())
        for grove in several
        for prefix in grove.routes(most)
    }
