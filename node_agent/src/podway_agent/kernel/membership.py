"""What a snapshot says of this node: its member, its blocks, and the probe address of each block. Pure.

Asked by the kernel's files, and by pods, probing and store.
"""

from __future__ import annotations

from podway.domain.addressing import WIDTH, Prefix
from podway.wire.snapshot import Snapshot, SnapshotMember


def own_member(snapshot: Snapshot, instance: str) -> SnapshotMember | None:
    """What the snapshot says of this node; None if it does not know it."""
    return next((member for member in snapshot.members if member.id == instance), None)


def own_blocks(snapshot: Snapshot, instance: str) -> tuple[Prefix, ...]:
    """The node's own blocks, ready or not."""
    member = own_member(snapshot, instance)
    if member is None or member.state == "gone":
        return ()
    return tuple(sorted(block.cidr for block in member.blocks))


def probe_address(block: Prefix) -> Prefix:
    """The block's first address, full length.

    ``host-local`` never gives it to a pod: it starts at the second, which it keeps for the gateway
    (plugins/ipam/host-local/backend/allocator/range.go, ``Canonicalize``).
    """
    return Prefix(block.version, block.value, WIDTH[block.version])
