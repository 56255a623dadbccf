"""Planner against oracle, by kind of cluster and seed; run as a module for as many as you like.

    python -m tests.oracle.compare fresh mono,home 0 2000 [progress-file]

It prints every difference, and goes on from the seed in the progress file if there is one.
"""

from __future__ import annotations

import sys
from pathlib import Path

from podway.domain.addressing import Prefix
from podway.domain.planner import plan
from podway.domain.transition import verify_transition

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


def stable_difference(kind: str, seed: int) -> str:
    """What is wrong with the stable plan after a little history; nothing if its steps are the fewest."""
    cluster = history(kind, seed)
    if cluster is None or plan(cluster, fresh=True).route_tables[0].holes:
        return ""
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
    return "" if least == differing else f"{kind}/{seed}: {differing} entries differ, not {least}"


MODES = {"fresh": fresh_difference, "stable": stable_difference}


def main(mode: str, kinds: str, first: str, last: str, progress: str = "") -> int:
    """Compare; the number of differences."""
    different = 0
    start = int(first)
    if progress and Path(progress).exists():
        start = int(Path(progress).read_text(encoding="utf-8"))
    for seed in range(start, int(last)):
        found = [text for kind in kinds.split(",") if (text := MODES[mode](kind, seed))]
        different += len(found)
        for text in found:
            sys.stdout.write(f"{text}\n")
        if progress:
            Path(progress).write_text(str(seed + 1), encoding="utf-8")
    sys.stdout.write(f"{mode}: {different} differences in {len(kinds.split(','))} x {int(last) - start}\n")
    return different


if __name__ == "__main__":
    sys.exit(1 if main(*sys.argv[1:]) else 0)
