"""Keeps the node and the store in step: fetches snapshots, reports what the kernel holds.

Agent runs it in a thread of its own. The store may be slow or away: the loop must not wait for it, nor it
for the loop.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from podway.domain.addressing import Prefix
from podway.wire.agent_item import MOST_SUSPECTS, AgentItem, Cause
from podway.wire.snapshot import PackedSnapshot, Snapshot, SnapshotRefused, unpack

from podway_agent.host.disk import StateDirectory
from podway_agent.host.identity import Identity, MetadataAway
from podway_agent.kernel.membership import own_member
from podway_agent.settings import Settings
from podway_agent.store.client import Store, StoreAway, StoreRefused
from podway_agent.usage import NO_USAGE, Usage

log = logging.getLogger(__name__)

_JITTER = 0.2
_MOST_DOUBLINGS = 10
COUNT_SECONDS = 5.0
"""Between two counts of the pods' addresses: a burst of pods must not fill a block unseen."""


def must_poll_fast(snapshot: Snapshot | None, instance: str) -> bool:
    """Whether news is urgent: the node has still to join, or carries traffic of others."""
    if snapshot is None or instance in snapshot.forwarders:
        return True
    member = own_member(snapshot, instance)
    return member is None or member.state == "joining" or not all(block.ready for block in member.blocks)


