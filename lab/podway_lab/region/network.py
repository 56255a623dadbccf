"""The operations on VPCs, subnets, internet gateways and tags. The model calls them."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from podway.domain.addressing import Prefix

from podway_lab.region.changes import (
    SubnetCreated,
    TableAssociated,
    TableCreated,
    TagsChanged,
    VpcCidrAssociated,
)
from podway_lab.region.filters import Values, page, select
from podway_lab.region.interfaces import count_free
from podway_lab.region.operation import Answer, Operations, Request, shown_tags
from podway_lab.region.state import LOCAL, Association, Gateway, PrefixList, Route, State, Subnet, Table, Vpc

NETWORK_OPERATIONS = Operations()


def canonical(request: Request, text: str, parameter: str) -> Prefix:
    """The prefix of *text* with its host bits cleared. Raises InvalidParameterValue for no CIDR at all."""
    try:
        return Prefix.parse(str(ipaddress.ip_network(text, strict=False)))
    except ValueError:
        raise request.refuse(
            "InvalidParameterValue",
            f"Value ({text}) for parameter {parameter} is invalid. This is not a valid CIDR block.",
        ) from None


@NETWORK_OPERATIONS.models("CreateVpc", "CidrBlock", "TagSpecifications")
def create_vpc(request: Request) -> Answer:
    """A VPC, with its main route table holding the local route."""
    state = request.state
    cidr = canonical(request, request.given["CidrBlock"], "cidrBlock")
    if not 16 <= cidr.length <= 28:  # noqa: PLR2004  (the sizes EC2 allows)
        raise request.refuse("InvalidVpc.Range", f"The CIDR '{cidr}' is invalid.")
    vpc = Vpc(state.new_id("vpc"), (cidr,), tags=request.tags_for("vpc"))
    table = Table(state.new_id("rtb"), vpc.id, {cidr: local_route(cidr)})
    association = Association(state.new_id("rtbassoc"), table.id, main=True)
    state.vpcs[vpc.id] = vpc = replace(vpc, main_table=table.id)
    state.tables[table.id] = table
    state.associations[association.id] = association
    request.tell(TableCreated(table.id, vpc.id, request.at, request.caller))
    request.tell(TableAssociated(table.id, association.id, "", "", request.at, request.caller))
    return {"Vpc": shown_vpc(vpc, request)}


def local_route(cidr: Prefix) -> Route:
    """The route that every table has for each block of its VPC."""
    return Route(cidr, LOCAL, "CreateRouteTable")


@NETWORK_OPERATIONS.models("AssociateVpcCidrBlock", "VpcId", "CidrBlock", "AmazonProvidedIpv6CidrBlock")
def associate_vpc_cidr_block(request: Request) -> Answer:
    """One more block for a VPC, and its local route in every table.

    Refused if a route for the same or a smaller prefix exists, or if a table has no room; a block
    *inside* a route's destination is allowed, and its local route then wins ("VPC CIDR blocks").
    """
    state = request.state
    vpc = request.find(state.vpcs, "InvalidVpcID", request.given["VpcId"])
    cidr = _wanted_block(request, vpc)
    tables = [table for table in state.tables.values() if table.vpc == vpc.id]
    for table in tables:
        _check_room(request, table, cidr)
    for table in tables:
        state.tables[table.id] = replace(table, routes={**table.routes, cidr: local_route(cidr)})
    state.vpcs[vpc.id] = vpc = replace(vpc, cidrs=(*vpc.cidrs, cidr))
    request.tell(VpcCidrAssociated(vpc.id, cidr, request.at, request.caller))
    key = "CidrBlockAssociation" if cidr.version == 4 else "Ipv6CidrBlockAssociation"  # noqa: PLR2004  (the family's own number)
    return {"VpcId": vpc.id, key: _shown_block(vpc, cidr)}


def _wanted_block(request: Request, vpc: Vpc) -> Prefix:
    if request.given.get("AmazonProvidedIpv6CidrBlock"):
        number = int(hashlib.sha256(vpc.id.encode()).hexdigest()[:6], 16)
        return Prefix(6, (0x26001F14 << 96) | (number << 72), 56)
    if "CidrBlock" not in request.given:
        raise request.refuse("MissingParameter", "The request must contain the parameter cidrBlock")
    cidr = canonical(request, request.given["CidrBlock"], "cidrBlock")
    if any(cidr.overlaps(other) for other in vpc.cidrs):
        raise request.refuse("InvalidVpc.Range", f"The CIDR '{cidr}' conflicts with another CIDR of the VPC")
    return cidr


def _check_room(request: Request, table: Table, cidr: Prefix) -> None:
    for destination in table.routes:
        if isinstance(destination, Prefix) and cidr.contains(destination):
            raise request.refuse(
                "InvalidVpc.Range", f"The CIDR '{cidr}' covers the route {destination} of {table.id}"
            )
    if counted(request.state, table, cidr.version) >= request.settings.route_quota:
        raise request.refuse("RouteLimitExceeded", f"{table.id} has no room for another local route")


def counted(state: State, table: Table, family: int) -> int:
    """What a table's routes count against the quota of that family."""
    counting = (route for route in table.routes.values() if route.counts and route.family == family)
    return sum(_entries(state, route) for route in counting)


