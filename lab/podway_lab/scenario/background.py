"""The traffic that runs while a scenario is played: flows from pod to pod, and what they have lost.

The sentences about traffic start and stop it; the stage counts its losses around a failover.
"""

from __future__ import annotations

import time

from podway_lab.fabric.host import Pod
from podway_lab.fabric.traffic import Figures, Flow, Traffic
from podway_lab.scenario.report import Loss

_SHOWN = 20
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
            for ms, began, lost, source, target in sorted(found, reverse=True)[:_SHOWN]
        ]
