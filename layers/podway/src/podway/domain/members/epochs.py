"""The lives of the store: it can go back, by a backup or because it was lost.

Whether it has gone back, which agents are still to say what they hold, and what a new life takes over from
the one before. Observe asks first, reconcile before it allocates, restore before it begins an epoch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from podway.domain.addressing import WIDTH, Prefix
from podway.domain.inventory import Epoch, HeldBlock, Instance, Member
from podway.domain.model import RouteOrigin, RouteTable
from podway.domain.signals import InstanceState

MOST_CLAIMED = 8
"""Blocks of a family that a node may come to have by its word: as many as it is ever given."""
FIRST_WORDS = timedelta(minutes=6)
"""In which every living agent has written to a new store: their heartbeats are five minutes apart."""
WITNESSES = 2
"""Nodes of a subnet that must say that the store has gone back: one alone may be mistaken, or lie."""


@dataclass(frozen=True, slots=True)
class Word:
    """What a member's agent says of itself, in the member's present subnet."""

    subnet: str
    epoch: int
    generation: int
    blocks: tuple[Prefix, ...] | None = None
    """None: it is from before agents said it."""


@dataclass(frozen=True, slots=True)
class StoreLife:
    """The store's epoch, and what follows from what its table and the agents say."""

    epoch: Epoch
    went_back: str = ""
    """Why nothing of the inventory may be written; empty while all is well."""
    distrusted: Mapping[str, str] = field(default_factory=dict)
    """Nodes that speak of a generation that the store never had, alone in their subnet, and what they say."""
    awaited: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By subnet, running members that are still to say what they hold: until then nobody there gets a
    block, and its agents no map."""
    is_unread: bool = False
    """Whether nothing else is held against the store than that its TableId, once recorded, is not told."""
    silent: frozenset[str] = frozenset()
    """Members that get no block before their agents have said what they hold."""
    early: frozenset[str] = frozenset()
    """Subnets of a new store in which nobody gets a block yet: one that runs there may hold some, and has
    had no time to say so."""

    @property
    def warnings(self) -> list[str]:
        """What an operator should know of it."""
        found = [
            f"{node} says {what}, which the store has not reached: not believed"
            for node, what in self.distrusted.items()
        ]
        if self.went_back:
            until = "it is told" if self.is_unread else "`podway restore` begins a new epoch"
            found.append(f"{self.went_back}: nothing is allocated or written until {until}")
        for subnet, nodes in self.awaited.items():
            found.append(
                f"{subnet} waits in epoch {self.epoch.number} for {', '.join(nodes)} to say what they hold"
            )
        found += [
            f"{subnet} gives no block yet: a node that runs there may hold one, and has not said so"
            for subnet in sorted(self.early)
        ]
        return found


def present_epoch(recorded: Epoch | None, table_id: str, *, is_new: bool, now: datetime) -> Epoch:
    """The epoch that counts in this run.

    A store with neither inventory nor epoch (*is_new*) is in an epoch that begins now. One with an inventory
    alone is from before there were epochs: in the first, which began before every instance.
    """
    if recorded is None:
        return Epoch(1, table_id, now, is_taken_up=False) if is_new else Epoch(1, table_id)
    return replace(recorded, table_id=recorded.table_id or table_id)


def store_life(
    epoch: Epoch,
    table_id: str,
    *,
    words: Mapping[str, Word],
    newest: Mapping[str, int],
    present: Iterable[Member],
    instances: Mapping[str, Instance],
    now: datetime,
) -> StoreLife:
    """What follows from the table's own id, the agents' *words* and each subnet's *newest* generation.

    An id that was recorded and is not told any more says nothing: it may be another table's.
    """
    ahead = {node: word for node, word in words.items() if _is_ahead(word, epoch, newest)}
    witnesses = Counter(word.subnet for word in ahead.values())
    gone_back = sorted(subnet for subnet, count in witnesses.items() if count >= WITNESSES)
    why = ""
    is_unread = bool(epoch.table_id and not table_id and not gone_back)
    if table_id and epoch.table_id != table_id:
        why = f"the table is another one (TableId {table_id}, recorded {epoch.table_id}): it was restored"
    elif gone_back:
        nodes = sorted(node for node, word in ahead.items() if word.subnet in gone_back)
        why = f"{', '.join(nodes)} hold generations that the store has not reached: it has gone back"
    elif is_unread:
        why = f"whether this is still the table with TableId {epoch.table_id} is not known"
    trusted = {node: word for node, word in words.items() if node not in ahead and word.epoch == epoch.number}
    silent = _silent(epoch, trusted, present, instances)
    awaited: dict[str, list[str]] = {}
    for member in silent:
        if instances[member.id].state is InstanceState.RUNNING:
            awaited.setdefault(member.subnet, []).append(member.id)
    is_early = not epoch.is_inherited and epoch.began is not None and now - epoch.began < FIRST_WORDS
    return StoreLife(
        epoch,
        why,
        {
            node: f"generation {word.generation} of epoch {word.epoch}"
            for node, word in sorted(ahead.items())
            if word.subnet not in gone_back
        },
        {subnet: tuple(sorted(nodes)) for subnet, nodes in sorted(awaited.items()) if epoch.is_inherited},
        is_unread=is_unread,
        silent=frozenset(member.id for member in silent),
        early=frozenset(awaited) if is_early else frozenset(),
    )


def _is_ahead(word: Word, epoch: Epoch, newest: Mapping[str, int]) -> bool:
    reached = newest.get(word.subnet, 0)
    return word.epoch > epoch.number or (word.epoch == epoch.number and word.generation > reached)


def _silent(
    epoch: Epoch, words: Mapping[str, Word], present: Iterable[Member], instances: Mapping[str, Instance]
) -> list[Member]:
    """Members that were launched before the epoch and have not said in it what they hold."""
    if epoch.began is None:
        return []
    return [
        member
        for member in present
        if _is_older(instances[member.id], epoch.began)
        and not (member.id in words and (words[member.id].blocks is not None or not epoch.is_inherited))
    ]


def _is_older(instance: Instance, began: datetime) -> bool:
    return instance.launched is None or instance.launched < began


def next_epoch(recorded: Epoch, table_id: str, *, words: Iterable[Word], now: datetime) -> Epoch:
    """The epoch after the recorded one, and after any that two agents are in: a backup may be older."""
    spoken = Counter(word.epoch for word in words)
    heard = max((number for number, count in spoken.items() if count >= WITNESSES), default=0)
    number = max(recorded.number, heard) + 1
    return Epoch(number, table_id, now, is_taken_up=False, is_inherited=True)


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What the route tables show of a former life: routes that are ours, and the supernets that they mean."""

    records: Mapping[str, frozenset[Prefix]]
    """All recorded destinations, of the tables where some are added."""
    supernets: Mapping[str, tuple[Prefix, ...]]
    """All supernets, of the subnets where some are added."""