def _entries(state: State, route: Route) -> int:
    known = state.prefix_lists.get(route.destination) if isinstance(route.destination, str) else None
    return (known.max_entries if known else None) or 1


_PREFIX_LIST_FILTERS: Mapping[str, Values] = {
    "prefix-list-id": lambda one: [one.id],
    "owner-id": lambda one: ["AWS" if one.max_entries is None else ""],
}


@NETWORK_OPERATIONS.models(
    "DescribeManagedPrefixLists", "PrefixListIds", "Filters", "MaxResults", "NextToken"
)
def describe_managed_prefix_lists(request: Request) -> Answer:
    named = request.named("PrefixListIds", request.state.prefix_lists, "InvalidPrefixListID")
    shown, more = page(request, select(request, named, _PREFIX_LIST_FILTERS), smallest=1, largest=100)
    return {"PrefixLists": [_shown_prefix_list(one, request) for one in shown], **more}


def _shown_prefix_list(one: PrefixList, request: Request) -> dict[str, Any]:
    shown: dict[str, Any] = {"PrefixListId": one.id, "AddressFamily": "IPv4", "Tags": shown_tags(one.tags)}
    if one.max_entries is None:
        return {**shown, "OwnerId": "AWS"}
    return {**shown, "OwnerId": request.settings.account, "MaxEntries": one.max_entries}


@NETWORK_OPERATIONS.models(
    "CreateSubnet",
    "VpcId",
    "CidrBlock",
    "Ipv6CidrBlock",
    "Ipv6Native",
    "AvailabilityZone",
    "TagSpecifications",
)
def create_subnet(request: Request) -> Answer:
    """An IPv4 subnet or, with Ipv6Native, one that has no IPv4 range at all."""
    state = request.state
    vpc = request.find(state.vpcs, "InvalidVpcID", request.given["VpcId"])
    ipv6_only = bool(request.given.get("Ipv6Native"))
    parameter = "Ipv6CidrBlock" if ipv6_only else "CidrBlock"
    if parameter not in request.given:
        raise request.refuse("MissingParameter", f"The request must contain the parameter {parameter}")
    cidr = canonical(request, request.given[parameter], parameter)
    if not any(block.contains(cidr) for block in vpc.cidrs):
        raise request.refuse("InvalidSubnet.Range", f"The CIDR '{cidr}' is invalid.")
    for other in state.subnets.values():
        if other.vpc == vpc.id and other.cidr.overlaps(cidr):
            raise request.refuse("InvalidSubnet.Conflict", f"The CIDR '{cidr}' conflicts with another subnet")
    zone = request.given.get("AvailabilityZone", f"{request.settings.name}a")
    subnet = Subnet(state.new_id("subnet"), vpc.id, cidr, zone, request.tags_for("subnet"), ipv6_only)
    state.subnets[subnet.id] = subnet
    request.tell(SubnetCreated(subnet.id, vpc.id, cidr, request.at, request.caller))
    return {"Subnet": _shown_subnet(subnet, request)}


@NETWORK_OPERATIONS.models("CreateInternetGateway", "TagSpecifications")
def create_internet_gateway(request: Request) -> Answer:
    gateway = Gateway(request.state.new_id("igw"), tags=request.tags_for("internet-gateway"))
    request.state.gateways[gateway.id] = gateway
    return {
        "InternetGateway": {
            "InternetGatewayId": gateway.id,
            "Attachments": [],
            "OwnerId": request.settings.account,
            "Tags": shown_tags(gateway.tags),
        }
    }


@NETWORK_OPERATIONS.models("AttachInternetGateway", "InternetGatewayId", "VpcId")
def attach_internet_gateway(request: Request) -> Answer:
    state = request.state
    gateway = request.find(state.gateways, "InvalidInternetGatewayID", request.given["InternetGatewayId"])
    vpc = request.find(state.vpcs, "InvalidVpcID", request.given["VpcId"])
    if gateway.vpc:
        raise request.refuse("Resource.AlreadyAssociated", f"{gateway.id} is already attached")
    state.gateways[gateway.id] = replace(gateway, vpc=vpc.id)
    return {}


_VPC_FILTERS: Mapping[str, Values] = {
    "vpc-id": lambda vpc: [vpc.id],
    "cidr": lambda vpc: [str(vpc.cidrs[0])],
    "cidr-block-association.cidr-block": lambda vpc: [str(cidr) for cidr in vpc.cidrs],
    "state": lambda _: ["available"],
}


@NETWORK_OPERATIONS.models("DescribeVpcs", "VpcIds", "Filters", "MaxResults", "NextToken")
def describe_vpcs(request: Request) -> Answer:
    named = request.named("VpcIds", request.state.vpcs, "InvalidVpcID")
    shown, more = page(request, select(request, named, _VPC_FILTERS))
    return {"Vpcs": [shown_vpc(vpc, request) for vpc in shown], **more}


