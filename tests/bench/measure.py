"""What ``make bench`` measures. CPU time of this process, the best of some runs, as ratios where possible."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log
from random import Random
from time import process_time

import netaddr
from podway.cli.churn import Buddies, NextFit, Scene, live
from podway.domain.addressing import Prefix
from podway.domain.model import Cluster, Health, Replace
from podway.domain.planner import plan
from podway.domain.transition import verify_transition

from tests.bench.clusters import carried_out, churned, cluster


def cpu(work: Callable[[], object], runs: int = 3) -> float:
    """The least CPU time of some runs, in seconds."""
    best = float("inf")
    for _ in range(runs):
        gc.collect()
        start = process_time()
        work()
        best = min(best, process_time() - start)
    return best


def parsing(of: Cluster) -> float:
    """What netaddr needs to parse the cluster's blocks, in seconds."""
    texts = [str(node.blocks[0]) for node in of.nodes]
    return cpu(lambda: [netaddr.IPNetwork(text) for text in texts])


def merging(of: Cluster) -> float:
    """What netaddr needs to merge them, already parsed."""
    blocks = [netaddr.IPNetwork(str(node.blocks[0])) for node in of.nodes]
    return cpu(lambda: netaddr.cidr_merge(blocks))


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
    seconds = cpu(lambda: plan(of, fresh=True))
    gc.collect()
    tracemalloc.start()
    plan(of, fresh=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return Planning(nodes, quota, seconds, seconds / parsing(of), seconds / merging(of), peak / nodes)


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


def repair(nodes: int, quota: int) -> Repair:
    """How long it takes, and whether only its own routes are touched."""
    before = cluster(nodes, quota=quota)
    settled = carried_out(before, plan(before, fresh=True))
    routes = plan(settled).route_tables[0].routes
    dead = next(route.next_hop for route in routes if route.kind == "aggregated")
    sick = tuple(replace(n, health=Health.FAILED) if n.id == dead else n for n in settled.nodes)
    after = replace(settled, nodes=sick)
    steps = plan(after, improve=0).route_tables[0].steps
    assert all(isinstance(step, Replace) for step in steps)
    seconds = cpu(lambda: plan(after, improve=0))
    return Repair(nodes, seconds / parsing(after), len(steps), sum(r.next_hop == dead for r in routes))


@dataclass(frozen=True)
class Churn:
    """Calls after some joins and leaves."""

    events: int
    stable: int
    fresh: int
    least: int
    breaches: int


def churn(events: int, nodes: int = 5000, quota: int = 500) -> Churn:
    """Stable against fresh; *least* is the number of entries that differ, *breaches* of the steps."""
    before = cluster(nodes, quota=quota)
    settled = carried_out(before, plan(before, fresh=True))
    after = churned(settled, events // 2, events - events // 2)
    stable = plan(after, improve=0).route_tables[0]
    fresh = plan(after, fresh=True).route_tables[0]
    present = {route.destination: route.target for route in after.route_tables[0].routes if route.owned}
    wanted = {route.destination: route.network_interface for route in fresh.routes}
    differing = len({place for place, _ in present.items() ^ wanted.items()})
    found = [
        *verify_transition(after, after.route_tables[0], stable.steps),
        *verify_transition(after, after.route_tables[0], fresh.steps),
    ]
    return Churn(events, len(stable.steps), len(fresh.steps), differing, len(found))


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
            )
        )
    return found
