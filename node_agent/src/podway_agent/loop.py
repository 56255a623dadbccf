"""Keeps the kernel as the newest snapshot says: one loop over snapshots, the kernel's events and the clock.

Agent runs it in the main thread.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from podway.wire.snapshot import Snapshot

from podway_agent.dataplane import Dataplane, Outcome
from podway_agent.kernel import filter_events, netlink, routing
from podway_agent.kernel.netlink import Message, Watch

log = logging.getLogger(__name__)

GROUPS = (
    netlink.GROUP_LINK,
    netlink.GROUP_V4_ADDRESS,
    netlink.GROUP_V4_ROUTE,
    netlink.GROUP_V6_ADDRESS,
    netlink.GROUP_V6_ROUTE,
    netlink.GROUP_V4_RULE,
    netlink.GROUP_V6_RULE,
    netlink.GROUP_V4_NETCONF,
    netlink.GROUP_V6_NETCONF,
)
SETTLE_SECONDS = 0.02
"""Events come in groups (a link flap removes every route): look once, after the group."""
SHORTEST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 5.0
CALM_SECONDS = 10.0
"""After so long without a repair the next one is made at once."""
_SHORTEST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 1.0, 30.0
_JITTER = 0.2
_LONGEST_NAP_SECONDS = 10.0
"""The loop comes round this often at least: so a loop that hangs is told from one that waits."""


@dataclass
class Pace:
    """How soon a repair may follow the last one: at once, unless somebody keeps undoing them."""

    pause: float = 0.0
    last: float = float("-inf")

    def wait(self, now: float) -> float:
        """Seconds until the next repair may be made."""
        return max(0.0, self.last + self.pause - now)

    def repaired(self, now: float) -> None:
        """Note that a repair was made. Each that follows soon after another doubles the pause."""
        soon = now - self.last < CALM_SECONDS
        longer = min(max(self.pause * 2, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
        self.pause = longer if soon else SHORTEST_PAUSE_SECONDS
        self.last = now


@dataclass
class Counters:
    """What happened since the process started."""

    convergences: int = 0
    drift: int = 0
    """Routes that somebody changed and we put right."""
    overflows: int = 0
    """Times that the kernel had to drop events."""


@dataclass
class Loop:
    """Keeps one kernel as the newest snapshot says. Calls *tell* with each outcome."""

    dataplane: Dataplane
    tell: Callable[[Snapshot, Outcome], None]
    resync_seconds: float
    clock: Callable[[], float] = time.monotonic
    counters: Counters = field(default_factory=Counters)
    outcome: Outcome | None = None
    ticked: float = 0.0
    """When the loop last came round, by *clock*."""
    _snapshot: Snapshot | None = None
    _delivered: Snapshot | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _pace: Pace = field(default_factory=Pace)
    _stopping: bool = False

    def __post_init__(self) -> None:
        self._watch = Watch(GROUPS)
        self._filters = filter_events.watch()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._next_look = 0.0
        self._drifted_at: float | None = None
        self._filters_drifted = False
        self._retry = _SHORTEST_RETRY_SECONDS

    def deliver(self, snapshot: Snapshot) -> None:
        """Take a newer snapshot; from any thread."""
        with self._lock:
            self._delivered = snapshot
        os.eventfd_write(self._bell, 1)

    def stop(self) -> None:
        """End soon, leaving the kernel as it is; from any thread or signal handler."""
        self._stopping = True
        os.eventfd_write(self._bell, 1)

    def run(self) -> None:
        """Work until stopped."""
        while not self._stopping:
            self.step(self.pause())
        self._watch.close()
        self._filters.close()

    def step(self, pause: float) -> None:
        """Wait up to *pause* seconds for a snapshot or an event, and do what is then due."""
        select.select([self._watch.fileno(), self._filters.fileno(), self._bell], [], [], pause)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._bell)
        self.ticked = self.clock()
        self._listen()
        with self._lock:
            delivered, self._delivered = self._delivered, None
        if delivered is not None:
            self._snapshot = delivered
            self._converge(look=True, news=True)
        elif self._snapshot is not None and self.ticked >= self._next_look:
            self._converge(look=True, news=False)
        elif self._drifted_at is not None and self._settled():
            # a fault of the filters is only found by a look at them: without one it would be forgotten
            amiss = self.outcome is None or not self.outcome.is_complete
            self._converge(look=amiss or self._filters_drifted, news=False)

    def pause(self) -> float:
        """Seconds until something is due by itself."""
        if self._snapshot is None:
            return _LONGEST_NAP_SECONDS
        now = self.clock()
        due = min(self._next_look - now, _LONGEST_NAP_SECONDS)
        if self._drifted_at is not None:
            due = min(due, max(self._drifted_at + SETTLE_SECONDS - now, self._pace.wait(now)))
        return max(0.0, due)

    def _settled(self) -> bool:
        now = self.clock()
        return (
            self._drifted_at is not None
            and now >= self._drifted_at + SETTLE_SECONDS
            and not self._pace.wait(now)
        )

    def _listen(self) -> None:
        """Note whether the kernel's events concern us."""
        events, lost = self._watch.read()
        notices, missed = self._filters.read()
        self.counters.overflows += lost + missed
        filters = missed or any(map(filter_events.concerns_filters, notices))
        self._filters_drifted = self._filters_drifted or filters
        if self._drifted_at is None and (lost or filters or any(map(self.concerns, events))):
            self._drifted_at = self.clock()

    def concerns(self, event: Message) -> bool:
        """Whether *event* may have changed what we keep, and was not caused by us."""
        if event.port == self.dataplane.kernel.port:
            return False
        return self.dataplane.paths.concerns(event) or self._concerns_us(event)

    def _concerns_us(self, event: Message) -> bool:
        if event.kind in (netlink.RTM_NEWROUTE, netlink.RTM_DELROUTE):
            return self._concerns_route(event)
        if event.kind in (netlink.RTM_NEWLINK, netlink.RTM_DELLINK):
            return self._concerns_link(event)
        if event.kind == netlink.RTM_NEWNETCONF:
            link = self.dataplane.link
            return self.dataplane.switches.are_reset_by(event.payload, link.number if link else None)
        if event.kind in (netlink.RTM_NEWADDR, netlink.RTM_DELADDR):
            address = routing.decode_address(event.payload)
            return address is not None and address[0] == self.dataplane.identity.address
        return False

    def _concerns_link(self, event: Message) -> bool:
        link, changed = self.dataplane.link, routing.decode_link(event.payload)
        if link is None or not link.up:
            return changed.up
        return link.number == changed.number and (link != changed or event.kind == netlink.RTM_DELLINK)

    def _concerns_route(self, event: Message) -> bool:
        route = routing.decode_route(event.payload)
        if route is None:
            return False
        if route.is_ours:
            wanted = self.dataplane.wanted.routes.get(route.key)
            return wanted != route.target or event.kind == netlink.RTM_DELROUTE
        if not route.key.prefix.length:
            return True  # a default route's gateway is the VPC router
        return any(key in self.dataplane.wanted.routes for key in routing.keys_of(route.key.prefix))

    def _converge(self, *, look: bool, news: bool) -> None:
        """Bring the kernel to the snapshot, pass the outcome on, and plan the next look."""
        assert self._snapshot is not None  # only called with one
        self._drifted_at = None
        self._filters_drifted = self._filters_drifted and not look
        resets = self._resets()
        before, self.outcome = self.outcome, self.dataplane.converge(self._snapshot, look=look)
        resets = self._resets() - resets
        self.counters.convergences += 1
        now = self.clock()
        if resets or (self.outcome.changed and not news):
            changes = 0 if news else self.outcome.changed
            self.counters.drift += changes
            self._pace.repaired(now)
            log.warning("drift repaired", extra={"changes": changes, "resets": resets})
        _say(before, self.outcome)
        self._next_look = now + self._until_next_look()
        self.tell(self._snapshot, self.outcome)

    def _resets(self) -> int:
        """How often others were found to have changed switches or our table."""
        return self.dataplane.switches.resets.total() + self.dataplane.table.repairs

    def _until_next_look(self) -> float:
        if self.outcome is not None and self.outcome.is_complete:
            self._retry = _SHORTEST_RETRY_SECONDS
            return self.resync_seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311  (no secret)
        pause = self._retry
        self._retry = min(pause * 2, _LONGEST_RETRY_SECONDS)
        return pause


def _say(before: Outcome | None, now: Outcome) -> None:
    """Log what changed, once."""
    if now.faults and (before is None or before.faults != now.faults):
        log.error("kernel does not hold the snapshot", extra={"faults": now.faults[:10]})
    if now.warnings and (before is None or before.warnings != now.warnings):
        log.warning("others meddle", extra={"warnings": now.warnings})
    if now.is_complete and (before is None or before.generation != now.generation or before.faults):
        log.info("kernel holds", extra={"generation": now.generation, "routes": now.present})
