"""Traffic in the background of a scenario, and what sentences say about its losses."""

from __future__ import annotations

import re
import time
from collections import Counter
from itertools import permutations
from typing import TYPE_CHECKING

from podway_lab.fabric.host import Pod
from podway_lab.fabric.traffic import Figures, Flow, Traffic
from podway_lab.scenario.report import Loss
from podway_lab.scenario.verbs import NotSo, says

if TYPE_CHECKING:
    from podway_lab.scenario.player import Player

RATE = 1000
"""Packets a second and flow, unless told otherwise: a loss shows to the millisecond."""
SHOWN = 20
"""Outages that a table shows."""


class Background:
    """The flows of a scenario; none until some are started."""

    def __init__(self) -> None:
        self.flows: list[tuple[str, str, Flow]] = []
        self.began = 0.0
        """When the first started (``time.monotonic``)."""
        self._traffic: Traffic | None = None

    def start(self, source: tuple[str, Pod], target: tuple[str, Pod], rate: float) -> None:
        """Let packets go from pod to pod, *rate* a second; both are named by their nodes."""
        if self._traffic is None:
            self._traffic, self.began = Traffic(), time.monotonic()
        self.flows.append((source[0], target[0], self._traffic.start(source[1], target[1], rate=rate)))

    def look(self) -> list[tuple[str, str, Figures]]:
        """The figures so far, without packets that may still arrive."""
        return [(source, target, flow.look()) for source, target, flow in self.flows]

    def lost(self) -> int:
        """Packets lost so far."""
        return sum(figures.lost for *_, figures in self.look())

    def stop(self) -> list[Loss]:
        """End all flows; what each lost."""
        if self._traffic is None:
            return []
        figures = self._traffic.stop(*(flow for *_, flow in self.flows)) if self.flows else []
        losses = [
            Loss(source, target, one.sent, one.lost, one.gap_ms)
            for (source, target, _), one in zip(self.flows, figures, strict=True)
        ]
        self._traffic.close()
        self._traffic, self.flows = None, []
        return losses

    def outages(self) -> list[str]:
        """When packets were lost, in ms since the start: one line each, longest first."""
        found = [
            (outage.ms, outage.began, outage.lost, source, target)
            for source, target, figures in self.look()
            for outage in figures.outages
        ]
        return [
            f"{(began - self.began) * 1000:8.0f} ms: pod {source} → pod {target}: {lost} lost in {ms:.0f} ms"
            for ms, began, lost, source, target in sorted(found, reverse=True)[:SHOWN]
        ]


def _far_end(player: Player, subnet: str) -> str:
    """A node of *subnet* that relays little, reached through a forwarder if any is: what faults hit."""
    direct = Counter(owner for owner, hop in player.carried() if owner == hop)
    return min((load, direct[node], node) for load, node in player.by_load(subnet))[2]


@says(r"start traffic between zones(?: at (?P<rate>\d+) a second)?")
def _start_traffic(player: Player, match: re.Match[str]) -> str:
    player.need_packets()
    rate = float(match["rate"] or RATE)
    ends = [_far_end(player, subnet) for subnet in player.lab.subnets]
    for source, target in permutations(ends, 2):
        player.background.start((source, player.lab.pod(source)), (target, player.lab.pod(target)), rate)
    return f"{len(player.background.flows)} flows of {rate:.0f} packets a second"


@says(r"stop traffic")
def _stop_traffic(player: Player, _: re.Match[str]) -> str:
    player.need_packets()
    player.losses += player.background.stop()
    return f"{sum(one.lost for one in player.losses)} packets lost"


@says(r"show losses")
def _show_losses(player: Player, _: re.Match[str]) -> str:
    player.need_packets()
    for line in player.background.outages() or ["no packet was lost"]:
        player.report.line(line)
    return ""


@says(r"no packet was lost")
def _nothing_lost(player: Player, _: re.Match[str]) -> str:
    player.need_packets()
    sent = sum(figures.sent for *_, figures in player.background.look())
    if not sent:
        raise NotSo("no packet has been counted yet")
    if lost := player.background.lost():
        raise NotSo("\n".join([f"{lost} of {sent} packets lost", *player.background.outages()]))
    return f"{sent} packets"


@says(r"no flow was cut for (?P<ms>\d+) ms")
def _no_long_gap(player: Player, match: re.Match[str]) -> str:
    player.need_packets()
    longest = max((figures.gap_ms for *_, figures in player.background.look()), default=0.0)
    if longest >= int(match["ms"]):
        raise NotSo("\n".join([f"cut for {longest:.0f} ms", *player.background.outages()]))
    return f"{longest:.0f} ms at the longest"
