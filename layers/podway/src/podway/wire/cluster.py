"""The cluster document: what an operator writes for the offline commands (contract: cluster/v1).

Called by `cli.documents`. `parse_cluster` refuses a bad document as a whole, and names the field of every
fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool, StrictStr, ValidationError

from podway.domain.addressing import Prefix
from podway.domain.model import (
    DEFAULT_QUOTA,
    DEFAULT_RESERVE,
    Cluster,
    ForwarderPreference,
    Health,
    Node,
    NodeState,
    Route,
    RouteOrigin,
    RouteState,
    RouteTable,
    Subnet,
)
from podway.wire.cluster_draft import ClusterDraft, Fault, canonical
from podway.wire.cluster_rules import rule_faults
from podway.wire.values import Document

PREFIX_LIST = "pl-"


class DocumentRefusedError(ValueError):
    """A document with faults, each a line ``field: what is wrong``."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


def _canonical(value: Any) -> Prefix:
    if not isinstance(value, str):
        raise ValueError(f"expected a CIDR as text, not {_kind(value)}")  # noqa: TRY004  (pydantic wants ValueError)
    return canonical(value)


def _destination(value: Any) -> Prefix | str:
    return value if isinstance(value, str) and value.startswith(PREFIX_LIST) else _canonical(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"expected a number, not {_kind(value)}")  # noqa: TRY004  (pydantic wants ValueError)
    try:
        return float(value)
    except OverflowError:
        raise ValueError("the number is too large") from None


def _whole(value: Any) -> int:
    if _number(value) % 1:
        raise ValueError(f"expected a whole number, not {value}")
    return int(value)


def _kind(value: Any) -> str:
    names = {type(None): "nothing", bool: "true or false", dict: "a mapping", list: "a list", str: "text"}
    return names.get(type(value), "a number" if isinstance(value, (int, float)) else type(value).__name__)


CanonicalCidr = Annotated[Prefix, BeforeValidator(_canonical)]
Destination = Annotated[Prefix | str, BeforeValidator(_destination)]
Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Whole = Annotated[int, BeforeValidator(_whole)]


class SubnetEntry(Document):
    id: StrictStr
    supernets: list[CanonicalCidr]
    availability_zone: StrictStr = ""


class NodeEntry(Document):
    id: StrictStr
    subnet: StrictStr
    network_interface: StrictStr
    blocks: list[CanonicalCidr]
    state: NodeState = NodeState.READY
    health: Health = Health.HEALTHY
    weight: Annotated[Number, Field(ge=0)] = 1.0
    capacity: Annotated[Number, Field(gt=0)] = 1.0
    forwarder: ForwarderPreference = ForwarderPreference.ALLOW


class RouteEntry(Document):
    destination: Destination
    target: StrictStr
    state: RouteState = RouteState.ACTIVE
    origin: RouteOrigin = RouteOrigin.CREATE_ROUTE
    owned: StrictBool = False


class RouteTableEntry(Document):
    id: StrictStr
    routes: list[RouteEntry]
    quota: Annotated[Whole, Field(ge=1)] = DEFAULT_QUOTA
    reserve: Annotated[Whole, Field(ge=0)] = DEFAULT_RESERVE
    subnets: list[StrictStr] = Field(default_factory=list)


class ClusterDocument(Document):
    """The whole document, field by field."""

    cluster: Annotated[StrictStr, Field(min_length=1, max_length=63)]
    pod_cidrs: Annotated[list[CanonicalCidr], Field(min_length=1, max_length=2)]
    subnets: list[SubnetEntry]
    nodes: list[NodeEntry]
    route_tables: list[RouteTableEntry]
    vpc_cidrs: list[CanonicalCidr] = Field(default_factory=list)

    def facts(self) -> Cluster:
        """The document as the values that the planner works on."""
        return Cluster(
            name=self.cluster,
            pod_cidrs=tuple(self.pod_cidrs),
            subnets=tuple(Subnet(s.id, tuple(s.supernets), s.availability_zone) for s in self.subnets),
            nodes=tuple(_node(entry) for entry in self.nodes),
            route_tables=tuple(_table(entry) for entry in self.route_tables),
            vpc_cidrs=tuple(self.vpc_cidrs),
        )


def _node(entry: NodeEntry) -> Node:
    return Node(
        id=entry.id,
        subnet=entry.subnet,
        network_interface=entry.network_interface,
        blocks=tuple(entry.blocks),
        state=entry.state,
        health=entry.health,
        weight=entry.weight,
        capacity=entry.capacity,
        forwarder=entry.forwarder,
    )


def _table(entry: RouteTableEntry) -> RouteTable:
    routes = tuple(Route(r.destination, r.target, r.state, r.origin, r.owned) for r in entry.routes)
    return RouteTable(entry.id, routes, tuple(entry.subnets), entry.quota, entry.reserve)


def parse_cluster(document: object) -> Cluster:
    """The cluster that a parsed YAML or JSON document describes.

    Raises DocumentRefusedError with one line per fault, of the schema and of the rules beyond it, in
    the order of the document.
    """
    if not isinstance(document, dict):
        raise DocumentRefusedError([f"document: expected a mapping, not {_kind(document)}"])
    draft = ClusterDraft(document)
    cluster: Cluster | None = None
    faults: list[Fault] = []
    try:
        cluster = ClusterDocument.model_validate(document).facts()
    except ValidationError as error:
        faults += [_fault(one) for one in error.errors()]
    faults += rule_faults(draft, {str(fault.place[0]) for fault in faults})
    if cluster is None or faults:
        ordered = sorted(faults, key=lambda fault: (draft.position(fault.place), fault))
        raise DocumentRefusedError([str(fault) for fault in dict.fromkeys(ordered)])
    return cluster


WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not a field of the cluster document",
    "invalid_key": "is not a field of the cluster document",
    "list_type": "must be a list",
    "model_type": "must be a mapping",
    "bool_type": "must be true or false",
    "finite_number": "must be a finite number",
}
"""Our words for pydantic's kinds of fault. The others keep pydantic's message."""


def _fault(error: Any) -> Fault:
    message = WORDS.get(error["type"], str(error["msg"]).removeprefix("Value error, "))
    if error["type"] == "string_type":
        message = f"must be text, not {_kind(error['input'])}"
        if error["input"] is not None and not isinstance(error["input"], dict | list):
            message += "; put it in quotes"  # YAML takes 123, on and 2026-01-01 for something else
    return Fault(tuple(error["loc"]), message)
