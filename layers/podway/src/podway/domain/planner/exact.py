"""The whole answer for a small table: every trade-off between routes, weight left uncovered, and the aim.

Called by ``fresh`` and ``stable`` where a table has few blocks. It is the dynamic programme of ``cover``, but
throws away only what is dominated in every respect. So it is exponential at worst, and its plan is optimal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from podway.domain.planner.cover import EMPTY, MIXED, Prices, Trace, hard, joined, soft
from podway.domain.planner.trie import LEAST_WEIGHT, NOBODY, Leaf, Problem, Trie

SMALL = 12
"""Blocks to cover, at most, for the exhaustive search."""


class TradeOff(NamedTuple):
    """What a subtree's routes cost and what they leave uncovered."""

    routes: int
    miss: float
    aim: float
    """What is to be least: relayed weight (fresh) or steps (stable)."""
    weight: float
    owners: tuple[tuple[float, float], ...]
    """Eligible owners in what is open that no other beats: (own weight, reach), heaviest first."""
    marks: int
    trace: Trace


TradeOffs = dict[int, list[TradeOff]]
NOTHING = TradeOff(0, 0.0, 0.0, 0.0, (), 0, None)


class Exhaustive:
    """The programme for one problem; :meth:`front` for one load limit after another."""

    def __init__(
        self, problem: Problem, trie: Trie, prices: Prices, marks: Mapping[int, int], *, skip: bool
    ) -> None:
        self.problem = problem
        self.trie = trie
        self.prices = prices
        self.marks = marks
        self.skip = skip
        self.own_weight = {leaf.owner: leaf.weight for leaf in problem.leaves if leaf.hard}
        self.largest = max(problem.strongest.values(), default=1.0)
        self.limit = 0.0
        self.budget = 0
        self.most_missed = float("inf")
        self.next_limit = float("inf")
        """After :meth:`front`: no limit between the one given and this one changes the answer."""

    def allow(self, miss: float) -> None:
        """From now on leave no more than this weight uncovered."""
        self.most_missed = miss + LEAST_WEIGHT / 2
        self.skip = miss >= LEAST_WEIGHT

    def front(self, limit: float, budget: int) -> list[TradeOff]:
        """Every undominated way to cover (with *skip*: or leave out) the blocks within the budget."""
        self.limit, self.budget, self.next_limit = limit, budget, float("inf")
        collected: list[TradeOffs | None] = [None] * len(self.trie.prefix)
        done: TradeOffs = {EMPTY: [NOTHING]}
        for at in range(len(self.trie.prefix) - 1, -1, -1):
            states = self._closed(at, self._rest(at, collected[at]))
            collected[at] = None
            parent = self.trie.parent[at]
            if parent == NOBODY:
                done = self._merged(done, self._ended(states))
            elif collected[parent] is None:
                collected[parent] = states
            else:
                collected[parent] = self._merged(collected[parent] or {}, states)
        return done.get(EMPTY, [])

    def _rest(self, at: int, collected: TradeOffs | None) -> TradeOffs:
        leaf = self.trie.leaf[at]
        if leaf is not None:
            states = self._of_leaf(at, leaf)
        else:
            states = {EMPTY: [NOTHING]} if collected is None else collected
            if self.trie.gap[at] and self.trie.space[at] != NOBODY:
                gap: TradeOffs = {soft(self.trie.space[at]): [NOTHING]}
                states = self._merged(states, gap)
        if self.trie.foreign[at]:
            return self._ended(states)
        return states

    def _of_leaf(self, at: int, leaf: Leaf) -> TradeOffs:
        uncovered = soft(leaf.colour)
        if not leaf.hard:
            return {uncovered: [NOTHING]}
        capacity = self.problem.capacity.get(leaf.owner)
        owners = () if capacity is None else ((leaf.weight, leaf.weight + self.limit * capacity),)
        state = TradeOff(0, 0.0, 0.0, leaf.weight, owners, self.marks.get(at, 0), None)
        states = {hard(leaf.colour): [state]}
        if self.skip:
            states[uncovered] = [NOTHING._replace(miss=leaf.weight or LEAST_WEIGHT)]
        return states

    def _merged(self, one: TradeOffs, other: TradeOffs) -> TradeOffs:
        found: TradeOffs = {}
        for label, some in one.items():
            for label2, some2 in other.items():
                new = joined(label, label2)
                if new is not None:
                    pairs = (self._both(a, b) for a in some for b in some2)
                    found.setdefault(new, []).extend(pair for pair in pairs if pair is not None)
        return {label: undominated(some) for label, some in found.items() if some}

    def _both(self, a: TradeOff, b: TradeOff) -> TradeOff | None:
        if a.routes + b.routes > self.budget or a.miss + b.miss > self.most_missed:
            return None
        weight = a.weight + b.weight
        owners = _strongest((*a.owners, *b.owners))
        if owners and all(weight > reach for _, reach in owners):
            excess = weight - max(reach for _, reach in owners)
            self.next_limit = min(self.next_limit, self.limit + excess / self.largest)
            return None
        trace = (a.trace, b.trace) if a.trace and b.trace else a.trace or b.trace
        return TradeOff(
            a.routes + b.routes, a.miss + b.miss, a.aim + b.aim, weight, owners, a.marks | b.marks, trace
        )

    def _closed(self, at: int, states: TradeOffs) -> TradeOffs:
        if self.trie.foreign[at]:
            return states
        entry = self.prices.present.get(at)
        step = self.prices.step
        closed = list(self._routed(at, states))
        if entry is not None:
            bit = ~(1 << entry.level)
            states = {
                label: [s._replace(aim=s.aim + step, marks=s.marks & bit) for s in some]
                for label, some in states.items()
            }
        if not closed:
            return states
        low, high = (closed, states.get(EMPTY, [])) if self.trie.top[at] else (states.get(EMPTY, []), closed)
        return {**states, EMPTY: undominated([*low, *high])}

    def _routed(self, at: int, states: TradeOffs) -> Iterator[TradeOff]:
        for label, some in states.items():
            if label == MIXED or (label != EMPTY and not self.problem.allows(self.trie, at, label >> 1)):
                continue
            for state in some:
                if state.routes < self.budget:
                    yield from self._route_here(at, label, state)

    def _route_here(self, at: int, label: int, state: TradeOff) -> Iterator[TradeOff]:
        entry = self.prices.present.get(at)
        trace = ("route", at, label, state.trace)
        base = state._replace(routes=state.routes + 1, weight=0.0, owners=(), marks=0, trace=trace)
        if entry is not None and self._may_keep(at, label, state):
            yield base
        if label == EMPTY:
            return
        relayed = self._relayed(at, label, state)
        if relayed is not None:
            yield base._replace(aim=state.aim + self.prices.step + relayed * self.prices.relayed)

    def _relayed(self, at: int, label: int, state: TradeOff) -> float | None:
        """What the best next hop would relay; None if nobody may take what is open."""
        strongest = self.problem.strongest.get(label >> 1)
        if not label & 1:
            return None if strongest is None else 0.0
        if self.trie.sole[at] != NOBODY:
            return 0.0
        for own, reach in state.owners:
            if state.weight <= reach:
                return state.weight - own
        if state.owners or strongest is None:
            return None
        if state.weight <= self.limit * strongest:
            return state.weight
        self.next_limit = min(self.next_limit, state.weight / strongest)
        return None

    def _may_keep(self, at: int, label: int, state: TradeOff) -> bool:
        entry = self.prices.present[at]
        if entry.hop == NOBODY or label == EMPTY:
            return entry.hop != NOBODY
        if label >> 1 != entry.colour:
            return False
        capacity = self.problem.capacity.get(entry.hop)
        if not label & 1 or self.trie.sole[at] == entry.hop:
            return capacity is not None or bool(label & 1)
        own = self.own_weight.get(entry.hop, 0.0) if state.marks >> entry.level & 1 else 0.0
        return capacity is not None and state.weight - own <= self.limit * capacity

    def _ended(self, states: TradeOffs) -> TradeOffs:
        """At the top no block may be open; unallocated space may."""
        some = [
            state._replace(weight=0.0, owners=(), marks=0)
            for label, kept in states.items()
            if label < 0 or not label & 1
            for state in kept
        ]
        return {EMPTY: undominated(some)} if some else {}


