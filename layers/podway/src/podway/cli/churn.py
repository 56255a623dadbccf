"""A simulated year of autoscaling: nodes come and go, and two ways of allocating blocks are compared.

Called by `podway simulate` and the soak tests. The model:
- every zone's size follows the hour of the day (± DAILY);
- zones drift against each other (± DRIFT);
- a zone fails for OUTAGE_HOURS, OUTAGES_A_YEAR times a year, and the others take over its load;
- a share TURNOVER of all nodes is replaced every hour.
Chance is an argument: the same seed gives the same year.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import cos, pi, sin
from random import Random

from podway.domain.addressing import WIDTH, Prefix
from podway.domain.ipam.pool import ALWAYS, Pool

DAILY = 0.25
"""Share of the mean size by which the cluster grows by day and shrinks by night."""
DRIFT = 0.45
"""Share of its size by which a zone grows and shrinks against the others."""
OUTAGES_A_YEAR = 4
OUTAGE_HOURS = 6
TURNOVER = 0.04
"""Share of the nodes replaced every hour (Spot, deployments)."""

_ROUNDS = 6
"""Rounds in an hour, of ten minutes each: a freed block is quarantined as long by default."""

COUNT_EVERY_HOURS = 3
"""Hours between counts of the routes needed. Noon, when there are most nodes, is counted."""

HOURS_A_YEAR = 8766


@dataclass(frozen=True, slots=True)
class Scene:
    """What is simulated: the pod CIDR, the length of a block, the zones, and the mean number of nodes."""

    pod_cidr: Prefix
    block_length: int
    zones: int
    nodes: int

    @property
    def places(self) -> int:
        """Blocks that fit the pod CIDR."""
        return 1 << (self.block_length - self.pod_cidr.length)


def sizes(scene: Scene, hours: int, random: Random) -> Iterator[list[int]]:
    """Nodes per zone, hour by hour."""
    phases = [random.uniform(0, 2 * pi) for _ in range(scene.zones)]
    speeds = [random.uniform(1.5, 4.0) * 2 * pi / HOURS_A_YEAR for _ in range(scene.zones)]
    count = round(OUTAGES_A_YEAR * hours / HOURS_A_YEAR)
    outages = {random.randrange(hours): random.randrange(scene.zones) for _ in range(count)}
    down, until = -1, 0
    for hour in range(hours):
        if hour in outages:
            down, until = outages[hour], hour + OUTAGE_HOURS
        total = scene.nodes * (1 - DAILY * cos(2 * pi * hour / 24))
        shares = [1 + DRIFT * sin(phase + speed * hour) for phase, speed in zip(phases, speeds, strict=True)]
        if hour < until and scene.zones > 1:
            shares[down] = 0.0
        yield [round(total * share / sum(shares)) for share in shares]


class Buddies:
    """The policy of Podway's own allocator."""

    def __init__(self, scene: Scene) -> None:
        self._length = scene.block_length
        self._pool = Pool(scene.pod_cidr, scene.zones)
        self._quarantined: list[Prefix] = []
        self._released: list[tuple[str, Prefix]] = []
        self._crowded = False

    def join(self, zone: int) -> Prefix | None:
        """A block for a node of the zone."""
        block = self._pool.place(str(zone), self._length)
        self._crowded |= block is None
        return block

    def leave(self, block: Prefix) -> None:
        """Put the block into quarantine until the round is over."""
        self._pool.quarantine(block)
        self._quarantined.append(block)

    def end_round(self) -> None:
        """End a round: end its blocks' quarantine, and let others have what was released a round before."""
        for block in self._quarantined:
            self._pool.end_quarantine(block)
        self._quarantined.clear()
        for subnet, prefix in self._released:
            self._pool.reclaim(subnet, prefix)
        self._released, self._pool.released = self._pool.released, []
        if self._crowded:
            self._pool.trim(below=ALWAYS)
        self._crowded = False

    def end_day(self) -> None:
        """End a day: zones release empty space. Others may have it two rounds later."""
        self._pool.trim()

    def supernets(self) -> set[tuple[Prefix, str]]:
        """What the tables have anchors for."""
        return set(self._pool.supernets())


