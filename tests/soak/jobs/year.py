"""A whole year of churn: Podway's allocator and next-fit on the same histories."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import cast

from podway.cli.churn import Buddies, NextFit, Scene, live
from podway.domain.addressing import Prefix

from tests.soak.job import Case, Job

SCENE = Scene(Prefix.parse("100.64.0.0/13"), 26, 3, 4650)
"""8,192 places, at the peak 71 % in use: as much as Podway asks operators to plan for."""

DAYS = 365
POLICIES: tuple[tuple[str, type[Buddies | NextFit]], ...] = (("podway", Buddies), ("next-fit", NextFit))
MOST = 6
"""Routes to other subnets that Podway's addresses may ask of a table."""

LEAST_OF_NEXT_FIT = 1_000
"""Routes that next-fit needs at its worst: more than the most that a quota can be raised to."""


def one(seed: int) -> Case:
    """A policy in a history: two cases a history."""
    name, policy = POLICIES[seed % len(POLICIES)]
    history = 1 + seed // len(POLICIES)
    outcome = live(SCENE, policy(SCENE), DAYS * 24, Random(history))
    most = max(outcome.routes)
    broken = []
    if outcome.failed:
        broken.append(f"{outcome.failed} blocks were not placed")
    if name == "podway" and most > MOST:
        broken.append(f"{most} routes to other subnets")
    if name == "next-fit" and most <= LEAST_OF_NEXT_FIT:
        broken.append(f"next-fit needs {most} routes only")
    return {
        "broken": broken,
        "policy": name,
        "history": history,
        "peak": outcome.peak / SCENE.places,
        "routes": [outcome.percentile(0.5), outcome.percentile(0.99), most],
        "supernets": [outcome.most_supernets, round(outcome.changes / DAYS, 2)],
        "moves": outcome.moves,
        "failed": outcome.failed,
    }


def report(cases: Sequence[Case]) -> list[str]:
    """A row per policy and history."""
    columns = "history, policy, peak use, p50, p99, max, not placed, joins and leaves, supernets at most"
    names = [*columns.split(", "), "changes of supernets a day"]
    lines = [
        f"Three zones, {SCENE.places:,} places, {SCENE.nodes:,} nodes on average, {DAYS} days. Routes: the",
        "fewest to other subnets in the worst table, every three hours, with don't-cares.",
        "",
        f"| {' | '.join(names)} |",
        "|---" * len(names) + "|",
    ]
    for case in cases:
        routes = [f"{count:,}" for count in cast("list[int]", case["routes"])]
        supernets = [str(value) for value in cast("list[float]", case["supernets"])]
        cells = [str(case["history"]), str(case["policy"]), f"{case['peak']:.0%}", *routes]
        cells += [str(case["failed"]), f"{case['moves']:,}"]
        cells += supernets if case["policy"] == "podway" else ["-", "-"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


JOB = Job("year", "A year of churn needs few routes", 4, one, report)
