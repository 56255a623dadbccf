"""The planner, the transitions and the allocator: time, memory, calls, routes."""

from __future__ import annotations

from podway.cli.plot import line_plot

from tests.bench.measure import Planning, addresses, churn, exponent, planning, repair
from tests.bench.page import Page

TITLE = "Planning, changing tables, giving out addresses"

SIZES = (50, 500, 5_000, 20_000, 100_000)
BUDGETS = (52, 502)
DAYS = 365


def measure(page: Page) -> None:
    """Everything about the planner."""
    found = _plans(page)
    lines = {name: [(float(one.nodes), one.seconds) for one in several] for name, several in found.items()}
    plot = line_plot("A fresh plan", lines, across="nodes", up="CPU seconds", logarithmic=True)
    page.picture("time", plot, "CPU seconds of a fresh plan over the number of nodes")
    _changes(page)
    _churns(page)


def _plans(page: Page) -> dict[str, list[Planning]]:
    page.heading("Planning from nothing")
    page.say("CPU time of `plan(cluster, fresh=True)` on parsed values, one table for three subnets.")
    page.table("nodes", "budget", "what", "seconds", "x netaddr's parsing", "x cidr_merge", "bytes per node")
    found: dict[str, list[Planning]] = {}
    for quota in BUDGETS:
        for nodes in SIZES:
            one = planning(nodes, quota)
            found.setdefault(f"budget {quota - 2}", []).append(one)
            _plan_row(page, one, "even")
    for quota in BUDGETS:
        _plan_row(
            page, planning(5_000, quota, weighted=True, foreign=20), "weights, capacities, 20 foreign routes"
        )
    page.say()
    for name, several in found.items():
        ratio = several[-1].seconds / several[2].seconds
        page.say(
            f"Growth exponent at {name}: {exponent(several):.2f}; 100,000 nodes take {ratio:.1f} x 5,000."
        )
        page.say()
    return found


def _plan_row(page: Page, one: Planning, what: str) -> None:
    page.row(one.nodes, one.quota - 2, what, one.seconds, one.to_parse, one.to_merge, one.bytes_per_node)


def _changes(page: Page) -> None:
    page.heading("Planning again")
    page.table("nodes", "a failed forwarder: x netaddr's parsing", "steps", "routes through it")
    for nodes in (5_000, 20_000):
        one = repair(nodes, 502)
        page.row(one.nodes, one.to_parse, one.steps, one.routes_through_it)
    page.table(
        "joins and leaves at 5,000 nodes",
        "calls, stable",
        "calls, fresh",
        "entries that differ, fresh",
        "breaches of either",
    )
    for events in (36, 396):
        after = churn(events)
        page.row(after.events, after.stable, after.fresh, after.least, after.breaches)


def _churns(page: Page) -> None:
    page.heading(f"Addresses: {DAYS} days of churn")
    page.say("Three zones, 8,192 places, fewest routes to other subnets in the worst table, hour by hour.")
    page.table("policy", "peak use", "p50", "p99", "max", "not placed")
    for one in addresses(DAYS):
        page.row(one.policy, f"{one.peak_use:.0%}", one.p50, one.p99, one.most, one.failed)
