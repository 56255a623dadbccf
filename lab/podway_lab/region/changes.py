"""What happened in the region, as values.

The model tells every listener of each, in order, within the call that makes it: mirror, pump and referee
listen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from podway.domain.addressing import Prefix

from podway_lab.region.state import Route


@dataclass(frozen=True, slots=True)
class InstanceStateChanged:
    """*previous* is empty for a new instance."""

    instance: str
    previous: str
    state: str
    at: datetime
    caller: str


@dataclass(frozen=True, slots=True)
class RouteWritten:
    """A route was created (*before* is None), replaced, or deleted (*after* is None)."""

    table: str
    destination: Prefix | str
    before: Route | None
    after: Route | None
    at: datetime
    caller: str

    @property
    def action(self) -> str:
        if self.before is None:
            return "create"
        return "delete" if self.after is None else "replace"


@dataclass(frozen=True, slots=True)
class SourceDestCheckChanged:
    interface: str
    instance: str
    enabled: bool
    at: datetime
    caller: str


@dataclass(frozen=True, slots=True)
class InterfaceCreated:
    interface: str
    instance: str
    subnet: str
    address: str
    mac: str
    at: datetime
    caller: str


@dataclass(frozen=True, slots=True)
class InterfaceDeleted:
    interface: str
    instance: str
    at: datetime
    caller: str


@dataclass(frozen=True, slots=True)
class TableCreated:
    table: str
    vpc: str
    at: datetime
    caller: str


@dataclass(frozen=True, slots=True)
class TableDeleted:
    table: str
    vpc: str
    at: datetime
    caller: str


@dataclass(frozen=True, slots=True)
class TableAssociated:
    """A table now steers a subnet, a gateway, or (both empty) the VPC's other subnets."""

    table: str
    association: str
    subnet: str
    gateway: str
    at: datetime
    caller: str


@dataclass(frozen=True, slots=True)
class TableDisassociated:
    """A table no longer steers that subnet, that gateway, or the VPC's other subnets."""

    table: str
    association: str
    subnet: str
    gateway: str
    at: datetime
    caller: str


@dataclass(frozen=True, slots=True)
class SubnetCreated:
    subnet: str
    vpc: str
    cidr: Prefix
    at: datetime
    caller: str


@dataclass(frozen=True, slots=True)
class VpcCidrAssociated:
    vpc: str
    cidr: Prefix
    at: datetime
    caller: str


@dataclass(frozen=True, slots=True)
class TagsChanged:
    resource: str
    tags: Mapping[str, str]
    at: datetime
    caller: str


@dataclass(frozen=True, slots=True)
class AlarmStateChanged:
    """CloudWatch moved an alarm from one state to another."""

    alarm: str
    previous: str
    previous_at: datetime
    state: str
    reason: str
    reason_data: str
    metric: str
    namespace: str
    dimensions: Mapping[str, str]
    period: int
    statistic: str
    description: str
    at: datetime
    caller: str


@dataclass(frozen=True, slots=True)
class EventPut:
    """Somebody put an event of their own on the bus (PutEvents); *detail* is JSON."""

    source: str
    detail_type: str
    detail: str
    at: datetime
    caller: str


Change = (
    InstanceStateChanged
    | RouteWritten
    | SourceDestCheckChanged
    | InterfaceCreated
    | InterfaceDeleted
    | TableCreated
    | TableDeleted
    | TableAssociated
    | TableDisassociated
    | SubnetCreated
    | VpcCidrAssociated
    | TagsChanged
    | AlarmStateChanged
    | EventPut
)
