"""Publishes what the agent says of itself: as pages, and as the status file, written in another thread.

Agent makes it. Loop and prober only give notice of news, so neither waits for the disk.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from podway_agent.host.disk import STATUS, StateDirectory
from podway_agent.host.metrics import Metric, exposition

log = logging.getLogger(__name__)

_OK, _NOT_FOUND, _UNAVAILABLE = 200, 404, 503


@dataclass(frozen=True)
class Report:
    """Calls its sources anew for each page and each writing, in threads that control nothing."""

    state: StateDirectory
    later: Callable[[str, Callable[[], None]], None]
    """Does the work of a key in another thread: `WorkQueue.add`."""
    status: Callable[[], dict[str, Any]]
    """What the status file says."""
    alive: Callable[[], str]
    """Why the agent is not well; empty when it is."""
    ready: Callable[[], str]
    """Why the kernel does not hold the newest snapshot; empty when it does."""
    metrics: Callable[[], list[Metric]]

    def serve(self, listen: str) -> None:
        """Serve ``/healthz``, ``/readyz`` and ``/metrics`` at *listen*."""
        from podway_agent.host import pages  # noqa: PLC0415  (not everybody asks for it)

        pages.serve(listen, self.page)

    def page(self, path: str) -> tuple[int, str]:
        """Status and text of the page at *path*."""
        if path == "/metrics":
            return _OK, exposition(self.metrics())
        asked = {"/healthz": self.alive, "/readyz": self.ready}.get(path)
        if asked is None:
            return _NOT_FOUND, "/healthz /readyz /metrics\n"
        reason = asked()
        return (_UNAVAILABLE, f"{reason}\n") if reason else (_OK, "ok\n")

    def news(self) -> None:
        """Have the status written soon. Returns at once; from any thread.

        News that comes during a writing causes one more, with the newest status.
        """
        self.later(STATUS, self._write)

    def _write(self) -> None:
        try:
            self.state.write(STATUS, self.status())
        except OSError as error:
            log.warning("status not written", extra={"reason": str(error)})
