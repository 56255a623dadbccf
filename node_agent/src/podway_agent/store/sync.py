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

from podway.wire.agent_item import MOST_SUSPECTS, AgentItem, Cause
from podway.wire.snapshot import PackedSnapshot, Snapshot, SnapshotRefused, unpack

from podway_agent.host.disk import SNAPSHOT, StateDirectory
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
    later: Callable[[str, Callable[[], None]], None] = lambda _, work: work()
    """Does the work of a key, as a rule in another thread (`WorkQueue.add`)."""
    count: Callable[[Snapshot], Usage] = lambda _: NO_USAGE
    """How full the node's blocks are; may raise OSError."""
    version: str = ""
    chance: Callable[[float, float], float] = random.uniform
    clock: Callable[[], float] = time.monotonic
    held: int = 0
    """Generation that the kernel holds."""
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
    """Generation that the last report acknowledged; None before there was a report."""
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
            # a restarted agent has not compared the kernel yet, and must not take back what it acknowledged
            self._next_report = self.clock() + self.settings.heartbeat_seconds

    def kernel_holds(self, generation: int) -> None:
        """Acknowledge *generation*. The loop's thread calls this."""
        if generation != self.held:
            self.held = generation
            self._wake.set()

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
            self.held != (self._told or 0)
            or self.suspects != self._told_suspects
            or self.usage.wanted > max(self._asked, self.usage.blocks)
        )
        return news and (not self.failures or self.clock() >= self._next_poll)

    def _count(self) -> None:
        """See how full the node's blocks are. When that fails, the last count is kept."""
        self._next_count = self.clock() + COUNT_SECONDS
        if self.newest is None:
            return
        try:
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
        have = self.newest.generation if self.newest else 0
        if version:
            self.seen = version.generation
            if version.generation > have:
                self._fetch(have)
            elif version.generation < have:
                self._refuse(f"the store has generation {version.generation}, older than {have}")
        self._answer()
        fast = must_poll_fast(self.newest, self.identity.instance)
        pause = self.settings.poll_fast_seconds if fast else self.settings.poll_slow_seconds
        self._next_poll = self.clock() + self._around(pause)

    def _fetch(self, have: int) -> None:
        self.requests += 1
        packed = self.store.body(self.identity.subnet)
        if packed is None or packed.generation <= have:
            return  # an older copy of the item answered: the next poll will see the new one
        try:
            snapshot = unpack(packed, cluster=self.settings.cluster, subnet=self.identity.subnet)
        except SnapshotRefused as error:
            self._refuse(str(error))
            return
        self._refused = ""
        self.later(SNAPSHOT, lambda: self._save(packed))
        self.newest = snapshot
        log.info("snapshot", extra={"generation": snapshot.generation, "members": len(snapshot.members)})
        self.deliver(snapshot)

    def _save(self, packed: PackedSnapshot) -> None:
        """Save the snapshot for the next process, which otherwise reads it from the store."""
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
        held, suspects = self.held, self.suspects
        cause: Cause = "heartbeat" if held == self._told else "acknowledged"
        if suspects != self._told_suspects:
            cause = "suspicion"
        elif self._told is None and not held:
            cause = "joined"
        elif cause == "heartbeat" and self.usage.wanted > self.usage.blocks:
            cause = "addresses"  # again with each heartbeat: the hint may have been lost
        item = AgentItem(
            pk=self.identity.userid,
            instance=self.identity.instance,
            subnet=self.identity.subnet,
            generation=held,
            heartbeat=datetime.now(UTC),
            cause=cause,
            blocks_wanted=self.usage.wanted,
            suspecting=bool(suspects),
            suspects=tuple(sorted(suspects))[:MOST_SUSPECTS],
            version=self.version,
        )
        self.requests += 1
        self.store.report(item)
        self._told, self._told_suspects, self._asked = held, suspects, self.usage.wanted
        self._answer()
        self._next_report = self.clock() + self._around(self.settings.heartbeat_seconds)
