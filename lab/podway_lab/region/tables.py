"""The operations on route tables and on what they steer. The model calls them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from podway.domain.addressing import Prefix

from podway_lab.region.changes import TableAssociated, TableCreated, TableDeleted, TableDisassociated
from podway_lab.region.filters import Values, page, select
from podway_lab.region.network import local_route
from podway_lab.region.operation import Answer, Operations, Request, shown_tags
from podway_lab.region.state import Association, Route, State, Table

TABLE_OPERATIONS = Operations()


@TABLE_OPERATIONS.models("CreateRouteTable", "VpcId", "TagSpecifications")
def create_route_table(request: Request) -> Answer:
    """A table that steers nothing yet and holds the VPC's local routes."""
    state = request.state
    vpc = request.find(state.vpcs, "InvalidVpcID", request.given["VpcId"])
    routes: dict[Prefix | str, Route] = {cidr: local_route(cidr) for cidr in vpc.cidrs}
    table = Table(state.new_id("rtb"), vpc.id, routes, request.tags_for("route-table"))
    state.tables[table.id] = table
    request.tell(TableCreated(table.id, vpc.id, request.at, request.caller))
    return {"RouteTable": shown_table(table, request)}


@TABLE_OPERATIONS.models("DeleteRouteTable", "RouteTableId")
def delete_route_table(request: Request) -> Answer:
    """Refused while it steers anything."""
    table = find_table(request)
    if associations_of(request.state, table.id):
        raise request.refuse(
            "DependencyViolation", f"The routeTable '{table.id}' has dependencies and cannot be deleted."
        )
    del request.state.tables[table.id]
    request.tell(TableDeleted(table.id, table.vpc, request.at, request.caller))
    return {}


def find_table(request: Request) -> Table:
    """The table that the request names. Raises InvalidRouteTableID.NotFound."""
    return request.find(request.state.tables, "InvalidRouteTableID", request.given["RouteTableId"])


def associations_of(state: State, table: str) -> list[Association]:
    """What EC2 lists: the explicit associations and the main one, never the implicit subnets."""
    return [association for association in state.associations.values() if association.table == table]


@TABLE_OPERATIONS.models("AssociateRouteTable", "RouteTableId", "SubnetId", "GatewayId")
def associate_route_table(request: Request) -> Answer:
    """Gives one subnet or one internet gateway its own table."""
    state = request.state
    table = find_table(request)
    subnet, gateway = request.given.get("SubnetId", ""), request.given.get("GatewayId", "")
    if bool(subnet) == bool(gateway):
        raise request.refuse(
            "InvalidParameterCombination", "Exactly one of subnetId and gatewayId must be given"
        )
    if subnet:
        vpc = request.find(state.subnets, "InvalidSubnetID", subnet).vpc
    else:
        vpc = request.find(state.gateways, "InvalidInternetGatewayID", gateway).vpc
    if vpc != table.vpc:
        raise request.refuse(
            "InvalidParameterValue",
            f"route table {table.id} and {subnet or gateway} belong to different networks",
        )
    for other in state.associations.values():
        if (subnet, gateway) == (other.subnet, other.gateway):
            raise request.refuse(
                "Resource.AlreadyAssociated",
                f"the specified association for route table {table.id} conflicts with another",
            )
    return _associate(request, Association("", table.id, subnet=subnet, gateway=gateway))


def _associate(request: Request, wanted: Association) -> Answer:
    association = replace(wanted, id=request.state.new_id("rtbassoc"))
    request.state.associations[association.id] = association
    request.tell(
        TableAssociated(
            association.table,
            association.id,
            association.subnet,
            association.gateway,
            request.at,
            request.caller,
        )
    )
    return {"AssociationId": association.id, "AssociationState": {"State": "associated"}}


def _dissociate(request: Request, association: Association) -> None:
    del request.state.associations[association.id]
    request.tell(
        TableDisassociated(
            association.table,
            association.id,
            association.subnet,
            association.gateway,
            request.at,
            request.caller,
        )
    )


@TABLE_OPERATIONS.models("DisassociateRouteTable", "AssociationId")
def disassociate_route_table(request: Request) -> Answer:
    """The subnet falls back to the main table, whose own association cannot be removed."""
    association = _find_association(request)
    if association.main:
        raise request.refuse(
            "InvalidParameterValue",
            f"cannot disassociate the main route table association {association.id}",
        )
    _dissociate(request, association)
    return {}


