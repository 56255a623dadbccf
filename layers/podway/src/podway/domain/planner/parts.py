"""Who is caught by which route: longest-prefix match of sorted blocks in sorted routes, in one pass."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from podway.domain.addressing import Prefix
from podway.domain.routing import Block


def parts(
    routes: Iterable[Prefix], blocks: Sequence[Block], foreign: Collection[Prefix] = ()
) -> tuple[dict[Prefix, list[Block]], list[Block]]:
    """Blocks by the managed route that catches them, and those that none catches.

    *blocks* are in trie order. A foreign route catches like any other, and what it catches is lost.
    """
    caught: dict[Prefix, list[Block]] = {route: [] for route in routes}
    missed: list[Block] = []
    lost = frozenset(foreign)
    order = sorted(lost.union(caught))
    stack: list[Prefix] = []
    at = 0
    for block in blocks:
        prefix = block.prefix
        while at < len(order) and order[at] <= prefix:
            stack.append(order[at])
            at += 1
            while len(stack) > 1 and not stack[-2].contains(stack[-1]):
                del stack[-2]
        while stack and not stack[-1].contains(prefix):
            stack.pop()
        if stack and stack[-1] not in lost:
            caught[stack[-1]].append(block)
        else:
            missed.append(block)
    return caught, missed
