"""Keeps what handlers print (logs, metrics) apart from what the lab prints, invocation by invocation."""

from __future__ import annotations

import io
import sys
import threading
from typing import Any

from podway.adapters.machine import CALL_THREADS

_PAGES = threading.local()
"""The page of each thread; shared, because a logger made in one lab's time writes on in the next one's."""


class InvocationOutput:
    """Stands in for ``sys.stdout``: a thread that has begun to collect writes to a page of its own.

    Handlers must be imported while it stands there, since their loggers keep the stream they find.
    """

    def __init__(self) -> None:
        self._outside: Any = sys.stdout
        self._aside = io.StringIO()
        """What is logged by a handler's own threads: nobody can say of which invocation."""

    def stand_in(self) -> None:
        self._outside = sys.stdout
        sys.stdout = self

    def step_back(self) -> None:
        if sys.stdout is self:
            sys.stdout = self._outside

    def begin(self) -> None:
        """From now on this thread's output is collected."""
        _PAGES.page = io.StringIO()

    def end(self) -> str:
        """What this thread printed since it began."""
        page: io.StringIO = _PAGES.page
        _PAGES.page = None
        return page.getvalue()

    def write(self, text: str) -> int:
        page = getattr(_PAGES, "page", None) or (self._aside if _is_call() else self._outside)
        return int(page.write(text))

    def flush(self) -> None:
        self._outside.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outside, name)


def _is_call() -> bool:
    """Whether this thread is one of those on which handlers wait for several calls at once."""
    return threading.current_thread().name.startswith(CALL_THREADS)
