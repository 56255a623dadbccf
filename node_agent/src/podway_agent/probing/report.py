"""What the prober tells operators: metrics and status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from podway_agent.probing.prober import PROBE_KINDS, Prober
from podway_agent.probing.suspicion import Standing

if TYPE_CHECKING:
    from podway_agent.host.pages import Metric


def metrics(prober: Prober) -> list[Metric]:
    """What Prometheus is told; docs/agent.md says what each means."""
    from podway_agent.host.pages import Metric, gauge  # noqa: PLC0415  (not everybody asks for it)

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
            one.node: _said(prober.standings.get(one.node, Standing())) for one in prober.told.watched
        },
        "suspects": sorted(prober.suspects),
        "doubts_itself": prober.doubtful,
        "trouble": prober.trouble,
    }


def _said(standing: Standing) -> str:
    return f"suspected: {standing.suspected}" if standing.suspected else str(standing.last)
