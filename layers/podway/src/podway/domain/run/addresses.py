"""Who has which supernets and blocks after a run, and what of it is news to the store.

`decide` asks; `app.carry_out` writes the news before anybody hears of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from podway.domain.addressing import Prefix
from podway.domain.inventory import Member, ReleasedSpace
from podway.domain.ipam.allocation import MemberAllocation, allocate_to_members
from podway.domain.ipam.closed import closed_space
from podway.domain.ipam.reclaim import Reclaim, is_due, reclaim
from podway.domain.members.cluster import Owned
from podway.domain.run.inheritance import TakenUp
from podway.domain.run.memory import Memory, acknowledged_by, newest_of
from podway.domain.run.seen import Seen
from podway.domain.signals import InstanceState


@dataclass(frozen=True, slots=True)
class AddressChanges:
    """What to write of members, supernets and released space."""

    members: tuple[Member, ...]
    forgotten: tuple[str, ...]
    supernets: Mapping[str, tuple[Prefix, ...]]
    released: tuple[ReleasedSpace, ...]
    reclaimed: tuple[Prefix, ...]
    given_back: datetime | None
    """The time of the daily round, if this run makes it."""


def allot(taken: TakenUp, owned: Owned) -> tuple[MemberAllocation, tuple[str, ...]]:
    """Who gets what, and warnings. While agents are still to say what they hold, nobody gets anything."""
    seen, rules = taken.seen, taken.rules
    memory, membership, life = seen.memory, seen.membership, seen.life
    space = _reclaim(taken, owned)
    closed = closed_space(
        rules.pod_cidrs,
        vpc_cidrs=seen.survey.vpc_cidrs,
        tables=owned.tables,
        supernets=[prefix for several in memory.supernets.values() for prefix in several],
        blocks=[prefix for member in membership.present for prefix in member.prefixes],
    )
    everybody = {member.id for member in membership.present}
    early = {member.id for member in membership.present if member.subnet in life.early}
    allocation = allocate_to_members(
        membership.present,
        membership.quarantined,
        memory.supernets,
        pod_cidrs=rules.pod_cidrs,
        block_length=rules.block_length,
        subnets={member.subnet for member in membership.present} | memory.supernets.keys(),
        generations=newest_of(memory),
        now=seen.at,
        quarantine=rules.quarantine,
        wanted=_blocks_wanted(memory, membership.present),
        closed=everybody if life.awaited else membership.strays.keys() | life.silent | early,
        closed_space=(*closed.prefixes, *taken.kept_free),
        released=space.pending,
        release=not life.awaited and is_due(memory.given_back, now=seen.at),
    )
    return allocation, (*space.warnings, *closed.warnings)


def address_changes(seen: Seen, allocation: MemberAllocation) -> AddressChanges:
    """What *allocation* says that the store does not say. A daily round's time goes with what it released."""
    before = seen.memory
    members = {member.id: member for member in before.members}
    released, known = set(allocation.released), set(before.released)
    begins = before.given_back is None or is_due(before.given_back, now=seen.at)
    return AddressChanges(
        tuple(
            one for one in (*allocation.members, *seen.membership.quarantined) if members.get(one.id) != one
        ),
        tuple(seen.membership.forgotten),
        {
            subnet: allocation.supernets.get(subnet, ())
            for subnet in before.supernets.keys() | allocation.supernets.keys()
            if before.supernets.get(subnet, ()) != allocation.supernets.get(subnet, ())
        },
        tuple(sorted(released - known, key=lambda one: one.prefix)),
        tuple(sorted({one.prefix for one in known} - {one.prefix for one in released})),
        seen.at if begins else None,
    )


def _blocks_wanted(memory: Memory, members: Iterable[Member]) -> dict[str, int]:
    """How many blocks each member's pods need, as its agent says. Reports of a former subnet do not count."""
    return {
        member.id: report.blocks_wanted
        for member in members
        if (report := memory.reports.get(member.id)) is not None and report.subnet == member.subnet
    }


def _reclaim(taken: TakenUp, owned: Owned) -> Reclaim:
    """What subnets have released and no other subnet may have yet, by the tables, maps and kernels.

    The kernel of a node that EC2 does not show goes on.
    """
    seen, memory, membership = taken.seen, taken.seen.memory, taken.seen.membership
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
        now=seen.at,
        quarantine=taken.rules.quarantine,
    )
