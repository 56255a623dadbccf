"""What a scenario shows on the terminal: progress, tables, and a summary for a newcomer.

The player and the sentences write to it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from podway.domain.addressing import Prefix
from podway.domain.model import counted
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from podway_lab.referee import Breach


@dataclass(frozen=True, slots=True)
class Handled:
    """How the failover function handled an event, up to its last ReplaceRoute."""

    what: str
    routes: int
    milliseconds: float
    """From the event to the last ReplaceRoute."""
    calls: int
    """AWS calls of the failover function up to then."""
    waves: int
    """The longest chain of these calls in which each had to wait for the one before."""
    lost: int | None = None
    """Packets that all flows lost around the event; None without packets."""
    carrying: int = 0
    """Routes that led through the node and carried blocks of others when it happened, over all tables."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What a flow lost from its start to its stop."""

    source: str
    target: str
    sent: int
    lost: int
    gap_ms: float


class Report:
    """Writes to *console*, which decides about colours and width."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._left_out = 0

    def heading(self, text: str) -> None:
        """A new part of the story."""
        self._console.print()
        self._console.rule(f"[bold]{escape(text)}", align="left")

    def line(self, text: str) -> None:
        """A line of text."""
        self._console.print(f"  {escape(text)}", highlight=False)

    def held(self, text: str, detail: str = "") -> None:
        """An expectation that came true."""
        tail = f"  [dim]{escape(detail)}[/dim]" if detail else ""
        self._console.print(f"  [green]✓[/green] {escape(text)}{tail}", highlight=False)

    def left_out(self, text: str, why: str) -> None:
        """A sentence that this lab cannot play; the summary counts them."""
        self._left_out += 1
        self._console.print(f"  [yellow]-[/yellow] {escape(text)}  [dim]left out: {escape(why)}[/dim]")

    def failed(self, text: str, why: str) -> None:
        """An expectation that did not come true."""
        self._console.print(f"  [red]✗ {escape(text)}[/red]", highlight=False)
        for row in why.splitlines():
            self._console.print(f"      {escape(row)}", highlight=False)

    @contextlib.contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show that the sentence *text* is being waited for, on a terminal."""
        if not self._console.is_terminal:
            yield
            return
        with self._console.status(escape(text)):
            yield

    def routes(
        self, hops: Mapping[str, Mapping[Prefix, tuple[str, bool]]], owners: Mapping[Prefix, str]
    ) -> None:
        """All managed routes: a row for every destination, a column for every table.

        A cell has the next hop, and whether the route is a direct one.
        """
        table = Table("destination", "belongs to", *hops, box=SIMPLE_HEAD)
        for destination in sorted({one for routes in hops.values() for one in routes}):
            cells = []
            for routes in hops.values():
                hop, direct = routes.get(destination, ("", False))
                cells.append(f"[green]{hop} direct[/green]" if direct else f"[cyan]{hop}[/cyan]")
            table.add_row(str(destination), owners.get(destination, "several nodes"), *cells)
        self._console.print(table)

    def paths(self, rows: Iterable[tuple[str, str, str, str]]) -> None:
        """Paths between pods: from, to, the path, the round-trip time."""
        table = Table("from", "to", "way", "round trip", box=SIMPLE_HEAD)
        for row in rows:
            table.add_row(*row)
        self._console.print(table)

    def summary(
        self,
        *,
        handled: Sequence[Handled],
        losses: Sequence[Loss],
        writes: int,
        breaches: Sequence[Breach],
        seconds: float,
    ) -> None:
        """What the whole scenario came to."""
        self.heading("Summary")
        if handled:
            table = Table(
                "event",
                "routes\nmoved",
                "event to last\nReplaceRoute",
                "AWS\ncalls",
                "waves",
                "packets\nlost",
                box=SIMPLE_HEAD,
            )
            for one in handled:
                table.add_row(
                    one.what,
                    str(one.routes),
                    f"{one.milliseconds:.0f} ms",
                    str(one.calls),
                    str(one.waves),
                    "not sent" if one.lost is None else str(one.lost),
                )
            self._console.print(table)
        if losses:
            sent, lost = sum(one.sent for one in losses), sum(one.lost for one in losses)
            longest = max(one.gap_ms for one in losses)
            text = f"{counted(sent, 'packet')} in {counted(len(losses), 'flow')} between pods, {lost} lost"
            self.line(f"traffic: {text}, longest gap {longest:.0f} ms")
        if self._left_out:
            self.line(f"not played for want of packets: {counted(self._left_out, 'sentence')}")
        verdict = "no breach of I1 to I4" if not breaches else f"breaches: {len(breaches)}"
        self.line(f"referee: {counted(writes, 'write')} to route tables judged, {verdict}")
        for breach in breaches:
            self.line(f"  {breach.invariant} {breach.what}")
        self.line(f"took {seconds:.0f} s; everything ran on this machine, nothing on AWS")
