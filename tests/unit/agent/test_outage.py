"""The store is away for ten minutes, then back: a thousand agents on a simulated clock."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from podway.wire.agent_item import AgentItem
from podway.wire.snapshot import PackedSnapshot, Snapshot, pack
from podway_agent.host.disk import StateDirectory
from podway_agent.host.identity import Identity
from podway_agent.settings import Settings
from podway_agent.store.client import StoreAway, Version
from podway_agent.store.sync import StoreSync
from podway_agent.usage import NO_USAGE

from tests.unit.agent.snapshots import CLUSTER, SUBNET, member, snapshot

AGENTS = 1_000
AWAY, BACK, END = 400.0, 1_000.0, 1_080.0
SLOW = 30.0
KERNEL_SECONDS = 0.05
"""From a snapshot's delivery until the kernel holds it."""
MEMBERS = [member(f"i-{n:x}", f"10.0.0.{n + 10}", f"100.64.{n // 4}.{n % 4 * 64}/26") for n in range(20)]
"""Of each of fifty subnets that say the same; the first of them forwards, and so polls fast."""


def told(generation: int) -> Snapshot:
    return snapshot(*MEMBERS, generation=generation, forwarders=(MEMBERS[0].id,))


FIRST = told(1)


class Nowhere(StateDirectory):
    """Keeps nothing: what is on disk is not what this is about."""

    def save_snapshot(self, packed: PackedSnapshot) -> None:
        del packed


@dataclass
class World:
    """The store, all agents, and the clock that they share."""

    phases: list[float]
    now: float = 0.0
    packed: PackedSnapshot = field(default_factory=lambda: pack(FIRST))
    asked: Counter[int] = field(default_factory=Counter)
    """Requests by the second."""
    acknowledged: dict[int, int] = field(default_factory=dict)
    agents: list[StoreSync] = field(default_factory=list)
    due: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        chance = random.Random(5)
        settings = Settings(cluster=CLUSTER, table="podway", listen="")
        for number, phase in enumerate(self.phases):
            instance = MEMBERS[number % len(MEMBERS)].id
            identity = Identity(instance, SUBNET, "", "", "us-west-2", f"AROAX:{instance}")
            self.agents.append(
                StoreSync(
                    settings=settings,
                    identity=identity,
                    store=self,
                    state=Nowhere(Path("/nowhere")),
                    deliver=self.deliver,
                    renew=lambda identity=identity: identity,  # type: ignore[misc]
                    newest=FIRST,
                    count=lambda _: NO_USAGE,
                    chance=chance.uniform,
                    clock=lambda: self.now,
                )
            )
            heapq.heappush(self.due, (phase, number))
        self.turn = 0

    def deliver(self, newer: Snapshot) -> None:
        """The kernel soon holds what is delivered to the agent whose turn it is."""
        agent = self.agents[self.turn]
        agent.kernel_holds(newer.generation)
        heapq.heappush(self.due, (self.now + KERNEL_SECONDS, self.turn))

    def run(self, until: float) -> None:
        while self.due[0][0] < until:
            self.now, self.turn = heapq.heappop(self.due)
            pause = self.agents[self.turn].step()
            heapq.heappush(self.due, (self.now + max(pause, 0.001), self.turn))
        self.now = until

    # the store

    def answer(self) -> None:
        self.asked[int(self.now)] += 1
        if AWAY <= self.now < BACK:
            raise StoreAway("away")

    def version(self, subnet: str) -> Version | None:
        self.answer()
        return Version(self.packed.generation, self.packed.checksum)

    def body(self, subnet: str) -> PackedSnapshot | None:
        self.answer()
        return self.packed

    def report(self, item: AgentItem) -> None:
        self.answer()
        self.acknowledged[self.turn] = item.generation


@pytest.mark.parametrize("together", [False, True], ids=["at random times", "all started at once"])
def test_after_ten_minutes_nobody_is_missing_and_nobody_stampedes(*, together: bool) -> None:
    chance = random.Random(6)
    world = World([0.0 if together else chance.uniform(0, SLOW) for _ in range(AGENTS)])
    world.run(AWAY)
    usual = sum(world.asked[second] for second in range(int(AWAY) - 300, int(AWAY)))
    world.run(AWAY + 60)
    world.packed = pack(told(2))  # the control plane goes on: what it says meanwhile must not be lost
    world.run(END)

    away = [world.asked[second] for second in range(int(AWAY), int(BACK))]
    back = [world.asked[second] for second in range(int(BACK), int(END))]
    assert {agent.newest.generation for agent in world.agents if agent.newest} == {2}
    assert set(world.acknowledged.values()) == {2}
    assert len(world.acknowledged) == AGENTS
    # while it is away the store is asked less than usual, and never for nothing in a hurry
    assert sum(away[60:360]) <= usual
    # when it is back, everybody has asked, fetched and acknowledged within two slow intervals ...
    assert sum(back[:72]) >= 3 * AGENTS
    # ... and no second sees more than twice their share of it
    assert max(back) <= 2 * (3 * AGENTS / SLOW)
