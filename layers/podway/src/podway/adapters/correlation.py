"""One id from the event to the last call that it causes: in logs, and in the hints that it leaves.

Set by the handlers. A context variable, so that calls side by side have it too (``machine.Threads``).
"""

from __future__ import annotations

from contextvars import ContextVar

_CAUSE: ContextVar[str] = ContextVar("cause", default="")


def correlate(event: str) -> None:
    """From now on *event* is the cause of what is done."""
    _CAUSE.set(event)


def cause() -> str:
    """The event that is the cause; empty outside of a handler."""
    return _CAUSE.get()
