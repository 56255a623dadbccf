"""The fewest steps from the present table to one that covers within the load limit.

The draft asks, unless the plan is to be fresh. First the table as it is, with its dead next hops replaced:
one step for each is the least there can be. If that covers, and no next hop carries too much, it is the
answer. Otherwise the dynamic programme of ``cover`` with other prices: keeping a route is free, and every
create, replace and delete costs a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from podway.domain.addressing import Prefix
from podway.domain.planner.assign import Assignment, assign
from podway.domain.planner.cover import Covering, Prices
from podway.domain.planner.exact import SMALL, Exhaustive
from podway.domain.planner.fresh import Choice, may_gain_by_leaving_home, placed
from podway.domain.planner.next_hops import SLACK, Loads
from podway.domain.planner.parts import parts
from podway.domain.planner.problem import TableProblem
from podway.domain.planner.trie import NOBODY, Leaf, Problem
from podway.domain.routing import Block

ROUTE_PRICES = (1e-6, 0.5, 1.001)
"""What a route costs in steps, until the budget is met: free, then scarce, then dearer than a step."""

RETRIES = 20
"""Dropped routes that are put back on trial while there is room."""


def stable_choice(
    table: TableProblem, fresh: Choice, allowed: float, *, small: int = SMALL
) -> Mapping[Prefix, int] | None:
    """Destinations and colours with the fewest steps; None if no such plan was found."""
    as_is = _as_it_is(table, fresh, allowed)
    if as_is is not None:
        return as_is
    problem = replace(table.without(fresh.uncovered), confined=fresh.confined)
    hard = sum(1 for leaf in problem.leaves if leaf.hard)
    if hard <= small and len(table.present) <= 2 * small:
        return _small(table, problem, fresh, allowed)
    return _large(table, problem, fresh, allowed)


def tried(table: TableProblem, routes: Mapping[Prefix, int], allowed: float) -> Assignment:
    """These destinations with next hops, present ones kept where they may be."""
    return assign(table, routes, Loads(), limit=allowed, present=table.present)


def _uncovered_weight(table: TableProblem, missed: list[Block]) -> float:
    nodes = table.view.facts.nodes
    return sum(
        block.weight
        for block in missed
        if nodes[block.node].subnet != table.view.own_subnet and block.prefix not in table.view.foreign
    )


def fits(table: TableProblem, done: Assignment, fresh: Choice, allowed: float) -> bool:
    """Whether it covers what can be covered and keeps the limits."""
    return (
        len(done.hops) <= table.view.budget
        and done.worst <= allowed + SLACK
        and _uncovered_weight(table, done.missed) <= fresh.miss + SLACK
    )


def _as_it_is(table: TableProblem, fresh: Choice, allowed: float) -> dict[Prefix, int] | None:
    """The present destinations, each for the subnet whose blocks or space it stands for."""
    routes = _present_colours(table)
    if routes is None or _exposes(table, routes):
        return None
    done = tried(table, routes, allowed)
    dead = {prefix for prefix, hop in table.present.items() if not _able(done, prefix, hop)}
    changed = {prefix for prefix in routes if done.hops.get(prefix) != table.present[prefix]}
    if not fits(table, done, fresh, allowed) or not changed <= dead:
        return None
    left = {prefix: colour for prefix, colour in routes.items() if prefix in done.hops}
    return left if len(left) == len(routes) or not _catches_others(table, left) else None


def _able(done: Assignment, prefix: Prefix, hop: int) -> bool:
    part = done.parts.get(prefix)
    return hop != NOBODY and part is not None and done.chooser.may_take(part, hop)


def _present_colours(table: TableProblem) -> dict[Prefix, int] | None:
    """A colour for every present destination; None where blocks of several subnets meet."""
    problem = table.problem
    caught, _ = parts(table.present, problem.leaves, problem.foreign)
    space = dict(_spaces_around(table))
    routes = {}
    for prefix, leaves in caught.items():
        colours = {leaf.colour for leaf in leaves}
        if space.get(prefix, NOBODY) != NOBODY:
            colours.add(space[prefix])
        if len(colours) > 1:
            return None
        routes[prefix] = colours.pop() if colours else NOBODY
    return routes


def _spaces_around(table: TableProblem) -> list[tuple[Prefix, int]]:
    """The colour of the innermost supernet around every present destination."""
    stack: list[tuple[Prefix, int]] = []
    found = []
    spaces = list(table.spaces)
    at = 0
    for prefix in sorted(table.present):
        while at < len(spaces) and spaces[at][0] <= prefix:
            while stack and not stack[-1][0].contains(spaces[at][0]):
                stack.pop()
            stack.append(spaces[at])
            at += 1
        while stack and not stack[-1][0].contains(prefix):
            stack.pop()
        found.append((prefix, stack[-1][1] if stack else NOBODY))
    return found


def _exposes(table: TableProblem, routes: Mapping[Prefix, int]) -> bool:
    """Whether a route may catch unallocated space of another subnet's supernet; errs on the safe side."""
    spaces = [Leaf(prefix, colour, NOBODY, 0.0, hard=False) for prefix, colour in table.spaces]
    caught, _ = parts(routes, spaces, table.view.foreign)
    homes = table.problem.homes
    around = dict(_spaces_around(table))
    return any(
        any(space.colour != routes[prefix] for space in inside)
        or (routes[prefix] in homes and around[prefix] != routes[prefix])
        for prefix, inside in caught.items()
    )


