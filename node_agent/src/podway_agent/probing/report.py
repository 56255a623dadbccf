"""What operators see of probing: metrics and status. Telemetry asks; a new process reads the last status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podway_agent.host.metrics import Metric, gauge
from podway_agent.probing.prober import PROBE_KINDS, Prober
from podway_agent.probing.suspicion import Standing

STATUS_KEY = "probing"
"""Under which the agent's status holds that of probing."""


def metrics(prober: Prober) -> list[Metric]:
    """What Prometheus is told of probing; docs/agent.md says what each metric means."""
    figures = prober.figures
    results = {"answered": figures.answered, "lost": figures.lost, "unsent": figures.unsent}
    counts = {
        f'way="{kind}",result="{result}"': float(counted[kind])
        for kind in PROBE_KINDS
        for result, counted in results.items()
    }
    seconds = {f'way="{kind}"': figures.seconds[kind] for kind in PROBE_KINDS}
    return [
        gauge(
            "forwarders",
            "That this node probes through, and that it suspects.",
            watched=len(prober.standings),
            suspected=len(prober.suspects),
        ),
        gauge("prober_doubts_itself", "1 while most nodes do not answer it.", value=prober.doubtful),
        Metric("probes_total", "counter", "Probes: through a forwarder, or direct.", counts),
        Metric("probe_seconds_total", "counter", "That the answered probes took.", seconds),
    ]


def status(prober: Prober) -> dict[str, Any]:
    """What ``podway-agent status`` prints of probing."""
    return {
        "forwarders": {
            one.node: _said(prober.standings.get(one.node, Standing()))
            for one in prober.newest_targets.watched
        },
        "suspects": sorted(prober.suspects),
        "doubts_itself": prober.doubtful,
        "trouble": prober.fault,
    }


def suspected_before(last: Mapping[str, Any] | None) -> frozenset[str]:
    """The nodes that the last process suspected, by the agent's *last* status.

    A restart must not take a suspicion back: the new process starts with these.
    """
    said = (last or {}).get(STATUS_KEY)
    suspects = said.get("suspects") if isinstance(said, dict) else None
    return frozenset(map(str, suspects)) if isinstance(suspects, list) else frozenset()


def _said(standing: Standing) -> str:
    return f"suspected: {standing.suspected}" if standing.suspected else str(standing.last)
