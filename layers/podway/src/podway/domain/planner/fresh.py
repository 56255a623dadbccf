"""Which destinations a table gets, planned from nothing: the optimum within the budget.

The draft asks for every table, since a stable plan is measured against the fresh one. In this order: least
weight left uncovered, lightest busiest next hop, most direct weight. Exact for small tables, and for large
ones of one block per node and equal capacity; else FRONT (see ``cover``) and the greedy filling of the
budget may miss the optimum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from podway.domain.addressing import Prefix
from podway.domain.planner.assign import assign
from podway.domain.planner.cover import EMPTY, Cover, Covering, Prices, Trace, routes_of
from podway.domain.planner.degrade import most_covered
from podway.domain.planner.even import even_routes, smallest_part
from podway.domain.planner.exact import SMALL, Exhaustive, TradeOff
from podway.domain.planner.load_limit import MANY_BLOCKS, MOST_TRIES, least_limit
from podway.domain.planner.next_hops import SLACK, Loads
from podway.domain.planner.problem import TableProblem
from podway.domain.planner.trie import NOBODY, Problem, Trie


@dataclass(frozen=True, slots=True)
class Choice:
    """Destinations with the colours of their next hops, and what that costs."""

    routes: Mapping[Prefix, int]
    limit: float = 0.0
    """The most that a next hop may have to relay, as weight / capacity."""
    miss: float = 0.0
    """The weight that no route covers."""
    confined: bool = True
    """Whether routes stay inside their subnet's supernets (home mode)."""
    uncovered: frozenset[Prefix] = field(default=frozenset())
    """Large tables only: the blocks given up for want of budget."""


def fresh_choice(table: TableProblem, *, small: int = SMALL) -> Choice:
    """The best destinations regardless of the present ones."""
    count, _, heaviest = table.view.counted
    if not count:
        return Choice({})
    if count <= small:
        return _small(table)
    groves = table.even
    if groves is not None:
        most = smallest_part([grove for several in groves.values() for grove in several], table.view.budget)
        if most is not None:
            load = (most - 1) * heaviest / table.least_capacity
            routes = even_routes(groves, most)
            return Choice({prefix: table.colour[subnet] for prefix, subnet in routes.items()}, load)
    return _at_home(table) or _large(table)


def _at_home(table: TableProblem) -> Choice | None:
    """By the quick programme for one colour at a time; None where it does not apply or nothing fits."""
    weighing = table.weighing
    budget = table.view.budget
    if weighing is None or len(weighing.stretches) > budget:
        return None

    def attempt(limit: float) -> tuple[dict[Prefix, str] | None, float]:
        return weighing.solve(limit, budget), weighing.next_limit

    count, weight, _ = table.view.counted
    tries = MOST_TRIES if count <= MANY_BLOCKS else 2
    found = least_limit(attempt, guess=1.3 * weight / budget / weighing.largest, tries=tries)
    if found is None:
        return None
    limit, routes = found
    return Choice({prefix: table.colour[subnet] for prefix, subnet in routes.items()}, limit)


def may_gain_by_leaving_home(problem: Problem) -> bool:
    """Whether a route outside its subnet's supernets could save one: it takes two of them to merge."""
    colours = [colour for _, colour in problem.spaces]
    return len(set(colours)) < len(colours)


def _small(table: TableProblem) -> Choice:
    """By exhaustive search; outside the supernets only for a strictly better plan."""
    best = _searched(table, table.problem)
    if may_gain_by_leaving_home(table.problem):
        other = _searched(table, replace(table.problem, confined=False))
        if _better(other, best):
            best = other
    choice, _ = best
    return choice


def _better(one: tuple[Choice, float], other: tuple[Choice, float]) -> bool:
    for mine, theirs in (
        (one[0].miss, other[0].miss),
        (one[0].limit, other[0].limit),
        (one[1], other[1]),
    ):
        if abs(mine - theirs) > SLACK:
            return mine < theirs
    return False


