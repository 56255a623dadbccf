"""Blocks for members: from what we remember of them to the address space, and back.

Reconcile asks once a run, and writes the answer before anybody hears of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from podway.domain.addressing import WIDTH, Prefix
from podway.domain.inventory import HeldBlock, Member, ReleasedSpace
from podway.domain.ipam.space import (
    AddressSpace,
    Assigned,
    NoRoom,
    Quarantined,
    Supernet,
    Want,
    allocate,
    trim,
)

MOST_BLOCKS = 8
"""Of a family on one node. A /26 has room for 61 pods, and a node for a few hundred. A node that asks for
more is in error, and must not take the cluster's space."""

CONTENT: Mapping[str, int] = MappingProxyType({})
"""Nobody asked for anything."""


@dataclass(frozen=True, slots=True)
class MemberAllocation:
    """Members with their blocks, the supernets afterwards, the wants without room, and released space."""

    members: tuple[Member, ...]
    supernets: Mapping[str, tuple[Prefix, ...]]
    refused: tuple[NoRoom, ...]
    released: tuple[ReleasedSpace, ...] = ()


def allocate_to_members(
    present: Iterable[Member],
    quarantined: Iterable[Member],
    supernets: Mapping[str, tuple[Prefix, ...]],
    *,
    pod_cidrs: tuple[Prefix, ...],
    block_length: int,
    subnets: Collection[str],
    generations: Mapping[str, int],
    now: datetime,
    quarantine: timedelta,
    wanted: Mapping[str, int] = CONTENT,
    closed: Collection[str] = (),
    closed_space: tuple[Prefix, ...] = (),
    released: tuple[ReleasedSpace, ...] = (),
    release: bool = False,
) -> MemberAllocation:
    """A block of every family of *pod_cidrs* for each present member that lacks one.

    A member whose agent says that it needs more than it has (*wanted*, blocks of each family) gets one
    more, the buddy of one of its own if that is free: then one route serves both. The next run gives the
    next one.

    Members that are *closed* keep what they have and get nothing; nobody gets what is in *closed_space*.

    *block_length* is that of the first pod CIDR's family; another family's block holds as many
    addresses. A new block first appears in the next generation of its subnet's map. What a gone
    member held rests while we remember it.

    Only the subnet that *released* space may get it back. With *release*, subnets then release what of
    their supernets is empty and more than they need.
    """
    present = tuple(sorted(present, key=lambda member: member.id))
    space = _space(present, quarantined, supernets, pod_cidrs=pod_cidrs, now=now, quarantine=quarantine)
    space = replace(space, released=released, closed=closed_space)
    lengths = _lengths(pod_cidrs, block_length)
    wants = [
        Want(member.subnet, member.id, length, version)
        for member in present
        if member.id not in closed
        for version, length in lengths.items()
        if _held(member, version) < max(1, min(wanted.get(member.id, 1), MOST_BLOCKS))
    ]
    found = allocate(space, wants, now=now, subnets=subnets)
    after = trim(found.space, now=now, subnets=subnets) if release else found.space
    new: dict[str, list[Prefix]] = {}
    for block in found.placed:
        new.setdefault(block.node, []).append(block.prefix)
    return MemberAllocation(
        members=tuple(
            _with_blocks(member, new.get(member.id, ()), generations.get(member.subnet, 0) + 1)
            for member in present
        ),
        supernets=_by_subnet(after.supernets),
        refused=found.refused,
        released=after.released,
    )


def _space(
    present: Iterable[Member],
    quarantined: Iterable[Member],
    supernets: Mapping[str, tuple[Prefix, ...]],
    *,
    pod_cidrs: tuple[Prefix, ...],
    now: datetime,
    quarantine: timedelta,
) -> AddressSpace:
    """What is taken, by whom, and what is quarantined until when."""
    return AddressSpace(
        pod_cidrs=pod_cidrs,
        supernets=tuple(sorted(Supernet(one, subnet) for subnet in supernets for one in supernets[subnet])),
        blocks=tuple(
            sorted(
                Assigned(prefix, member.id, member.subnet) for member in present for prefix in member.prefixes
            )
        ),
        quarantined=tuple(
            sorted(
                Quarantined(prefix, max((member.gone_at or now) + quarantine, now + timedelta(seconds=1)))
                for member in quarantined
                for prefix in member.prefixes
            )
        ),
    )


def _held(member: Member, version: int) -> int:
    return sum(prefix.version == version for prefix in member.prefixes)


def _lengths(pod_cidrs: tuple[Prefix, ...], block_length: int) -> dict[int, int]:
    host_bits = WIDTH[pod_cidrs[0].version] - block_length
    return {cidr.version: WIDTH[cidr.version] - host_bits for cidr in pod_cidrs}


def _with_blocks(member: Member, prefixes: Collection[Prefix], generation: int) -> Member:
    if not prefixes:
        return member
    return replace(member, blocks=(*member.blocks, *(HeldBlock(one, since=generation) for one in prefixes)))


def _by_subnet(supernets: Iterable[Supernet]) -> dict[str, tuple[Prefix, ...]]:
    owned: dict[str, list[Prefix]] = {}
    for supernet in sorted(supernets):
        owned.setdefault(supernet.subnet, []).append(supernet.prefix)
    return {subnet: tuple(prefixes) for subnet, prefixes in owned.items()}
