"""Keeps what handlers print (logs, metrics) apart from what the lab prints, invocation by invocation."""

from __future__ import annotations

import io
import sys
from contextvars import ContextVar
from typing import Any

_PAGE: ContextVar[io.StringIO | None] = ContextVar("page", default=None)
"""What an invocation writes on, also from threads that make its calls: they have its context (``Threads``).
Shared, because a logger made in one lab's time writes on in the next one's."""


class InvocationOutput:
    """Stands in for ``sys.stdout``: an invocation that has begun to collect writes to a page of its own.

    Handlers must be imported while it stands there, since their loggers keep the stream they find.
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
        """From now on the output of this thread, and of the calls that it starts, is collected."""
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
