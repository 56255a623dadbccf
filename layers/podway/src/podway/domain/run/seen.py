"""What a run of reconcile starts from: one look at the world, and what the operator has set.

`app.observe` makes the first, `bootstrap` the second. Status and the other commands start from the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from podway.domain.addressing import Prefix
from podway.domain.inventory import Survey
from podway.domain.members.epochs import StoreLife, present_epoch, store_life
from podway.domain.members.membership import Membership
from podway.domain.run.memory import Memory, newest_of, words_of
from podway.domain.tables import Claims, in_doubt, table_claims


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator decided, as plain values."""

    cluster: str
    pod_cidrs: tuple[Prefix, ...]
    block_length: int
    quarantine: timedelta
    hold_down: timedelta
    lease: timedelta
    """How long a killed run keeps others out: a little longer than the function may run."""
    stack: str = ""
    """The id that marks our tables; empty: none are marked or compared."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at the world; *at* is when it was complete."""

    survey: Survey
    memory: Memory
    membership: Membership
    at: datetime
    warnings: tuple[str, ...]
    """What EC2 or an agent said and we do not understand, and members that do not show as such."""
    life: StoreLife
    """The store's epoch, as far as this look tells."""
    table_id: str = ""
    """The TableId of the store's table; empty when nobody may read it."""

    @property
    def interfaces(self) -> frozenset[str]:
        """Interfaces of members, present or quarantined: a recorded route to any of them is ours."""
        known = (*self.membership.present, *self.membership.quarantined)
        return frozenset(name for one in known for name in one.interfaces)

    @property
    def unread_tables(self) -> frozenset[str]:
        """Tables that we have routes in, and that EC2 shows in a way that is not understood."""
        ours = {table for table, destinations in self.memory.records.items() if destinations}
        read = {table.id for table in self.survey.route_tables} | self.survey.excluded_tables.keys()
        return frozenset((ours & self.survey.shown_tables) - read)

    @property
    def tables_in_doubt(self) -> frozenset[str]:
        """Tables with our routes of which it is not known whom they steer."""
        ours = {table for table, destinations in self.memory.records.items() if destinations}
        homes = {member.subnet for member in self.membership.present}
        return in_doubt(self.survey.route_tables, self.survey.untagged_tables, homes) & ours

    def claims(self, stack: str) -> Claims:
        """Whose the tables are that carry the cluster's tag, for *stack*."""
        tagged = {table.id for table in self.survey.route_tables} - set(self.survey.untagged_tables)
        return table_claims(tagged, self.survey.marks, stack)


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
        now=now,
    )
