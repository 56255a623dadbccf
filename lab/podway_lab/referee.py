"""The referee sees every write to the region's route tables and checks what must always hold.

The lab makes one; scenarios and the longer tests ask it for breaches. It shares no code with the planner
and its verifier: it tries every prefix on the model's own state right after the write to decide which block
is covered.

- I1 no call of ours takes a ready block's cover away;
- I2 no call of ours touches a route outside the pod CIDRs, or one that somebody else made;
- I3 no table ever holds more than its quota;
- I4 no address belongs to two nodes, and a freed block is quarantined.

Who is a member it knows from the region: what was handed out to an instance is the instance's until EC2 has
terminated it, also while the store does not name it any more.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise

from podway.domain.addressing import Prefix
from podway.domain.inventory import Member

from podway_lab.region.changes import Change, RouteWritten
from podway_lab.region.model import StrictEC2
from podway_lab.region.state import Route, State

Routes = Mapping[Prefix | str, Route]


@dataclass(frozen=True, slots=True)
class Breach:
    """An invariant that did not hold."""

    invariant: str
    at: datetime
    what: str


@dataclass(frozen=True, slots=True)
class _Owner:
    """The instance that a network interface belongs to."""

    instance: str
    subnet: str
    receives: bool
    """It runs, and EC2 lets it have packets that are not its own."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A write, with its table's routes and their owners right after it."""

    write: RouteWritten
    after: Routes
    owners: Mapping[str, _Owner]
    steered: tuple[str, ...]
    alive: frozenset[str]
    """Instances that EC2 has not terminated."""

    @property
    def before(self) -> Routes:
        routes = dict(self.after)
        routes.pop(self.write.destination, None)
        if self.write.before is not None:
            routes[self.write.destination] = self.write.before
        return routes


