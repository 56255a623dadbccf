"""Metrics as values, and Prometheus's text format. Telemetry and probing make them, Report shows them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Metric(NamedTuple):
    """One metric: its name without ``podway_agent_``, its kind, its help, and value per label."""

    name: str
    kind: str
    meaning: str
    values: dict[str, float]
    """Labels, as ``name="value"`` (empty for none), to value."""


def gauge(name: str, meaning: str, **values: float) -> Metric:
    """What can go up and down; ``value`` has no label, any other keyword is its ``state``."""
    return Metric(name, "gauge", meaning, _labelled(values))


def counter(name: str, meaning: str, **values: float) -> Metric:
    """What only grows while the process lives."""
    return Metric(f"{name}_total", "counter", meaning, _labelled(values))


def _labelled(values: dict[str, float]) -> dict[str, float]:
    return {"" if name == "value" else f'state="{name}"': value for name, value in values.items()}


def exposition(metrics: Iterable[Metric]) -> str:
    """The metrics in Prometheus's text format."""
    lines = []
    for name, kind, meaning, values in metrics:
        full = f"podway_agent_{name}"
        lines += [f"# HELP {full} {meaning}", f"# TYPE {full} {kind}"]
        for label, value in values.items():
            lines.append(f"{full}{f'{{{label}}}' if label else ''} {value:g}")
    return "\n".join([*lines, ""])
