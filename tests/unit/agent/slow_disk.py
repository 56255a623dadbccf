"""A state directory whose files take as long to write as a test wants."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from podway_agent.host.disk import StateDirectory

PATIENCE = 60.0
"""Seconds until a thing that must happen is given up; never what a test measures."""


class SlowDisk(StateDirectory):
    """Each writing waits until it is let go."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.written: list[dict[str, Any]] = []
        self.fault: OSError | None = None
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def write(self, name: str, content: dict[str, Any]) -> None:
        self.begun.release()
        assert self.go.acquire(timeout=PATIENCE), "nobody let the writing go"
        if self.fault:
            raise self.fault
        super().write(name, content)
        self.written.append(content)

    def wait_for_writing(self) -> None:
        """Return once the next writing has begun."""
        assert self.begun.acquire(timeout=PATIENCE), "no writing began"


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