_SUBNET_FILTERS: Mapping[str, Values] = {
    "subnet-id": lambda subnet: [subnet.id],
    "vpc-id": lambda subnet: [subnet.vpc],
    "availability-zone": lambda subnet: [subnet.availability_zone],
    "cidr-block": lambda subnet: [str(subnet.cidr)],
    "state": lambda _: ["available"],
}


@NETWORK_OPERATIONS.models("DescribeSubnets", "SubnetIds", "Filters", "MaxResults", "NextToken")
def describe_subnets(request: Request) -> Answer:
    named = request.named("SubnetIds", request.state.subnets, "InvalidSubnetID")
    shown, more = page(request, select(request, named, _SUBNET_FILTERS))
    return {"Subnets": [_shown_subnet(subnet, request) for subnet in shown], **more}


@NETWORK_OPERATIONS.models("CreateTags", "Resources", "Tags")
def create_tags(request: Request) -> Answer:
    """Tags are merged; all resources must exist."""
    added = {tag["Key"]: tag.get("Value", "") for tag in request.given["Tags"]}
    for shelf, identity in _tagged(request):
        _retag(request, shelf, identity, {**shelf[identity].tags, **added})
    return {}


@NETWORK_OPERATIONS.models("DeleteTags", "Resources", "Tags")
def delete_tags(request: Request) -> Answer:
    """A tag given with a value goes only if it has that value; without Tags all of them go."""
    wanted = request.given.get("Tags")
    for shelf, identity in _tagged(request):
        kept = {
            key: value
            for key, value in shelf[identity].tags.items()
            if wanted is not None
            and not any(tag["Key"] == key and tag.get("Value", value) == value for tag in wanted)
        }
        _retag(request, shelf, identity, kept)
    return {}


def _tagged(request: Request) -> list[tuple[dict[str, Any], str]]:
    found = []
    for identity in request.given["Resources"]:
        shelf = _shelf_of(request.state, identity)
        if shelf is None:
            raise request.refuse("InvalidID", f"The ID '{identity}' is not valid")
        found.append((shelf, identity))
    return found


def _shelf_of(state: State, identity: str) -> dict[str, Any] | None:
    shelves: tuple[dict[str, Any], ...] = (
        state.vpcs, state.subnets, state.gateways, state.interfaces, state.instances, state.tables,
    )  # fmt: skip
    return next((shelf for shelf in shelves if identity in shelf), None)


def _retag(request: Request, shelf: dict[str, Any], identity: str, tags: dict[str, str]) -> None:
    if dict(shelf[identity].tags) != tags:
        shelf[identity] = replace(shelf[identity], tags=tags)
        request.tell(TagsChanged(identity, tags, request.at, request.caller))


def shown_vpc(vpc: Vpc, request: Request) -> dict[str, Any]:
    blocks = {
        family: [_shown_block(vpc, cidr) for cidr in vpc.cidrs if cidr.version == family] for family in (4, 6)
    }
    return {
        "VpcId": vpc.id,
        "CidrBlock": str(vpc.cidrs[0]),
        "CidrBlockAssociationSet": blocks[4],
        "Ipv6CidrBlockAssociationSet": blocks[6],
        "State": "available",
        "IsDefault": False,
        "InstanceTenancy": "default",
        "OwnerId": request.settings.account,
        "Tags": shown_tags(vpc.tags),
    }


def _shown_block(vpc: Vpc, cidr: Prefix) -> dict[str, Any]:
    number = hashlib.sha256(f"{vpc.id}/{cidr}".encode()).hexdigest()[:17]
    family = "CidrBlock" if cidr.version == 4 else "Ipv6CidrBlock"  # noqa: PLR2004  (the family's own number)
    return {
        "AssociationId": f"vpc-cidr-assoc-{number}",
        family: str(cidr),
        f"{family}State": {"State": "associated"},
    }


def _shown_subnet(subnet: Subnet, request: Request) -> dict[str, Any]:
    if subnet.ipv6_only:
        blocks = [{"Ipv6CidrBlock": str(subnet.cidr), "Ipv6CidrBlockState": {"State": "associated"}}]
        ranges: dict[str, Any] = {"Ipv6Native": True, "Ipv6CidrBlockAssociationSet": blocks}
    else:
        ranges = {"CidrBlock": str(subnet.cidr)}
    return {
        "SubnetId": subnet.id,
        "VpcId": subnet.vpc,
        **ranges,
        "AvailabilityZone": subnet.availability_zone,
        "AvailableIpAddressCount": count_free(request, subnet),
        "State": "available",
        "DefaultForAz": False,
        "MapPublicIpOnLaunch": False,
        "OwnerId": request.settings.account,
        "SubnetArn": f"arn:aws:ec2:{request.settings.name}:{request.settings.account}:subnet/{subnet.id}",
        "Tags": shown_tags(subnet.tags),
    }
