"""CreateRoute, ReplaceRoute and DeleteRoute, with what EC2 refuses.

The model calls them. Sources: the API reference of the three operations and botocore's text of them; "Route
tables" and "Route priority" of the VPC user guide; Amazon VPC quotas.
"""

from __future__ import annotations

from dataclasses import replace

from podway.domain.addressing import Prefix

from podway_lab.region.changes import RouteWritten
from podway_lab.region.network import canonical, counted
from podway_lab.region.operation import Answer, Operations, Request
from podway_lab.region.state import Interface, Route, Table, Target
from podway_lab.region.tables import find_table

ROUTE_OPERATIONS = Operations()

_DESTINATIONS = ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId")
_MODELLED_TARGETS = ("GatewayId", "InstanceId", "NetworkInterfaceId")
_TARGETS = (
    *_MODELLED_TARGETS,
    "CarrierGatewayId",
    "CoreNetworkArn",
    "EgressOnlyInternetGatewayId",
    "LocalGatewayId",
    "LocalTarget",
    "NatGatewayId",
    "OdbNetworkArn",
    "TransitGatewayId",
    "VpcEndpointId",
    "VpcPeeringConnectionId",
)
_FORBIDDEN = (Prefix.parse("169.254.168.0/22"), Prefix.parse("fd00:ec2::/32"))


@ROUTE_OPERATIONS.models("CreateRoute", "RouteTableId", *_DESTINATIONS, *_TARGETS)
def create_route(request: Request) -> Answer:
    table = find_table(request)
    destination = _destination(request)
    target = _target(request, table)
    _check_destination(request, table, destination, target)
    if destination in table.routes:
        raise request.refuse("RouteAlreadyExists", f"The route identified by {destination} already exists.")
    route = Route(destination, target)
    if counted(request.state, table, route.family) >= request.settings.route_quota:
        raise request.refuse("RouteLimitExceeded", "The maximum number of routes has been reached.")
    write(request, table, before=None, after=route)
    return {"Return": True}


@ROUTE_OPERATIONS.models("ReplaceRoute", "RouteTableId", *_DESTINATIONS, *_TARGETS)
def replace_route(request: Request) -> Answer:
    """Replace the route of exactly the destination given: EC2 makes nothing canonical here."""
    table = find_table(request)
    before = _existing(request, table)
    if before is None:
        raise request.refuse(
            "InvalidParameterValue",
            f"There is no route defined for '{_spelt(request)}' in the route table. Use CreateRoute instead.",
        )
    if before.is_local:
        raise request.refuse(
            "InvalidParameterValue",
            f"cannot replace local route {before.destination} in route table {table.id}",
        )
    target = _target(request, table)
    _check_destination(request, table, before.destination, target)
    write(request, table, before=before, after=Route(before.destination, target))
    return {}


@ROUTE_OPERATIONS.models("DeleteRoute", "RouteTableId", *_DESTINATIONS)
def delete_route(request: Request) -> Answer:
    table = find_table(request)
    before = _existing(request, table)
    if before is None:
        raise request.refuse(
            "InvalidRoute.NotFound",
            f"no route with destination-cidr-block {_spelt(request)} in route table {table.id}",
        )
    if before.is_local:
        raise request.refuse(
            "InvalidParameterValue",
            f"cannot remove local route {before.destination} in route table {table.id}",
        )
    write(request, table, before=before, after=None)
    return {}


def write(request: Request, table: Table, *, before: Route | None, after: Route | None) -> None:
    """Put *after* in the place of *before*, and tell the listeners."""
    routes = dict(table.routes)
    if after is not None:
        routes[after.destination] = after
        destination = after.destination
    else:
        assert before is not None
        destination = before.destination
        del routes[destination]
    request.state.tables[table.id] = replace(table, routes=routes)
    request.tell(RouteWritten(table.id, destination, before, after, request.at, request.caller))


