"""The commands that read a running cluster: ``status``, ``check``, ``nodes``, ``routes``, ``history``.

Registered by `main`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from podway.cli.connection import over_aws
from podway.cli.offline import output
from podway.cli.screen import console
from podway.domain.model import counted
from podway.wire.overview import nodes_document, routes_document, status_document

if TYPE_CHECKING:
    from podway.app.operator import Operator

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_PERIOD = re.compile(r"(\d{1,6})([smhd])")


@click.command("check")
@over_aws
@output
def check_command(operator: Operator, output: str) -> int:
    """Tell by what another than a node may speak as the node.

    Reads the trust policy of the nodes' roles and how their IMDS answers. Exit status 1 if there are doubts.
    """
    found = operator.check()
    if output == "json":
        click.echo(json.dumps([{"subject": one.subject, "doubt": one.what} for one in found], indent=2))
    else:
        for one in found:
            click.echo(f"{one.subject}: {one.what}")
        click.echo(counted(len(found), "doubt"))
    return int(bool(found))


@click.command("status")
@over_aws
@output
def status_command(operator: Operator, output: str) -> int:
    """Show the cluster in short.

    Nodes by state, forwarders, nodes with evidence against them, routes and budget of every table, blocks
    that are not reached, and how long ago the last reconcile began. Steps and warnings are those of the next
    reconcile, unless an alarm says more by then: alarms are not read here.
    """
    status = operator.status()
    found = status_document(status.overview, last_run=status.last_run, released=status.released, at=status.at)
    if output == "json":
        click.echo(json.dumps(found, indent=2))
    else:
        _show_status(found)
    return 0


def _show_status(found: dict[str, Any]) -> None:
    screen = console()
    states = ", ".join(f"{count} {state}" for state, count in found["nodes"].items()) or "none"
    age = found["last_reconcile_age_seconds"]
    say = _plainly(screen)
    say(f"cluster {found['cluster']}{' (released: nobody manages it)' if found['released'] else ''}")
    say(f"last reconcile: {'never' if age is None else f'{timedelta(seconds=age)} ago'}")
    say(f"nodes: {states}")
    say(f"forwarders: {' '.join(found['forwarders']) or 'none'}")
    for node in found["unhealthy"]:
        say(f"  {node['id']} is {node['health']}{_because(node['evidence'])}")
    for subnet, why in found["frozen"].items():
        say(f"  {subnet} is frozen: {why}")
    grid = _grid("route table", "subnets", "routes", "budget", "quota", "steps", "holes")
    for table in found["route_tables"]:
        grid.add_row(
            table["id"],
            " ".join(table["subnets"]) or "-",
            _counts(table["routes"]),
            _counts(table["budget"]),
            str(table["quota"]),
            str(table["steps"]),
            str(len(table["holes"])),
        )
    screen.print(grid)
    for table in found["route_tables"]:
        for hole in table["holes"]:
            say(f"  hole in {table['id']}: {hole['block']}: {hole['reason']}")
    for warning in found["warnings"]:
        click.echo(f"warning: {warning}", err=True)


def _because(evidence: list[dict[str, Any]]) -> str:
    said = "; ".join(f"{one['source']} since {one['at']} ({one['severity']})" for one in evidence)
    return f": {said}" if said else ""


def _counts(families: dict[str, int]) -> str:
    return ", ".join(f"{count} ({family})" for family, count in families.items())


@click.command("nodes")
@over_aws
@output
def nodes_command(operator: Operator, output: str) -> int:
    """Show every node: blocks, what it forwards, what its agent acknowledged, evidence against it."""
    found = nodes_document(operator.overview())
    if output == "json":
        click.echo(json.dumps(found, indent=2))
        return 0
    grid = _grid("node", "subnet", "state", "health", "blocks", "routes", "forwards", "agent", "evidence")
    for node in found["nodes"]:
        blocks = (f"{one['block']}{'' if one['ready'] else ' (not yet)'}" for one in node["blocks"])
        grid.add_row(
            node["id"],
            node["subnet"],
            node["state"],
            node["health"],
            "\n".join(blocks) or "-",
            str(node["routes"]),
            str(node["forwards"]),
            f"{node['acknowledged'] or '-'} of {node['newest']}",
            "\n".join(one["source"] for one in node["evidence"]) or "-",
        )
    console().print(grid)
    return 0


@click.command("routes")
@over_aws
@click.option("--route-table", metavar="ID", help="Only this table.")
@output
def routes_command(operator: Operator, route_table: str | None, output: str) -> int:
    """Show every route inside the pod CIDR: whose it is, where it leads, and where the plan wants it."""
    found = routes_document(operator.overview(), route_table)
    if output == "json":
        click.echo(json.dumps(found, indent=2))
        return 0
    grid = _grid("route table", "destination", "next hop", "whose", "kind", "state", "wanted", "standbys")
    for route in found["routes"]:
        grid.add_row(
            route["route_table"],
            route["destination"],
            route["next_hop"] or route["target"],
            route["ownership"],
            route["kind"] or "-",
            route["state"],
            route["wanted"] or "-",
            " ".join(route["standbys"]) or "-",
        )
    console().print(grid)
    return 0


class _Since(click.ParamType[datetime]):
    """``90s``, ``15m``, ``6h``, ``7d``, or a time in ISO 8601."""

    name = "since"

    def convert(
        self, value: object, parameter: click.Parameter | None, context: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        text = str(value)
        if period := _PERIOD.fullmatch(text):
            return datetime.now(UTC) - timedelta(**{_UNITS[period[2]]: int(period[1])})
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(
                f"{text!r} is neither a period like 6h nor a time like 2026-01-31T12:00", parameter, context
            )
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@click.command("history")
@over_aws
@click.option(
    "--since",
    type=_Since(),
    default="1d",
    show_default=True,
    metavar="WHEN",
    help="A period as 90s, 15m, 6h or 7d, or a time (UTC unless it says otherwise).",
)
@output
def history_command(operator: Operator, since: datetime, output: str) -> int:
    """Tell what was decided and done: who moved where, when, why. It is kept for 90 days."""
    entries = operator.history(since)
    if output == "json":
        told = [
            {
                "at": one.at.isoformat(),
                "actor": one.actor,
                "event": one.event,
                "what": one.what,
                "why": one.why,
                "detail": dict(one.detail),
            }
            for one in entries
        ]
        click.echo(json.dumps({"history": told}, indent=2))
        return 0
    for one in entries:
        click.echo(f"{one.at:%Y-%m-%d %H:%M:%S}  {one.actor}: {one.what} ({one.why})")
    return 0


def _grid(*columns: str) -> Table:
    grid = Table()
    for column in columns:
        grid.add_column(column, overflow="fold")
    return grid


def _plainly(screen: Console) -> Any:
    def say(*lines: Iterable[str]) -> None:
        screen.print(*lines, highlight=False, markup=False, soft_wrap=True)

    return say