def _searched(table: TableProblem, problem: Problem) -> tuple[Choice, float]:
    trie = table.trie(problem, present=False)
    budget = table.view.budget
    search = Exhaustive(problem, trie, Prices(relayed=1.0), {}, skip=True)
    miss = min(state.miss for state in search.front(float("inf"), budget))
    search.allow(miss)

    def attempt(limit: float) -> tuple[TradeOff | None, float]:
        front = search.front(limit, budget)
        return min(front, key=lambda state: (state.aim, state.routes), default=None), search.next_limit

    found = least_limit(attempt, guess=total_weight(problem) / max(1, budget))
    if found is None:
        return Choice({}, 0.0, miss, problem.confined), 0.0
    limit, state = found
    routes = placed(trie, state.trace)
    worst, relayed = _reached(table, routes, limit)
    while worst > limit + SLACK and search.next_limit <= worst:
        # Some node must take several parts, which the search does not see: try what costs a little more.
        # Rounding can make the next limit the present one: each try must be for more, or there is no end.
        front = search.front(max(search.next_limit, limit + SLACK), budget)
        for state in front:
            other = placed(trie, state.trace)
            answer = _reached(table, other, search.limit)
            if answer < (worst - SLACK, 0.0) or (answer[0] <= worst + SLACK and answer[1] < relayed - SLACK):
                routes, (worst, relayed) = other, answer
        limit = search.limit
    return Choice(routes, max(worst, 0.0), miss, problem.confined), relayed


def _reached(table: TableProblem, routes: Mapping[Prefix, int], limit: float) -> tuple[float, float]:
    """The busiest load and the relayed weight once next hops are chosen."""
    done = assign(table, routes, Loads(), limit=limit, present={})
    relayed = sum(part.weight - part.own.get(done.hops[prefix], 0.0) for prefix, part in done.parts.items())
    return done.worst, relayed


def placed(trie: Trie, trace: Trace) -> dict[Prefix, int]:
    """Destinations and colours (NOBODY: a kept route that catches nothing) of a solution."""
    return {trie.prefix[at]: NOBODY if label == EMPTY else label >> 1 for at, label in routes_of(trace)}


def total_weight(problem: Problem) -> float:
    """Of all that must be covered."""
    return sum(leaf.weight for leaf in problem.leaves if leaf.hard)


def _large(table: TableProblem) -> Choice:
    """By the pruned programme: in home mode if that fits, else anywhere, else with the least given up."""
    budget = table.view.budget
    problem, uncovered = affordable(table, budget)
    covering = Covering(problem, table.trie(problem, present=False))

    def attempt(limit: float) -> tuple[Cover | None, float]:
        cover = covering.solve(limit)
        return (cover if cover is not None and cover.cost <= budget else None), covering.next_limit

    guess = 1.3 * total_weight(problem) / max(1, budget) / covering.largest
    found = least_limit(attempt, guess=guess)
    miss = sum(leaf.weight for leaf in table.problem.leaves if leaf.prefix in uncovered)
    if found is None:
        return Choice({}, 0.0, miss, problem.confined, uncovered)
    limit, cover = found
    return Choice(placed(covering.trie, cover.trace), limit, miss, problem.confined, uncovered)


def affordable(table: TableProblem, budget: int) -> tuple[Problem, frozenset[Prefix]]:
    """The problem that fits the budget, and what had to be given up for it."""
    problem = table.problem
    options = [problem]
    if may_gain_by_leaving_home(problem):
        options.append(replace(problem, confined=False))
    for option in options:
        cover = Covering(option, table.trie(option, present=False)).solve(float("inf"))
        if cover is not None and cover.cost <= budget:
            return option, frozenset()
    given_up = [
        (most_covered(option, table.trie(option, present=False), budget), option) for option in options
    ]
    (_, uncovered), option = min(given_up, key=lambda answer: answer[0][0])
    return replace(table.without(uncovered), confined=option.confined), uncovered