def _small(table: TableProblem, problem: Problem, fresh: Choice, allowed: float) -> dict[Prefix, int] | None:
    """By exhaustive search; outside the supernets only if that saves steps."""
    options = [problem]
    if problem.confined and may_gain_by_leaving_home(problem):
        options.append(replace(problem, confined=False))
    found = [answer for option in options if (answer := _searched(table, option, fresh, allowed)) is not None]
    return min(found, key=lambda answer: answer[0])[1] if found else None


def _searched(
    table: TableProblem, problem: Problem, fresh: Choice, allowed: float
) -> tuple[float, dict[Prefix, int]] | None:
    """The fewest steps and the destinations that take them."""
    trie = table.trie(problem, present=True)
    prices = Prices(present=table.prices(trie), step=1.0)
    search = Exhaustive(problem, trie, prices, Covering(problem, trie, prices).marks, skip=fresh.miss > 0)
    search.allow(fresh.miss + SLACK)
    front = search.front(allowed + SLACK, table.view.budget)
    for state in sorted(front, key=lambda state: (state.aim, state.routes)):
        routes = placed(trie, state.trace)
        if fits(table, tried(table, routes, allowed), fresh, allowed):
            return state.aim, routes
    return None


def _large(table: TableProblem, problem: Problem, fresh: Choice, allowed: float) -> dict[Prefix, int] | None:
    trie = table.trie(problem, present=True)
    present = table.prices(trie)
    best: tuple[int, dict[Prefix, int]] | None = None
    for price in ROUTE_PRICES:
        cover = Covering(problem, trie, Prices(present, route=price, step=1.0)).solve(allowed + SLACK)
        if cover is None:
            return None
        routes = placed(trie, cover.trace)
        done = tried(table, routes, allowed)
        if not fits(table, done, fresh, allowed):
            continue
        routes = _put_back(table, routes, fresh, allowed)
        steps = _steps(table, tried(table, routes, allowed))
        if best is None or steps < best[0]:
            best = (steps, routes)
        if price == ROUTE_PRICES[0]:
            break
    return best[1] if best else None


def _steps(table: TableProblem, done: Assignment) -> int:
    present = table.view.targets
    return sum(
        1 for prefix in present.keys() | done.hops.keys() if present.get(prefix) != done.hops.get(prefix)
    )


def _put_back(
    table: TableProblem, routes: dict[Prefix, int], fresh: Choice, allowed: float
) -> dict[Prefix, int]:
    """With those present routes that were dropped only for their price, while there is room for them."""
    dropped = [prefix for prefix in sorted(table.present) if prefix not in routes]
    for prefix in dropped[:RETRIES]:
        hop = table.present[prefix]
        if len(routes) >= table.view.budget or hop == NOBODY:
            continue
        colour = table.colour[table.view.facts.nodes[hop].subnet]
        more = {**routes, prefix: colour}
        done = tried(table, more, allowed)
        if (
            not _catches_others(table, more)
            and done.hops.get(prefix) == hop
            and fits(table, done, fresh, allowed)
        ):
            routes = more
    return routes


def _catches_others(table: TableProblem, routes: Mapping[Prefix, int]) -> bool:
    caught, _ = parts(routes, table.problem.leaves, table.view.foreign)
    if any(
        leaf.colour != routes[p] for p, leaves in caught.items() for leaf in leaves if routes[p] != NOBODY
    ):
        return True
    known = {prefix: colour for prefix, colour in routes.items() if prefix in table.present}
    return _exposes(table, known)