@dataclass(eq=False)
class Referee:
    """Watches *model*; *members* reads the inventory, *is_ours* tells our callers from others."""

    model: StrictEC2
    pod_cidrs: tuple[Prefix, ...]
    members: Callable[[], Iterable[Member]]
    is_ours: Callable[[str], bool]
    quarantine: timedelta
    breaches: list[Breach] = field(default_factory=list)
    writes: int = 0
    _seen: queue.SimpleQueue[_Seen | None] = field(default_factory=queue.SimpleQueue, init=False)
    _made_by: dict[tuple[str, Prefix | str], str] = field(default_factory=dict, init=False)
    _freed: dict[Prefix, tuple[str, datetime]] = field(default_factory=dict, init=False)
    _held: dict[Prefix, str] = field(default_factory=dict, init=False)
    _given: dict[str, Member] = field(default_factory=dict, init=False)
    """As the store named them last, of those that EC2 has not terminated: with what was handed out."""
    _idle: threading.Condition = field(default_factory=threading.Condition, init=False)
    _pending: int = field(default=0, init=False)
    _failed: Exception | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.model.subscribe(self._listen)
        threading.Thread(target=self._work, name="referee", daemon=True).start()

    def settle(self, timeout: float = 30) -> None:
        """Wait until everything seen so far has been judged.

        Raises TimeoutError, and RuntimeError when something could not be judged.
        """
        with self._idle:
            if not self._idle.wait_for(lambda: self._pending == 0, timeout):
                raise TimeoutError("the referee did not keep up with the writes")
        if self._failed is not None:
            raise RuntimeError("the referee could not judge a write") from self._failed

    def review(self) -> list[Breach]:
        """All breaches, once everything seen so far has been judged. Raises as `settle` does."""
        self.settle()
        self._judge_addresses(self._known(_alive(self.model.state)), self.model.clock())
        return list(self.breaches)

    def _listen(self, change: Change) -> None:
        if isinstance(change, RouteWritten):
            with self._idle:
                self._pending += 1
            state = self.model.state
            self._seen.put(
                _Seen(
                    change,
                    state.tables[change.table].routes,
                    _owners(state),
                    state.subnets_of(change.table),
                    _alive(state),
                )
            )

    def _work(self) -> None:
        while (seen := self._seen.get()) is not None:
            try:
                self._judge(seen)
            except Exception as error:  # noqa: BLE001  (`settle` raises it)
                self._failed = self._failed or error
            finally:
                with self._idle:
                    self._pending -= 1
                    self._idle.notify_all()

    def _judge(self, seen: _Seen) -> None:
        write = seen.write
        key = (write.table, write.destination)
        if self.is_ours(write.caller):
            self.writes += 1
            self._judge_ownership(write, self._made_by.get(key))
            members = self._known(seen.alive)
            self._judge_cover(seen, members)
            self._judge_addresses(members, write.at)
        if write.after is None:
            self._made_by.pop(key, None)
        elif not self._stays_ours(seen, self._made_by.get(key)):
            self._made_by[key] = write.caller
        self._judge_quota(seen)

    def _stays_ours(self, seen: _Seen, maker: str | None) -> bool:
        """Whether a route of ours stays ours after this write: led to a node it is drift, else foreign."""
        owner = seen.owners.get(seen.write.after.target.id) if seen.write.after else None
        nodes = {member.id for member in self.members()}
        return maker is not None and self.is_ours(maker) and owner is not None and owner.instance in nodes

    def _known(self, alive: Container[str]) -> tuple[Member, ...]:
        """The store's members, and those that it has lost although they are there: with what they were given.

        Whom an operator has given up is a member no more.
        """
        stored = {member.id: member for member in self.members()}
        for node, given in list(self._given.items()):
            after = stored.get(node)
            if node not in alive or (after is not None and _starts_anew(given, after)):
                del self._given[node]
            elif after is None or after.gone_at is not None:
                stored[node] = given
            else:
                lost = [block for block in given.blocks if block.prefix not in after.prefixes]
                stored[node] = replace(after, blocks=(*after.blocks, *lost))
        for node, member in stored.items():
            if member.gone_at is None and node in alive:
                handed_out = tuple(block for block in member.blocks if block.ready)
                self._given[node] = replace(member, blocks=handed_out)
        return tuple(stored.values())

    def _judge_cover(self, seen: _Seen, members: Iterable[Member]) -> None:
        for member in members:
            if member.gone_at is not None or seen.steered == (member.subnet,):
                continue  # senders of the node's own subnet use host routes
            for block in member.blocks:
                lost = (
                    block.ready
                    and _is_covered(seen.before, block.prefix, member, seen.owners)
                    and not _is_covered(seen.after, block.prefix, member, seen.owners)
                )
                if lost:
                    write = seen.write
                    text = f"{write.action} {write.destination} in {write.table} uncovered {block.prefix}"
                    self._blame("I1", write.at, f"{text} of {member.id}")

    def _judge_ownership(self, write: RouteWritten, maker: str | None) -> None:
        destination = write.destination
        inside = isinstance(destination, Prefix) and any(one.contains(destination) for one in self.pod_cidrs)
        if not inside:
            self._blame(
                "I2", write.at, f"{write.action} {destination} in {write.table}: not in the pod CIDRs"
            )
        if write.before is not None and (maker is None or not self.is_ours(maker)):
            self._blame("I2", write.at, f"{write.action} {destination} in {write.table}: made by {maker}")

    def _judge_quota(self, seen: _Seen) -> None:
        for family in (4, 6):
            held = sum(route.counts and route.family == family for route in seen.after.values())
            if held > self.model.settings.route_quota:
                self._blame("I3", seen.write.at, f"{seen.write.table} holds {held} IPv{family} routes")

    def _judge_addresses(self, members: Iterable[Member], now: datetime) -> None:
        members = tuple(members)
        given = sorted((prefix, one.id) for one in members if one.gone_at is None for prefix in one.prefixes)
        held = dict(given)
        left = {one.id: one.gone_at for one in members}
        for (one, node), (other, sharer) in pairwise(given):
            if one.contains(other):
                self._blame("I4", now, f"{one} of {node} and {other} of {sharer} overlap")
        for prefix, node in self._held.items():
            if held.get(prefix) != node:
                self._freed[prefix] = (node, left.get(node) or now)
        for prefix, node in held.items():
            before, freed = self._freed.get(prefix, (node, now))
            if before != node and now - freed < self.quarantine and self._held.get(prefix) != node:
                self._blame("I4", now, f"{prefix} of {before} went to {node} without a rest")
        self._held = held

    def _blame(self, invariant: str, at: datetime, what: str) -> None:
        self.breaches.append(Breach(invariant, at, what))


def _starts_anew(given: Member, after: Member) -> bool:
    """Whether an operator gave it up, or it is another machine under its old id."""
    return after.is_given_up or after.subnet != given.subnet


def _alive(state: State) -> frozenset[str]:
    return frozenset(one.id for one in state.instances.values() if one.state != "terminated")


def _owners(state: State) -> dict[str, _Owner]:
    owners = {}
    for interface in state.interfaces.values():
        instance = state.instances.get(interface.instance)
        if instance is not None:
            receives = instance.state == "running" and not interface.source_dest_check
            owners[interface.id] = _Owner(instance.id, interface.subnet, receives)
    return owners


def _is_covered(routes: Routes, block: Prefix, member: Member, owners: Mapping[str, _Owner]) -> bool:
    """Whether a packet for *block* reaches a node that can deliver it: one of its owner's subnet."""
    for length in range(block.length, -1, -1):
        route = routes.get(block.at(length))
        if route is None:
            continue
        owner = owners.get(route.target.id)
        return owner is not None and owner.receives and owner.subnet == member.subnet
    return False
