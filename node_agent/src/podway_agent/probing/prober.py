"""Probes through the watched forwarders, round after round. Agent runs it in a thread of its own.

Other nodes' kernels answer at once: an answer that is not there when the next round is due will not come.
Our own kernel may let us wait. So answers are read before a round is judged, and a round is judged a whole
interval after its last probe left, however late that was.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import select
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from podway.domain.addressing import Prefix

from podway_agent.probing.echo import EchoSocket
from podway_agent.probing.paths import mark_of
from podway_agent.probing.suspicion import (
    CALM_ROUNDS,
    MISSES,
    ProbeFinding,
    Round,
    Standing,
    doubts_itself,
    find,
    judge,
)
from podway_agent.probing.targets import ProbeTargets, Third, Watched

log = logging.getLogger(__name__)

SECRET_BYTES = 8
_IDLE_SECONDS = 60.0
PROBE_KINDS = ("relayed", "direct")
"""Through a forwarder to a third node, and straight to a node: a third one, or a forwarder."""


class Wire(Protocol):
    """What a prober needs of its socket."""

    def send(self, target: Prefix, serial: int, *, mark: int = 0) -> None:
        """Send one request. Raises OSError."""

    def answers(self) -> Iterable[tuple[int, float]]:
        """Serial number and time of each answer that waits."""

    def close(self) -> None: ...


@dataclass
class Figures:
    """What became of the probes since the start, by kind."""

    answered: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    unsent: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PROBE_KINDS, 0.0))
    """Sum of what the answered ones took."""


@dataclass(slots=True)
class Probe:
    """One request under way."""

    kind: str
    sent: float
    answered: float | None = None


@dataclass(frozen=True)
class _Asked:
    """What one round sent through one forwarder."""

    node: str
    third: str
    relayed: Probe | None


@dataclass
class Prober:
    """Probes its targets, and calls *tell* with the suspected nodes whenever these change."""

    tell: Callable[[frozenset[str]], None]
    interval: float
    open_wire: Callable[[Prefix, bytes], Wire] = EchoSocket
    suspected_before: frozenset[str] = frozenset()
    """By the process before this one. Its suspicions, too, end only after a run of good answers."""
    standings: dict[str, Standing] = field(default_factory=dict)
    """Never changed but replaced, since other threads read it."""
    figures: Figures = field(default_factory=Figures)
    doubtful: bool = False
    """Whether the fault is likelier our own, or was a moment ago."""
    fault: str = ""
    """Why probes could not be sent last time; empty when they could."""
    _targets: ProbeTargets = field(default_factory=ProbeTargets)
    newest_targets: ProbeTargets = field(default_factory=ProbeTargets)
    """To be taken up at once."""
    _stopping: bool = False

    def __post_init__(self) -> None:
        self._secret = os.urandom(SECRET_BYTES)
        self._serials = count(1)
        self._turn = 0
        self._under_way: dict[int, Probe] = {}
        self._asked: list[_Asked] = []
        self._direct: dict[str, Probe | None] = {}
        self._reached: dict[str, bool] = {}
        self._calm = CALM_ROUNDS
        """Rounds without doubt, up to now."""
        self._wire: Wire | None = None
        self._wired: Prefix | None = None
        self._due = 0.0
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._said = self.suspected_before
        self.standings = {
            node: Standing(MISSES, suspected=ProbeFinding.UNKNOWN) for node in sorted(self.suspected_before)
        }

    @property
    def suspects(self) -> frozenset[str]:
        """The forwarders that we suspect now."""
        return frozenset(node for node, one in self.standings.items() if one.suspected)

    def take(self, targets: ProbeTargets) -> None:
        """Probe *targets* from the next round on; from any thread."""
        self.newest_targets = targets
        os.eventfd_write(self._bell, 1)

    def stop(self) -> None:
        """End soon; from any thread or signal handler."""
        self._stopping = True
        os.eventfd_write(self._bell, 1)

    def run(self) -> None:
        """Work until stopped."""
        while not self._stopping:
            pause = max(0.0, self._due - time.monotonic()) if self._targets.watched else _IDLE_SECONDS
            select.select([self._bell], [], [], pause)
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._bell)
            self.change_targets()
            if self._targets.watched and time.monotonic() >= self._due:
                self.turn()
                self._due = time.monotonic() + self.interval
        self._unwire()

    def turn(self) -> None:
        """Judge the round that is over, and begin the next."""
        self._listen()
        self._judge()
        self._ask()

    # --- targets -------------------------------------------------------------------------

    def change_targets(self) -> None:
        """Take up the newest targets, if they differ."""
        targets = self.newest_targets
        if targets == self._targets:
            return
        if not self._targets.watched:  # probers must not march in step
            self._due = time.monotonic() + random.uniform(0, self.interval)  # noqa: S311  (no secret)
        self._targets = targets
        self.standings = {one.node: self.standings.get(one.node, Standing()) for one in targets.watched}
        known = {one.node for one in targets.watched} | {one.node for one in targets.thirds}
        self._reached = {node: answered for node, answered in self._reached.items() if node in known}
        self._say()

    def _say(self) -> None:
        suspects = self.suspects
        if suspects != self._said:
            self._said = suspects
            self.tell(suspects)

    # --- answers -------------------------------------------------------------------------

    def _listen(self) -> None:
        """Note the answers that have come."""
        if self._wire is None:
            return
        for serial, at in self._wire.answers():
            if probe := self._under_way.pop(serial, None):
                probe.answered = at
                self.figures.answered[probe.kind] += 1
                self.figures.seconds[probe.kind] += max(0.0, at - probe.sent)
        for probe in self._under_way.values():
            self.figures.lost[probe.kind] += 1
        self._under_way = {}

    def _judge(self) -> None:
        """Judge each forwarder by the round that is over."""
        direct = {node: _answered(probe) for node, probe in self._direct.items()}
        self._reached |= {node: answered for node, answered in direct.items() if answered is not None}
        self._calm = 0 if doubts_itself(self._reached.values()) else self._calm + 1
        self.doubtful = self._calm < CALM_ROUNDS
        after = dict(self.standings)
        for asked in self._asked:
            if before := after.get(asked.node):
                said = Round(_answered(asked.relayed), direct.get(asked.third), direct.get(asked.node))
                after[asked.node] = judge(before, find(said, doubtful=self.doubtful))
                _log(asked.node, before, after[asked.node])
        self.standings = after
        self._say()

    # --- probes --------------------------------------------------------------------------

    def _ask(self) -> None:
        """Send a round: through every forwarder and to it, and to the third node whose turn it is."""
        self._turn += 1
        self._asked, self._direct = [], {}
        self._fault = ""
        for one in self._targets.watched if self._has_wire() else ():
            if third := self._third_for(one):
                self._send_directly(third.node, third.address)
                self._send_directly(one.node, one.itself)
                relayed = self._send("relayed", third.address, mark=mark_of(one.slot))
                self._asked.append(_Asked(one.node, third.node, relayed))
        if self._fault != self.fault:
            self.fault = self._fault
            level = logging.WARNING if self.fault else logging.INFO
            log.log(level, "probes", extra={"trouble": self.fault})

    def _send_directly(self, node: str, address: Prefix | None) -> None:
        if address is not None and node not in self._direct:
            self._direct[node] = self._send("direct", address)

    def _third_for(self, forwarder: Watched) -> Third | None:
        others = [third for third in self._targets.thirds if third.node != forwarder.node]
        return others[self._turn % len(others)] if others else None

    def _send(self, kind: str, target: Prefix, *, mark: int = 0) -> Probe | None:
        assert self._wire is not None  # only called with one
        serial, probe = next(self._serials), Probe(kind, time.time())
        try:
            self._wire.send(target, serial, mark=mark)
        except OSError as error:
            self.figures.unsent[kind] += 1
            self._fault = f"{kind}: {error.strerror or error}"
            return None
        self._under_way[serial] = probe
        return probe

    def _has_wire(self) -> bool:
        """Whether there is a socket bound to the targets' source. It is made anew when that has changed."""
        source = self._targets.source
        if self._wire is not None and self._wired == source:
            return True
        self._unwire()
        if source is None:
            return False
        try:
            self._wire, self._wired = self.open_wire(source, self._secret), source
        except OSError as error:  # the address may come a moment later
            self._fault = f"{source.first_address}: {error.strerror or error}"
            return False
        return True

    def _unwire(self) -> None:
        if self._wire is not None:
            self._wire.close()
        self._wire = None


def _answered(probe: Probe | None) -> bool | None:
    return None if probe is None else probe.answered is not None


def _log(node: str, before: Standing, now: Standing) -> None:
    if now.suspected and not before.suspected:
        log.warning("forwarder suspected", extra={"forwarder": node, "finding": now.suspected})
    elif before.suspected and not now.suspected:
        log.info("forwarder relays again", extra={"forwarder": node})
