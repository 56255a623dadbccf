"""EC2's own request limits: a token bucket for each operation ("Request throttling for the Amazon EC2 API").

The model asks for a token before each call. Bursts and refills per second are that page's, per account and
Region.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

MUTATING = (50.0, 5.0)
READING = (100.0, 20.0)
UNFILTERED = (50.0, 10.0)
EXCEPTIONS = {"ModifyNetworkInterfaceAttribute": (100.0, 5.0)}
_CAREFUL = frozenset({"DescribeInstances", "DescribeNetworkInterfaces"})
"""Cheaper when filtered or paginated."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: datetime


class Buckets:
    """Gives one token per call, by the clock."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, tuple[float, float]], _Bucket] = {}

    def take(self, operation: str, given: Mapping[str, Any]) -> bool:
        """Whether the call may go ahead; takes its token if so."""
        limit = _limit(operation, given)
        now = self._clock()
        burst, refill = limit
        bucket = self._buckets.setdefault((operation, limit), _Bucket(burst, now))
        elapsed = (now - bucket.at).total_seconds()
        bucket.tokens, bucket.at = min(burst, bucket.tokens + elapsed * refill), now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


def _limit(operation: str, given: Mapping[str, Any]) -> tuple[float, float]:
    if operation in EXCEPTIONS:
        return EXCEPTIONS[operation]
    if not operation.startswith("Describe"):
        return MUTATING
    if operation in _CAREFUL and not (given.get("Filters") or "MaxResults" in given):
        return UNFILTERED
    return READING
