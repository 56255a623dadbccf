"""What EC2 answers, as values. Called by `ec2` for every row of a Describe.

EC2 may say less than it does today, and words that came after this code. A row that cannot be understood is
left out and named in a doubt; it never spoils the others. A word that we do not know keeps its text
(`OpenWord.read`), and a destination or target of a kind that we do not know is opaque.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Generic, TypeVar

from podway.domain.addressing import Prefix
from podway.domain.inventory import Instance, TableSeen, VpcSubnet
from podway.domain.model import ForwarderPreference, Route, RouteOrigin, RouteState
from podway.domain.signals import InstanceState

FORWARDER_TAG = "podway:forwarder"
_Row = Mapping[str, Any]
_Value = TypeVar("_Value")
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
_ODD_TARGET = "a kind of target that is unknown"
_GONE = frozenset({"disassociating", "disassociated", "failing", "failed"})
"""States of an association that steers or holds nothing any more; any other may."""


@dataclass(frozen=True, slots=True)
class Read(Generic[_Value]):
    """What could be understood, and a sentence for each row that could not."""

    values: tuple[_Value, ...]
    doubts: tuple[str, ...] = ()


def read_each(rows: Iterable[_Row], name: str, read: Callable[[_Row], _Value]) -> Read[_Value]:
    """Each row by itself; *name* is the field that says which one it is."""
    values, doubts = [], []
    for row in rows:
        try:
            values.append(read(row))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            what = row.get(name, "a row without a name") if isinstance(row, Mapping) else "a row"
            doubts.append(f"{what}: EC2's answer is not understood: {type(error).__name__}: {error}")
    return Read(tuple(values), tuple(doubts))


def read_instance(row: _Row, capacities: Mapping[str, float | None], *, tag: tuple[str, str]) -> Instance:
    """An instance with its primary interface: that of device 0 on network card 0. Raises KeyError.

    *tag* is the key and value by which it shows as a member.
    """
    nothing: _Row = {}
    primary = next((one for one in row.get("NetworkInterfaces", ()) if _is_primary(one)), nothing)
    tags = _tags(row)
    wish = tags.get(FORWARDER_TAG, "")
    return Instance(
        id=row["InstanceId"],
        state=InstanceState.read(row["State"]["Name"]),
        subnet=row.get("SubnetId", ""),
        network_interface=primary.get("NetworkInterfaceId", ""),
        address=_address(primary.get("PrivateIpAddress", "")),
        source_dest_check=primary.get("SourceDestCheck", True),
        forwarder=ForwarderPreference(wish)
        if wish in list(ForwarderPreference)
        else ForwarderPreference.ALLOW,
        spot=row.get("InstanceLifecycle") == "spot",
        capacity=capacities.get(row.get("InstanceType", "")),
        launched=row.get("LaunchTime"),
        vpc=row.get("VpcId", ""),
        tagged=tags.get(tag[0]) == tag[1],
    )


def unsaid_of(row: _Row) -> list[str]:
    """A sentence on what an instance must have and does not show; what is decided without it is safe."""
    state = row.get("State", {}).get("Name")
    if InstanceState.read(str(state)) is InstanceState.TERMINATED:
        return []
    primary: _Row = next((one for one in row.get("NetworkInterfaces", ()) if _is_primary(one)), {})
    missing = [name for name in ("InstanceType", "LaunchTime", "VpcId") if not row.get(name)]
    missing += [name for name in ("SourceDestCheck",) if primary and name not in primary]
    return [f"{row.get('InstanceId')}: EC2 does not show its {', '.join(missing)}"] if missing else []


def odd_words(table: TableSeen) -> list[str]:
    """A sentence on each word of a table's routes that is unknown: such a route is left alone, and counts."""
    odd = {
        f"the {what} {word!r}"
        for route in table.routes
        for what, word, is_odd in (
            ("state", str(route.state), not route.state.is_known),
            ("origin", str(route.origin), not route.origin.is_known),
            ("destination", str(route.destination), _is_odd(route.destination)),
            ("target", route.target, route.target == _ODD_TARGET),
        )
        if is_odd
    }
    return [f"{table.id}: routes show {', '.join(sorted(odd))}, which is unknown"] if odd else []


def _is_odd(destination: Prefix | str) -> bool:
    return isinstance(destination, str) and not destination.startswith("pl-")


def _is_primary(interface: _Row) -> bool:
    """An EFA-only interface has device index 0 too, on a network card of its own, and no address."""
    attachment = interface.get("Attachment", {})
    return bool(attachment.get("DeviceIndex") == 0 and attachment.get("NetworkCardIndex", 0) == 0)


