"""EC2, for all use cases: members by tag, their VPC, its route tables, and route writes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from podway.adapters.aws_errors import aws_errors
from podway.adapters.correlation import cause
from podway.app.errors import NeedsOperator, PodwayError, RouteIsGone, TableIsGone
from podway.domain.addressing import Prefix
from podway.domain.inventory import Instance, Survey, VpcSubnet
from podway.domain.model import (
    DEFAULT_RESERVE,
    Create,
    Delete,
    ForwarderPreference,
    Replace,
    Route,
    RouteOrigin,
    RouteState,
    RouteTable,
    Step,
    describe,
)
from podway.domain.signals import InstanceState

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from podway.adapters.quotas import RouteQuota

_LOG = logging.getLogger("podway.ec2")
"""A child of the handlers' logger, so that it writes with that logger's keys. Silent without one."""
_LOG.addHandler(logging.NullHandler())

FORWARDER_TAG = "podway:forwarder"
TABLE_TAG = "podway:cluster"
"""Fixed, unlike the instances' tag, because the functions' permission to write routes names it."""
TERMINATED = InstanceState.TERMINATED
_ALIVE = sorted(state.value for state in InstanceState if state is not TERMINATED)
_TARGETS = (
    "NetworkInterfaceId",
    "GatewayId",
    "NatGatewayId",
    "TransitGatewayId",
    "LocalGatewayId",
    "CarrierGatewayId",
    "VpcPeeringConnectionId",
    "EgressOnlyInternetGatewayId",
    "CoreNetworkArn",
    "OdbNetworkArn",
    "InstanceId",
)


class Ec2Cloud:
    """The Cloud port over an EC2 client."""

    def __init__(
        self,
        client: EC2Client,
        *,
        cluster: str,
        quota: RouteQuota,
        node_tag: str = "podway:cluster",
        reserve: int = DEFAULT_RESERVE,
    ) -> None:
        self._client, self._quota = client, quota
        self._cluster, self._node_tag, self._reserve = cluster, node_tag, reserve
        self._capacities: dict[str, float] = {}

    def survey(self) -> Survey:
        """Everything about the cluster that EC2 knows, by five calls at most and their pages.

        A cluster without instances needs no DescribeInstanceTypes, but one call more for its tagged tables.
        """
        with aws_errors():
            described = list(self._describe_members())
            vpc = self._the_vpc(described or self._tagged_tables())
            if vpc is None:
                return Survey((), (), (), ())
            in_vpc = [{"Name": "vpc-id", "Values": [vpc]}]
            subnets = self._pages("describe_subnets", "Subnets", in_vpc)
            tables = self._pages("describe_route_tables", "RouteTables", in_vpc)
            vpcs = self._client.describe_vpcs(VpcIds=[vpc])["Vpcs"]
            self._learn_capacities(described)
        instances = tuple(self._instance(one) for one in described)
        homes = {instance.subnet for instance in instances}
        managed, excluded = self._managed(tables, {one["SubnetId"] for one in subnets}, homes)
        return Survey(
            instances=instances,
            subnets=tuple(_subnet(one) for one in sorted(subnets, key=lambda one: one["SubnetId"])),
            vpc_cidrs=tuple(sorted(cidr for one in vpcs for cidr in _vpc_cidrs(one))),
            route_tables=managed,
            excluded_tables=excluded,
            untagged_tables=self._untagged(tables, managed),
        )

    def route_tables(self) -> tuple[RouteTable, ...]:
        """The tables with the cluster's tag. Service Quotas is not asked: the fast path needs no quota."""
        with aws_errors():
            tables = self._tagged_tables()
        ordered = sorted(tables, key=lambda one: one["RouteTableId"])
        return tuple(self._table(one, (), quota=self._quota.known()) for one in ordered)

    def member(self, instance: str) -> Instance | None:
        """The instance, if it is tagged for the cluster and not terminated."""
        filters = [*self._tagged(self._node_tag), {"Name": "instance-id", "Values": [instance]}]
        with aws_errors():
            found = list(self._describe_members(filters))
        return self._instance(found[0]) if found else None

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

    def clear_source_dest_check(self, network_interface: str) -> None:
        """Switch the check off. Every node needs it, because pods' addresses are not the interface's own."""
        with aws_errors():
            self._client.modify_network_interface_attribute(
                NetworkInterfaceId=network_interface, SourceDestCheck={"Value": False}
            )

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
        pages = client.get_paginator(operation).paginate(Filters=list(filters))
        return [item for page in pages for item in page[key]]

    def _describe_members(self, filters: Sequence[Mapping[str, Any]] | None = None) -> list[dict[str, Any]]:
        alive = {"Name": "instance-state-name", "Values": _ALIVE}
        chosen = [*(filters or self._tagged(self._node_tag)), alive]
        reservations = self._pages("describe_instances", "Reservations", chosen)
        found = [instance for reservation in reservations for instance in reservation["Instances"]]
        return sorted(found, key=lambda one: one["InstanceId"])

    def _tagged_tables(self) -> list[dict[str, Any]]:
        return self._pages("describe_route_tables", "RouteTables", self._tagged(TABLE_TAG))

    def _the_vpc(self, ours: Iterable[Mapping[str, Any]]) -> str | None:
        vpcs = sorted({one["VpcId"] for one in ours if one.get("VpcId")})
        if len(vpcs) > 1:
            raise NeedsOperator(f"cluster {self._cluster} is in more than one VPC: {', '.join(vpcs)}")
        return vpcs[0] if vpcs else None

    def _learn_capacities(self, instances: Iterable[Mapping[str, Any]]) -> None:
        """Look up capacities of new instance types: the baseline bandwidth of the first card, in Gbit/s."""
        unknown = sorted({one["InstanceType"] for one in instances} - self._capacities.keys())
        if not unknown:
            return
        types = self._pages(
            "describe_instance_types", "InstanceTypes", [{"Name": "instance-type", "Values": unknown}]
        )
        for one in types:
            cards = one.get("NetworkInfo", {}).get("NetworkCards", [{}])
            self._capacities[one["InstanceType"]] = float(cards[0].get("BaselineBandwidthInGbps") or 1.0)

    def _instance(self, one: Mapping[str, Any]) -> Instance:
        primary: Mapping[str, Any] = next(
            (eni for eni in one.get("NetworkInterfaces", []) if eni["Attachment"]["DeviceIndex"] == 0), {}
        )
        tags = {tag["Key"]: tag["Value"] for tag in one.get("Tags", [])}
        wish = tags.get(FORWARDER_TAG, "")
        return Instance(
            id=one["InstanceId"],
            state=InstanceState(one["State"]["Name"]),
            subnet=one.get("SubnetId", ""),
            network_interface=primary.get("NetworkInterfaceId", ""),
            address=primary.get("PrivateIpAddress", ""),
            source_dest_check=primary.get("SourceDestCheck", True),
            forwarder=ForwarderPreference(wish)
            if wish in list(ForwarderPreference)
            else ForwarderPreference.ALLOW,
            spot=one.get("InstanceLifecycle") == "spot",
            capacity=self._capacities.get(one["InstanceType"], 1.0),
            launched=one.get("LaunchTime"),
        )

    def _managed(
        self, tables: Iterable[Mapping[str, Any]], subnets: set[str], homes: set[str]
    ) -> tuple[tuple[RouteTable, ...], dict[str, str]]:
        """The tables that a member's subnet uses or that are tagged, and why others cannot be managed.

        DescribeRouteTables does not list the subnets that use the main table implicitly. They are the ones
        that no table names.
        """
        tables = sorted(tables, key=lambda one: one["RouteTableId"])
        explicit = {one["SubnetId"] for table in tables for one in _associations(table) if "SubnetId" in one}
        managed, excluded = [], {}
        for table in tables:
            steered = {one["SubnetId"] for one in _associations(table) if "SubnetId" in one}
            if any(one.get("Main") for one in _associations(table)):
                steered |= subnets - explicit
            if not (steered & homes or self._is_tagged(table)):
                continue
            if any(one.get("GatewayId") for one in _associations(table)):
                excluded[table["RouteTableId"]] = "it belongs to a gateway"
                continue
            managed.append(self._table(table, tuple(sorted(steered)), quota=self._quota.value()))
        return tuple(managed), excluded

    def _untagged(
        self, tables: Iterable[Mapping[str, Any]], managed: tuple[RouteTable, ...]
    ) -> tuple[str, ...]:
        ours = {table.id for table in managed}
        untagged = (one["RouteTableId"] for one in tables if not self._is_tagged(one))
        return tuple(sorted(ours.intersection(untagged)))

    def _is_tagged(self, table: Mapping[str, Any]) -> bool:
        return {"Key": TABLE_TAG, "Value": self._cluster} in table.get("Tags", [])

    def _table(self, table: Mapping[str, Any], subnets: tuple[str, ...], *, quota: int) -> RouteTable:
        routes = tuple(_route(one) for one in table["Routes"])
        return RouteTable(table["RouteTableId"], routes, subnets, quota, self._reserve)


