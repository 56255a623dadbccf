"""The most weight that the budget can cover, when it is below the fewest routes that cover everything.

``fresh`` asks. A tree knapsack: per subtree and label (see ``cover``), the least weight left uncovered for
every number of routes.
"""

from __future__ import annotations

from podway.domain.addressing import Prefix
from podway.domain.planner.cover import EMPTY, MIXED, hard, joined, soft
from podway.domain.planner.trie import LEAST_WEIGHT, NOBODY, Leaf, Problem, Trie

_Uncovered = tuple[object, object] | Prefix | None
"""Nested: the blocks left uncovered."""
_Row = list[tuple[float, _Uncovered]]
"""By number of routes: the least weight left uncovered with so many, and which blocks."""
_Rows = dict[int, _Row]


def most_covered(problem: Problem, trie: Trie, budget: int) -> tuple[float, frozenset[Prefix]]:
    """The least weight that must stay uncovered with *budget* routes, and the blocks that make it up."""
    collected: list[_Rows | None] = [None] * len(trie.prefix)
    done: _Rows = {EMPTY: [(0.0, None)]}
    for at in range(len(trie.prefix) - 1, -1, -1):
        rows = _closed(problem, trie, at, _rest(trie, at, collected[at], budget), budget)
        collected[at] = None
        parent = trie.parent[at]
        if parent == NOBODY:
            done = _merged(done, _ended(rows), budget)
        else:
            before = collected[parent]
            collected[parent] = rows if before is None else _merged(before, rows, budget)
    miss, uncovered = min(done[EMPTY], key=lambda entry: entry[0])
    return miss, frozenset(_blocks(uncovered))


def _rest(trie: Trie, at: int, collected: _Rows | None, budget: int) -> _Rows:
    leaf = trie.leaf[at]
    if leaf is not None:
        rows = _of_leaf(leaf)
    else:
        rows = collected or {EMPTY: [(0.0, None)]}
        if trie.gap[at] and trie.space[at] != NOBODY:
            rows = _merged(rows, {soft(trie.space[at]): [(0.0, None)]}, budget)
    return _ended(rows) if trie.foreign[at] else rows


def _of_leaf(leaf: Leaf) -> _Rows:
    if not leaf.hard:
        return {soft(leaf.colour): [(0.0, None)]}
    uncovered: _Row = [(max(leaf.weight, LEAST_WEIGHT), leaf.prefix)]
    return {hard(leaf.colour): [(0.0, None)], soft(leaf.colour): uncovered}


def _ended(rows: _Rows) -> _Rows:
    """Only what leaves no block open. There always is some: every block may be left uncovered."""
    kept: _Row = []
    for label, row in rows.items():
        if label < 0 or not label & 1:
            kept = _least(kept, row)
    return {EMPTY: kept}


def _least(one: _Row, other: _Row) -> _Row:
    longest = max(len(one), len(other))
    best: _Row = []
    for count in range(longest):
        options = [row[min(count, len(row) - 1)] for row in (one, other) if row]
        best.append(min(options, key=lambda entry: entry[0]))
    return best


def _merged(one: _Rows, other: _Rows, budget: int) -> _Rows:
    found: _Rows = {}
    for label, row in one.items():
        for label2, row2 in other.items():
            new = joined(label, label2)
            if new is not None:
                both = _convolved(row, row2, budget)
                found[new] = _least(found[new], both) if new in found else both
    return found


def _convolved(one: _Row, other: _Row, budget: int) -> _Row:
    best: list[tuple[float, _Uncovered] | None] = [None] * min(budget + 1, len(one) + len(other) - 1)
    for count, (miss, left) in enumerate(one):
        for count2, (miss2, left2) in enumerate(other):
            both = count + count2
            if both > budget:
                break
            held = best[both]
            if held is None or miss + miss2 < held[0]:
                best[both] = (miss + miss2, (left, left2) if left and left2 else left or left2)
    return [entry for entry in best if entry is not None]


def _closed(problem: Problem, trie: Trie, at: int, rows: _Rows, budget: int) -> _Rows:
    if trie.foreign[at]:
        return rows
    empty = rows.get(EMPTY, [])
    for label, row in rows.items():
        if label in {EMPTY, MIXED} or not problem.allows(trie, at, label >> 1):
            continue
        able = (label >> 1) in problem.strongest or (label & 1 and trie.sole[at] != NOBODY)
        if able:
            empty = _least(empty, [(float("inf"), None), *row][: budget + 1])
    return {**rows, EMPTY: empty} if empty else rows


def _blocks(uncovered: _Uncovered) -> list[Prefix]:
    found: list[Prefix] = []
    stack: list[object] = [uncovered]
    while stack:
        here = stack.pop()
        if isinstance(here, Prefix):
            found.append(here)
        elif isinstance(here, tuple):
            stack.extend(here)
    return found
