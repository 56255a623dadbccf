"""The Ledger port over the store in memory, and a bus that remembers what it was told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from podway.app.ledger import Lease
from podway.app.ports import HistoryEntry
from podway.domain.members.trust import NodeIdentity

from tests.fakes.store import FakeStore


@dataclass
class FakeLedger:
    store: FakeStore
    began: datetime | None = None
    moment: datetime | None = None
    """The store's own time, where it says it."""

    def lease(self) -> Lease:
        owner, expires = self.store.lease or (None, None)
        return Lease(owner, expires, self.began)

    def hold(self, owner: str, *, now: datetime, until: datetime) -> bool:
        return self.store.acquire_lease(owner, now=now, until=until)

    def time(self) -> datetime | None:
        return self.moment

    def history(self, since: datetime, until: datetime) -> Iterator[HistoryEntry]:
        return (one for one in self.store.history if since <= one.at <= until)


@dataclass
class FakeIdentities:
    nodes: tuple[NodeIdentity, ...] = ()

    def of_members(self) -> tuple[NodeIdentity, ...]:
        return self.nodes


@dataclass
class FakeBus:
    asked: list[str] = field(default_factory=list)

    def ask_drain(self, instances: Iterable[str]) -> None:
        self.asked += instances