class NextFit:
    """The policy of kube-controller-manager: every node takes the next free block."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._taken = bytearray(scene.places)
        self._next = 0
        self._size = 1 << (WIDTH[scene.pod_cidr.version] - scene.block_length)

    def join(self, zone: int) -> Prefix | None:
        """A block for a node of any zone."""
        del zone
        at = self._taken.find(0, self._next)
        if at < 0:
            at = self._taken.find(0)
        if at < 0:
            return None
        self._taken[at] = 1
        self._next = at + 1
        pod = self._scene.pod_cidr
        return Prefix(pod.version, pod.value + at * self._size, self._scene.block_length)

    def leave(self, block: Prefix) -> None:
        """The block is free."""
        self._taken[(block.value - self._scene.pod_cidr.value) // self._size] = 0

    def end_round(self) -> None:
        """Nothing to do: there is no quarantine."""

    def end_day(self) -> None:
        """Nothing to do: nothing is given back."""

    def supernets(self) -> set[tuple[Prefix, str]]:
        """None: there are no supernets to aggregate by."""
        return set()


def fewest_routes(blocks: Sequence[tuple[Prefix, int]], own: int) -> int:
    """The fewest routes that take every block of the other zones to its zone. Free space may go anywhere.

    No policy can need fewer. It cuts the trie into the fewest parts of one zone (ORTC, Draves et al. 1999,
    with don't-cares, by sets of cheapest zones as in Fitch's algorithm). *blocks* must be sorted.
    """
    stack: list[int] = []
    commons: list[int] = []
    cuts = 0
    last = -1

    def merge() -> int:
        right = stack.pop()
        both = stack[-1] & right
        stack[-1] = both or stack[-1] | right
        commons.pop()
        return 0 if both else 1

    for block, zone in blocks:
        if zone == own:
            continue
        if last >= 0:
            common = -(last ^ block.value).bit_length()
            while commons and commons[-1] > common:
                cuts += merge()
            commons.append(common)
        stack.append(1 << zone)
        last = block.value
    while commons:
        cuts += merge()
    return cuts + bool(stack)


@dataclass(slots=True)
class Outcome:
    """What a policy needed over the time."""

    routes: list[int] = field(default_factory=list)
    failed: int = 0
    changes: int = 0
    peak: int = 0
    moves: int = 0
    most_supernets: int = 0
    """The most supernets of all zones together: a table that serves them all has as many anchors."""

    def percentile(self, share: float) -> int:
        """That percentile of the routes needed, by *share* from 0 to 1."""
        ordered = sorted(self.routes)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0


def live(
    scene: Scene,
    policy: Buddies | NextFit,
    hours: int,
    random: Random,
    *,
    tick: Callable[[], None] = lambda: None,
) -> Outcome:
    """Simulate so many hours under an allocation policy."""
    outcome = Outcome()
    members: list[list[Prefix]] = [[] for _ in range(scene.zones)]
    before: set[tuple[Prefix, str]] = set()
    for hour, wanted in enumerate(sizes(scene, hours, random)):
        for leaving, joining in _rounds(members, wanted, random):
            _leave(outcome, policy, members, leaving, random)
            _join(outcome, policy, members, joining)
            policy.end_round()
        if not hour % 24:
            policy.end_day()
        outcome.peak = max(outcome.peak, sum(map(len, members)))
        if not hour % COUNT_EVERY_HOURS:
            outcome.routes.append(_routes_needed(members))
        now = policy.supernets()
        outcome.changes += len(now ^ before) if before else 0
        outcome.most_supernets = max(outcome.most_supernets, len(now))
        before = now
        tick()
    return outcome


def _routes_needed(members: Sequence[Sequence[Prefix]]) -> int:
    """Routes in the worst table. A table leaves out its own zone, except where there is one zone only."""
    blocks = sorted((block, zone) for zone, several in enumerate(members) for block in several)
    tables = range(len(members)) if len(members) > 1 else (-1,)
    return max(fewest_routes(blocks, own) for own in tables)


def _rounds(
    members: Sequence[Sequence[Prefix]], wanted: Sequence[int], random: Random
) -> Iterator[tuple[list[int], list[int]]]:
    """An hour in rounds. Each gives the zones of the nodes that leave and of those that join, shuffled.

    All zones scale at the same time, so their nodes come and go mixed.
    """
    leaving: list[int] = []
    joining: list[int] = []
    for zone, (some, size) in enumerate(zip(members, wanted, strict=True)):
        gone = max(int(len(some) * TURNOVER), len(some) - size)
        leaving += [zone] * gone
        joining += [zone] * (size - len(some) + gone)
    random.shuffle(leaving)
    random.shuffle(joining)
    for number in range(_ROUNDS):
        yield leaving[number::_ROUNDS], joining[number::_ROUNDS]


def _leave(
    outcome: Outcome,
    policy: Buddies | NextFit,
    members: Sequence[list[Prefix]],
    leaving: Sequence[int],
    random: Random,
) -> None:
    for zone in leaving:
        some = members[zone]
        at = random.randrange(len(some))
        some[at], some[-1] = some[-1], some[at]
        policy.leave(some.pop())
        outcome.moves += 1


def _join(
    outcome: Outcome, policy: Buddies | NextFit, members: Sequence[list[Prefix]], joining: Sequence[int]
) -> None:
    for zone in joining:
        block = policy.join(zone)
        if block is None:
            outcome.failed += 1
        else:
            members[zone].append(block)
            outcome.moves += 1