def found_in_tables(
    tables: Iterable[RouteTable],
    *,
    pod_cidrs: Collection[Prefix],
    members: Iterable[Member],
    recorded: Mapping[str, frozenset[Prefix]],
    supernets: Mapping[str, tuple[Prefix, ...]],
) -> Inheritance:
    """Routes inside the pod CIDR that lead to a member's primary interface, whoever made them.

    A supernet's own prefix is always in the tables (the anchor), so the widest of them are supernets of the
    subnets that they lead to. Inside another subnet's supernet it is borrowed, if no member of another subnet
    is recorded with a block there. What is recorded, or leads to several subnets, is left as it is.
    """
    members = tuple(members)
    homes = {member.network_interface: member.subnet for member in members}
    records: dict[str, frozenset[Prefix]] = {}
    led: dict[Prefix, set[str]] = {}
    for table in tables:
        ours = {
            route.destination: homes[route.target]
            for route in table.routes
            if isinstance(route.destination, Prefix)
            and route.origin is RouteOrigin.CREATE_ROUTE
            and route.target in homes
            and any(cidr.contains(route.destination) for cidr in pod_cidrs)
        }
        for destination, subnet in ours.items():
            led.setdefault(destination, set()).add(subnet)
        known = recorded.get(table.id, frozenset())
        if not known.issuperset(ours):
            records[table.id] = known | ours.keys()
    blocks = [(prefix, member.subnet) for member in members for prefix in member.prefixes]
    return Inheritance(records, _widened(supernets, led, blocks))


def _widened(
    supernets: Mapping[str, tuple[Prefix, ...]],
    led: Mapping[Prefix, Collection[str]],
    blocks: Collection[tuple[Prefix, str]],
) -> dict[str, tuple[Prefix, ...]]:
    """The supernets of subnets to which other prefixes are led than they have; *blocks* and their subnets."""
    owned = {prefix: subnet for subnet, several in supernets.items() for prefix in several}
    changed: set[str] = set()
    for prefix in sorted(led, key=lambda one: (one.length, one)):
        if len(led[prefix]) != 1:
            continue
        (subnet,) = led[prefix]
        around = [one for one in owned if one.contains(prefix)]
        inside = [one for one in owned if prefix.contains(one) and one != prefix]
        if any(owned[one] == subnet for one in around) or any(owned[one] != subnet for one in inside):
            continue
        if around and any(block.overlaps(prefix) and home != subnet for block, home in blocks):
            continue
        for one in inside:
            del owned[one]
        owned[prefix] = subnet
        changed.add(subnet)
    return {
        subnet: tuple(sorted(prefix for prefix, owner in owned.items() if owner == subnet))
        for subnet in sorted(changed)
    }


