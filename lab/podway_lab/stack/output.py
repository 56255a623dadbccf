"""Collects what handlers print (logs, metrics) for each invocation, apart from what the lab prints.

The environments of ``inprocess`` use it.
"""

from __future__ import annotations

import io
import sys
from contextvars import ContextVar
from typing import Any

_PAGE: ContextVar[io.StringIO | None] = ContextVar("page", default=None)
"""Where an invocation's output goes. Threads that make its calls have its context, so theirs goes there too.

Shared by all labs of a process, because a logger that one lab made is still used in the next.
"""


class InvocationOutput:
    """Stands in for ``sys.stdout``: an invocation that has begun to collect writes to a page of its own.

    Handlers must be imported while it stands in, since their loggers keep the stream they find.
    """

    def __init__(self) -> None:
        self._outside: Any = sys.stdout

    def stand_in(self) -> None:
        self._outside = sys.stdout
        sys.stdout = self

    def step_back(self) -> None:
        if sys.stdout is self:
            sys.stdout = self._outside

    def begin(self) -> None:
        """Collect from now on what this thread prints, and the calls that it starts."""
        _PAGE.set(io.StringIO())

    def end(self) -> str:
        """What was printed since it began."""
        page = _PAGE.get()
        assert page is not None, "begin() comes first"
        _PAGE.set(None)
        return page.getvalue()

    def write(self, text: str) -> int:
        page = _PAGE.get()
        return int((self._outside if page is None else page).write(text))

    def flush(self) -> None:
        self._outside.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outside, name)
