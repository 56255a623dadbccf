"""An operator before a cluster in memory."""

from __future__ import annotations

from dataclasses import replace

from podway.app.operator import Operator
from podway.domain.addressing import Prefix
from podway.domain.model import Route, RouteOrigin

from tests.fakes.ledger import FakeBus, FakeIdentities, FakeLedger
from tests.unit.app.cluster import Play


class Desk:
    """An operator before a settled cluster; waiting lets time pass."""

    def __init__(self, *, quota: int = 500) -> None:
        self.play = Play(quota=quota)
        self.play.settle()
        self.play.reconcile()
        self.ledger = FakeLedger(self.play.store)
        self.bus = FakeBus()
        self.identities = FakeIdentities()
        self.pauses: list[float] = []
        self.operator = Operator(
            rules=self.play.rules(),
            cloud=self.play.cloud,
            store=self.play.store,
            alarms=self.play.alarms,
            identities=self.identities,
            ledger=self.ledger,
            bus=self.bus,
            hints=self.play.hints,
            clock=self.play.clock,
            failover=self.play.failover,
            pause=self.wait,
        )

    def wait(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.play.clock.go_on(seconds=seconds)

    def add(self, table: str, destination: Prefix, target: str, origin: str = "CreateRoute") -> None:
        route = Route(destination, target, origin=RouteOrigin(origin))
        self.play.cloud.edit(table, lambda one: replace(one, routes=(*one.routes, route)))


# reading