def _spelt(request: Request) -> str:
    """The one destination that was given, as it was written."""
    given = [request.given[name] for name in _DESTINATIONS if request.given.get(name)]
    if not given:
        raise request.refuse(
            "MissingParameter",
            "The request must contain exactly one of destinationCidrBlock, "
            "destinationIpv6CidrBlock, or destinationPrefixListId",
        )
    if len(given) > 1:
        raise request.refuse(
            "InvalidParameterCombination", "Only one destination of a route can be specified."
        )
    return str(given[0])


def _destination(request: Request) -> Prefix | str:
    """Canonical: "We modify the specified CIDR block to its canonical form" (CreateRoute)."""
    text = _spelt(request)
    if request.given.get("DestinationPrefixListId"):
        raise request.refuse("InvalidPrefixListID.NotFound", f"The prefix list ID '{text}' does not exist")
    family = 4 if request.given.get("DestinationCidrBlock") else 6
    parameter = "destinationCidrBlock" if family == 4 else "destinationIpv6CidrBlock"  # noqa: PLR2004  (the family's own number)
    prefix = canonical(request, text, parameter)
    if prefix.version != family:
        raise request.refuse(
            "InvalidParameterValue",
            f"Value ({text}) for parameter {parameter} is invalid. This is not a valid CIDR block.",
        )
    return prefix


def _existing(request: Request, table: Table) -> Route | None:
    """The route of exactly that destination: host bits name another one, or none."""
    text = _spelt(request)
    try:
        return table.routes.get(Prefix.parse(text))
    except ValueError:
        return table.routes.get(text)


def _target(request: Request, table: Table) -> Target:
    given = [(kind, request.given[kind]) for kind in _TARGETS if request.given.get(kind)]
    if not given:
        raise request.refuse(
            "MissingParameter", f"The request must contain exactly one of {', '.join(_TARGETS)}"
        )
    if len(given) > 1:
        raise request.refuse("InvalidParameterCombination", "Only one target of a route can be specified.")
    kind, identity = given[0]
    if kind not in _MODELLED_TARGETS:
        raise request.refuse("UnsupportedOperation", f"The lab's region has no targets of kind {kind}")
    if kind == "GatewayId":
        return _gateway(request, table, identity)
    interface = _interface(request, kind, identity)
    if interface.vpc != table.vpc:
        raise request.refuse(
            "InvalidParameterValue",
            f"route table {table.id} and network interface {interface.id} belong to different networks",
        )
    return Target("NetworkInterfaceId", interface.id)


def _gateway(request: Request, table: Table, identity: str) -> Target:
    gateway = request.find(request.state.gateways, "InvalidInternetGatewayID", identity)
    if gateway.vpc != table.vpc:
        raise request.refuse(
            "InvalidParameterValue",
            f"route table {table.id} and network gateway {gateway.id} belong to different networks",
        )
    return Target("GatewayId", gateway.id)


def _interface(request: Request, kind: str, identity: str) -> Interface:
    """The one interface of an instance that is a target: "fails unless exactly one is attached"."""
    state = request.state
    if kind == "NetworkInterfaceId":
        return request.find(state.interfaces, "InvalidNetworkInterfaceID", identity)
    instance = request.find(state.instances, "InvalidInstanceID", identity)
    if len(instance.interfaces) != 1:
        raise request.refuse(
            "InvalidInstanceID",
            f"There are {len(instance.interfaces)} interfaces attached to instance '{identity}'. "
            "Please specify an interface ID for the operation instead.",
        )
    return state.interfaces[instance.interfaces[0]]


def _check_destination(request: Request, table: Table, destination: Prefix | str, target: Target) -> None:
    """Refuse a destination inside a local route, unless it is a whole subnet and leads to an interface."""
    if isinstance(destination, str):
        return
    if any(forbidden.contains(destination) for forbidden in _FORBIDDEN):
        raise request.refuse(
            "InvalidParameterValue", f"The destination {destination} is reserved for AWS services"
        )
    state = request.state
    if not any(block.contains(destination) for block in state.vpcs[table.vpc].cidrs):
        return
    whole = any(subnet.vpc == table.vpc and subnet.cidr == destination for subnet in state.subnets.values())
    if not whole or target.kind != "NetworkInterfaceId":
        raise request.refuse(
            "InvalidParameterValue", "Route destination doesn't match any subnet CIDR blocks"
        )
