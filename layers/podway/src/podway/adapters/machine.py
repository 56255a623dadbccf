"""What the machine itself offers: its clock, and threads to wait on several calls at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime
from typing import TypeVar

_T = TypeVar("_T")

CALLS_AT_ONCE = 32
CALL_THREADS = "call"
"""What the names of threads begin with that wait for calls."""


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
        """The call, under way in a thread, in the context of whoever starts it."""
        return self._pool.submit(copy_context().run, call)