@dataclass(frozen=True, slots=True)
class Claimed:
    """Members with the blocks that their agents say they hold, and what nobody else may have."""

    present: tuple[Member, ...]
    quarantined: tuple[Member, ...]
    kept_free: tuple[Prefix, ...]
    """Said to be held, and given to nobody."""
    warnings: tuple[str, ...]


def claim_held(
    life: StoreLife,
    words: Mapping[str, Word],
    *,
    present: Iterable[Member],
    quarantined: Iterable[Member],
    supernets: Mapping[str, tuple[Prefix, ...]],
    newest: Mapping[str, int],
    host_bits: int,
) -> Claimed:
    """Give to each member what its agent says it holds and the store does not know.

    It must lie inside the supernets of the member's own subnet, be nobody's who is present, and make no more
    than eight blocks with those that it has. A block that is recorded with an ended member goes to the living
    one that holds it.
    """
    present, quarantined = tuple(present), tuple(quarantined)
    unknown = {
        member.id: _unknown(member, words[member.id].blocks or (), host_bits)
        for member in present
        if life.epoch.began is not None
        and member.id in words
        and member.id not in life.distrusted
        and words[member.id].epoch == life.epoch.number
    }
    claims = {node: known for node, (known, _) in unknown.items()}
    taken: dict[str, list[Prefix]] = {}
    kept_free: list[Prefix] = []
    warnings = [
        f"{node} says that it holds {', '.join(map(str, beyond[:MOST_CLAIMED]))}: no node has more than "
        f"{MOST_CLAIMED} blocks of a family"
        for node, (_, beyond) in unknown.items()
        if beyond
    ]
    for member in present:
        for block in claims.get(member.id, ()):
            why = _refusal(member, block, present, claims, supernets)
            if why:
                warnings.append(f"{member.id} says that it holds {block}: {why}")
                kept_free.append(block)
            else:
                taken.setdefault(member.id, []).append(block)
    moved = [block for several in taken.values() for block in several]
    return Claimed(
        tuple(_holding(one, taken.get(one.id, ()), newest.get(one.subnet, 0) + 1) for one in present),
        tuple(_without(one, moved) for one in quarantined),
        tuple(kept_free),
        tuple(warnings),
    )


def _unknown(
    member: Member, said: Iterable[Prefix], host_bits: int
) -> tuple[tuple[Prefix, ...], tuple[Prefix, ...]]:
    """The blocks that the member is not recorded with, and those that are too many to be believed.

    Single addresses stand for the block around them. What it is recorded with counts: else each run would
    believe as many again.
    """
    blocks = (one.at(WIDTH[one.version] - host_bits) if one.size == 1 else one for one in said)
    found: list[Prefix] = []
    beyond: list[Prefix] = []
    room = Counter(dict.fromkeys(WIDTH, MOST_CLAIMED << host_bits))
    for block in member.prefixes:
        room[block.version] -= block.size
    for block in sorted(set(blocks)):
        if any(own.contains(block) for own in (*member.prefixes, *found)):
            continue
        if block.size > room[block.version]:
            beyond.append(block)
            continue
        room[block.version] -= block.size
        found.append(block)
    return tuple(found), tuple(beyond)


def _refusal(
    member: Member,
    block: Prefix,
    present: Iterable[Member],
    claims: Mapping[str, Collection[Prefix]],
    supernets: Mapping[str, tuple[Prefix, ...]],
) -> str:
    """Why the block does not become the member's; empty when it does."""
    if not any(one.contains(block) for one in supernets.get(member.subnet, ())):
        return f"it is outside the supernets of {member.subnet}"
    for other in present:
        if any(one.overlaps(block) for one in other.prefixes):
            return f"it is recorded as that of {other.id}"
        if other.id != member.id and any(one.overlaps(block) for one in claims.get(other.id, ())):
            return f"so does {other.id}"
    return ""


def _holding(member: Member, blocks: Iterable[Prefix], generation: int) -> Member:
    """The member with blocks that its pods use already: so they are ready."""
    held = tuple(HeldBlock(block, generation, ready=True) for block in blocks)
    return replace(member, blocks=(*member.blocks, *held)) if held else member


def _without(member: Member, moved: Collection[Prefix]) -> Member:
    """The ended member without what living ones hold."""
    left = tuple(block for block in member.blocks if not any(block.prefix.overlaps(one) for one in moved))
    return member if left == member.blocks else replace(member, blocks=left)
