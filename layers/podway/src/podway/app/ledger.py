"""What the commands need of the store beyond the Store port, and how they take the one writer's lease.

Called by `operator` and `restore`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from podway.app.errors import Superseded, TryAgain
from podway.app.ports import RELEASED, Clock, HistoryEntry

FOR_GOOD = datetime(9999, 12, 31, tzinfo=UTC)
"""When the lease of a released cluster ends."""
AT_WORK = timedelta(seconds=60)
"""How long a command keeps reconcile out, at most."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who writes just now, and when the last run of reconcile began."""

    owner: str | None
    expires: datetime | None
    began: datetime | None

    def is_held(self, now: datetime) -> bool:
        """Whether somebody writes."""
        return self.owner is not None and self.expires is not None and now <= self.expires


class Ledger(Protocol):
    """What an operator needs of the store beyond the Store port."""

    def lease(self) -> Lease:
        """The one writer's lease."""
        ...

    def hold(self, owner: str, *, now: datetime, until: datetime) -> bool:
        """Take the lease without being a run of reconcile. False while somebody else has it.

        Repeat: safe. Cut off: *owner* may hold the lease until *until*. Raises TryAgain, NeedsOperator.
        """
        ...

    def history(self, since: datetime, until: datetime) -> Iterator[HistoryEntry]:
        """The entries of that time, oldest first."""
        ...


def take_lease(
    ledger: Ledger,
    clock: Clock,
    owner: str,
    patience: timedelta,
    *,
    pause: Callable[[float], None],
    cluster: str,
) -> None:
    """Take the lease for *owner*.

    Raises TryAgain when a run of reconcile holds it for *patience*, Superseded when *cluster* was released.
    """
    end = clock.now() + patience
    while not ledger.hold(owner, now=(now := clock.now()), until=_until(owner, now)):
        if ledger.lease().owner == RELEASED:
            raise Superseded(f"{cluster} was released; `podway release --undo` takes it back")
        if clock.now() >= end:
            raise TryAgain("a run of reconcile is at work")
        pause(1.0)


def _until(owner: str, now: datetime) -> datetime:
    return FOR_GOOD if owner == RELEASED else now + AT_WORK
