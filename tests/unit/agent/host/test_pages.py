from __future__ import annotations

import pytest
from podway_agent.host.pages import Answers, counter, exposition, gauge

METRICS = [
    gauge("routes", "Our routes.", desired=5, present=4),
    counter("drift_repaired", "Put right.", value=2),
]


def answers(alive: str = "", ready: str = "") -> Answers:
    return Answers(lambda: alive, lambda: ready, lambda: METRICS)


def test_metrics_are_in_prometheus_text_format() -> None:
    assert exposition(METRICS) == (
        "# HELP podway_agent_routes Our routes.\n"
        "# TYPE podway_agent_routes gauge\n"
        'podway_agent_routes{state="desired"} 5\n'
        'podway_agent_routes{state="present"} 4\n'
        "# HELP podway_agent_drift_repaired_total Put right.\n"
        "# TYPE podway_agent_drift_repaired_total counter\n"
        "podway_agent_drift_repaired_total 2\n"
    )


@pytest.mark.parametrize(
    ("path", "told", "status", "text"),
    [
        ("/healthz", answers(), 200, "ok\n"),
        ("/healthz", answers(alive="hangs"), 503, "hangs\n"),
        ("/healthz", answers(ready="no snapshot"), 200, "ok\n"),
        ("/readyz", answers(ready="no snapshot"), 503, "no snapshot\n"),
        ("/metrics", answers(), 200, exposition(METRICS)),
        ("/else", answers(), 404, "/healthz /readyz /metrics\n"),
    ],
)
def test_a_page_says_what_is_wrong(path: str, told: Answers, status: int, text: str) -> None:
    assert told.page(path) == (status, text)
