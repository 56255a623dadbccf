"""EC2: members by tag, their VPC, its route tables, and route writes.

`ec2_reading` turns answers into values, `domain.tables` says which tables are the cluster's; here are
the calls. Built by `bootstrap` for the functions and the operator's command.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from podway.adapters.aws_errors import aws_errors, part
from podway.adapters.correlation import cause
from podway.adapters.ec2_reading import (
    Read,
    odd_words,
    prefix_lists,
    read_capacity,
    read_each,
    read_instance,
    read_subnet,
    read_table,
    read_vpc_cidrs,
    unsaid_of,
)
from podway.app.errors import (
    InstanceIsGone,
    NeedsOperator,
    PodwayError,
    RouteIsGone,
    SubnetIsGone,
    TableIsGone,
    TargetIsGone,
    Throttled,
    TryAgain,
)
from podway.domain.addressing import Prefix
from podway.domain.inventory import FoundById, Instance, Member, NotListed, Survey, TableSeen, VpcSubnet
from podway.domain.model import (
    DEFAULT_QUOTA,
    DEFAULT_RESERVE,
    Create,
    Delete,
    Replace,
    RouteTable,
    Step,
    describe,
)
from podway.domain.signals import InstanceState
from podway.domain.tables import STACK_TAG, TABLE_TAG, choose_tables, is_tagged, stack_marks

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from podway.adapters.quotas import RouteQuota

_LOG = logging.getLogger("podway.ec2")
"""A child of the handlers' logger, so that it writes with that logger's keys. Silent without one."""
_LOG.addHandler(logging.NullHandler())

_PAGE = {"describe_route_tables": 100, "describe_instance_types": 100}
"""Rows per page (MaxResults) where EC2 allows fewer than _ROWS."""
_ROWS = 1000
_IDS = 200
"""Ids that one DescribeInstances is asked for: it takes 1,000, but one unknown id fails them all."""
_INSTANCE_ID = re.compile(r"i-[0-9a-f]{8,17}")
_TABLE_ID = re.compile(r"rtb-[0-9a-f]{8,17}")
_SUBNET_ID = re.compile(r"subnet-[0-9a-f]{8,17}")
_FILTER_VALUES = 200
"""Values that one filter may have."""


class Ec2Cloud:
    """The Cloud port over an EC2 client."""

    def __init__(
        self,
        client: EC2Client,
        *,
        cluster: str,
        quota: RouteQuota,
        vpc: str = "",
        node_tag: str = "podway:cluster",
        reserve: int = DEFAULT_RESERVE,
    ) -> None:
        self._client, self._quota, self._vpc = client, quota, vpc
        self._cluster, self._node_tag, self._reserve = cluster, node_tag, reserve
        self._capacities: dict[str, float | None] = {}

    def survey(self, homes: Collection[str] = ()) -> Survey:
        """Everything about the cluster that EC2 knows, by five calls at most and their pages.

        Where EC2 lists no members (it does not during a zone's disruption), everything else is in the answer.
        Raises PodwayError when subnets, tables or ranges cannot be read, or the list is throttled; TryAgain
        when the answer leaves out the VPC that was asked for.
        """
        rows, doubts = self._listed()
        with aws_errors():
            vpc = self._vpc or self._the_vpc(rows or ()) or self._the_vpc(self._tagged_tables())
            if not vpc:
                return Survey((), (), (), (), doubts=doubts, is_listed=rows is not None)
            in_vpc = [{"Name": "vpc-id", "Values": [vpc]}]
            subnet_rows = self._pages("describe_subnets", "Subnets", in_vpc)
            table_rows = self._pages("describe_route_tables", "RouteTables", in_vpc)
            vpc_rows = part(self._client.describe_vpcs(VpcIds=[vpc]), "Vpcs")
        doubts += self._learn_capacities(rows or ())
        entries, unread = self._prefix_list_entries(prefix_lists(table_rows))
        subnets = read_each(subnet_rows, "SubnetId", read_subnet)
        tables = read_each(table_rows, "RouteTableId", lambda row: read_table(row, entries))
        ranges = read_each(vpc_rows, "VpcId", read_vpc_cidrs)
        if not ranges.values:
            raise TryAgain(f"EC2 does not show the ranges of {vpc} {'; '.join(ranges.doubts)}".strip())
        members, strangers = self._members(rows or (), vpc)
        chosen = choose_tables(
            tables.values,
            cluster=self._cluster,
            vpc=vpc,
            subnets={one.id for one in subnets.values},
            homes={*homes, *(one.subnet for one in members.values)} - {""},
        )
        managed, unknown = self._with_quota(chosen.managed)
        return Survey(
            instances=members.values,
            subnets=tuple(sorted(subnets.values, key=lambda one: one.id)),
            vpc_cidrs=tuple(sorted(cidr for cidrs in ranges.values for cidr in cidrs)),
            route_tables=managed,
            excluded_tables=chosen.excluded,
            untagged_tables=chosen.untagged,
            marks=stack_marks((one for one, _ in chosen.managed), self._cluster),
            doubts=(
                *doubts,
                *unread,
                *members.doubts,
                *strangers,
                *subnets.doubts,
                *(
                    f"{one.id}: EC2 does not show its zone"
                    for one in subnets.values
                    if not one.availability_zone
                ),
                *tables.doubts,
                *(doubt for one in tables.values for doubt in odd_words(one)),
                *ranges.doubts,
                *unknown,
            ),
            is_listed=rows is not None,
            shown_tables=frozenset(one["RouteTableId"] for one in table_rows if one.get("RouteTableId")),
            vpc=vpc,
        )

    def find(self, members: Iterable[Member], subnets: Iterable[VpcSubnet]) -> FoundById:
        """Asked by id, without the tag, a zone at a time: while one is disrupted the others answer.

        Ids that EC2 does not know are taken out and the rest asked again. What is neither answered nor
        refused so is nowhere in the result.
        """
        zones = {one.id: one.availability_zone for one in subnets}
        by_zone: dict[str, list[str]] = {}
        for member in sorted(members, key=lambda one: one.id):
            by_zone.setdefault(zones.get(member.subnet, ""), []).append(member.id)
        rows: list[dict[str, Any]] = []
        not_found: set[str] = set()
        doubts: list[str] = []
        for zone, ids in sorted(by_zone.items()):
            for start in range(0, len(ids), _IDS):
                wanted = ids[start : start + _IDS]
                try:
                    rows += self._by_ids(wanted, not_found)
                except PodwayError as error:
                    doubts.append(f"EC2 says nothing of {len(wanted)} members of zone {zone or '?'}: {error}")
        read = self._read_instances(rows)
        return FoundById(read.values, frozenset(not_found), (*read.doubts, *doubts))

    def find_tables(self, tables: Collection[str], vpc: str) -> NotListed:
        """Asked by id, so that an answer is complete: an id that EC2 does not know fails the call."""

        def theirs(row: Mapping[str, Any]) -> bool:
            """Whether the table is rightly not listed."""
            one = read_table(row, {})
            return one.vpc not in ("", vpc) and not is_tagged(one, self._cluster)

        return self._not_listed(
            lambda ids: part(self._client.describe_route_tables(RouteTableIds=ids), "RouteTables"),
            (tables, TableIsGone, _TABLE_ID),
            ("RouteTableId", theirs),
        )

    def find_subnets(self, subnets: Collection[str], vpc: str) -> NotListed:
        """Asked by id, as tables are."""
        return self._not_listed(
            lambda ids: part(self._client.describe_subnets(SubnetIds=ids), "Subnets"),
            (subnets, SubnetIsGone, _SUBNET_ID),
            ("SubnetId", lambda row: row.get("VpcId", vpc) != vpc),
        )

    def _not_listed(
        self,
        ask: Callable[[list[str]], list[dict[str, Any]]],
        about: tuple[Collection[str], type[PodwayError], re.Pattern[str]],
        row: tuple[str, Callable[[Mapping[str, Any]], bool]],
    ) -> NotListed:
        """What EC2 says by id of what a list did not show. *row*: a row's id, and whether it is not ours."""
        wanted, gone = set(about[0]), set[str]()
        name, is_theirs = row
        try:
            rows = self._ask_by_id(ask, about, gone)
        except PodwayError as error:
            return NotListed(unknown=tuple(sorted(wanted - gone)), why=f"({error})")
        seen = read_each(rows, name, lambda one: (str(one[name]), is_theirs(one)))
        shown = {found for found, _ in seen.values}
        ours = {found for found, theirs in seen.values if not theirs}
        return NotListed(tuple(sorted(ours & wanted)), tuple(sorted(wanted - gone - shown)))

    def _by_ids(self, wanted: Collection[str], not_found: set[str]) -> list[dict[str, Any]]:
        """The rows of those that exist; the others are added to *not_found*. Raises PodwayError."""
        several = self._ask_by_id(
            lambda ids: part(self._client.describe_instances(InstanceIds=ids), "Reservations"),
            (wanted, InstanceIsGone, _INSTANCE_ID),
            not_found,
        )
        return [row for one in several for row in one.get("Instances", ())]

    @staticmethod
    def _ask_by_id(
        ask: Callable[[list[str]], list[dict[str, Any]]],
        about: tuple[Collection[str], type[PodwayError], re.Pattern[str]],
        gone: set[str],
    ) -> list[dict[str, Any]]:
        """The rows of all ids that EC2 knows. The others are added to *gone*.

        *about* is the ids, the error that calls some of them unknown, and how these are spelt in it. An
        unknown one fails the whole call, so the rest is asked again. Raises PodwayError.
        """
        wanted, absent, spelt = about
        left = sorted(wanted)
        while left:
            try:
                with aws_errors():
                    return ask(left)
            except absent as error:
                unknown = set(spelt.findall(str(error))) & set(left)
                if not unknown:
                    raise
                gone |= unknown
                left = [one for one in left if one not in unknown]
        return []

    def route_tables(self) -> tuple[RouteTable, ...]:
        """The tables with the cluster's tag. Service Quotas is not asked: the fast path needs no quota."""
        with aws_errors():
            rows = self._tagged_tables()
        seen = read_each(rows, "RouteTableId", lambda row: read_table(row, {}))
        ordered = sorted(seen.values, key=lambda one: one.id)
        return tuple(self._table(one, (), self._quota.known()) for one in ordered)

    def look_again(self, tables: Collection[str]) -> tuple[RouteTable, ...]:
        """Asked by id, whatever tags they show: EC2 itself refuses the write that the role may not make."""
        gone: set[str] = set()
        rows = self._ask_by_id(
            lambda ids: part(self._client.describe_route_tables(RouteTableIds=ids), "RouteTables"),
            (tables, TableIsGone, _TABLE_ID),
            gone,
        )
        seen = read_each(rows, "RouteTableId", lambda row: read_table(row, {}))
        found = (self._table(one, (), self._quota.known()) for one in seen.values)
        return (*found, *(RouteTable(one, (), (), self._quota.known()) for one in sorted(gone)))

    def member(self, instance: str) -> Instance | None:
        """The instance, if it is tagged for the cluster, in its VPC and not terminated."""
        filters = [*self._tagged(self._node_tag), {"Name": "instance-id", "Values": [instance]}]
        with aws_errors():
            rows = self._describe_members(filters)
        found = (one for one in self._read_instances(rows).values if one.id == instance)
        return next(
            (one for one in found if one.state is not InstanceState.TERMINATED and self._is_here(one)), None
        )

    def _is_here(self, instance: Instance) -> bool:
        return not self._vpc or instance.vpc in ("", self._vpc)  # one that ends shows no VPC

    def apply(self, table: str, step: Step) -> None:
        """Make one step by one call, and log one line with the event that caused it."""
        told = {"route_table": table, "step": describe(step), "correlation_id": cause()}
        try:
            self._apply(table, step)
        except PodwayError as error:
            _LOG.warning("route call failed", extra={**told, "error": f"{type(error).__name__}: {error}"})
            raise
        _LOG.info("route call", extra=told)

    def _apply(self, table: str, step: Step) -> None:
        destination = _destination_key(step.destination), str(step.destination)
        where = {"RouteTableId": table, destination[0]: destination[1]}
        client: Any = self._client  # the destination's name depends on its family, which types cannot say
        with aws_errors():
            match step:
                case Create():
                    client.create_route(**where, NetworkInterfaceId=step.network_interface)
                case Replace():
                    client.replace_route(**where, NetworkInterfaceId=step.network_interface)
                case Delete():
                    self._delete(where)

    def is_interface_gone(self, network_interface: str) -> bool:
        """Ids of interfaces are never given twice: one that is unknown stays so."""
        try:
            with aws_errors():
                self._client.describe_network_interfaces(NetworkInterfaceIds=[network_interface])
        except TargetIsGone:
            return True
        return False

    def clear_source_dest_check(self, network_interface: str) -> None:
        """Switch the check off. Every node needs it, because pods' addresses are not the interface's own."""
        with aws_errors():
            self._client.modify_network_interface_attribute(
                NetworkInterfaceId=network_interface, SourceDestCheck={"Value": False}
            )

    def mark_tables(self, tables: Collection[str], stack: str) -> None:
        """Write the stack's id as a tag, in one call."""
        with aws_errors():
            self._client.create_tags(Resources=sorted(tables), Tags=[{"Key": STACK_TAG, "Value": stack}])

    def unmark_tables(self, tables: Collection[str], stack: str) -> None:
        """Remove the tag where it still names *stack*: EC2 compares."""
        with aws_errors():
            self._client.delete_tags(Resources=sorted(tables), Tags=[{"Key": STACK_TAG, "Value": stack}])

    def _delete(self, where: Mapping[str, str]) -> None:
        client: Any = self._client
        try:
            with aws_errors():
                client.delete_route(**where)
        except (RouteIsGone, TableIsGone):
            return  # it is gone, as was wanted

    def _tagged(self, tag: str) -> list[dict[str, Any]]:
        return [{"Name": f"tag:{tag}", "Values": [self._cluster]}]

    def _pages(self, operation: str, key: str, filters: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        client: Any = self._client
        size = {"PageSize": _PAGE.get(operation, _ROWS)}
        pages = client.get_paginator(operation).paginate(Filters=list(filters), PaginationConfig=size)
        return [item for page in pages for item in part(page, key)]

    def _describe_members(self, filters: Sequence[Mapping[str, Any]] | None = None) -> list[dict[str, Any]]:
        chosen = [*(filters or self._tagged(self._node_tag))]
        reservations = self._pages("describe_instances", "Reservations", chosen)
        return [instance for reservation in reservations for instance in reservation.get("Instances", ())]

    def _tagged_tables(self) -> list[dict[str, Any]]:
        return self._pages("describe_route_tables", "RouteTables", self._tagged(TABLE_TAG))

    def _the_vpc(self, ours: Iterable[Mapping[str, Any]]) -> str | None:
        vpcs = sorted({one["VpcId"] for one in ours if one.get("VpcId")})
        if len(vpcs) > 1:
            raise NeedsOperator(f"cluster {self._cluster} is in more than one VPC: {', '.join(vpcs)}")
        return vpcs[0] if vpcs else None

    def _listed(self) -> tuple[list[dict[str, Any]] | None, tuple[str, ...]]:
        """The instances with the cluster's tag; None and a doubt where EC2 does not list them."""
        try:
            with aws_errors():
                return self._describe_members(), ()
        except Throttled:
            raise
        except PodwayError as error:
            return None, (f"EC2 does not list the members: {error}",)

    def _learn_capacities(self, instances: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
        """Forwarding capacity is the baseline bandwidth of the first network card, in Gbit/s; doubts."""
        types = {one["InstanceType"] for one in instances if one.get("InstanceType")}
        unknown = sorted(types - self._capacities.keys())
        if not unknown:
            return ()
        wanted = [{"Name": "instance-type", "Values": unknown}]
        try:
            with aws_errors():
                rows = self._pages("describe_instance_types", "InstanceTypes", wanted)
        except PodwayError as error:
            return (f"capacities of {', '.join(unknown)} are unknown: {error}",)
        read = read_each(rows, "InstanceType", read_capacity)
        self._capacities |= dict(read.values)
        untold = [one for one in unknown if self._capacities.get(one) is None]
        return (*read.doubts, *([f"capacities of {', '.join(untold)} are unknown"] if untold else []))

    def _members(self, rows: Iterable[Mapping[str, Any]], vpc: str) -> tuple[Read[Instance], tuple[str, ...]]:
        """The tagged instances of the cluster's VPC, and a sentence on those of another.

        That they carry the tag says the filter which lists them, whatever their rows show of it.
        """
        read = self._read_instances(rows)
        here = tuple(  # a terminated one shows no VPC
            replace(one, tagged=True) for one in read.values if one.vpc in ("", vpc)
        )
        strangers = tuple(
            f"{one.id} carries the cluster's tag in another VPC ({one.vpc}): left alone"
            for one in read.values
            if one.vpc not in ("", vpc)
        )
        return Read(here, read.doubts), strangers

    def _read_instances(self, rows: Iterable[Mapping[str, Any]]) -> Read[Instance]:
        tag = self._node_tag, self._cluster
        rows = tuple(rows)
        read = read_each(rows, "InstanceId", lambda row: read_instance(row, self._capacities, tag=tag))
        unsaid = read_each(rows, "InstanceId", unsaid_of)
        return Read(
            tuple(sorted(read.values, key=lambda one: one.id)),
            (*read.doubts, *(doubt for several in unsaid.values for doubt in several)),
        )

    def _prefix_list_entries(self, lists: Sequence[str]) -> tuple[dict[str, int], tuple[str, ...]]:
        """MaxEntries of those that customers manage (AWS's own show none), and doubts."""
        rows: list[dict[str, Any]] = []
        try:
            with aws_errors():
                for start in range(0, len(lists), _FILTER_VALUES):
                    some = list(lists[start : start + _FILTER_VALUES])
                    wanted = [{"Name": "prefix-list-id", "Values": some}]
                    rows += self._pages("describe_managed_prefix_lists", "PrefixLists", wanted)
        except PodwayError as error:
            return {}, (f"prefix lists count as one route each, for they cannot be read: {error}",)
        found = {one.get("PrefixListId", ""): int(one.get("MaxEntries") or 1) for one in rows}
        return found, ()

    def _with_quota(
        self, managed: Iterable[tuple[TableSeen, tuple[str, ...]]]
    ) -> tuple[tuple[RouteTable, ...], tuple[str, ...]]:
        """The tables with their quota, and a doubt where it is unknown: then no route is one too many."""
        managed = tuple(managed)
        quota = self._quota.value() if managed else DEFAULT_QUOTA
        if quota is not None:
            return tuple(self._table(one, steered, quota) for one, steered in managed), ()
        tables = []
        for one, steered in managed:
            taken = sum(route.slots for route in one.routes)
            tables.append(self._table(one, steered, max(DEFAULT_QUOTA, taken + self._reserve)))
        return tuple(tables), ("the quota of routes per table cannot be read: the default is assumed",)

    def _table(self, table: TableSeen, subnets: tuple[str, ...], quota: int) -> RouteTable:
        return RouteTable(table.id, table.routes, subnets, quota, self._reserve)


def _destination_key(prefix: Prefix) -> str:
    return {4: "DestinationCidrBlock", 6: "DestinationIpv6CidrBlock"}[prefix.version]
