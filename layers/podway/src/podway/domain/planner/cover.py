"""The cheapest routes under which no next hop relays more than T times its capacity.

Called by ``fresh`` (a route costs 1) and ``stable`` (a changed route costs a step).

A route on a trie node catches every block below it that no longer route catches: its *part*. Choosing
routes is choosing where to cut the trie into parts. The programme goes from the leaves to the root. For the
subtree below a node it keeps the best ways to cut it, and of each way only what the nodes above must know:
its price, and what is still *open*, that is, caught by no route yet.

    leaf, a block        its weight is open
      │ merge siblings   prices and weights add up, the better owner counts, labels join (below)
    inner node ── leave open ──► the same state      (+ step, if a route is here now: it is dropped)
      │        └─ put a route ─► nothing is open     (+ route, and + step unless the present one is kept)
    root                 no block may be open now; the cheapest state is the answer

A state is (cost, weight, reach, marks, trace), kept under a label:

    cost     price of the routes so far
    weight   of the open blocks
    reach    the most that one open block's owner can take: its own weight + T x its capacity; else NO_REACH
    marks    bit n: some open block belongs to the next hop of the present route at level n above
    trace    where the routes are (``routes_of``)

The open part may be closed while weight <= reach: that owner relays everything but its own. Where no owner
may relay, the strongest node of the subnet takes it, while weight <= T x its capacity.

    label    what is open                   joined with  soft c   hard c   soft d   hard d   MIXED
    EMPTY    nothing                                     soft c   hard c   soft d   hard d   MIXED
    soft c   unallocated space of subnet c               soft c   hard c   MIXED    -        MIXED
    hard c   blocks of subnet c                          hard c   hard c   -        -        -
    MIXED    unallocated space of several                MIXED    -        MIXED    -        MIXED
    (-: no route may cover both, so one of them must be closed first)

Example: capacities 1; weights 5 and 2 under 10.0.0.0/23, weight 4 at 10.0.2.0/24; all under 10.0.0.0/22.

    T = 6   /23: weight 7, reach 11    /22: weight 11, reach 11    one route: 10.0.0.0/22
    T = 5   /23: weight 7, reach 10    /22: 11 > 10, so the /23    two routes: 10.0.0.0/23 and /22,
                                       gets a route of its own     and next_limit = 6

Thrown away (``_best``, ``_pruned``): of two states with one label the one that is in nothing better (cost,
weight, slack = reach - weight, marks); and an open state that costs more than the cheapest closed one, or as
much where all capacities are equal: to close it costs another route. A handful is left per node, so time is
linear in practice. At most FRONT are kept per label; where more would be needed, an optimum can be missed.

Kundu and Misra's tree partitioning (1977) with colours. ORTC (Draves et al. 1999) has neither a budget nor
a choice of next hop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from podway.domain.planner.trie import NOBODY, Leaf, Problem, Trie

EMPTY = -1
"""The label of nothing."""
MIXED = -2
"""The label of unallocated space of several subnets."""
NO_REACH = -1.0
"""No eligible owner among the open blocks."""

FRONT = 6
"""States kept per label; with equal capacities two are all there are."""

Trace = Any
"""Nested: None, (left, right), or ("route", position, label, rest)."""
State = tuple[float, float, float, int, Trace]
States = dict[int, list[State]]


def hard(colour: int) -> int:
    """The label of open blocks of *colour*."""
    return 2 * colour + 1


def soft(colour: int) -> int:
    """The label of open unallocated space of *colour*."""
    return 2 * colour


def joined(one: int, other: int) -> int | None:
    """The label of two open parts together; None when no route may cover both."""
    if one in {EMPTY, other}:
        return other
    if other == EMPTY:
        return one
    if one >= 0 and other >= 0 and one >> 1 == other >> 1:
        return one | other
    if (one & 1 and one > 0) or (other & 1 and other > 0):
        return None
    return MIXED


@dataclass(frozen=True, slots=True)
class Present:
    """A route that is in the table now: its next hop (NOBODY if that may not serve), how many are above."""

    hop: int
    level: int
    colour: int


@dataclass(frozen=True, slots=True)
class Prices:
    """What a plan pays for: fresh planning counts routes; stable planning counts steps, then routes.

    *route* is the price of a route in the table, *step* that of one API call, *relayed* that of weight that
    takes the extra hop (only the exhaustive search looks at it).
    """

    present: Mapping[int, Present] = field(default_factory=dict)
    route: float = 1.0
    step: float = 0.0
    relayed: float = 0.0


@dataclass(frozen=True, slots=True)
class Cover:
    """What the routes cost, and the trace that tells where they go (:func:`routes_of`)."""

    cost: float
    trace: Trace


class Covering:
    """The dynamic programme for one problem; :meth:`solve` for one load limit after another."""

    def __init__(self, problem: Problem, trie: Trie, prices: Prices | None = None) -> None:
        self.problem = problem
        self.trie = trie
        self.prices = prices or Prices()
        self.marks = self._marks()
        self.own_weight = {leaf.owner: leaf.weight for leaf in problem.leaves if leaf.hard}
        self.largest = max(problem.strongest.values(), default=1.0)
        self.uniform = len(set(problem.capacity.values())) < 2  # noqa: PLR2004  (one value, or none)
        self.limit = 0.0
        self.next_limit = float("inf")
        """After :meth:`solve`: no limit between the one given and this one changes the answer."""

    def _marks(self) -> dict[int, int]:
        """Per block: the levels of the present routes above it whose next hop owns it."""
        present = self.prices.present
        marks: dict[int, int] = {}
        if not present:
            return marks
        for at, leaf in enumerate(self.trie.leaf):
            if leaf is None or not leaf.hard:
                continue
            above = at
            while above != NOBODY:
                entry = present.get(above)
                if entry is not None and entry.hop == leaf.owner:
                    marks[at] = marks.get(at, 0) | 1 << entry.level
                above = self.trie.parent[above]
        return marks

    def solve(self, limit: float) -> Cover | None:
        """The cheapest routes under which nobody relays more than *limit*; None if they leave a block out."""
        self.limit = limit
        self.next_limit = float("inf")
        collected: list[States | None] = [None] * len(self.trie.prefix)
        done: States = {EMPTY: [(0.0, 0.0, NO_REACH, 0, None)]}
        for at in range(len(self.trie.prefix) - 1, -1, -1):
            states = self._closed(at, self._rest(at, collected[at]))
            collected[at] = None
            if not states:
                return None
            parent = self.trie.parent[at]
            if parent == NOBODY:
                done = self._merged(done, self._ended(states))
                if not done:
                    return None
            elif collected[parent] is None:
                collected[parent] = states
            else:
                collected[parent] = self._merged(collected[parent] or {}, states)
        best = min(done[EMPTY], key=lambda state: state[0])
        return Cover(best[0], best[4])

    def _rest(self, at: int, collected: States | None) -> States:
        """What may be open below the position, before a route is put there."""
        trie = self.trie
        leaf = trie.leaf[at]
        if leaf is not None:
            states = self._of_leaf(at, leaf)
        else:
            states = collected or {EMPTY: [(0.0, 0.0, NO_REACH, 0, None)]}
            if trie.gap[at] and trie.space[at] != NOBODY:
                states = self._exposed(states, soft(trie.space[at]))
        if trie.foreign[at]:
            kept: list[State] = [
                (cost, 0.0, NO_REACH, 0, trace)
                for label, some in states.items()
                if label == EMPTY or not label & 1
                for cost, _, _, _, trace in some
            ]
            return {EMPTY: _best(kept)} if kept else {}
        return states

    def _of_leaf(self, at: int, leaf: Leaf) -> States:
        if not leaf.hard:
            return {soft(leaf.colour): [(0.0, 0.0, NO_REACH, 0, None)]}
        capacity = self.problem.capacity.get(leaf.owner)
        reach = NO_REACH if capacity is None else leaf.weight + self.limit * capacity
        return {hard(leaf.colour): [(0.0, leaf.weight, reach, self.marks.get(at, 0), None)]}

    @staticmethod
    def _exposed(states: States, label: int) -> States:
        found: States = {}
        for old, some in states.items():
            new = joined(old, label)
            if new is not None:
                found.setdefault(new, []).extend(some)
        return {new: _best(some) for new, some in found.items()}

    def _merged(self, one: States, other: States) -> States:
        found: States = {}
        for label, some in one.items():
            for label2, some2 in other.items():
                new = joined(label, label2)
                if new is None:
                    continue
                into = found.setdefault(new, [])
                for cost, weight, reach, marks, trace in some:
                    for cost2, weight2, reach2, marks2, trace2 in some2:
                        total, best = weight + weight2, max(reach2, reach)
                        if total > best >= 0.0:
                            self._too_much(total, best)
                            continue
                        both = (trace, trace2) if trace and trace2 else trace or trace2
                        into.append((cost + cost2, total, best, marks | marks2, both))
        return self._pruned(found)

    def _too_much(self, weight: float, reach: float) -> None:
        """Remember the least limit at which this part could be closed after all."""
        needed = self.limit + (weight - reach) / self.largest
        self.next_limit = min(self.next_limit, needed)

    def _pruned(self, found: States) -> States:
        empty = found.get(EMPTY)
        least = min((cost for cost, _, _, _, _ in empty), default=float("inf")) if empty else float("inf")
        result: States = {}
        for label, some in found.items():
            kept = some
            if label != EMPTY:
                kept = [s for s in some if s[0] < least or (s[0] == least and not self.uniform)]
            if kept:
                result[label] = _best(kept)
        return result

    def _closed(self, at: int, states: States) -> States:
        """With a route at the position, and without."""
        entry = self.prices.present.get(at)
        mine = self.trie.sole[at]
        if mine != NOBODY:
            states = self._of_one_owner(states, mine)
        if self.trie.foreign[at]:
            return states
        closed = [
            after
            for label, some in states.items()
            for state in some
            if (after := self._with_route(at, label, state, entry)) is not None
        ]
        if entry is not None:
            bit = ~(1 << entry.level)
            states = {
                label: [
                    (cost + self.prices.step, weight, reach, marks & bit, trace)
                    for cost, weight, reach, marks, trace in some
                ]
                for label, some in states.items()
            }
        if not closed:
            return states
        best = min(closed, key=lambda state: state[0])
        empty = states.get(EMPTY)
        wide = self.trie.top[at]
        if not empty or best[0] < empty[0][0] or (wide and best[0] <= empty[0][0]):
            states = {**states, EMPTY: [best]}
        return self._pruned(states)

    def _of_one_owner(self, states: States, owner: int) -> States:
        """Everything below belongs to one node: all that is open is its own weight."""
        capacity = self.problem.capacity.get(owner)
        if capacity is None:
            return states
        room = self.limit * capacity
        return {
            label: [(cost, weight, weight + room, marks, trace) for cost, weight, _, marks, trace in some]
            if label & 1 and label > 0
            else some
            for label, some in states.items()
        }

    def _with_route(self, at: int, label: int, state: State, entry: Present | None) -> State | None:
        """The state after a route is put here; None where none may be."""
        if label >= 0 and not self.problem.allows(self.trie, at, label >> 1):
            return None
        keeps = entry is not None and self._may_keep(label, state, entry)
        if not keeps and (label < 0 or not self._may_close(at, label, state)):
            return None
        price = self.prices.route + (0.0 if keeps else self.prices.step)
        cost, _, _, _, trace = state
        return (cost + price, 0.0, NO_REACH, 0, ("route", at, label, trace))

    def _may_close(self, at: int, label: int, state: State) -> bool:
        strongest = self.problem.strongest.get(label >> 1)
        if not label & 1:
            return strongest is not None
        _, weight, reach, _, _ = state
        if reach >= 0.0:
            return weight <= reach
        if self.trie.sole[at] != NOBODY:
            return True
        return strongest is not None and self._within(weight, strongest)

    def _within(self, weight: float, strongest: float) -> bool:
        """Whether a node with nothing of its own in the part can carry it."""
        if weight <= self.limit * strongest:
            return True
        self.next_limit = min(self.next_limit, weight / strongest)
        return False

    def _may_keep(self, label: int, state: State, entry: Present) -> bool:
        """Whether the present next hop can carry what is open here."""
        if entry.hop == NOBODY or label < 0:
            return label == EMPTY and entry.hop != NOBODY
        if label >> 1 != entry.colour:
            return False
        if not label & 1:
            return True
        capacity = self.problem.capacity.get(entry.hop)
        if capacity is None:
            return False
        _, weight, _, marks, _ = state
        own = self.own_weight.get(entry.hop, 0.0) if marks >> entry.level & 1 else 0.0
        return weight - own <= self.limit * capacity

    def _ended(self, states: States) -> States:
        """At the top no block may be open; unallocated space may."""
        some: list[State] = [
            (cost, 0.0, NO_REACH, 0, trace)
            for label, kept in states.items()
            if label < 0 or not label & 1
            for cost, _, _, _, trace in kept
        ]
        return {EMPTY: _best(some)} if some else {}


def _best(states: list[State]) -> list[State]:
    """The states that no other one dominates, cheapest first."""
    if len(states) < 2:  # noqa: PLR2004  (nothing to compare)
        return states
    kept: list[State] = []
    for state in sorted(states, key=lambda state: (state[0], state[1], state[1] - state[2])):
        _, weight, reach, marks, _ = state
        for _, weight2, reach2, marks2, _ in kept:
            if weight2 <= weight and weight2 - reach2 <= weight - reach and not marks & ~marks2:
                break
        else:
            kept.append(state)
            if len(kept) == FRONT:
                break
    return kept


def routes_of(trace: Trace) -> Iterator[tuple[int, int]]:
    """Positions and labels of the routes in a trace."""
    stack: list[Trace] = [trace]
    while stack:
        here = stack.pop()
        if not here:
            continue
        if here[0] == "route":
            yield here[1], here[2]
            stack.append(here[3])
        else:
            stack.extend(here)
