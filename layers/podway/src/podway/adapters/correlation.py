"""One id from an event to the last call that it causes: in log lines, and in hints.

The handlers set it, `ec2` and `queue` read it. It is a context variable, so that the threads of
``machine.Threads`` see it too.
"""

from __future__ import annotations

from contextvars import ContextVar

_CAUSE: ContextVar[str] = ContextVar("cause", default="")


def correlate(event: str) -> None:
    """Name *event* as the cause of all that follows in this context."""
    _CAUSE.set(event)


def cause() -> str:
    """The id of the event that is the cause. Empty outside of a handler."""
    return _CAUSE.get()
