"""``podway simulate``: how many routes a year of autoscaling would need. Registered by `main`."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from podway.cli.churn import COUNT_EVERY_HOURS, Buddies, NextFit, Outcome, Scene, live
from podway.cli.documents import RefusedError, read_cluster
from podway.cli.offline import document, output
from podway.cli.plot import line_plot
from podway.cli.screen import console
from podway.domain.model import Cluster
from podway.domain.routing import Facts, TableFacts

POLICIES: dict[str, type[Buddies | NextFit]] = {"podway": Buddies, "next-fit": NextFit}
MOST_BITS = 18
"""The most places for blocks that are simulated, as a power of two. More only takes longer."""


def scene_of(cluster: Cluster, nodes: int | None) -> Scene:
    """What to simulate: the document's first pod CIDR, most frequent block length, subnets and nodes."""
    pod = min(cluster.pod_cidrs)
    lengths = Counter(b.length for node in cluster.nodes for b in node.blocks if b.version == pod.version)
    length = lengths.most_common(1)[0][0] if lengths else min(pod.length + 10, 26 if pod.version == 4 else 80)  # noqa: PLR2004  (the defaults of the two families)
    if length - pod.length > MOST_BITS:
        raise RefusedError(f"pod_cidrs[0]: {pod} has more than 2^{MOST_BITS} blocks of /{length} to simulate")
    mean = len(cluster.nodes) if nodes is None else nodes
    return Scene(pod, length, max(1, len(cluster.subnets)), mean)


@click.command("simulate")
@document
@click.option(
    "--days", type=click.IntRange(1, 3660), default=365, show_default=True, help="How long to live."
)
@click.option("--nodes", type=click.IntRange(min=1), help="Mean number of nodes, instead of the document's.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed, the same year.")
@click.option(
    "--plot", type=click.Path(dir_okay=False, writable=True), help="Draw the routes needed, as SVG."
)
@output
def simulate_command(
    name: str, days: int, nodes: int | None, seed: int, plot: str | None, output: str
) -> int:
    """Let a cluster of this shape live through DAYS of autoscaling, and count the routes it needs.

    Podway's allocation is compared with next-fit (what kube-controller-manager does) and with one
    route per node, on the same history.
    """
    cluster = read_cluster(name)
    scene = scene_of(cluster, nodes)
    outcomes: dict[str, Outcome] = {}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for policy, make in POLICIES.items():
            task = progress.add_task(policy, total=days * 24)
            tick = partial(progress.advance, task)
            outcomes[policy] = live(scene, make(scene), days * 24, Random(seed), tick=tick)  # noqa: S311  (a model of a year, not a secret)
    facts = Facts(cluster, scene.pod_cidr.version)
    budget = min((TableFacts(table, facts).budget for table in cluster.route_tables), default=0)
    report = _report(scene, outcomes, days=days, budget=budget, tables=len(cluster.route_tables))
    if plot:
        lines = {
            policy: [(at * COUNT_EVERY_HOURS / 24, float(n)) for at, n in enumerate(o.routes)]
            for policy, o in outcomes.items()
        }
        drawn = line_plot("Routes needed per table", lines, across="day", up="routes")
        try:
            Path(plot).write_text(drawn, encoding="utf-8")
        except OSError as error:
            raise RefusedError(f"--plot: {plot}: {error.strerror}") from None
    if output == "json":
        click.echo(json.dumps(report, indent=2))
    else:
        _show(report)
    return 0


def _report(
    scene: Scene, outcomes: dict[str, Outcome], *, days: int, budget: int, tables: int
) -> dict[str, Any]:
    peak = outcomes["podway"].peak
    rows: dict[str, dict[str, float | None]] = {
        policy: {
            "routes_p50": outcome.percentile(0.5),
            "routes_p99": outcome.percentile(0.99),
            "routes_max": max(outcome.routes),
            "headroom": budget - max(outcome.routes),
            "calls_per_day": round(outcome.changes * tables / days, 2),
            "not_placed": outcome.failed,
        }
        for policy, outcome in outcomes.items()
    }
    rows["next-fit"]["calls_per_day"] = None  # any join may change its minimum, so there is no honest figure
    others = round(peak * max(1, scene.zones - 1) / scene.zones)
    rows["route per node"] = {
        "routes_p50": None,
        "routes_p99": None,
        "routes_max": others,
        "headroom": budget - others,
        "calls_per_day": round(outcomes["podway"].moves * tables / days, 2),
        "not_placed": 0,
    }
    return {
        "nodes": scene.nodes,
        "peak": peak,
        "peak_use": round(peak / scene.places, 3),
        "zones": scene.zones,
        "days": days,
        "budget": budget,
        "policies": rows,
    }


def _show(report: dict[str, Any]) -> None:
    grid = Table(
        title=f"{report['days']} days, {report['nodes']} nodes on average, {report['peak']} at the peak "
        f"({report['peak_use']:.0%} of the pod space), budget {report['budget']}",
        title_justify="left",
    )
    columns = ("routes_p50", "routes_p99", "routes_max", "headroom", "calls_per_day", "not_placed")
    grid.add_column("per table")
    for column in columns:
        grid.add_column(column.replace("_", " "), justify="right")
    for policy, row in report["policies"].items():
        grid.add_row(policy, *("-" if row[column] is None else f"{row[column]:g}" for column in columns))
    console().print(grid)
