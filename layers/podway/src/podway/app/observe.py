"""What is there: EC2's answers, what the store remembers, and who is a member by both.

Called by reconcile, and by `operator` for what people are shown, so that both see the same.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from podway.app.errors import NeedsOperator, TryAgain
from podway.app.ports import Clock, Cloud
from podway.app.stores import MemoryStore
from podway.domain.addressing import IPV4
from podway.domain.inventory import FoundById, NotListed, Survey
from podway.domain.members.membership import membership
from podway.domain.run.memory import Memory
from podway.domain.run.seen import Seen, look_at_life


def observe(cloud: Cloud, store: MemoryStore, clock: Clock, *, quarantine: timedelta) -> Seen:
    """Read EC2 and the store. Members that EC2 does not list are asked for by id: absence is not an end.

    Raises PodwayError when EC2 or the store cannot be read, and TryAgain when EC2 leaves out a table that we
    have routes in, or a subnet that members are in.
    """
    survey, memory = cloud.survey(), store.recall()
    homes = {one.subnet for one in memory.members if one.gone_at is None}
    if _has_overlooked(survey, memory, homes):
        survey, memory = cloud.survey(homes), store.recall()
    _miss_no_table(cloud, survey, memory)
    _miss_no_subnet(cloud, survey, homes)
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


def _miss_no_table(cloud: Cloud, survey: Survey, memory: Memory) -> None:
    """Ask by id for tables that we have routes in and that the list does not show. Raises TryAgain.

    Without them cards would lose their routes, nodes would be ready that no route leads to, and the main
    table would seem to steer their subnets. So the run ends, and all stays as it is.
    """
    missing = survey.not_shown(table for table, destinations in memory.records.items() if destinations)
    if not missing:
        return
    found = cloud.find_tables(missing, survey.vpc)
    if found.left_out or found.unknown:
        tables = ", ".join((*found.left_out, *found.unknown))
        raise TryAgain(f"EC2 leaves out {tables}, where we have routes {found.why}".strip())


def _has_overlooked(survey: Survey, memory: Memory, homes: Collection[str]) -> bool:
    """Whether tables with our routes count as nobody's because EC2 does not list who is at home there."""
    listed = {one.subnet for one in survey.instances}
    known = {one.id for one in survey.route_tables} | survey.excluded_tables.keys()
    ours = {table for table, destinations in memory.records.items() if destinations}
    return bool((ours & survey.shown_tables) - known and set(homes) - listed)


def _miss_no_subnet(cloud: Cloud, survey: Survey, homes: Collection[str]) -> None:
    """Ask by id for subnets of members that the list does not show with an IPv4 range. Raises TryAgain.

    Without one its supernets would be nobody's and the routes to them too many, or its agents would not know
    the range.
    """
    shown = {one.id for one in survey.subnets if any(cidr.version == IPV4 for cidr in one.cidrs)}
    missing = sorted(set(homes) - shown)
    found = cloud.find_subnets(missing, survey.vpc) if missing else NotListed()
    if found.left_out or found.unknown:
        subnets = ", ".join((*found.left_out, *found.unknown))
        raise TryAgain(f"EC2 leaves out {subnets}, where members are, or their ranges {found.why}".strip())


def _read_table_id(store: MemoryStore) -> tuple[str, tuple[str, ...]]:
    """The table's own TableId, and a warning when nobody may read it."""
    try:
        return store.table_id(), ()
    except NeedsOperator as error:
        return "", (f"the table's TableId cannot be read: {error}",)
