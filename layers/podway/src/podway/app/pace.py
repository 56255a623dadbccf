"""How fast reconcile may write routes: within EC2's limits, and leaving a reserve for failovers."""

from __future__ import annotations

from collections import deque
from datetime import datetime

from podway.app.errors import PodwayError
from podway.app.ports import Clock, FailoverStore
from podway.domain.failover.pacing import RESERVE, kind_of, starts
from podway.domain.model import Step

AT_ONCE = 5
"""Calls that are debited together: a second's worth, so that a run that ends early wastes few."""


class Pace:
    """Tells when the next call of a kind may be made; one for each run."""

    def __init__(self, *, store: FailoverStore, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._due: dict[str, deque[datetime]] = {}

    def due(self, step: Step, *, left: int) -> datetime:
        """When the call of *step* may be made; *left* steps are still to come, this one among them."""
        kind = kind_of(step)
        waiting = self._due.setdefault(kind, deque())
        if not waiting:
            waiting.extend(self._take(kind, min(left, AT_ONCE)))
        return waiting.popleft()

    def _take(self, kind: str, count: int) -> tuple[datetime, ...]:
        """Tokens from the common bucket; without its answer EC2's own limit must do."""
        now = self._clock.now()
        try:
            return starts(self._store.take_tokens(kind, count, now=now), count, reserve=RESERVE)
        except PodwayError:
            return (now,) * count
