"""What exists in the region: frozen values in the dictionaries of a `State`.

The operations read and replace them. A change replaces a value, so a shallow copy of the dictionaries is a
snapshot: the region answers a stale read from one, and a listener may keep what it saw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from podway.domain.addressing import Prefix

Tags = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Vpc:
    id: str
    cidrs: tuple[Prefix, ...]
    """Every CIDR block, the first one is the primary."""
    main_table: str = ""
    tags: Tags = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subnet:
    id: str
    vpc: str
    cidr: Prefix
    availability_zone: str
    tags: Tags = field(default_factory=dict)
    ipv6_only: bool = False
    """EC2 shows no CidrBlock of it, and *cidr* is its IPv6 range."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """An internet gateway; detached while *vpc* is empty."""

    id: str
    vpc: str = ""
    tags: Tags = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Interface:
    """An elastic network interface; *instance* is empty while it is not attached."""

    id: str
    vpc: str
    subnet: str
    address: str
    mac: str
    created: datetime
    instance: str = ""
    attachment: str = ""
    source_dest_check: bool = True
    delete_on_termination: bool = True
    network_card: int = 0
    """A second card's interface has device index 0 there too; with no address it is EFA-only."""
    tags: Tags = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance. Its address and its source/dest check are its interface's: one truth."""

    id: str
    reservation: str
    vpc: str
    subnet: str
    availability_zone: str
    type: str
    image: str
    state: str
    launched: datetime
    interfaces: tuple[str, ...]
    profile: str = ""
    """Name of the instance profile, empty when there is none."""
    spot: bool = False
    client_token: str = ""
    due: datetime | None = None
    """When the present state turns into the next one by itself."""
    reason: str = ""
    terminated: datetime | None = None
    tags: Tags = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a route leads, in the API's word for that kind (``NetworkInterfaceId``, ``GatewayId`` …)."""

    kind: str
    id: str


LOCAL = Target("GatewayId", "local")


@dataclass(frozen=True, slots=True)
class Route:
    """An entry of a route table; its state is computed from its target whenever it is shown."""

    destination: Prefix | str
    target: Target
    origin: str = "CreateRoute"

    @property
    def is_local(self) -> bool:
        return self.target == LOCAL

    @property
    def counts(self) -> bool:
        """Whether the quota counts it: "non-propagated routes" (Amazon VPC quotas, L-93826ACB)."""
        return self.origin not in {"EnableVgwRoutePropagation", "Advertisement"}

    @property
    def family(self) -> int:
        return 4 if isinstance(self.destination, str) else self.destination.version


@dataclass(frozen=True, slots=True)
class PrefixList:
    """A managed prefix list: a customer's counts in a route with its *max_entries*, AWS's own has none."""

    id: str
    max_entries: int | None = None
    tags: Tags = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Association:
    """What a route table steers: the VPC by default (*main*), one subnet, or one gateway."""

    id: str
    table: str
    main: bool = False
    subnet: str = ""
    gateway: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    id: str
    vpc: str
    routes: Mapping[Prefix | str, Route]
    tags: Tags = field(default_factory=dict)


@dataclass
class State:
    """Everything in the region, by id."""

    vpcs: dict[str, Vpc] = field(default_factory=dict)
    subnets: dict[str, Subnet] = field(default_factory=dict)
    gateways: dict[str, Gateway] = field(default_factory=dict)
    interfaces: dict[str, Interface] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    associations: dict[str, Association] = field(default_factory=dict)
    prefix_lists: dict[str, PrefixList] = field(default_factory=dict)
    restless: frozenset[str] = frozenset()
    """Instances that will change by themselves."""
    disrupted: frozenset[str] = frozenset()
    """Availability Zones of which EC2 can say nothing just now."""
    unseen: frozenset[str] = frozenset()
    """Instances that exist and that EC2 lists nowhere and calls NotFound; ``*`` stands for all."""
    made: int = 0

    def snapshot(self) -> State:
        """A copy that later changes do not touch."""
        return State(
            vpcs=dict(self.vpcs),
            subnets=dict(self.subnets),
            gateways=dict(self.gateways),
            interfaces=dict(self.interfaces),
            instances=dict(self.instances),
            tables=dict(self.tables),
            associations=dict(self.associations),
            prefix_lists=dict(self.prefix_lists),
            restless=self.restless,
            disrupted=self.disrupted,
            unseen=self.unseen,
            made=self.made,
        )

    def new_id(self, kind: str) -> str:
        """An id that looks like AWS's; the same history gives the same ids."""
        self.made += 1
        return f"{kind}-0{hashlib.sha256(f'{kind}/{self.made}'.encode()).hexdigest()[:16]}"

    def table_of(self, subnet: str) -> Table:
        """The table that steers *subnet*: its explicit association, else the VPC's main table."""
        for association in self.associations.values():
            if association.subnet == subnet:
                return self.tables[association.table]
        return self.tables[self.vpcs[self.subnets[subnet].vpc].main_table]

    def subnets_of(self, table: str) -> tuple[str, ...]:
        """Every subnet that *table* steers, implicit ones too; sorted."""
        return tuple(sorted(subnet for subnet in self.subnets if self.table_of(subnet).id == table))

    def is_blackhole(self, route: Route) -> bool:
        """Whether nothing receives what *route* matches.

        EC2 does not say when a stopping instance's route turns: here once it has stopped.
        """
        if route.target.kind == "GatewayId":
            gateway = self.gateways.get(route.target.id)
            return not route.is_local and route.counts and (gateway is None or not gateway.vpc)
        if route.target.kind != "NetworkInterfaceId":
            return False
        interface = self.interfaces.get(route.target.id)
        instance = self.instances.get(interface.instance) if interface else None
        return instance is None or instance.state in {"stopped", "terminated"}
