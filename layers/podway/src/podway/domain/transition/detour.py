"""Where subnets interleave, a change may need routes that are in neither table: temporaries.

``order`` asks when no safe step is left. Best-first search (A*) over whole tables, exact for the few entries
that it is asked about. The estimate is the number of entries that still differ: a step mends at most one,
so it never overestimates.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import count, pairwise

from podway.domain.addressing import WIDTH, Prefix
from podway.domain.transition.board import Board

MOST_PLACES = 40
"""Prefixes that may have a route; above this no search is tried."""

MOST_TABLES = 1500
"""Tables looked at before giving up: about a second."""

_Table = tuple[str | None, ...]
_Move = tuple[int, str | None]


def branches(prefixes: Sequence[Prefix]) -> Iterator[Prefix]:
    """The longest common prefixes of sorted neighbours: places where a temporary can help."""
    for one, other in pairwise(prefixes):
        width = WIDTH[one.version]
        common = min(one.length, other.length, width - (one.value ^ other.value).bit_length())
        yield one.at(common)


def detour(state: Board, goal: Sequence[str | None]) -> list[_Move] | None:
    """The fewest hitless moves from the board's table to *goal*; None if none were found."""
    if len(state.prefixes) > MOST_PLACES:
        return None
    start: _Table = tuple(state.target)
    aim = tuple(goal)
    queue: list[tuple[int, int, int, _Table]] = [(_differing(start, aim), 0, 0, start)]
    came: dict[_Table, tuple[_Table, _Move] | None] = {start: None}
    cost = {start: 0}
    tickets = count(1)
    looked = 0
    try:
        while queue and looked < MOST_TABLES:
            _, so_far, _, table = heapq.heappop(queue)
            if table == aim:
                return _way(came, table)
            if so_far > cost[table]:
                continue
            looked += 1
            _lay(state, table)
            for move in list(_moves(state, aim)):
                after = (*table[: move[0]], move[1], *table[move[0] + 1 :])
                if after not in cost or so_far + 1 < cost[after]:
                    cost[after] = so_far + 1
                    came[after] = (table, move)
                    least = so_far + 1 + _differing(after, aim)
                    heapq.heappush(queue, (least, so_far + 1, next(tickets), after))
        return None
    finally:
        _lay(state, start)


def _lay(state: Board, table: _Table) -> None:
    """Put the table on the board without noting steps."""
    state.used += sum(1 for now in table if now) - sum(1 for was in state.target if was)
    state.target[:] = table


def _differing(table: _Table, aim: _Table) -> int:
    return sum(1 for mine, wanted in zip(table, aim, strict=True) if mine != wanted)


def _moves(state: Board, aim: _Table) -> Iterator[_Move]:
    """Everything that may be done next: no block lost, nobody's route touched, quota kept."""
    one_each = {subnet: target for target, subnet in sorted(state.serves.items(), reverse=True)}
    for at, now in enumerate(state.target):
        if now == "":
            continue
        for target in sorted({aim[at] or "", *one_each.values()} - {now}):
            if target and now is None and state.room < 1:
                continue
            if (target or now) and not state.effect(at, target or None)[1]:
                yield at, target or None
        if now is not None and aim[at] and not state.effect(at, None)[1]:
            yield at, None


def _way(came: dict[_Table, tuple[_Table, _Move] | None], table: _Table) -> list[_Move]:
    moves: list[_Move] = []
    while (step := came[table]) is not None:
        table, move = step
        moves.append(move)
    return moves[::-1]
