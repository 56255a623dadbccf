from __future__ import annotations

from podway_agent.host.metrics import counter, exposition, gauge


def test_metrics_are_in_prometheus_text_format() -> None:
    metrics = [
        gauge("routes", "Our routes.", desired=5, present=4),
        counter("drift_repaired", "Put right.", value=2),
    ]

    assert exposition(metrics) == (
        "# HELP podway_agent_routes Our routes.\n"
        "# TYPE podway_agent_routes gauge\n"
        'podway_agent_routes{state="desired"} 5\n'
        'podway_agent_routes{state="present"} 4\n'
        "# HELP podway_agent_drift_repaired_total Put right.\n"
        "# TYPE podway_agent_drift_repaired_total counter\n"
        "podway_agent_drift_repaired_total 2\n"
    )
