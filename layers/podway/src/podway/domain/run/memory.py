"""What the store remembers, and what the agents' words in it mean.

The store reads it for `app.observe`; everything in this room starts from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from podway.domain.addressing import Prefix
from podway.domain.failover.decide import Card
from podway.domain.health.verdict import Verdict
from podway.domain.inventory import Epoch, Member, ReleasedSpace
from podway.domain.members.epochs import Word
from podway.domain.members.maps import SubnetMap
from podway.domain.signals import PendingHook


@dataclass(frozen=True, slots=True)
class AgentReport:
    """What an agent wrote of itself."""

    instance: str
    subnet: str
    generation: int
    heartbeat: datetime
    suspects: tuple[str, ...] = ()
    blocks_wanted: int = 0
    epoch: int = 1
    """The epoch that *generation* counts in. Agents from before there were epochs are in the first."""
    blocks: tuple[Prefix, ...] | None = None
    """What its pods may use or do use; None from agents that do not say it."""
    boot: str = ""
    """The kernel's boot id."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What reconcile needs of the store, read by several queries: another writer may come between two."""

    members: tuple[Member, ...]
    supernets: Mapping[str, tuple[Prefix, ...]]
    records: Mapping[str, frozenset[Prefix]]
    """Destinations recorded as ours, by table."""
    verdicts: Mapping[str, Verdict]
    cards: Mapping[str, Card]
    """Read before the verdicts. A claim that came between the two is seen when the card is written."""
    reports: Mapping[str, AgentReport]
    maps: Mapping[str, SubnetMap]
    hooks: Mapping[str, PendingHook] = field(default_factory=dict)
    """Hooks that wait, by instance."""
    released: tuple[ReleasedSpace, ...] = ()
    given_back: datetime | None = None
    """When subnets last gave back space. Before the first time: when the first run noted its own time."""
    doubts: tuple[str, ...] = ()
    """Agents' items that are refused, and whether reading them ended early. Who is not read is unheard."""
    epoch: Epoch | None = None
    """None in a new store, and in one from before there were epochs."""

    @property
    def is_empty(self) -> bool:
        """Whether there is no inventory: nobody has run here yet."""
        return not self.members and not self.supernets and self.given_back is None

    @property
    def epoch_number(self) -> int:
        """The epoch that generations count in; the first before there were epochs."""
        return self.epoch.number if self.epoch else 1


def words_of(memory: Memory, members: Iterable[Member]) -> dict[str, Word]:
    """What the members' agents say. Reports of a member's former subnet do not count."""
    return {
        member.id: Word(report.subnet, report.epoch, report.generation, report.blocks)
        for member in members
        if (report := memory.reports.get(member.id)) is not None and report.subnet == member.subnet
    }


def newest_of(memory: Memory) -> dict[str, int]:
    """The generation of each subnet's map."""
    return {subnet: one.generation for subnet, one in memory.maps.items()}


def acknowledged_by(memory: Memory, members: Iterable[Member]) -> dict[str, int]:
    """The generation that each member's kernel holds.

    Reports of a member's former subnet do not count, nor of another epoch, nor of a generation that the store
    has not reached: that one was of a life that is lost.
    """
    newest = newest_of(memory)
    return {
        node: word.generation
        for node, word in words_of(memory, members).items()
        if word.epoch == memory.epoch_number and word.generation <= newest.get(word.subnet, 0)
    }
