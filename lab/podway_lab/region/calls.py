"""The log of every call that reached the region: who, what, when, and how it ended.

The model writes it, and the server for other services. Scenarios and tests count calls and waves here.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from podway_lab.region.errors import code_of


@dataclass(frozen=True, slots=True)
class Made:
    """A call. *began* and *ended* count the beginnings and endings of all calls, so they order them."""

    caller: str
    action: str
    """As IAM writes it: ``ec2:ReplaceRoute``."""
    given: Mapping[str, Any]
    at: datetime
    began: int
    ended: int
    error: str
    """Its error code, empty when it succeeded, the exception's name when no answer arrived."""


@dataclass(slots=True)
class Ending:
    """How a call ended: its error code, empty for success."""

    error: str = ""


@dataclass
class CallLog:
    """The last *keep* calls, oldest first."""

    clock: Callable[[], datetime]
    keep: int = 100_000
    _made: deque[Made] = field(init=False)
    _ticks: itertools.count[int] = field(default_factory=itertools.count, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        self._made = deque(maxlen=self.keep)

    @contextmanager
    def entry(self, caller: str, action: str, given: Mapping[str, Any]) -> Iterator[Ending]:
        """Record the call that the block makes, however it ends; the block may name its error."""
        at, began, ending = self.clock(), self._tick(), Ending()
        try:
            yield ending
        except ClientError as refused:
            ending.error = code_of(refused)
            raise
        except (BotoCoreError, OSError) as lost:
            ending.error = type(lost).__name__
            raise
        finally:
            made = Made(caller, action, given, at, began, self._tick(), ending.error)
            with self._lock:
                self._made.append(made)

    def mark(self) -> int:
        """A point in time to give to `made` as *since*."""
        return self._tick()

    def made(self, action: str = "*", *, caller: str = "*", since: int = -1) -> list[Made]:
        """The calls that began after the mark *since*; *action* and *caller* may hold wildcards."""
        with self._lock:
            made = list(self._made)
        return [
            call
            for call in made
            if call.began > since and fnmatchcase(call.action, action) and fnmatchcase(call.caller, caller)
        ]

    def _tick(self) -> int:
        with self._lock:
            return next(self._ticks)


def waves(calls: Iterable[Made]) -> int:
    """The longest chain of *calls* in which each began after the one before had ended.

    Concurrent calls only overlap if they last: measure with some latency (`faults.Kind.SLOW`).
    """
    chain, last = 0, -1
    for call in sorted(calls, key=lambda call: call.ended):
        if call.began > last:
            chain, last = chain + 1, call.ended
    return chain
