"""Free space of one aligned range, kept as the largest aligned pieces (a buddy system).

The pool asks. Inside are plain integers: a year of churn takes millions of these operations.
"""

from __future__ import annotations

import heapq

Piece = tuple[int, int]
"""(address, prefix length)."""


class Pieces:
    """The free pieces of the range *root*; at first nothing is free.

    Operations cost O(address width): freed halves merge, taken pieces split.
    """

    __slots__ = ("_heaps", "_root", "_sets", "_width")

    def __init__(self, root: Piece, width: int) -> None:
        self._root = root
        self._width = width
        self._sets: dict[int, set[int]] = {}
        self._heaps: dict[int, list[int]] = {}

    @property
    def root(self) -> Piece:
        """The whole range."""
        return self._root

    def _add(self, value: int, length: int) -> None:
        if length not in self._sets:
            self._sets[length] = set()
            self._heaps[length] = []
        self._sets[length].add(value)
        heapq.heappush(self._heaps[length], value)

    def _first(self, length: int) -> int | None:
        """The lowest free piece of exactly *length*; forgets heap entries that are gone."""
        pieces = self._sets.get(length)
        if not pieces:
            return None
        heap = self._heaps[length]
        while heap[0] not in pieces:
            heapq.heappop(heap)
        return heap[0]

    def give(self, value: int, length: int) -> None:
        """Make a piece free; it merges with its buddy up to the whole range."""
        while length > self._root[1]:
            buddy = value ^ (1 << (self._width - length))
            pieces = self._sets.get(length)
            if pieces is None or buddy not in pieces:
                break
            pieces.remove(buddy)
            length -= 1
            value = min(value, buddy)
        self._add(value, length)

    def holder(self, value: int, length: int) -> Piece | None:
        """The free piece that the given one lies in; None when any of it is taken."""
        for shorter in range(length, self._root[1] - 1, -1):
            pieces = self._sets.get(shorter)
            around = value & -(1 << (self._width - shorter))
            if pieces and around in pieces:
                return around, shorter
        return None

    def take(self, value: int, length: int) -> bool:
        """Take exactly this piece; False when some of it is not free."""
        held = self.holder(value, length)
        if held is None:
            return False
        self._sets[held[1]].remove(held[0])
        for longer in range(held[1] + 1, length + 1):
            step = 1 << (self._width - longer)
            self._add((value & -step) ^ step, longer)
        return True

    def take_lowest(self, length: int) -> int | None:
        """Take the lowest free address range of *length*; None when there is none."""
        best: Piece | None = None
        for shorter in range(self._root[1], length + 1):
            first = self._first(shorter)
            if first is not None and (best is None or first < best[0]):
                best = (first, shorter)
        if best is None:
            return None
        self.take(best[0], length)
        return best[0]

    def largest(self, *, top: bool = False) -> Piece | None:
        """The largest free piece, the lowest (or *top*) among equals; None when nothing is free."""
        for length in range(self._root[1], self._width + 1):
            first = self._first(length)
            if first is not None:
                return (max(self._sets[length]) if top else first), length
        return None

    def inside(self, value: int, length: int) -> list[Piece]:
        """The free pieces inside the given one."""
        last = value + (1 << (self._width - length))
        return [
            (piece, longer)
            for longer, pieces in self._sets.items()
            if longer >= length
            for piece in sorted(pieces)
            if value <= piece < last
        ]

    def moved(self, root: Piece) -> Pieces:
        """The same free pieces in a range twice or half as wide."""
        other = Pieces(root, self._width)
        for length, pieces in self._sets.items():
            for value in sorted(pieces):
                other.give(value, length)
        return other

    def exclude(self, value: int, length: int) -> None:
        """Take whatever of this piece is still free, in as many parts as it takes."""
        if self.take(value, length):
            return
        if self.holds_part(value, length):
            for half in (value, value + (1 << (self._width - length - 1))):
                self.exclude(half, length + 1)

    def holds_part(self, value: int, length: int) -> bool:
        """Whether some address of the piece is free."""
        size = 1 << (self._width - length)
        return self.holder(value, length) is not None or any(
            value <= piece < value + size
            for longer, pieces in self._sets.items()
            if longer > length
            for piece in pieces
        )
