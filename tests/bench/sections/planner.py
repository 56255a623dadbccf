"""The planner, the transitions and the allocator: time, memory, calls, routes."""

from __future__ import annotations

from podway.cli.churn import COUNT_EVERY_HOURS
from podway.cli.plot import line_plot

from tests.bench.clusters import cluster, scattered
from tests.bench.measure import Planning, Repair, addresses, churn, exponent, optimality, planning, repair
from tests.bench.page import Page

TITLE = "Planning, changing tables, giving out addresses"

SIZES = (50, 500, 5_000, 20_000, 100_000)
BUDGETS = (52, 502)
DAYS = 30


def measure(page: Page) -> None:
    """Everything about the planner."""
    found = _plans(page)
    lines = {name: [(float(one.nodes), one.seconds) for one in several] for name, several in found.items()}
    plot = line_plot("A fresh plan", lines, across="nodes", up="CPU seconds", logarithmic=True)
    page.picture("time", plot, "CPU seconds of a fresh plan over the number of nodes")
    _changes(page)
    _optimality(page)
    _addresses(page)


def _plans(page: Page) -> dict[str, list[Planning]]:
    page.heading("Planning from nothing")
    page.say("CPU time of `plan(cluster, fresh=True)` on parsed values, one table for three subnets; netaddr")
    page.say("parses, and merges, the same blocks in turns with it. Memory is the peak beyond the input.")
    page.table("nodes", "budget", "what", "seconds", "x netaddr's parsing", "x cidr_merge", "bytes per node")
    found: dict[str, list[Planning]] = {}
    for quota in BUDGETS:
        for nodes in SIZES:
            one = planning(nodes, quota)
            found.setdefault(f"budget {quota - 2}", []).append(one)
            _plan_row(page, one, "even")
    for quota in BUDGETS:
        one = planning(5_000, quota, weighted=True, foreign=20)
        _plan_row(page, one, "weights, capacities, 20 foreign routes")
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
    page.say(
        "A next hop fails and its routes move. Several routes: the same in each of some tables, or many in"
    )
    page.say("one table, where each subnet has eight scattered supernets and twelve nodes that may relay.")
    page.table(
        "nodes",
        "tables",
        "supernets",
        "a failed forwarder: x netaddr's parsing",
        "steps",
        "routes through it",
    )
    for nodes in (5_000, 20_000):
        even = cluster(nodes, quota=502)
        for tables in (1, 3):
            _repair_row(page, repair(even, tables), tables, 1)
        for tables in (1, 3):
            _repair_row(page, repair(scattered(even, 8, 12), tables), tables, 8)
    page.say()
    page.say(
        "Calls after joins and leaves; the lower bound of a change is the number of entries that differ."
    )
    page.table("events at 5,000 nodes", "planned", "calls", "lower bound", "breaches on the way")
    for events in (36, 396):
        after = churn(events)
        for name, change in (("stably", after.stable), ("afresh", after.fresh)):
            page.row(after.events, name, change.steps, change.differing, change.breaches)


def _repair_row(page: Page, one: Repair, tables: int, supernets: int) -> None:
    page.row(one.nodes, tables, supernets, one.to_parse, one.steps, one.routes_through_it)


def _optimality(page: Page) -> None:
    page.heading("Next to CP-SAT")
    page.say(
        "Fresh plans next to optima that CP-SAT proved (`tests/oracle/corpus.json`): in how many the busiest"
    )
    page.say(
        "next hop relays more than it must, the worst of them, and how much direct weight is missing where it"
    )
    page.say(
        "does not. Time: CP-SAT's when it was recorded (and now, where OR-tools is installed: `make solver`)."
    )
    page.table(
        "clusters",
        "number",
        "blocks",
        "relays more",
        "at worst",
        "less direct",
        "CP-SAT's time / ours",
        "CP-SAT now / ours",
    )
    for one in optimality():
        now = "-" if one.times_now is None else f"{one.times_now:,.0f}"
        page.row(
            one.kind,
            one.count,
            one.blocks,
            one.relay_more,
            f"{one.worst:.0%}",
            f"{one.less_direct:.2%}",
            one.times,
            now,
        )


def _addresses(page: Page) -> None:
    page.heading(f"Addresses: {DAYS} days of churn")
    page.say(
        "Three zones, 8,192 places, fewest routes to other subnets in the worst table, every three hours."
    )
    page.say("`make soak ONLY=year` plays a whole year.")
    page.table("policy", "peak use", "p50", "p99", "max", "not placed")
    lines = {}
    for one in addresses(DAYS):
        page.row(one.policy, f"{one.peak_use:.0%}", one.p50, one.p99, one.most, one.failed)
        lines[one.policy] = [(at * COUNT_EVERY_HOURS / 24, float(n)) for at, n in enumerate(one.routes)]
    plot = line_plot("Routes needed per table", lines, across="day", up="routes")
    page.picture("routes", plot, "routes needed per table, day by day, by Podway's addresses and by next-fit")