def _strongest(owners: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Heaviest first, each with more reach than those before it."""
    kept: list[tuple[float, float]] = []
    for owner in sorted(owners, key=lambda owner: (-owner[0], -owner[1])):
        if not kept or owner[1] > kept[-1][1]:
            kept.append(owner)
    return tuple(kept)


def undominated(states: Iterable[TradeOff]) -> list[TradeOff]:
    """The states that no other is at least as good as in every respect; of equals, the first."""
    kept: list[TradeOff] = []
    for state in sorted(states, key=lambda s: (s.routes, s.miss, s.aim, s.weight)):
        if not any(_as_good(other, state) for other in kept):
            kept.append(state)
    return kept


def _as_good(one: TradeOff, other: TradeOff) -> bool:
    return (
        one.routes <= other.routes
        and one.miss <= other.miss
        and one.aim <= other.aim
        and one.weight <= other.weight
        and not other.marks & ~one.marks
        and (one.owners == other.owners or _rules(one, other))
    )


def _rules(one: TradeOff, other: TradeOff) -> bool:
    """Whether for every owner of *other* one of *one* relays no more and has no less slack."""
    return all(
        any(
            one.weight - own <= other.weight - own2 and reach - one.weight >= reach2 - other.weight
            for own, reach in one.owners
        )
        for own2, reach2 in other.owners
    ) and (bool(one.owners) or not other.owners)
