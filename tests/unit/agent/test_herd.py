"""Many agents and one store that goes away and comes back: nobody is lost, and nobody stampedes."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from podway.wire.agent_item import AgentItem
from podway.wire.snapshot import PackedSnapshot, pack
from podway_agent.courier import COUNT_SECONDS, Courier
from podway_agent.disk import StateDirectory
from podway_agent.identity import Identity
from podway_agent.settings import Settings
from podway_agent.store import StoreAway, Version

from tests.unit.agent.snapshots import CLUSTER, SUBNET, member, snapshot

AGENTS = 100
OUTAGE = 600.0
SLOW, JITTER, HEARTBEAT = 30.0, 0.2, 300.0
EVERYBODY = [
    member(f"i-{number:x}", "10.0.0.10", f"100.64.{number // 4}.{number % 4 * 64}/26")
    for number in range(AGENTS)
]

FIRST = snapshot(*EVERYBODY, generation=1)


@dataclass
class Region:
    """A store that counts what it is asked in each second of a simulated clock."""

    now: float = 0.0
    away: bool = False
    packed: PackedSnapshot = field(default_factory=lambda: pack(FIRST))
    asked: Counter[int] = field(default_factory=Counter)
    heard: dict[str, int] = field(default_factory=dict)

    def call(self) -> None:
        self.asked[int(self.now)] += 1
        if self.away:
            raise StoreAway("no answer")

    def version(self, _: str) -> Version | None:
        self.call()
        return Version(self.packed.generation, self.packed.checksum)

    def body(self, _: str) -> PackedSnapshot | None:
        self.call()
        return self.packed

    def report(self, item: AgentItem) -> None:
        self.call()
        self.heard[item.instance] = item.generation


class Herd:
    """Agents that start in the same second, each with dice of its own."""

    def __init__(self, directory: Path) -> None:
        self.region = Region()
        self.couriers = [self.courier(number, directory / str(number)) for number in range(AGENTS)]
        self.due = [(random.Random(-number).uniform(0, 1), number) for number in range(AGENTS)]
        heapq.heapify(self.due)

    def courier(self, number: int, directory: Path) -> Courier:
        instance = f"i-{number:x}"
        made = Courier(
            settings=Settings(cluster=CLUSTER, table="podway"),
            identity=Identity(instance, SUBNET, "10.0.0.10", "", "us-west-2", f"AROAX:{instance}"),
            store=self.region,
            state=StateDirectory(directory),
            deliver=lambda told: made.kernel_holds(told.generation),
            renew=lambda: made.identity,
            newest=FIRST,
            chance=random.Random(number).uniform,
            clock=lambda: self.region.now,
        )
        made.kernel_holds(1)
        return made

    def live(self, seconds: float) -> None:
        end = self.region.now + seconds
        while self.due[0][0] < end:
            self.region.now, number = heapq.heappop(self.due)
            pause = self.couriers[number].step()
            heapq.heappush(self.due, (self.region.now + max(pause, 0.001), number))
        self.region.now = end


def test_an_outage_of_ten_minutes_costs_no_news_and_brings_no_stampede(tmp_path: Path) -> None:
    herd = Herd(tmp_path)
    herd.live(900)
    calm = sum(herd.region.asked[second] for second in range(300, 900)) / 600
    herd.region.asked.clear()

    herd.region.away = True
    herd.live(OUTAGE)
    away = herd.region.asked.total()
    herd.region.away = False
    herd.region.packed = pack(snapshot(*EVERYBODY, generation=2))
    herd.region.asked.clear()
    herd.live(SLOW * (1 + JITTER) + COUNT_SECONDS + 1)  # nobody wakes couriers here but the clock
    back = herd.region.asked

    # nobody knocks faster at a store that is away than at one that answers, but for the first doublings
    assert AGENTS * OUTAGE / SLOW / (1 + JITTER) <= away <= AGENTS * (OUTAGE / SLOW / (1 - JITTER) + 6)
    # after it each has one round: an overdue report, a look, the news, and the word that it holds
    assert herd.region.heard == {f"i-{number:x}": 2 for number in range(AGENTS)}
    assert back.total() <= AGENTS * 6
    # spread over the slow interval: no second sees more than three times the mean
    assert max(back.values()) <= 3 * back.total() / SLOW
    assert calm <= AGENTS * (1 / SLOW + 1 / HEARTBEAT) / (1 - JITTER)