def _associations(table: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        one
        for one in table.get("Associations", [])
        if one.get("AssociationState", {}).get("State", "associated") in ("associated", "associating")
    ]


def _destination_key(prefix: Prefix) -> str:
    return {4: "DestinationCidrBlock", 6: "DestinationIpv6CidrBlock"}[prefix.version]


def _route(one: Mapping[str, Any]) -> Route:
    text = one.get("DestinationCidrBlock") or one.get("DestinationIpv6CidrBlock")
    return Route(
        destination=Prefix.parse(text) if text else one["DestinationPrefixListId"],
        target=next((one[key] for key in _TARGETS if one.get(key)), "unknown"),
        state=RouteState(one.get("State", "active")),
        origin=RouteOrigin(one.get("Origin", "CreateRoute")),
    )


def _subnet(one: Mapping[str, Any]) -> VpcSubnet:
    v6 = (
        association["Ipv6CidrBlock"]
        for association in one.get("Ipv6CidrBlockAssociationSet", [])
        if association["Ipv6CidrBlockState"]["State"] == "associated"
    )
    cidrs = tuple(sorted(Prefix.parse(cidr) for cidr in (one["CidrBlock"], *v6)))
    return VpcSubnet(one["SubnetId"], cidrs, one.get("AvailabilityZone", ""))


def _vpc_cidrs(one: Mapping[str, Any]) -> list[Prefix]:
    blocks = [
        association["CidrBlock"]
        for association in one.get("CidrBlockAssociationSet", [])
        if association["CidrBlockState"]["State"] == "associated"
    ] + [
        association["Ipv6CidrBlock"]
        for association in one.get("Ipv6CidrBlockAssociationSet", [])
        if association["Ipv6CidrBlockState"]["State"] == "associated"
    ]
    return [Prefix.parse(block) for block in blocks or [one["CidrBlock"]]]
