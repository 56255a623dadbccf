"""One table's problem as a trie: what must be covered, whose space lies between, where routes may go.

``problem`` builds it, and ``cover``, ``exact`` and ``degrade`` work on it. Parts (the blocks that one route
catches) are connected pieces of the trie. So choosing routes is choosing which edges to cut: tree
partitioning with colours (a colour is a subnet).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from podway.domain.addressing import Prefix

NOBODY = -1
"""No colour, no node, no parent."""

LEAST_WEIGHT = 1e-6
"""What a block without weight counts for where one is left uncovered: that is never free."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A block: its colour, its owner, and what it weighs; *hard* if it must be covered.

    *uncovered*: given up for want of budget; but only a node that may relay for others may take it along.
    """

    prefix: Prefix
    colour: int
    owner: int
    weight: float
    hard: bool = True
    uncovered: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """What to cover, and with what. Leaves are in trie order and disjoint."""

    roots: Sequence[Prefix]
    """Where routes may lie: the pod CIDRs of the family."""
    leaves: Sequence[Leaf]
    spaces: Sequence[tuple[Prefix, int]]
    """Supernets with their colours, in trie order."""
    foreign: Collection[Prefix]
    capacity: Mapping[int, float]
    """Capacity of the nodes that may relay."""
    strongest: Mapping[int, float]
    """Largest such capacity, by colour."""
    homes: frozenset[int]
    """Colours that have supernets; all others are adopted and may lie anywhere."""
    confined: bool = True
    """Home mode: routes of such colours stay inside their own supernets."""

    def allows(self, trie: Trie, at: int, colour: int) -> bool:
        """Whether a route of *colour* may stand here, as far as unallocated space is concerned.

        Outside their supernets, colours that have some still must not take space that nobody owns.
        """
        if colour not in self.homes:
            return True
        return trie.space[at] == colour if self.confined else trie.owned[at]


@dataclass(slots=True)
class Trie:
    """Parallel arrays in pre-order; children come after their parent."""

    prefix: list[Prefix]
    parent: list[int]
    leaf: list[Leaf | None]
    space: list[int]
    """Colour of the innermost supernet around the node."""
    gap: list[bool]
    """Whether some of its addresses belong to no child and no block."""
    top: list[bool]
    """Whether the node is a supernet."""
    foreign: list[bool]
    owned: list[bool] = field(default_factory=list)
    """Whether every unallocated address below lies in some supernet."""
    sole: list[int] = field(default_factory=list)
    """The only owner of what must be covered below, else NOBODY."""


def build(problem: Problem, positions: Iterable[Prefix] = (), *, halves: bool = False) -> Trie:
    """The trie of a problem; *positions* are further places for routes (the present ones).

    *halves* adds the places right below every branch inside a supernet, and its empty pieces: a route
    there shields unallocated space of its own colour, so that one of another colour may pass above.
    """
    leaves = {leaf.prefix: leaf for leaf in problem.leaves}
    spaces = dict(problem.spaces)
    explicit = {*leaves, *spaces, *problem.foreign, *problem.roots, *positions}
    order = _with_branches(_outside_blocks(sorted(explicit), leaves))
    if halves:
        order = _with_branches(sorted({*order, *_halves(order, problem.spaces, leaves)}))
    size = len(order)
    trie = Trie(
        prefix=order,
        parent=_parents(order),
        leaf=[leaves.get(prefix) for prefix in order],
        space=[NOBODY] * size,
        gap=[True] * size,
        top=[prefix in spaces for prefix in order],
        foreign=[prefix in problem.foreign for prefix in order],
    )
    _colour_spaces(trie, spaces)
    _find_gaps(trie)
    trie.sole = _sole_owners(trie)
    trie.owned = [not gap or space != NOBODY for gap, space in zip(trie.gap, trie.space, strict=True)]
    for at in range(size - 1, 0, -1):
        if trie.parent[at] != NOBODY and not trie.owned[at]:
            trie.owned[trie.parent[at]] = False
    return trie


def _outside_blocks(order: list[Prefix], leaves: Mapping[Prefix, Leaf]) -> list[Prefix]:
    """Without what lies inside a block: no route is ever needed there."""
    kept: list[Prefix] = []
    block: Prefix | None = None
    for prefix in order:
        if block is not None and block.contains(prefix):
            continue
        kept.append(prefix)
        if prefix in leaves:
            block = prefix
    return kept


def _with_branches(order: list[Prefix]) -> list[Prefix]:
    """With the longest common prefix of neighbours: where the trie branches."""
    if len(order) < 2:  # noqa: PLR2004  (neighbours come in pairs)
        return order
    width = 32 if order[0].version == 4 else 128  # noqa: PLR2004  (the family's own number)
    found = set(order)
    last = order[0]
    for prefix in order[1:]:
        length = min(last.length, prefix.length, width - (last.value ^ prefix.value).bit_length())
        if length < last.length:
            shift = width - length
            found.add(Prefix(prefix.version, prefix.value >> shift << shift, length))
        last = prefix
    return sorted(found)


def _parents(order: list[Prefix]) -> list[int]:
    parents = [NOBODY] * len(order)
    stack: list[int] = []
    for at, prefix in enumerate(order):
        while stack and not order[stack[-1]].contains(prefix):
            stack.pop()
        if stack:
            parents[at] = stack[-1]
        stack.append(at)
    return parents


def _halves(
    order: list[Prefix], spaces: Sequence[tuple[Prefix, int]], leaves: Mapping[Prefix, Leaf]
) -> Iterable[Prefix]:
    owned = {prefix for prefix, _ in spaces}
    inside: list[bool] = []
    for prefix, parent in zip(order, _parents(order), strict=True):
        within = parent != NOBODY and inside[parent]
        inside.append(within or prefix in owned)
        if within and order[parent] not in leaves:
            yield from _beside(order, prefix, order[parent].length + 1)


def _beside(order: list[Prefix], prefix: Prefix, shortest: int) -> Iterable[Prefix]:
    """The half of the parent that holds *prefix*, and the empty pieces on the way down to it."""
    if prefix.length > shortest:
        yield prefix.at(shortest)
    for length in range(shortest, prefix.length + 1):
        piece = prefix.at(length).buddy()
        after = bisect_left(order, piece)
        if after == len(order) or not piece.contains(order[after]):
            yield piece


def _colour_spaces(trie: Trie, spaces: Mapping[Prefix, int]) -> None:
    for at, prefix in enumerate(trie.prefix):
        if prefix in spaces:
            trie.space[at] = spaces[prefix]
        elif trie.parent[at] != NOBODY:
            trie.space[at] = trie.space[trie.parent[at]]


def _find_gaps(trie: Trie) -> None:
    halves = [0] * len(trie.prefix)
    for at in range(len(trie.prefix) - 1, -1, -1):
        if trie.leaf[at] is not None or halves[at] == 2:  # noqa: PLR2004  (both halves are there)
            trie.gap[at] = False
        parent = trie.parent[at]
        if parent != NOBODY and trie.prefix[at].length == trie.prefix[parent].length + 1:
            halves[parent] += 1


_SEVERAL = -2
"""More than one owner."""


def _sole_owners(trie: Trie) -> list[int]:
    sole = [NOBODY] * len(trie.prefix)
    for at in range(len(trie.prefix) - 1, -1, -1):
        leaf = trie.leaf[at]
        if leaf is not None and (leaf.hard or leaf.uncovered):
            sole[at] = leaf.owner
        parent = trie.parent[at]
        if parent != NOBODY and sole[at] != NOBODY and sole[parent] != sole[at]:
            sole[parent] = sole[at] if sole[parent] == NOBODY else _SEVERAL
    return [NOBODY if owner == _SEVERAL else owner for owner in sole]
