"""Counts the addresses that pods have, by the files that host-local keeps of them, and says what they hold.

Store sync asks for it (agent connects the two), and doctor.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from podway.domain.addressing import WIDTH, Prefix
from podway.wire.agent_item import MOST_NAMED_BLOCKS
from podway.wire.snapshot import Snapshot

from podway_agent.kernel.membership import own_blocks, own_member
from podway_agent.pods.conflist import NETWORK, blocks_named
from podway_agent.usage import NO_USAGE, Usage

UNUSABLE = {4: 3, 6: 2}
"""Addresses of each block that host-local gives to no pod: its first, the gateway, and in IPv4 the last."""


def room(block: Prefix) -> int:
    """How many pods can have an address in *block*."""
    return int(max(0, (1 << (WIDTH[block.version] - block.length)) - UNUSABLE[block.version]))


def fullest(blocks: Iterable[Prefix], in_use: Collection[Prefix]) -> Usage:
    """The use of the family that is nearest to its end; *in_use* are single addresses.

    Blocks that are not ready yet count: they have been asked for. An address outside the blocks is that of
    a pod that outlived its block, and takes no room.
    """
    found = []
    blocks = tuple(blocks)
    for version in sorted({block.version for block in blocks}):
        family = [block for block in blocks if block.version == version]
        used = sum(any(block.contains(one) for block in family) for one in in_use)
        found.append(Usage(used, sum(map(room, family)), len(family)))
    return max(found, key=lambda usage: (usage.wanted, usage.used / max(1, usage.room)), default=NO_USAGE)


def count_usage(snapshot: Snapshot, instance: str, data_dir: Path) -> Usage:
    """How full the blocks of *instance* are. Raises OSError."""
    return fullest(own_blocks(snapshot, instance), addresses_in_use(data_dir))


def held_blocks(
    snapshot: Snapshot | None, instance: str, data_dir: Path, conf_dir: Path
) -> tuple[Prefix, ...]:
    """The blocks that pods here may use: those that are ready, and those that the CNI configuration names.

    An address outside them that a pod has is told by itself: its block is known to nobody here any more.
    Raises OSError.
    """
    member = own_member(snapshot, instance) if snapshot else None
    ready = {block.cidr for block in member.blocks if block.ready} if member else set()
    blocks = ready | set(blocks_named(conf_dir) or ())
    outside = {one for one in addresses_in_use(data_dir) if not any(block.contains(one) for block in blocks)}
    return (*sorted(blocks), *sorted(outside))[:MOST_NAMED_BLOCKS]


def addresses_in_use(data_dir: Path) -> tuple[Prefix, ...]:
    """The addresses that host-local has given out: it keeps a file named after each.

    None before the first pod. Raises OSError.
    """
    try:
        names = [path.name for path in (data_dir / NETWORK).iterdir()]
    except FileNotFoundError:
        return ()
    return tuple(filter(None, map(_address, names)))


def _address(name: str) -> Prefix | None:
    """The address that a file is named after; None for the lock, and for the last address of each range."""
    try:
        return Prefix.of_address(name)
    except ValueError:
        return None
