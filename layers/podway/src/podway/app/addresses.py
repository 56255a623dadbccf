"""What reconcile reads from the agents' reports before it allocates addresses, and writes afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from podway.app.epochs import newest_of, words_of
from podway.app.ports import Memory, Store
from podway.domain.inventory import Member
from podway.domain.ipam.allocation import MemberAllocation
from podway.domain.ipam.reclaim import Reclaim, is_due, reclaim
from podway.domain.members.cluster import Owned
from podway.domain.members.membership import Membership
from podway.domain.signals import InstanceState


def acknowledged_by(memory: Memory, members: Iterable[Member]) -> dict[str, int]:
    """The generation that each member's kernel holds.

    Reports of a member's former subnet do not count, nor of another epoch, nor of a generation that the store
    has not reached: that one was of a life that is lost.
    """
    epoch = memory.epoch.number if memory.epoch else 1
    newest = newest_of(memory)
    return {
        node: word.generation
        for node, word in words_of(memory, members).items()
        if word.epoch == epoch and word.generation <= newest.get(word.subnet, 0)
    }


def blocks_wanted(memory: Memory, members: Iterable[Member]) -> dict[str, int]:
    """How many blocks each member's pods need, as its agent says. Reports of a former subnet do not count."""
    return {
        member.id: report.blocks_wanted
        for member in members
        if (report := memory.reports.get(member.id)) is not None and report.subnet == member.subnet
    }


def reclaim_space(
    memory: Memory,
    membership: Membership,
    owned: Owned,
    *,
    now: datetime,
    quarantine: timedelta,
) -> Reclaim:
    """What subnets have released and no other subnet may have yet, by the tables, maps and kernels.

    The kernel of a node that EC2 does not show goes on.
    """
    running = {
        node
        for node, one in membership.instances.items()
        if one.state is InstanceState.RUNNING or not one.state.is_known
    }
    held = acknowledged_by(memory, membership.present)
    return reclaim(
        memory.released,
        tables=owned.tables,
        members=(*membership.present, *membership.quarantined),
        maps=memory.maps,
        acknowledged={node: generation for node, generation in held.items() if node in running},
        now=now,
        quarantine=quarantine,
    )


def save_addresses(
    store: Store,
    owner: str,
    memory: Memory,
    allocation: MemberAllocation,
    membership: Membership,
    *,
    now: datetime,
) -> None:
    """Write what changed, before agents read of it. A daily round's time goes with what it released."""
    before = {member.id: member for member in memory.members}
    supernets = {
        subnet: allocation.supernets.get(subnet, ())
        for subnet in memory.supernets.keys() | allocation.supernets.keys()
        if memory.supernets.get(subnet, ()) != allocation.supernets.get(subnet, ())
    }
    released, known = set(allocation.released), set(memory.released)
    begins = memory.given_back is None or is_due(memory.given_back, now=now)
    store.save_inventory(
        owner,
        members=[one for one in (*allocation.members, *membership.quarantined) if before.get(one.id) != one],
        forgotten=membership.forgotten,
        supernets=supernets,
        released=sorted(released - known, key=lambda one: one.prefix),
        reclaimed=sorted({one.prefix for one in known} - {one.prefix for one in released}),
        given_back=now if begins else None,
    )
