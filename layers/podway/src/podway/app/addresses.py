"""What reconcile asks of the agents' reports, and writes down, when it gives out addresses."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from podway.app.ports import Memory, Store
from podway.domain.inventory import Member, Survey
from podway.domain.ipam.allocation import Allotment
from podway.domain.ipam.reclaim import Withdrawal, is_due, still_leaving
from podway.domain.members.cluster import Owned
from podway.domain.members.membership import Roll
from podway.domain.signals import InstanceState


def acknowledged_by(memory: Memory, members: Iterable[Member]) -> dict[str, int]:
    """What each member's kernel holds; a report from another subnet's time says nothing about this one."""
    return {
        member.id: report.generation
        for member in members
        if (report := memory.reports.get(member.id)) is not None and report.subnet == member.subnet
    }


def blocks_wanted(memory: Memory, members: Iterable[Member]) -> dict[str, int]:
    """How many blocks each member's pods need, as its agent says; of another subnet's time: not said."""
    return {
        member.id: report.blocks_wanted
        for member in members
        if (report := memory.reports.get(member.id)) is not None and report.subnet == member.subnet
    }


def withdraw(
    survey: Survey, memory: Memory, roll: Roll, owned: Owned, *, now: datetime, rest: timedelta
) -> Withdrawal:
    """What was given back and nobody else may have yet, by the tables, maps and kernels as they are."""
    running = {one.id for one in survey.instances if one.state is InstanceState.RUNNING}
    held = acknowledged_by(memory, roll.present)
    return still_leaving(
        memory.leaving,
        tables=owned.tables,
        members=(*roll.present, *roll.resting),
        maps=memory.maps,
        acknowledged={node: generation for node, generation in held.items() if node in running},
        now=now,
        rest=rest,
    )


def save_addresses(
    store: Store, owner: str, memory: Memory, allotment: Allotment, roll: Roll, *, now: datetime
) -> None:
    """Write what changed before anybody hears of it, and a daily round together with what it gave back."""
    before = {member.id: member for member in memory.members}
    supernets = {
        subnet: allotment.supernets.get(subnet, ())
        for subnet in memory.supernets.keys() | allotment.supernets.keys()
        if memory.supernets.get(subnet, ()) != allotment.supernets.get(subnet, ())
    }
    leaving, known = set(allotment.leaving), set(memory.leaving)
    begins = memory.given_back is None or is_due(memory.given_back, now=now)
    store.save_inventory(
        owner,
        members=[one for one in (*allotment.members, *roll.resting) if before.get(one.id) != one],
        forgotten=roll.forgotten,
        supernets=supernets,
        leaving=sorted(leaving - known, key=lambda one: one.prefix),
        settled=sorted({one.prefix for one in known} - {one.prefix for one in leaving}),
        given_back=now if begins else None,
    )
