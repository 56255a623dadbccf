"""Which route tables are the cluster's to manage. The adapter over EC2 asks for every survey."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from podway.domain.inventory import TableSeen
from podway.domain.model import Plan, RouteTable

TABLE_TAG = "podway:cluster"
STACK_TAG = "podway:stack"
"""Which stack writes to the table: the CloudFormation stack's id. It outlives a restored store, unlike the
store's own id, and an operator finds it without asking the store."""
"""Fixed, unlike the instances' tag: the functions' permission to write routes names it."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The tables to manage with the subnets that each steers, and those that need an operator."""

    managed: tuple[tuple[TableSeen, tuple[str, ...]], ...]
    excluded: Mapping[str, str]
    """Tables of members' subnets that cannot be managed, and why."""
    untagged: tuple[str, ...]
    """Managed tables without the cluster's tag: the roles may not write there, and failovers do not look."""


def is_tagged(table: TableSeen, cluster: str) -> bool:
    """Whether the table carries the cluster's tag."""
    return table.tags.get(TABLE_TAG) == cluster


@dataclass(frozen=True, slots=True)
class Claims:
    """Whose the tables are: those that no stack has marked yet, and the stacks beside ours that have."""

    unmarked: tuple[str, ...]
    others: Mapping[str, tuple[str, ...]]
    """Their tables, by stack."""

    @property
    def warnings(self) -> list[str]:
        """What the other stacks' marks mean to us."""
        return [
            f"{', '.join(tables)} belong to another stack of this cluster ({other}): nothing is written "
            "until `podway release` there, or `podway restore` here takes them over"
            for other, tables in self.others.items()
        ]


def table_claims(tables: Iterable[str], marks: Mapping[str, str], own: str) -> Claims:
    """Whose *tables* are, by their *marks*. A stack that does not know its *own* id compares nothing.

    A mark counts also on a table that has lost the cluster's tag: the stack that wrote it is there still.
    """
    if not own:
        return Claims((), {})
    others: dict[str, list[str]] = {}
    for table in sorted(marks.keys() | set(tables)):
        if marks.get(table, own) != own:
            others.setdefault(marks[table], []).append(table)
    unmarked = () if others else tuple(sorted(set(tables) - marks.keys()))
    return Claims(unmarked, {stack: tuple(several) for stack, several in sorted(others.items())})


def choose_tables(
    tables: Iterable[TableSeen], *, cluster: str, vpc: str, subnets: Collection[str], homes: Collection[str]
) -> Chosen:
    """Tables of *vpc* that steer a subnet with members (*homes*), or that carry the cluster's tag.

    DescribeRouteTables does not list the subnets that use the main table implicitly: they are those of the
    VPC's *subnets* that no table names.
    """
    seen = sorted((one for one in tables if one.vpc in ("", vpc)), key=lambda one: one.id)
    named = {subnet for one in seen for subnet in one.subnets}
    managed, excluded = [], {}
    for table in seen:
        steered = set(table.subnets) | (set(subnets) - named if table.is_main else set())
        if not (steered & set(homes) or is_tagged(table, cluster)):
            continue
        if table.is_gateways:
            excluded[table.id] = "it belongs to a gateway"
            continue
        managed.append((table, tuple(sorted(steered))))
    untagged = tuple(table.id for table, _ in managed if not is_tagged(table, cluster))
    return Chosen(tuple(managed), excluded, untagged)


def stack_marks(tables: Iterable[TableSeen], cluster: str) -> dict[str, str]:
    """The stack that has marked each table, but those that another cluster has."""
    ours = (one for one in tables if one.tags.get(TABLE_TAG, cluster) == cluster)
    return {one.id: one.tags[STACK_TAG] for one in ours if one.tags.get(STACK_TAG)}


def in_doubt(
    tables: Iterable[RouteTable], untagged: Collection[str], homes: Collection[str]
) -> frozenset[str]:
    """Tagged *tables* that steer no subnet, while no tagged one steers some subnet that is members' home.

    An answer that leaves out a table's subnets looks like that: the main table, or none, seems to steer them.
    """
    tagged = [one for one in tables if one.id not in untagged]
    steered = {subnet for one in tagged for subnet in one.subnets}
    return frozenset(one.id for one in tagged if not one.subnets) if set(homes) - steered else frozenset()


def leave_untagged(planned: Plan, untagged: Collection[str]) -> Plan:
    """The plan without steps in tables that do not carry the cluster's tag.

    The roles may not write there. And where an answer leaves out a subnet's own table, the main one seems to
    steer the subnet.
    """
    tables = (replace(one, steps=()) if one.table in untagged else one for one in planned.route_tables)
    return replace(planned, route_tables=tuple(tables))