@TABLE_OPERATIONS.models("ReplaceRouteTableAssociation", "AssociationId", "RouteTableId")
def replace_route_table_association(request: Request) -> Answer:
    """Gives what an association steers to another table, under a new id; makes it main if it was."""
    state = request.state
    association = _find_association(request)
    table = find_table(request)
    vpc = state.vpcs[state.tables[association.table].vpc]
    if table.vpc != vpc.id:
        raise request.refuse(
            "InvalidParameterValue",
            f"route table {table.id} and {association.id} belong to different networks",
        )
    _dissociate(request, association)
    if association.main:
        state.vpcs[vpc.id] = replace(vpc, main_table=table.id)
    answer = _associate(request, replace(association, table=table.id))
    return {"NewAssociationId": answer["AssociationId"], "AssociationState": answer["AssociationState"]}


def _find_association(request: Request) -> Association:
    return request.find(request.state.associations, "InvalidAssociationID", request.given["AssociationId"])


def _filters(request: Request) -> Mapping[str, Values]:
    state = request.state
    return {
        "route-table-id": lambda table: [table.id],
        "vpc-id": lambda table: [table.vpc],
        "association.route-table-association-id": lambda table: [
            association.id for association in associations_of(state, table.id)
        ],
        "association.subnet-id": lambda table: [
            association.subnet for association in associations_of(state, table.id) if association.subnet
        ],
        "association.gateway-id": lambda table: [
            association.gateway for association in associations_of(state, table.id) if association.gateway
        ],
        "association.main": lambda table: [
            str(association.main).lower() for association in associations_of(state, table.id)
        ],
        "route.destination-cidr-block": lambda table: [
            str(route.destination)
            for route in table.routes.values()
            if route.family == 4  # noqa: PLR2004  (the family's own number)
        ],
        "route.state": lambda table: [_state_of(route, state) for route in table.routes.values()],
        "route.origin": lambda table: [route.origin for route in table.routes.values()],
        "route.instance-id": lambda table: [
            shown["InstanceId"]
            for shown in (shown_route(route, request) for route in table.routes.values())
            if "InstanceId" in shown
        ],
        "route.gateway-id": lambda table: [
            route.target.id for route in table.routes.values() if route.target.kind == "GatewayId"
        ],
        "owner-id": lambda _: [request.settings.account],
    }


LARGEST_PAGE = 100
"""Tables per page: MaxResults is 5 to 100 (botocore's model of DescribeRouteTables)."""


@TABLE_OPERATIONS.models("DescribeRouteTables", "RouteTableIds", "Filters", "MaxResults", "NextToken")
def describe_route_tables(request: Request) -> Answer:
    named = request.named("RouteTableIds", request.state.tables, "InvalidRouteTableID")
    shown, more = page(request, select(request, named, _filters(request)), largest=LARGEST_PAGE)
    return {"RouteTables": [shown_table(table, request) for table in shown], **more}


def shown_table(table: Table, request: Request) -> dict[str, Any]:
    """A table as the API shows it."""
    return {
        "RouteTableId": table.id,
        "VpcId": table.vpc,
        "OwnerId": request.settings.account,
        "Associations": [
            _shown_association(association) for association in associations_of(request.state, table.id)
        ],
        "Routes": [shown_route(route, request) for route in table.routes.values()],
        "PropagatingVgws": [],
        "Tags": shown_tags(table.tags),
    }


def _shown_association(association: Association) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "Main": association.main,
        "RouteTableAssociationId": association.id,
        "RouteTableId": association.table,
        "AssociationState": {"State": "associated"},
    }
    if association.subnet:
        shown["SubnetId"] = association.subnet
    if association.gateway:
        shown["GatewayId"] = association.gateway
    return shown


def _state_of(route: Route, state: State) -> str:
    return "blackhole" if state.is_blackhole(route) else "active"


def shown_route(route: Route, request: Request) -> dict[str, Any]:
    """A route as the API shows it: one to an interface also names the instance behind it."""
    shown: dict[str, Any] = {destination_key(route.destination): str(route.destination)}
    shown[route.target.kind] = route.target.id
    interface = request.state.interfaces.get(route.target.id)
    if interface is not None and interface.instance:
        shown["InstanceId"] = interface.instance
        shown["InstanceOwnerId"] = request.settings.account
    return shown | {"Origin": route.origin, "State": _state_of(route, request.state)}


def destination_key(destination: Prefix | str) -> str:
    """The API's word for that kind of destination."""
    if isinstance(destination, str):
        return "DestinationPrefixListId"
    return "DestinationCidrBlock" if destination.version == 4 else "DestinationIpv6CidrBlock"  # noqa: PLR2004  (the family's own number)
