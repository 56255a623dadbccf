"""Faults on demand: what can go wrong between a caller and AWS, seeded, and counted when it happens.

Armed by tests, scenarios and the simulation; asked by the region around every call. `alterations` has what
may become of an answer.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

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
    THINNER = "thinner"
    """A Describe leaves out rows that are there, and says nothing of it (EC2 only)."""
    UNHEARD_OF = "unheard of"
    """A Describe says words that no model lists yet (EC2 only)."""
    REFUSED = "refused"
    """Refused with a code of the arming's choice, which the caller may never have seen; nothing happens."""


ALTERING = (Kind.THINNER, Kind.UNHEARD_OF)
"""What changes an answer on its way to the caller."""
Alteration = Callable[[dict[str, Any], random.Random], dict[str, Any]]
"""The answer as the caller is to see it; the one given must stay as it is."""


@dataclass(slots=True)
class _Rule:
    kind: Kind
    action: str
    caller: str
    chance: float
    left: int | None
    seconds: float
    code: str
    about: str
    alter: Alteration | None


@dataclass(frozen=True, slots=True)
class Struck:
    """What happens to a call that is carried out: its view is so many seconds *old*, its answer altered."""

    old: float = 0.0
    alterations: tuple[tuple[Kind, Alteration], ...] = ()


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
        code: str = "",
        about: str = "",
        alter: Alteration | None = None,
    ) -> None:
        """Lets *kind* happen to calls of *action* (``ec2:*Route``) by *caller*, at most *times* times.

        *about* is an id: then only calls of which it is a parameter are struck. *code* is what REFUSED says,
        *alter* what THINNER and UNHEARD_OF do to an answer. Raises ValueError where they are missing.
        """
        if (kind is Kind.REFUSED) != bool(code) or (kind in ALTERING) != (alter is not None):
            raise ValueError(f"{kind}: only refused takes a code, only thinner and unheard of alter")
        with self._lock:
            self._rules.append(_Rule(kind, action, caller, chance, times, seconds, code, about, alter))

    def disarm(self, kind: Kind | None = None) -> None:
        """End faults of that kind, or all of them; what has fired stays counted."""
        with self._lock:
            self._rules = [rule for rule in self._rules if kind is not None and rule.kind != kind]

    def armed(self, kind: Kind) -> bool:
        """Whether that kind can still happen."""
        return any(rule.kind == kind and rule.left != 0 for rule in self._rules)

    @contextmanager
    def around(
        self, action: str, caller: str, given: Mapping[str, Any] = MappingProxyType({})
    ) -> Iterator[Struck]:
        """The block is the call with the parameters *given*.

        It is told how old its view shall be, and what happens to its answer.

        Raises ClientError or ConnectionClosedError in place of the call, or after it.
        """
        struck = self._strike(action, caller, given) if self._rules else []
        service, _, operation = action.partition(":")
        by_kind = {rule.kind: rule for rule in struck}
        for kind in (Kind.SLOW, Kind.UNREACHABLE, Kind.THROTTLED, Kind.BROKEN, Kind.REFUSED):
            if kind in by_kind:
                seconds = sum(rule.seconds for rule in struck if rule.kind is kind)
                self._happen(kind, seconds, service, operation, by_kind[kind].code)
        if Kind.STALE in by_kind:
            self._count(Kind.STALE)
        yield Struck(
            sum(rule.seconds for rule in struck if rule.kind is Kind.STALE),
            tuple((rule.kind, rule.alter) for rule in struck if rule.alter is not None),
        )
        if Kind.LOST_REPLY in by_kind:
            self._happen(Kind.LOST_REPLY, 0.0, service, operation)

    def altered(self, answer: dict[str, Any], struck: Struck) -> dict[str, Any]:
        """The *answer* as its caller sees it; an alteration counts only where it changed something."""
        for kind, alter in struck.alterations:
            with self._lock:
                after = alter(answer, self._random)
            if after != answer:
                self._count(kind)
            answer = after
        return answer

    def _happen(self, kind: Kind, seconds: float, service: str, operation: str, code: str = "") -> None:
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
            case Kind.REFUSED:
                raise refusal(operation, code, "The request was refused.")
            case _:
                raise ConnectionClosedError(endpoint_url=service)

    def _count(self, kind: Kind) -> None:
        with self._lock:
            self.fired[kind] += 1

    def _strike(self, action: str, caller: str, given: Mapping[str, Any]) -> list[_Rule]:
        struck = []
        with self._lock:
            for rule in self._rules:
                if self._hits(rule, action, caller, given):
                    struck.append(rule)
                    rule.left = None if rule.left is None else rule.left - 1
        return struck

    def _hits(self, rule: _Rule, action: str, caller: str, given: Mapping[str, Any]) -> bool:
        if rule.left == 0 or not (fnmatchcase(action, rule.action) and fnmatchcase(caller, rule.caller)):
            return False
        if rule.about and rule.about not in given.values():
            return False
        if rule.kind in (Kind.STALE, *ALTERING) and ":Describe" not in action:
            return False
        return rule.chance >= 1 or self._random.random() < rule.chance
