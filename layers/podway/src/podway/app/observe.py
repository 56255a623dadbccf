"""What is there: EC2's answers, what the store remembers, and who is a member by both.

Called by reconcile, and by `operator` for what people are shown, so that both see the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from podway.app.epochs import look_at_life, read_table_id
from podway.app.ports import Clock, Cloud, Memory, Store
from podway.domain.inventory import FoundById, Survey
from podway.domain.members.epochs import StoreLife
from podway.domain.members.membership import Membership, membership


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


def observe(cloud: Cloud, store: Store, clock: Clock, *, quarantine: timedelta) -> Seen:
    """Read EC2 and the store. Members that EC2 does not list are asked for by id: absence is not an end.

    Raises PodwayError when EC2 or the store cannot be read.
    """
    survey, memory = cloud.survey(), store.recall()
    table_id, unread = read_table_id(store)
    listed = {one.id for one in survey.instances}
    missing = [one for one in memory.members if one.id not in listed and one.gone_at is None]
    found = cloud.find(missing, survey.subnets) if missing else FoundById()
    now = clock.now()
    targeted = frozenset(route.target for table in survey.route_tables for route in table.routes)
    members = membership(
        memory.members,
        survey.instances,
        now=now,
        quarantine=quarantine,
        still_targeted=targeted,
        found=found,
        heard={node: report.heartbeat for node, report in memory.reports.items()},
    )
    return Seen(
        survey,
        memory,
        members,
        now,
        (*survey.doubts, *memory.doubts, *found.doubts, *members.warnings, *unread),
        look_at_life(memory, members, table_id, now=now),
        table_id,
    )
