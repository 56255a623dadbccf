"""The least load limit with which a table fits its budget: gallop, bisect, then step exactly.

``fresh`` asks, with a programme that finds the routes for one limit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

CLOSE = 1e-3
"""Share of the limit: in an interval this narrow the remaining candidates are tried one by one."""

MOST_TRIES = 40
"""Candidates tried one by one, at most; then the answer may be above the least by CLOSE."""

MANY_BLOCKS = 500
"""Blocks above which a few tries must do."""


def least_limit(
    attempt: Callable[[float], tuple[Found | None, float]], *, guess: float, tries: int = MOST_TRIES
) -> tuple[float, Found] | None:
    """The least limit for which *attempt* finds something, and what it finds; None if there is none.

    *attempt* returns what it found and the next limit at which its answer may change, so that
    the search ends on the exact value.
    """
    found, low = attempt(0.0)
    if found is not None:
        return 0.0, found
    high = max(guess, low)
    while True:
        if low == float("inf"):
            return None
        found, after = attempt(high)
        if found is not None:
            break
        low = max(low, after)
        high = max(2 * high, after)
    return _narrowed(attempt, low, high, found, tries)


def _narrowed(
    attempt: Callable[[float], tuple[Found | None, float]],
    low: float,
    high: float,
    best: Found,
    tries: int,
) -> tuple[float, Found]:
    """Between *low* (nothing below it works) and *high* (works)."""
    while low < high:
        close = high - low <= CLOSE * high
        if close:
            tries -= 1
            if tries < 0:
                break
        middle = low if close else (low + high) / 2
        found, after = attempt(middle)
        if found is not None:
            best, high = found, middle
        else:
            low = after
    return high, best
