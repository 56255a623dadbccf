"""Planner against oracle, by kind of cluster and seed (``make soak`` plays many)."""

from __future__ import annotations

from podway.domain.addressing import Prefix
from podway.domain.planner.draft import Allowance, Draft
from podway.domain.planner.next_hops import Loads
from podway.domain.planner.plan import plan
from podway.domain.routing import Facts, TableFacts
from podway.domain.transition.verify import verify_transition

from tests.oracle.brute import Judge, World, best
from tests.oracle.history import allowed, fewest_steps, history
from tests.oracle.instances import instance

CLOSE = 1e-4


def fresh_difference(kind: str, seed: int) -> str:
    """What is wrong with the fresh plan of that instance; nothing if it is the optimum."""
    cluster = instance(kind, seed)
    world = World(cluster, cluster.route_tables[0])
    planned = plan(cluster, fresh=True).route_tables[0]
    score = Judge(world, home=False).score_of({r.destination: r.next_hop for r in planned.routes})
    if score is None or len(planned.routes) > world.budget:
        return f"{kind}/{seed}: the plan breaks a rule"
    told = (planned.max_relayed_load, -planned.direct_weight)
    if any(abs(mine - real) > CLOSE * 10 for mine, real in zip(told, score[1:], strict=True)):
        return f"{kind}/{seed}: the plan says {told}, it is {score}"
    optimum = best(world)
    if any(abs(mine - least) > CLOSE for mine, least in zip(score, optimum, strict=True)):
        return f"{kind}/{seed}: {score} instead of {optimum}"
    return ""


def large_gap(kind: str, seed: int) -> str:
    """How the methods for large tables do on that instance, next to the oracle.

    In home mode where that covers everything: they leave it only if they must.
    """
    cluster = instance(kind, seed)
    world = World(cluster, cluster.route_tables[0])
    draft = Draft(TableFacts(world.table, Facts(cluster, 4)), Loads(), fresh=True, small=0)
    draft.make(Allowance())
    score = Judge(world, home=False).score_of({r.destination: r.next_hop for r in draft.routes})
    if score is None:
        return "invalid"
    optimum = best(world, home=not draft.holes)
    for mine, least, name in zip(score, optimum, ("more bare", "more relayed", "less direct"), strict=True):
        if mine > least + CLOSE:
            return name
        if mine < least - CLOSE:
            return "equal"  # or better: it left home where it had to
    return "equal"


def stable_gap(kind: str, seed: int) -> int | str | None:
    """Steps above the fewest that a stable plan takes after a little history; text if it is invalid.

    None where there is nothing to compare: no history, or no plan that covers everything.
    """
    cluster = history(kind, seed)
    if cluster is None or plan(cluster, fresh=True).route_tables[0].holes:
        return None
    world = World(cluster, cluster.route_tables[0])
    limit = allowed(world, plan(cluster, fresh=True).route_tables[0].max_relayed_load)
    planned = plan(cluster, improve=0).route_tables[0]
    score = Judge(world, home=False).score_of({r.destination: r.next_hop for r in planned.routes})
    if score is None or score[0] > CLOSE or score[1] > limit + CLOSE:
        return f"{kind}/{seed}: the plan breaks a rule: {score}, limit {limit}"
    if [b for b in verify_transition(cluster, world.table, planned.steps) if b.invariant != "I1"]:
        return f"{kind}/{seed}: the steps break a rule"
    # A full table may need temporary routes on the way: what counts here is how many entries differ.
    present = {
        r.destination: r.target for r in world.table.routes if r.owned and isinstance(r.destination, Prefix)
    }
    wanted = {r.destination: r.network_interface for r in planned.routes}
    differing = sum(1 for place in present.keys() | wanted.keys() if present.get(place) != wanted.get(place))
    least = fewest_steps(world, limit)
    return f"{kind}/{seed}: the oracle finds no plan" if least is None else differing - least


def stable_difference(kind: str, seed: int) -> str:
    """What is wrong with that stable plan; nothing if its steps are the fewest."""
    gap = stable_gap(kind, seed)
    return gap if isinstance(gap, str) else f"{kind}/{seed}: {gap} steps too many" if gap else ""