@dataclass
class StoreSync:
    """Polls the store and writes the agent's own item.

    It gives each newer snapshot to *deliver*. When the store refuses our identity (the instance's role was
    exchanged), it calls *renew*, which asks anew who we are.
    """

    settings: Settings
    identity: Identity
    store: Store
    state: StateDirectory
    deliver: Callable[[Snapshot], None]
    renew: Callable[[], Identity]
    newest: Snapshot | None
    """The snapshot that is obeyed; at first the saved one."""
    count: Callable[[Snapshot], Usage] = lambda _: NO_USAGE
    """How full the node's blocks are; may raise OSError."""
    held_here: Callable[[Snapshot | None], tuple[Prefix, ...]] | None = None
    """The blocks that pods here may use or do use; may raise OSError. None: it is not said."""
    version: str = ""
    boot: str = ""
    """The kernel's boot id."""
    chance: Callable[[float, float], float] = random.uniform
    clock: Callable[[], float] = time.monotonic
    held: int = 0
    """Generation that the kernel holds, of the epoch of the snapshot that is obeyed."""
    held_epoch: int = 1
    """The epoch that `held` counts in."""
    epoch: int = 1
    """The newest epoch of the store that this process has heard of."""
    seen: int = 0
    """Generation that the store was last seen to have."""
    failures: int = 0
    """Failed calls to the store, in a row."""
    answered: float | None = None
    """When the store last answered, by *clock*."""
    requests: int = 0
    usage: Usage = NO_USAGE
    """The use of the node's addresses, as last counted."""
    suspects: frozenset[str] = frozenset()
    """Forwarders that the prober suspects."""
    _told: int | None = None
    """Generation that the last report acknowledged; None before there was a report in this epoch."""
    _told_blocks: tuple[Prefix, ...] | None = None
    """The blocks that the last report named."""
    _blocks: tuple[Prefix, ...] | None = None
    """The blocks that pods here may use, as last looked up; None while nobody could say."""
    _told_epoch: int = 1
    _asked: int = 0
    """Blocks that the last report asked for."""
    _uncounted: str = ""
    _next_count: float = 0.0
    _next_poll: float = 0.0
    _next_report: float = 0.0
    _refused: str = ""
    _wake: threading.Event = field(default_factory=threading.Event)
    _stopping: bool = False

    def __post_init__(self) -> None:
        self._told_suspects = self.suspects
        if self.newest is not None:
            self.epoch = self._told_epoch = self.held_epoch = self.newest.epoch
            # a restarted agent has not compared the kernel yet, and must not take back what it acknowledged
            self._next_report = self.clock() + self.settings.heartbeat_seconds

    def kernel_holds(self, generation: int, epoch: int = 1) -> None:
        """Acknowledge *generation* of *epoch*. The loop's thread calls this."""
        if (epoch, generation) != (self.held_epoch, self.held):
            self.held_epoch, self.held = epoch, generation
            self._wake.set()

    @property
    def acknowledged(self) -> int:
        """What the kernel holds of the newest epoch: a generation of another one says nothing."""
        return self.held if self.held_epoch == self.epoch else 0

    def suspect(self, nodes: frozenset[str]) -> None:
        """Report at once that *nodes* are suspected now, and no others. The prober's thread calls this."""
        if nodes != self.suspects:
            self.suspects = nodes
            self._wake.set()

    def run(self) -> None:
        """Work until stopped."""
        while not self._stopping:
            pause = self.step()
            self._wake.wait(pause)
            self._wake.clear()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def step(self) -> float:
        """Do what is due; the seconds until more is."""
        if self.clock() >= self._next_count:
            self._count()
        try:
            if self.clock() >= self._next_report or self._is_news():
                self._report()
            if self.clock() >= self._next_poll:
                self._poll()
        except StoreAway as error:
            self._fail(error)
        due = min(self._next_poll, self._next_report, self._next_count)
        return max(0.0, due - self.clock())

    def _is_news(self) -> bool:
        """Whether there is something to report now (after failures: only when the next try is due)."""
        news = (
            self.acknowledged != (self._told or 0)
            or self._told_epoch != self.epoch
            or (self._told_blocks is None and self._blocks is not None and self._told is not None)
            or self.suspects != self._told_suspects
            or self.usage.wanted > max(self._asked, self.usage.blocks)
        )
        return news and (not self.failures or self.clock() >= self._next_poll)

    def _count(self) -> None:
        """See which blocks pods use and how full they are. When that fails, the last count is kept."""
        self._next_count = self.clock() + COUNT_SECONDS
        try:
            if self.held_here is not None:
                self._blocks = self.held_here(self.newest)
            if self.newest is not None:
                self.usage = self.count(self.newest)
        except OSError as error:
            if str(error) != self._uncounted:
                log.warning("addresses in use not counted", extra={"reason": str(error)})
            self._uncounted = str(error)

    def _fail(self, error: StoreAway) -> None:
        """Back off: wait twice as long each time, up to the slow interval."""
        if isinstance(error, StoreRefused):
            self._renew()
        if not self.failures:
            log.warning("store away", extra={"reason": str(error)})
        self.failures += 1
        longest = self.settings.poll_slow_seconds
        pause = min(self.settings.poll_fast_seconds * 2 ** min(self.failures, _MOST_DOUBLINGS), longest)
        self._next_poll = self.clock() + self._around(pause)
        self._next_report = max(self._next_report, self._next_poll)

    def _renew(self) -> None:
        try:
            self.identity = self.renew()
        except (MetadataAway, StoreAway, OSError) as error:
            log.warning("identity not renewed", extra={"reason": str(error)})

    def _answer(self) -> None:
        if self.failures:
            log.info("store back", extra={"failures": self.failures})
        self.failures = 0
        self.answered = self.clock()

    def _around(self, seconds: float) -> float:
        """About *seconds*: agents must not all poll at the same time."""
        return seconds * self.chance(1 - _JITTER, 1 + _JITTER)

    # --- snapshots -----------------------------------------------------------------------

    def _poll(self) -> None:
        self.requests += 1
        version = self.store.version(self.identity.subnet)
        have = (self.newest.epoch, self.newest.generation) if self.newest else (self.epoch, 0)
        if version:
            self.seen = version.generation
            if version.epoch > self.epoch:
                self._enter(version.epoch)
            found = (version.epoch, version.generation)
            if found > have:
                self._fetch(have)
            elif found < have:
                self._refuse(f"the store has {_spoken(found)}, older than {_spoken(have)}")
        self._answer()
        fast = must_poll_fast(self.newest, self.identity.instance)
        pause = self.settings.poll_fast_seconds if fast else self.settings.poll_slow_seconds
        self._next_poll = self.clock() + self._around(pause)

    def _enter(self, epoch: int) -> None:
        """Say what pods here hold, before the kernel obeys a snapshot of the new epoch.

        The control plane publishes one only when every node has said it.
        """
        log.warning("the store is in another epoch", extra={"epoch": epoch, "before": self.epoch})
        self.epoch, self._told = epoch, None
        self._report()

    def _fetch(self, have: tuple[int, int]) -> None:
        self.requests += 1
        packed = self.store.body(self.identity.subnet)
        if packed is None or (packed.epoch, packed.generation) <= have:
            return  # an older copy of the item answered: the next poll will see the new one
        try:
            snapshot = unpack(packed, cluster=self.settings.cluster, subnet=self.identity.subnet)
        except SnapshotRefused as error:
            self._refuse(str(error))
            return
        self._refused = ""
        self._save(packed)  # first: what is acknowledged must not be lost with this process
        self.newest = snapshot
        log.info(
            "snapshot",
            extra={
                "epoch": snapshot.epoch,
                "generation": snapshot.generation,
                "members": len(snapshot.members),
            },
        )
        self.deliver(snapshot)

    def _save(self, packed: PackedSnapshot) -> None:
        """Save the snapshot for the next process, which begins with it even if the store is away."""
        try:
            self.state.save_snapshot(packed)
        except OSError as error:
            log.warning("snapshot not saved", extra={"reason": str(error)})

    def _refuse(self, reason: str) -> None:
        if reason != self._refused:
            log.error("snapshot refused", extra={"reason": reason})
            self._refused = reason

    # --- reports -------------------------------------------------------------------------

    def _report(self) -> None:
        held, suspects, epoch, blocks = self.acknowledged, self.suspects, self.epoch, self._blocks
        causes = self._causes(held, suspects)
        item = AgentItem(
            pk=self.identity.userid,
            instance=self.identity.instance,
            subnet=self.identity.subnet,
            generation=held,
            heartbeat=datetime.now(UTC),
            cause=causes[0],
            causes=causes,
            blocks_wanted=self.usage.wanted,
            suspecting=bool(suspects),
            suspects=tuple(sorted(suspects))[:MOST_SUSPECTS],
            version=self.version,
            epoch=epoch,
            blocks=blocks,
            boot=self.boot,
        )
        self.requests += 1
        self.store.report(item)
        self._told, self._told_suspects, self._asked = held, suspects, self.usage.wanted
        self._told_epoch, self._told_blocks = epoch, blocks
        self._answer()
        self._next_report = self.clock() + self._around(self.settings.heartbeat_seconds)

    def _causes(self, held: int, suspects: frozenset[str]) -> tuple[Cause, ...]:
        """What is new since the last report, the gravest first."""
        found: list[Cause] = []
        if suspects != self._told_suspects:
            found.append("suspicion")
        if self._told is None and not held:
            found.append("joined")
        elif held != self._told:
            found.append("acknowledged")
        if self.usage.wanted > self.usage.blocks:
            found.append("addresses")  # again with each heartbeat: the hint may have been lost
        return tuple(found) or ("heartbeat",)


def _spoken(found: tuple[int, int]) -> str:
    """Epoch and generation in words; the first epoch goes without saying."""
    epoch, generation = found
    return f"generation {generation}" + (f" of epoch {epoch}" if epoch > 1 else "")
