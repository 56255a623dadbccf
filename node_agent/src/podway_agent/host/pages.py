"""``/healthz``, ``/readyz`` and ``/metrics`` on loopback."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

log = logging.getLogger(__name__)

OK, NOT_FOUND, UNAVAILABLE = 200, 404, 503
TEXT = "text/plain; version=0.0.4; charset=utf-8"
"""The content type of Prometheus's text format."""


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


def exposition(metrics: list[Metric]) -> str:
    """The metrics in Prometheus's text format."""
    lines = []
    for name, kind, meaning, values in metrics:
        full = f"podway_agent_{name}"
        lines += [f"# HELP {full} {meaning}", f"# TYPE {full} {kind}"]
        for label, value in values.items():
            lines.append(f"{full}{f'{{{label}}}' if label else ''} {value:g}")
    return "\n".join([*lines, ""])


@dataclass(frozen=True)
class Answers:
    """What the three pages say, asked each time. *alive* and *ready* are empty when all is well."""

    alive: Callable[[], str]
    ready: Callable[[], str]
    metrics: Callable[[], list[Metric]]

    def page(self, path: str) -> tuple[int, str]:
        """Status and text of the page at *path*."""
        if path == "/metrics":
            return OK, exposition(self.metrics())
        asked = {"/healthz": self.alive, "/readyz": self.ready}.get(path)
        if asked is None:
            return NOT_FOUND, "/healthz /readyz /metrics\n"
        trouble = asked()
        return (UNAVAILABLE, f"{trouble}\n") if trouble else (OK, "ok\n")


def serve(listen: str, answers: Answers) -> None:
    """Serve the pages at *listen* (address:port) in threads that end with the process.

    An address that cannot be had costs the pages, not the agent.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = answers.page(self.path)
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", TEXT)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing of each scrape."""

    host, _, port = listen.rpartition(":")
    try:
        server = ThreadingHTTPServer((host, int(port)), Handler)
    except OSError as error:
        log.warning("pages not served", extra={"listen": listen, "reason": str(error)})
        return
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="pages", daemon=True).start()
