"""What ``make bench`` measures. CPU time of this process, the best of some runs, as ratios where possible."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from math import log
from random import Random
from time import process_time

import netaddr
from podway.cli.churn import Buddies, NextFit, Scene, live
from podway.domain.addressing import Prefix
from podway.domain.model import Cluster, Health, Replace, RouteKind, TablePlan
from podway.domain.planner.plan import plan
from podway.domain.transition.verify import verify_transition

from tests.bench.clusters import carried_out, churned, cluster, copied
from tests.oracle.corpus import Recorded, corpus, gap
from tests.oracle.solver import solved


def cpu(work: Callable[[], object], runs: int = 5) -> float:
    """The least CPU time of some runs, in seconds."""
    return cpu_of(runs, work)[0]


def cpu_of(runs: int, *works: Callable[[], object]) -> list[float]:
    """The least CPU time of each, in turns: a machine that slows down slows them all down."""
    best = [float("inf")] * len(works)
    for _ in range(runs):
        for number, work in enumerate(works):
            gc.collect()
            start = process_time()
            work()
            best[number] = min(best[number], process_time() - start)
    return best


def parsing(of: Cluster) -> Callable[[], object]:
    """What netaddr does to parse the cluster's blocks."""
    texts = [str(node.blocks[0]) for node in of.nodes]
    return lambda: [netaddr.IPNetwork(text) for text in texts]


def merging(of: Cluster) -> Callable[[], object]:
    """What netaddr does to merge them, already parsed."""
    blocks = [netaddr.IPNetwork(str(node.blocks[0])) for node in of.nodes]
    return lambda: netaddr.cidr_merge(blocks)


@dataclass(frozen=True)
class Planning:
    """A whole fresh plan."""

    nodes: int
    quota: int
    seconds: float
    to_parse: float
    to_merge: float
    bytes_per_node: float


def planning(nodes: int, quota: int, *, weighted: bool = False, foreign: int = 0) -> Planning:
    """Time and memory of a fresh plan."""
    of = cluster(nodes, quota=quota, weighted=weighted, foreign=foreign)
    seconds, parse, merge = cpu_of(5, lambda: plan(of, fresh=True), parsing(of), merging(of))
    gc.collect()
    tracemalloc.start()
    plan(of, fresh=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return Planning(nodes, quota, seconds, seconds / parse, seconds / merge, peak / nodes)


def exponent(found: list[Planning]) -> float:
    """Of the growth between the smallest and the largest that take measurable time."""
    some = [each for each in found if each.nodes >= 500]
    return log(some[-1].seconds / some[0].seconds) / log(some[-1].nodes / some[0].nodes)


@dataclass(frozen=True)
class Repair:
    """A failed forwarder, planned stably."""

    nodes: int
    to_parse: float
    steps: int
    routes_through_it: int


def repair(of: Cluster, tables: int = 1) -> Repair:
    """How long it takes when the busiest next hop fails, and whether only its own routes are touched.

    Every one of the *tables* holds the same routes.
    """
    settled = copied(carried_out(of, plan(of, fresh=True)), tables)
    hops = Counter(
        route.next_hop
        for route in plan(settled, improve=0).route_tables[0].routes
        if route.kind is RouteKind.AGGREGATED
    )
    (dead, _), *_ = hops.most_common(1)
    sick = tuple(replace(n, health=Health.FAILED) if n.id == dead else n for n in settled.nodes)
    after = replace(settled, nodes=sick)
    steps = [step for table in plan(after, improve=0).route_tables for step in table.steps]
    assert all(isinstance(step, Replace) for step in steps)
    (interface,) = (node.network_interface for node in of.nodes if node.id == dead)
    through = sum(route.target == interface for table in settled.route_tables for route in table.routes)
    seconds, parse = cpu_of(5, lambda: plan(after, improve=0), parsing(after))
    return Repair(len(of.nodes), seconds / parse, len(steps), through)


@dataclass(frozen=True)
class Change:
    """The steps from one table to another, and the number of entries that differ: no fewer would do."""

    steps: int
    differing: int
    breaches: int


@dataclass(frozen=True)
class Churn:
    """What some joins and leaves cost, planned stably and afresh."""

    events: int
    stable: Change
    fresh: Change


def churn(events: int, nodes: int = 5000, quota: int = 500) -> Churn:
    """Stable against fresh."""
    before = cluster(nodes, quota=quota)
    settled = carried_out(before, plan(before, fresh=True))
    after = churned(settled, events // 2, events - events // 2)
    stable = plan(after, improve=0).route_tables[0]
    return Churn(events, _change(after, stable), _change(after, plan(after, fresh=True).route_tables[0]))


def _change(of: Cluster, made: TablePlan) -> Change:
    table = of.route_tables[0]
    present = {route.destination: route.target for route in table.routes if route.owned}
    wanted = {route.destination: route.network_interface for route in made.routes}
    differing = {place for place, _ in present.items() ^ wanted.items()}
    return Change(len(made.steps), len(differing), len(verify_transition(of, table, made.steps)))


@dataclass(frozen=True)
class Optimality:
    """The clusters of a kind next to CP-SAT's optima; gaps as shares of the optimum."""

    kind: str
    count: int
    blocks: str
    relay_more: int
    worst: float
    less_direct: float
    times: float
    times_now: float | None


def optimality() -> list[Optimality]:
    """By kind of cluster."""
    found: dict[str, list[Recorded]] = {}
    for one in corpus():
        found.setdefault(one.kind, []).append(one)
    return [_optimality(kind, several) for kind, several in found.items()]


def _optimality(kind: str, several: list[Recorded]) -> Optimality:
    gaps = [gap(one) for one in several]
    clusters = [one.cluster() for one in several]
    ours = sum(cpu(partial(plan, of, fresh=True), 3) for of in clusters)
    more = [one.busiest / max(1.0, it.busiest) for one, it in zip(gaps, several, strict=True)]
    sizes = [one.blocks for one in several]
    now = None
    if find_spec("ortools") is not None:
        now = sum(cpu(partial(solved, of), 1) for of in clusters) / ours
    return Optimality(
        kind=kind,
        count=len(several),
        blocks=f"{min(sizes)}-{max(sizes)}",
        relay_more=sum(share > 0 for share in more),
        worst=max(more),
        less_direct=sum(one.direct for one in gaps) / sum(one.direct for one in several),
        times=sum(one.seconds for one in several) / ours,
        times_now=now,
    )


@dataclass(frozen=True)
class Addresses:
    """An allocation policy over some days."""

    policy: str
    days: int
    peak_use: float
    p50: int
    p99: int
    most: int
    failed: int
    routes: list[int]


def addresses(days: int, mean: int = 4650) -> list[Addresses]:
    """Podway's allocator and next-fit on the same history; one point per hour."""
    scene = Scene(Prefix.parse("100.64.0.0/13"), 26, 3, mean)
    found = []
    for name, policy in (("podway", Buddies(scene)), ("next-fit", NextFit(scene))):
        outcome = live(scene, policy, days * 24, Random(1))
        found.append(
            Addresses(
                name,
                days,
                outcome.peak / scene.places,
                outcome.percentile(0.5),
                outcome.percentile(0.99),
                max(outcome.routes),
                outcome.failed,
                outcome.routes,
            )
        )
    return found
