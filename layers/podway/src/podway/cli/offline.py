"""The commands ``validate``, ``plan`` and ``explain``: they read a cluster document and need no AWS.

Registered by `main`.
"""

from __future__ import annotations

import json
from typing import Any

import click
from rich.table import Table

from podway.cli.documents import RefusedError, read_cluster
from podway.cli.screen import console
from podway.domain.addressing import Prefix
from podway.domain.model import Create, Delete, Plan, Replace, Step, TablePlan, counted
from podway.domain.planner.explain import Path, PathVerdict, explain
from podway.domain.planner.plan import plan
from podway.wire.plan import plan_document

NOTHING_TO_CHANGE, STEPS, HOLES = 0, 1, 3
"""Exit codes of ``plan``."""

document = click.option(
    "-f",
    "--file",
    "name",
    required=True,
    metavar="FILE",
    help="Cluster document, YAML or JSON; - reads standard input.",
)
output = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people or for programs.",
)


@click.command("validate")
@document
def validate_command(name: str) -> int:
    """Check a cluster document: exit code 0 if it is usable, 2 and a line per fault if not."""
    cluster = read_cluster(name)
    click.echo(
        f"{cluster.name}: {counted(len(cluster.nodes), 'node')} "
        f"in {counted(len(cluster.subnets), 'subnet')}, "
        f"{counted(len(cluster.route_tables), 'route table')}"
    )
    return 0


@click.command("plan")
@document
@click.option(
    "--fresh", is_flag=True, help="Ignore the present next hops and prefixes: the optimum of each table."
)
@click.option(
    "--improve", type=click.IntRange(min=0), help="Spend at most so many steps per table on direct routes."
)
@output
def plan_command(name: str, fresh: bool, improve: int | None, output: str) -> int:
    """Plan the routes of every table, and the steps to get there.

    Exit code 0: nothing to change; 1: there are steps; 2: unusable input; 3: a block is left without a route.
    """
    made = plan(read_cluster(name), fresh=fresh, improve=improve)
    if output == "json":
        click.echo(json.dumps(plan_document(made), indent=2))
    else:
        _show(made)
    if any(table.holes for table in made.route_tables):
        return HOLES
    return STEPS if any(table.steps for table in made.route_tables) else NOTHING_TO_CHANGE


def _show(made: Plan) -> None:
    screen = console()
    for table in made.route_tables:
        screen.print(_routes(table))
        for number, step in enumerate(table.steps, 1):
            screen.print(f"  {number}. {_in_words(step)}", highlight=False, markup=False, soft_wrap=True)
        for hole in table.holes:
            screen.print(
                f"  hole: {hole.block}: {hole.reason}", highlight=False, markup=False, soft_wrap=True
            )
        screen.print()
    for warning in made.warnings:
        click.echo(f"warning: {warning}", err=True)


def _in_words(step: Step) -> str:
    match step:
        case Create(destination, interface):
            return f"create {destination} → {interface}"
        case Replace(destination, interface, was):
            return f"replace {destination} → {interface} (was {was})"
        case Delete(destination, was):
            return f"delete {destination} (was {was})"


def _routes(table: TablePlan) -> Table:
    budget = ", ".join(f"IPv{family} {count}" for family, count in sorted(table.budget.items()))
    share = table.direct_weight / table.total_weight if table.total_weight else 1.0
    grid = Table(
        title=f"{table.table}: {counted(len(table.routes), 'route')} (budget {budget}), "
        f"{counted(len(table.steps), 'step')}",
        caption=f"{share:.0%} of the weight direct, busiest forwarder relays {table.max_relayed_load:g}, "
        f"{counted(len(table.holes), 'hole')}",
        title_justify="left",
        caption_justify="left",
    )
    for column in ("destination", "next hop", "kind", "standbys", "why"):
        grid.add_column(column)
    for route in table.routes:
        grid.add_row(
            str(route.destination), route.next_hop, route.kind, " ".join(route.standbys), route.reason
        )
    return grid


@click.command("explain")
@document
@click.argument("address")
@click.option("--from", "source", metavar="SUBNET", help="Only for senders in this subnet.")
@output
def explain_command(name: str, address: str, source: str | None, output: str) -> int:
    """Tell where packets to ADDRESS go once the tables are as planned, and what if the next hop dies."""
    cluster = read_cluster(name)
    try:
        place = Prefix.of_address(address)
    except ValueError:
        raise RefusedError(f"ADDRESS: {address!r} is not an IPv4 or IPv6 address") from None
    if source is not None and source not in {subnet.id for subnet in cluster.subnets}:
        raise RefusedError(f"--from: {source} is not among the subnets")
    paths = explain(cluster, place, sources=None if source is None else [source])
    if output == "json":
        click.echo(
            json.dumps({"address": place.first_address, "from": [_path(path) for path in paths]}, indent=2)
        )
    else:
        for path in paths:
            click.echo(f"from {path.subnet}: {_sentence(path)}")
            if path.if_next_hop_dies is not None:
                click.echo(f"  if {path.next_hop} dies: {_sentence(path.if_next_hop_dies)}")
    return 0


def _path(path: Path, *, nested: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = {
        "subnet": path.subnet,
        "route_table": path.route_table,
        "route": None if path.route is None else str(path.route),
        "next_hop": path.next_hop,
        "relayed": path.relayed,
        "node": path.node,
        "verdict": str(path.verdict),
    }
    if not nested:
        after = path.if_next_hop_dies
        found["if_next_hop_dies"] = None if after is None else _path(after, nested=True)
    return found


def _sentence(path: Path) -> str:
    table = path.route_table or "no route table"
    way = f"{table}, route {path.route} → {path.next_hop}" if path.next_hop else table
    return {
        PathVerdict.DIRECT: f"direct: {way}, which owns it",
        PathVerdict.RELAYED: f"relayed: {way}, which passes it to {path.node}",
        PathVerdict.SAME_SUBNET: f"same subnet: straight to {path.node} by its host route",
        PathVerdict.FOREIGN: f"foreign: {table} has {path.route}, which is not ours",
        PathVerdict.UNALLOCATED: f"unallocated: no node has it ({way})",
        PathVerdict.OUTSIDE: "outside the pod CIDR",
        PathVerdict.HOLE: f"hole: nothing reaches {path.node or 'it'} ({way}): {path.reason}",
    }[path.verdict]
