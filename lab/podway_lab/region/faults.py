"""Faults on demand: what can go wrong between a caller and AWS.

The model and the server ask it around every call; scenarios and tests arm it. Chances follow a seed, and
what fires is counted.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from botocore.exceptions import ConnectionClosedError

from podway_lab.region.errors import refusal


class Kind(StrEnum):
    """What can happen to a call."""

    THROTTLED = "throttled"
    """Refused with RequestLimitExceeded (ThrottlingException outside EC2); nothing happens."""
    BROKEN = "broken"
    """Refused with a 500; nothing happens."""
    UNREACHABLE = "unreachable"
    """The connection breaks before the call arrives; nothing happens."""
    LOST_REPLY = "lost reply"
    """The call is carried out and its answer never arrives."""
    STALE = "stale"
    """A Describe shows the region as it was that many seconds ago (EC2 only)."""
    SLOW = "slow"
    """The call takes that many seconds longer."""


@dataclass(slots=True)
class _Rule:
    kind: Kind
    action: str
    caller: str
    chance: float
    left: int | None
    seconds: float


class Faults:
    """The faults that are armed. *pause* is called with the seconds that a slow call takes longer."""

    def __init__(self, *, seed: int = 0, pause: Callable[[float], None] = time.sleep) -> None:
        self.fired: Counter[Kind] = Counter()
        self._random = random.Random(seed)  # noqa: S311  (repeatable, not secret)
        self._pause = pause
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()

    def arm(
        self,
        kind: Kind,
        *,
        action: str = "*",
        caller: str = "*",
        chance: float = 1.0,
        times: int | None = None,
        seconds: float = 0.0,
    ) -> None:
        """Let *kind* happen to calls of *action* (``ec2:*Route``) by *caller*, at most *times* times."""
        with self._lock:
            self._rules.append(_Rule(kind, action, caller, chance, times, seconds))

    def disarm(self, kind: Kind | None = None) -> None:
        """End faults of that kind, or all of them; what has fired stays counted."""
        with self._lock:
            self._rules = [rule for rule in self._rules if kind is not None and rule.kind != kind]

    def armed(self, kind: Kind) -> bool:
        """Whether that kind can still happen."""
        return any(rule.kind == kind and rule.left != 0 for rule in self._rules)

    @contextmanager
    def around(self, action: str, caller: str) -> Iterator[float]:
        """Run one call in the block, which gets the age in seconds of the view that it shall show (0: now).

        Raises ClientError or ConnectionClosedError in place of the call, or after it.
        """
        struck = self._strike(action, caller) if self._rules else {}
        service, _, operation = action.partition(":")
        for kind in (Kind.SLOW, Kind.UNREACHABLE, Kind.THROTTLED, Kind.BROKEN):
            if kind in struck:
                self._happen(kind, struck[kind], service, operation)
        if Kind.STALE in struck:
            self._count(Kind.STALE)
        yield struck.get(Kind.STALE, 0.0)
        if Kind.LOST_REPLY in struck:
            self._happen(Kind.LOST_REPLY, 0.0, service, operation)

    def _happen(self, kind: Kind, seconds: float, service: str, operation: str) -> None:
        self._count(kind)
        match kind:
            case Kind.SLOW:
                self._pause(seconds)
            case Kind.THROTTLED:
                code = "RequestLimitExceeded" if service == "ec2" else "ThrottlingException"
                raise refusal(operation, code, "Request limit exceeded.")
            case Kind.BROKEN:
                code = "InternalError" if service == "ec2" else "InternalServerError"
                raise refusal(operation, code, "An internal error has occurred")
            case _:
                raise ConnectionClosedError(endpoint_url=service)

    def _count(self, kind: Kind) -> None:
        with self._lock:
            self.fired[kind] += 1

    def _strike(self, action: str, caller: str) -> dict[Kind, float]:
        struck: dict[Kind, float] = {}
        with self._lock:
            for rule in self._rules:
                if self._hits(rule, action, caller):
                    struck[rule.kind] = struck.get(rule.kind, 0.0) + rule.seconds
                    rule.left = None if rule.left is None else rule.left - 1
        return struck

    def _hits(self, rule: _Rule, action: str, caller: str) -> bool:
        if rule.left == 0 or not (fnmatchcase(action, rule.action) and fnmatchcase(caller, rule.caller)):
            return False
        if rule.kind == Kind.STALE and ":Describe" not in action:
            return False
        return rule.chance >= 1 or self._random.random() < rule.chance
