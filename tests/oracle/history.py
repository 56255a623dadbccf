"""A small table, planned; then nodes fail, leave and join; and the fewest steps that takes."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product
from random import Random

from podway.domain.addressing import Prefix
from podway.domain.model import Cluster, Health, Node, Route
from podway.domain.planner.plan import plan

from tests.oracle.brute import Judge, World, candidates, eligible
from tests.oracle.instances import instance, place, subnet_of


def history(kind: str, seed: int) -> Cluster | None:
    """A cluster whose table holds yesterday's plan; None if that had holes."""
    random = Random(f"history/{kind}/{seed}")
    before = instance(kind, seed)
    table = replace(before.route_tables[0], quota=before.route_tables[0].quota + random.randint(0, 1))
    planned = plan(replace(before, route_tables=(table,))).route_tables[0]
    if planned.holes:
        return None
    owned = tuple(Route(r.destination, r.network_interface, owned=True) for r in planned.routes)
    nodes = list(before.nodes)
    for _ in range(random.randint(1, 2)):
        _happen(random, before, nodes)
    table = replace(table, routes=table.routes + owned)
    return replace(before, nodes=tuple(nodes), route_tables=(table,))


def _happen(random: Random, cluster: Cluster, nodes: list[Node]) -> None:
    what = random.random()
    if what < 0.7 and nodes:
        at = random.randrange(len(nodes))
        if what < 0.4:
            nodes[at] = replace(nodes[at], health=Health.FAILED)
        else:
            del nodes[at]
        return
    used = {node.blocks[0] for node in nodes}
    free = [index for index in range(8) if place(index, 3) not in used]
    index = random.choice(free) if free else 0
    subnet = subnet_of(random, {s.id: s.supernets for s in cluster.subnets}, place(index, 3))
    if free and subnet is not None:
        nodes.append(Node(f"i-new{index}", subnet, f"eni-new{index}", (place(index, 3),)))


def allowed(world: World, least: float) -> float:
    """The contract's load limit for a stable plan."""
    judge = Judge(world, home=False)
    capacities = [node.capacity for node in world.cluster.nodes if eligible(node)]
    heaviest = max((weight for _, _, weight in judge.blocks), default=0.0)
    return max(1.25 * least, least + heaviest / min(capacities, default=1.0))


def fewest_steps(world: World, limit: float) -> int | None:
    """By trying every set of routes that covers everything within the limit, and every next hop."""
    judge = Judge(world, home=False)
    by_interface = {node.network_interface: node.id for node in world.cluster.nodes}
    present = {
        r.destination: by_interface.get(r.target)
        for r in world.table.routes
        if r.owned and isinstance(r.destination, Prefix)
    }
    least: int | None = None
    places = candidates(world)
    for count in range(min(world.budget, len(judge.blocks) + len(present) + 1) + 1):
        for routes in combinations(places, count):
            entries = len(present.keys() ^ set(routes))
            if least is not None and entries >= least:
                continue
            replaced = _replacements(judge, routes, present, limit)
            if replaced is not None and (least is None or entries + replaced < least):
                least = entries + replaced
    return least


def _replacements(
    judge: Judge, routes: tuple[Prefix, ...], present: dict[Prefix, str | None], limit: float
) -> int | None:
    """How many present next hops must change for these destinations; None if they do not do."""
    options = judge.options(routes)
    if options is None or sum(weight for _, _, weight in options) < judge.total - 1e-7:
        return None
    choices = []
    for prefix, several, _ in options:
        within = [option for option in several if option[1] <= limit + 1e-9]
        within.sort(key=lambda option: option[0] != present.get(prefix, option[0]))
        choices.append([(option, prefix) for option in within])
    best: int | None = None
    for picks in product(*choices):
        loads: dict[str, float] = {}
        for (node, load, _), _ in picks:
            loads[node] = loads.get(node, 0.0) + load
        if max(loads.values(), default=0.0) > limit + 1e-9:
            continue
        count = sum(1 for (node, _, _), prefix in picks if prefix in present and present[prefix] != node)
        best = count if best is None else min(best, count)
        if best == 0:
            break
    return best
