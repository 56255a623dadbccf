"""What is there: EC2's answers, what the store remembers, and who is a member by both.

Called by reconcile, and by `operator` for what people are shown, so that both see the same.
"""

from __future__ import annotations

from datetime import timedelta

from podway.app.errors import NeedsOperator
from podway.app.ports import Clock, Cloud
from podway.app.stores import MemoryStore
from podway.domain.inventory import FoundById
from podway.domain.members.membership import membership
from podway.domain.run.seen import Seen, look_at_life


def observe(cloud: Cloud, store: MemoryStore, clock: Clock, *, quarantine: timedelta) -> Seen:
    """Read EC2 and the store. Members that EC2 does not list are asked for by id: absence is not an end.

    Raises PodwayError when EC2 or the store cannot be read.
    """
    survey, memory = cloud.survey(), store.recall()
    table_id, unread = _read_table_id(store)
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


def _read_table_id(store: MemoryStore) -> tuple[str, tuple[str, ...]]:
    """The table's own TableId, and a warning when nobody may read it: then it is not compared."""
    try:
        return store.table_id(), ()
    except NeedsOperator as error:
        return "", (f"whether the table was restored is not known, its TableId cannot be read: {error}",)
