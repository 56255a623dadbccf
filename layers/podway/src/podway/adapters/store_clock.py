"""The store's time, for the operator's command: a person's machine may be hours off. Built by `bootstrap`.

What a command writes (claims, evidence, leases, history) is read by functions that compare it with their own
clocks. So no time of the person's clock is written: every answer of DynamoDB carries a `Date`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from podway.app.errors import PodwayError


class StoreClock:
    """The Clock port: what the store's answers say, and how much time has passed since.

    *ask* makes the store answer; it is called if nothing was heard yet. *warn* is told once if the store says
    no time: then the machine's clock has to do.
    """

    def __init__(
        self,
        client: Any,
        *,
        ask: Callable[[], object],
        warn: Callable[[str], object],
        passed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask, self._warn, self._passed = ask, warn, passed
        self._zero: float | None = None
        """The store's time, in seconds since 1970, at which *passed* was 0."""
        self._is_warned = False
        client.meta.events.register("after-call.dynamodb", self.hear)

    def hear(self, parsed: Mapping[str, Any], **_: object) -> None:
        """Take the time of an answer. It is old by its way, and cut to the second: the latest counts."""
        said = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
        try:
            zero = parsedate_to_datetime(said).timestamp() - self._passed()
        except ValueError:
            return
        self._zero = zero if self._zero is None else max(zero, self._zero)

    def now(self) -> datetime:
        """The present moment in UTC, by the store."""
        if self._zero is None:
            try:
                self._ask()
            except PodwayError as error:
                self._warn_once(str(error))
        if self._zero is None:
            self._warn_once("the store says no time; this machine's clock is taken for it")
            return datetime.now(UTC)
        return datetime.fromtimestamp(self._zero + self._passed(), tz=UTC)

    def sleep(self, seconds: float) -> None:
        """Let that time pass."""
        time.sleep(seconds)

    def _warn_once(self, why: str) -> None:
        if not self._is_warned:
            self._warn(why)
        self._is_warned = True
