"""What the machine itself offers to the use cases: its clock, and threads for calls side by side."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime
from typing import TypeVar

_T = TypeVar("_T")

CALLS_AT_ONCE = 32
"""Threads, and as many connections of each client (`bootstrap`)."""
CALL_THREADS = "call"
"""How the names of these threads begin."""


class SystemClock:
    """The Clock port."""

    def now(self) -> datetime:
        """The present moment in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Let that time pass."""
        time.sleep(seconds)


class Threads:
    """The Parallel port. Clients of botocore may be shared between threads."""

    def __init__(self, width: int = CALLS_AT_ONCE) -> None:
        self._pool = ThreadPoolExecutor(width, thread_name_prefix=CALL_THREADS)

    def start(self, call: Callable[[], _T]) -> Future[_T]:
        """Start *call* in a thread, in the caller's context, which holds the correlation id."""
        return self._pool.submit(copy_context().run, call)
