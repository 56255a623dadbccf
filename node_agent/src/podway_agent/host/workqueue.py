"""Does work in a thread of its own, so that nobody who adds work waits for it.

Agent runs one for its status: a disk that is slow to take it holds up neither loop nor store sync nor prober.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class WorkQueue:
    """Work by key: of the pieces with one key that wait, only the newest is done."""

    def __init__(self) -> None:
        self._waiting: dict[str, Callable[[], None]] = {}
        self._changed = threading.Condition()
        self._stopping = False

    def add(self, key: str, work: Callable[[], None]) -> None:
        """Have *work* done soon. Returns at once; from any thread."""
        with self._changed:
            self._waiting[key] = work
            self._changed.notify()

    def run(self) -> None:
        """Do the work, until stopped; what waits then is still done."""
        while work := self._next():
            work()

    def stop(self) -> None:
        """End soon; from any thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping)
            return self._waiting.pop(next(iter(self._waiting))) if self._waiting else None
