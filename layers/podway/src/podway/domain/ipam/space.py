"""The address space as a value, and what may be done to it.

Allocation asks for members; ``AddressSpace`` and its functions are also the library's interface.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from podway.domain.addressing import Prefix
from podway.domain.inventory import ReleasedSpace
from podway.domain.ipam.pool import ALWAYS, LOW_USE, Pool

VERSION_4 = 4


@dataclass(frozen=True, slots=True, order=True)
class Supernet:
    """A prefix owned by one subnet; inside another subnet's supernet it is borrowed, and wins."""

    prefix: Prefix
    subnet: str


@dataclass(frozen=True, slots=True, order=True)
class Assigned:
    """A block and its node."""

    prefix: Prefix
    node: str
    subnet: str


@dataclass(frozen=True, slots=True, order=True)
class Quarantined:
    """A freed prefix that nobody may have before *until*: routes and connections to it must die first."""

    prefix: Prefix
    until: datetime


@dataclass(frozen=True, slots=True)
class AddressSpace:
    """Who has what of the pod CIDRs. All tuples are sorted, so equal facts are equal values."""

    pod_cidrs: tuple[Prefix, ...]
    supernets: tuple[Supernet, ...] = ()
    blocks: tuple[Assigned, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    released: tuple[ReleasedSpace, ...] = ()
    closed: tuple[Prefix, ...] = ()
    """What nobody new may have, although nobody of ours has it."""


@dataclass(frozen=True, slots=True, order=True)
class Want:
    """A node needs one more block of *length*, of address family *version*."""

    subnet: str
    node: str
    length: int
    version: int = VERSION_4


@dataclass(frozen=True, slots=True)
class NoRoom:
    """A want that cannot be met, and why."""

    want: Want
    reason: str


@dataclass(frozen=True, slots=True)
class Allocation:
    """The space afterwards, the new blocks, and the wants without room."""

    space: AddressSpace
    placed: tuple[Assigned, ...]
    refused: tuple[NoRoom, ...]


def allocate(
    space: AddressSpace, wants: Collection[Want], *, now: datetime, subnets: Collection[str] = ()
) -> Allocation:
    """A block for every want, where there is room for it.

    *subnets* are all subnets of the cluster: their number says how far apart first supernets lie.
    The order of what is given does not matter. Quarantined prefixes are free once their time is over. If a
    want finds no room, all subnets release what is empty; it can be had once it is reclaimed.
    """
    space = replace(space, quarantined=tuple(rest for rest in space.quarantined if rest.until > now))
    expected = len(set(subnets) | {want.subnet for want in wants} | {net.subnet for net in space.supernets})
    pools = _pools(space, expected)
    has: dict[str, list[Prefix]] = {}
    for block in space.blocks:
        has.setdefault(block.node, []).append(block.prefix)
    placed: list[Assigned] = []
    refused: list[NoRoom] = []
    for want in sorted(wants):
        near = has.setdefault(want.node, [])
        found = next(filter(None, (_place(pool, want, near) for pool in pools)), None)
        if found is None:
            refused.append(NoRoom(want, _reason(space, placed, want)))
            continue
        near.append(found)
        placed.append(Assigned(found, want.node, want.subnet))
    if refused:
        for pool in pools:
            pool.trim(below=ALWAYS)
    after = _after(replace(space, blocks=tuple(sorted((*space.blocks, *placed)))), pools)
    return Allocation(after, tuple(placed), tuple(refused))


def quarantine(space: AddressSpace, blocks: Collection[Prefix], *, until: datetime) -> AddressSpace:
    """The space after these blocks were freed; they are quarantined *until* then."""
    gone = set(blocks)
    freed = [Quarantined(block.prefix, until) for block in space.blocks if block.prefix in gone]
    return replace(
        space,
        blocks=tuple(block for block in space.blocks if block.prefix not in gone),
        quarantined=tuple(sorted((*space.quarantined, *freed))),
    )


def trim(
    space: AddressSpace, *, now: datetime, below: float = LOW_USE, subnets: Collection[str] = ()
) -> AddressSpace:
    """The space after subnets released empty supernets, and empty halves of little-used ones.

    A round a day is enough. A half with a quarantined block is not empty. The subnet may take released
    space back; nobody else may have it until the caller reclaims it: drops it from ``released``.
    """
    space = replace(space, quarantined=tuple(rest for rest in space.quarantined if rest.until > now))
    pools = _pools(space, len(set(subnets) | {net.subnet for net in space.supernets}))
    for pool in pools:
        pool.trim(below=below)
    return _after(space, pools)


def _place(pool: Pool, want: Want, near: Sequence[Prefix]) -> Prefix | None:
    if want.version != pool.cidr.version or want.length < pool.cidr.length or want.length > pool.width:
        return None
    return pool.place(want.subnet, want.length, near)


def _pools(space: AddressSpace, expected: int) -> list[Pool]:
    pools = []
    for cidr in sorted(space.pod_cidrs):
        pool = Pool(cidr, expected)
        inside = [net for net in space.supernets if cidr.contains(net.prefix)]
        for net in sorted(inside, key=lambda net: (net.prefix.length, net.prefix)):
            pool.adopt_supernet(net.subnet, net.prefix)
        for one in space.released:
            if cidr.contains(one.prefix):
                pool.adopt_released(one.subnet, one.prefix)
        for block in space.blocks:
            if cidr.contains(block.prefix):
                pool.occupy(block.prefix, used=True)
        for idle in (*(rest.prefix for rest in space.quarantined), *space.closed):
            if cidr.contains(idle):
                pool.occupy(idle, used=False)
        pools.append(pool)
    return pools


def _after(space: AddressSpace, pools: Sequence[Pool]) -> AddressSpace:
    return replace(space, supernets=_supernets(space, pools), released=_released(space, pools))


def _released(space: AddressSpace, pools: Sequence[Pool]) -> tuple[ReleasedSpace, ...]:
    """What was released before and not taken back, and what the pools have released."""
    found: dict[tuple[Prefix, str], ReleasedSpace] = {}
    for pool in pools:
        known = [one for one in space.released if pool.cidr.contains(one.prefix)]
        known += [ReleasedSpace(prefix, subnet) for subnet, prefix in pool.released]
        for one in known:
            for part in pool.still_released(one.subnet, one.prefix):
                found[part, one.subnet] = replace(one, prefix=part)
    return tuple(found[key] for key in sorted(found))


def _supernets(space: AddressSpace, pools: Sequence[Pool]) -> tuple[Supernet, ...]:
    """The pools' supernets, and those that lie in none of the pod CIDRs any more."""
    strays = [
        net for net in space.supernets if not any(cidr.contains(net.prefix) for cidr in space.pod_cidrs)
    ]
    held = [Supernet(prefix, subnet) for pool in pools for prefix, subnet in pool.supernets()]
    return tuple(sorted((*strays, *held)))


def _reason(space: AddressSpace, placed: Sequence[Assigned], want: Want) -> str:
    cidrs = [cidr for cidr in sorted(space.pod_cidrs) if cidr.version == want.version]
    if not cidrs:
        return f"the cluster has no IPv{want.version} pod CIDR"
    if all(want.length < cidr.length for cidr in cidrs):
        return f"a /{want.length} is larger than the pod CIDR {', '.join(map(str, cidrs))}"
    size = sum(cidr.size for cidr in cidrs)
    taken = (block.prefix for block in (*space.blocks, *placed) if block.prefix.version == want.version)
    waiting = [*(rest.prefix for rest in space.quarantined), *(one.prefix for one in space.released)]
    idle = (prefix for prefix in waiting if prefix.version == want.version)
    return (
        f"no free /{want.length} in {', '.join(map(str, cidrs))}: "
        f"{sum(prefix.size for prefix in taken) / size:.0%} in use, "
        f"{sum(prefix.size for prefix in idle) / size:.0%} resting"
    )
