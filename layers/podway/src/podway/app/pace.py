"""How fast reconcile may write routes: within EC2's limits, and with a reserve left to failovers.

Called by `Applier` before every step.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime

from podway.app.errors import PodwayError
from podway.app.ports import Clock
from podway.app.stores import TokenStore
from podway.domain.failover.pacing import RESERVED_CALLS, kind_of, starts
from podway.domain.model import Step

CALLS_DEBITED_TOGETHER = 5
"""A second's worth of calls, so that a run that ends early wastes few."""


class Pace:
    """Tells when the next call of a kind may be made. Each run has its own."""

    def __init__(self, *, store: TokenStore, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._due: dict[str, deque[datetime]] = {}

    def due(self, step: Step, *, left: int) -> datetime:
        """When the call of *step* may be made. *left* counts the steps to come, this one included."""
        kind = kind_of(step)
        waiting = self._due.setdefault(kind, deque())
        if not waiting:
            waiting.extend(self._take(kind, min(left, CALLS_DEBITED_TOGETHER)))
        return waiting.popleft()

    def _take(self, kind: str, count: int) -> tuple[datetime, ...]:
        """When each of *count* calls may be made. Now, if the store does not answer: EC2 refuses too many."""
        now = self._clock.now()
        try:
            return starts(self._store.take_tokens(kind, count, now=now), count, reserve=RESERVED_CALLS)
        except PodwayError:
            return (now,) * count