def _address(text: str) -> str:
    """An IPv4 address; empty where there is none: it would go to every agent."""
    try:
        return str(IPv4Address(text))
    except ValueError:
        return ""


def read_capacity(row: _Row) -> tuple[str, float | None]:
    """An instance type, and the baseline bandwidth of its first network card in Gbit/s, if it shows one.

    Raises KeyError, TypeError, ValueError.
    """
    cards = row.get("NetworkInfo", {}).get("NetworkCards") or [{}]
    bandwidth = cards[0].get("BaselineBandwidthInGbps")
    return row["InstanceType"], float(bandwidth) if bandwidth else None


def read_subnet(row: _Row) -> VpcSubnet:
    """A subnet and its ranges; one may have no IPv4 range at all. Raises KeyError, ValueError."""
    blocks = [row["CidrBlock"]] if row.get("CidrBlock") else []
    blocks += _associated(row, "Ipv6CidrBlockAssociationSet", "Ipv6CidrBlock")
    cidrs = tuple(sorted(Prefix.parse(block) for block in blocks))
    return VpcSubnet(row["SubnetId"], cidrs, row.get("AvailabilityZone", ""))


def read_vpc_cidrs(row: _Row) -> tuple[Prefix, ...]:
    """Every range of a VPC, in both families. Raises KeyError, ValueError."""
    blocks = _associated(row, "CidrBlockAssociationSet", "CidrBlock", is_needed=True)
    blocks += _associated(row, "Ipv6CidrBlockAssociationSet", "Ipv6CidrBlock")
    if not blocks:
        raise ValueError("no range is shown")
    return tuple(Prefix.parse(block) for block in blocks)


def _associated(row: _Row, key: str, block: str, *, is_needed: bool = False) -> list[str]:
    rows = row[key] if is_needed else row.get(key, ())
    states = ((one.get(block), one.get(f"{block}State", {}).get("State")) for one in rows)
    return [text for text, state in states if text and state not in _GONE]


def read_table(row: _Row, entries: Mapping[str, int]) -> TableSeen:
    """A route table with all its routes; *entries* says what prefix lists count as.

    Raises KeyError, and ValueError where the VPC's own route is missing: no table is without it.
    """
    if not any(
        one.get("GatewayId") == "local" or one.get("Origin") == "CreateRouteTable" for one in row["Routes"]
    ):
        raise ValueError("the local route is left out")
    associations = [
        one
        for one in row.get("Associations", ())
        if one.get("AssociationState", {}).get("State") not in _GONE
    ]
    return TableSeen(
        id=row["RouteTableId"],
        vpc=row.get("VpcId", ""),
        routes=tuple(_read_route(one, entries) for one in row["Routes"]),
        subnets=tuple(sorted(one["SubnetId"] for one in associations if one.get("SubnetId"))),
        is_main=any(one.get("Main") for one in associations),
        is_gateways=any(one.get("GatewayId") for one in associations),
        tags=_tags(row),
    )


def _read_route(row: _Row, entries: Mapping[str, int]) -> Route:
    target = next((row[key] for key in _TARGETS if row.get(key)), _ODD_TARGET)
    destination = _destination(row)
    return Route(
        destination=destination,
        target=target,
        state=RouteState.read(row.get("State", "active")),
        origin=RouteOrigin.read(row.get("Origin", "")),
        entries=entries.get(destination, 1) if isinstance(destination, str) else 1,
    )


def _destination(row: _Row) -> Prefix | str:
    """A prefix, or text that is opaque to us: a prefix list, or whatever AWS may add."""
    text = row.get("DestinationCidrBlock") or row.get("DestinationIpv6CidrBlock")
    if text:
        try:
            return Prefix.parse(text)
        except ValueError:
            return str(text)
    unknown = (str(row[key]) for key in sorted(row) if key.startswith("Destination") and row[key])
    return str(row.get("DestinationPrefixListId") or next(unknown, "a kind of destination that is unknown"))


def prefix_lists(rows: Iterable[_Row]) -> list[str]:
    """The prefix lists that routes of these tables lead to, by id."""
    routes = (one for row in rows for one in row.get("Routes", ()))
    return sorted({one["DestinationPrefixListId"] for one in routes if one.get("DestinationPrefixListId")})


def _tags(row: _Row) -> dict[str, str]:
    return {tag["Key"]: tag.get("Value", "") for tag in row.get("Tags", ())}
