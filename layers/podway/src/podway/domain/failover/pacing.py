"""EC2's request limits, kept by ourselves: one bucket per kind of route call, shared through the store.

Failover and reconcile ask when each of their calls may start; the store keeps the buckets. An account may
make 50 calls of a kind at once and 5 a second after that ("Request throttling for the Amazon EC2 API").
EC2 refuses what goes beyond, and the refused call must not be a failover's.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from podway.domain.model import Create, Delete, Step

BURST_CALLS = 50
"""Calls of one kind that may be made at once."""
REFILL = timedelta(seconds=0.2)
"""Time in which one more call becomes possible."""
RESERVED_CALLS = 25
"""Calls that reconcile leaves for failovers."""
LONGEST_DEBT = timedelta(seconds=60)
"""How far ahead a bucket may be full again. Nobody waits longer; more is from a clock that is ahead."""


def kind_of(step: Step) -> str:
    """The EC2 call of a step: each kind has a bucket of its own."""
    match step:
        case Create():
            return "CreateRoute"
        case Delete():
            return "DeleteRoute"
        case _:
            return "ReplaceRoute"


def debit(full_at: datetime | None, count: int, *, now: datetime) -> datetime:
    """When the bucket is full again after *count* more calls; *full_at* is when it was to be before.

    What lies ahead of LONGEST_DEBT is cut to it.
    """
    return min(max(full_at or now, now), now + LONGEST_DEBT) + count * REFILL


def starts(full_at: datetime, count: int, *, reserve: int = 0) -> tuple[datetime, ...]:
    """When each of the *count* calls debited last may start; most of these times lie in the past."""
    return tuple(
        full_at - (count - number + BURST_CALLS - reserve) * REFILL for number in range(1, count + 1)
    )
