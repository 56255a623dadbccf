"""Which epoch the store is in by its table and its agents.

Observe asks, for reconcile and for what people are shown; `restore` asks before it begins another.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from podway.app.errors import NeedsOperator
from podway.app.ports import Memory, Store
from podway.domain.inventory import Member
from podway.domain.members.epochs import StoreLife, Word, present_epoch, store_life
from podway.domain.members.membership import Membership


def words_of(memory: Memory, members: Iterable[Member]) -> dict[str, Word]:
    """What the members' agents say. Reports of a member's former subnet do not count."""
    return {
        member.id: Word(report.subnet, report.epoch, report.generation, report.blocks)
        for member in members
        if (report := memory.reports.get(member.id)) is not None and report.subnet == member.subnet
    }


def newest_of(memory: Memory) -> dict[str, int]:
    """The generation of each subnet's map."""
    return {subnet: one.generation for subnet, one in memory.maps.items()}


def read_table_id(store: Store) -> tuple[str, tuple[str, ...]]:
    """The table's own TableId, and a warning when nobody may read it: then it is not compared."""
    try:
        return store.table_id(), ()
    except NeedsOperator as error:
        return "", (f"the table's TableId cannot be read: {error}",)


def look_at_life(memory: Memory, membership: Membership, table_id: str, *, now: datetime) -> StoreLife:
    """Which epoch the store is in, whether it has gone back, and whom it waits for."""
    epoch = present_epoch(memory.epoch, table_id, is_new=memory.is_empty, now=now)
    return store_life(
        epoch,
        table_id,
        words=words_of(memory, membership.present),
        newest=newest_of(memory),
        present=membership.present,
        instances=membership.instances,
    )
