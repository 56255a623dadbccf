"""``make bench``: measure, print, and write ``docs/bench.md`` with its plot.

python -m tests.bench [DAYS]     (30 days of churn by default; 365 takes some minutes)
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from podway.cli.plot import line_plot

from tests.bench.measure import Planning, addresses, churn, exponent, planning, repair

SIZES = (50, 500, 5_000, 20_000, 100_000)
BUDGETS = (52, 502)
DOCS = Path(__file__).parents[2] / "docs"


def say(line: str, into: list[str]) -> None:
    """Print a line as soon as it is known, and keep it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    into.append(line)


def table(into: list[str], *columns: str) -> None:
    say("", into)
    say("| " + " | ".join(columns) + " |", into)
    say("|" + "---|" * len(columns), into)


def row(into: list[str], *cells: object) -> None:
    texts = (
        f"{cell:.3g}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else str(cell)
        for cell in cells
    )
    say("| " + " | ".join(texts) + " |", into)


def plans(into: list[str]) -> dict[str, list[Planning]]:
    say("## Planning from nothing", into)
    say("", into)
    say("CPU time of `plan(cluster, fresh=True)` on parsed values, one table for three subnets.", into)
    table(into, "nodes", "budget", "what", "seconds", "x netaddr's parsing", "x cidr_merge", "bytes per node")
    found: dict[str, list[Planning]] = {}
    for quota in BUDGETS:
        for nodes in SIZES:
            one = planning(nodes, quota)
            found.setdefault(f"budget {quota - 2}", []).append(one)
            row(into, nodes, quota - 2, "even", one.seconds, one.to_parse, one.to_merge, one.bytes_per_node)
    for quota in BUDGETS:
        one = planning(5_000, quota, weighted=True, foreign=20)
        row(
            into,
            5_000,
            quota - 2,
            "weights, capacities, 20 foreign routes",
            one.seconds,
            one.to_parse,
            one.to_merge,
            one.bytes_per_node,
        )
    for name, several in found.items():
        say("", into)
        ratio = several[-1].seconds / several[2].seconds
        say(
            f"Growth exponent at {name}: {exponent(several):.2f}; 100,000 nodes take {ratio:.1f} x 5,000.",
            into,
        )
    return found


def changes(into: list[str]) -> None:
    say("", into)
    say("## Planning again", into)
    table(into, "nodes", "a failed forwarder: x netaddr's parsing", "steps", "routes through it")
    for nodes in (5_000, 20_000):
        one = repair(nodes, 502)
        row(into, one.nodes, one.to_parse, one.steps, one.routes_through_it)
    table(
        into,
        "joins and leaves at 5,000 nodes",
        "calls, stable",
        "calls, fresh",
        "entries that differ, fresh",
        "breaches of either",
    )
    for events in (36, 396):
        after = churn(events)
        row(into, after.events, after.stable, after.fresh, after.least, after.breaches)


def churns(into: list[str], days: int) -> None:
    say("", into)
    say(f"## Addresses: {days} days of churn", into)
    say("", into)
    say("Three zones, 8,192 places, fewest routes to other subnets in the worst table, hour by hour.", into)
    table(into, "policy", "peak use", "p50", "p99", "max", "not placed")
    for one in addresses(days):
        row(into, one.policy, f"{one.peak_use:.0%}", one.p50, one.p99, one.most, one.failed)


def main(days: str = "30") -> None:
    """Run everything."""
    into: list[str] = []
    say("# Bench", into)
    say("", into)
    say(
        f"Written by `make bench` (Python {platform.python_version()}); ratios travel better than seconds.",
        into,
    )
    say("", into)
    found = plans(into)
    changes(into)
    churns(into, int(days))
    lines = {name: [(float(one.nodes), one.seconds) for one in several] for name, several in found.items()}
    plot = line_plot("A fresh plan", lines, across="nodes", up="CPU seconds", logarithmic=True)
    (DOCS / "bench-planning.svg").write_text(plot, encoding="utf-8")
    into += ["", "![CPU seconds of a fresh plan over the number of nodes](bench-planning.svg)"]
    (DOCS / "bench.md").write_text("\n".join(into) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
