"""What EC2 shows of instances and their VPC, and what the store remembers of nodes and released space.

The EC2 adapter and the store make these values; the use cases hand them to the rooms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from podway.domain.addressing import Prefix
from podway.domain.model import ForwarderPreference, Route, RouteTable
from podway.domain.signals import InstanceState


@dataclass(frozen=True, slots=True)
class Instance:
    """A tagged instance as EC2 describes it; ``network_interface`` is its primary one."""

    id: str
    state: InstanceState
    subnet: str
    network_interface: str
    address: str
    source_dest_check: bool = True
    forwarder: ForwarderPreference = ForwarderPreference.ALLOW
    spot: bool = False
    capacity: float | None = None
    """What it can forward, in Gbit/s; None where EC2 does not say."""
    launched: datetime | None = None
    """When it was started last."""
    vpc: str = ""
    """Empty once it is terminated."""
    tagged: bool = True
    """Whether it carries the cluster's tag: only then is it a member by what EC2 shows."""


@dataclass(frozen=True, slots=True)
class FoundById:
    """What EC2 says of members that its list left out, asked by their ids; of the rest it says nothing."""

    instances: tuple[Instance, ...] = ()
    not_found: frozenset[str] = frozenset()
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VpcSubnet:
    """A subnet of the VPC as EC2 describes it."""

    id: str
    cidrs: tuple[Prefix, ...]
    availability_zone: str = ""


@dataclass(frozen=True, slots=True)
class TableSeen:
    """A route table of the VPC as EC2 describes it; *subnets* are those that it names."""

    id: str
    vpc: str
    routes: tuple[Route, ...]
    subnets: tuple[str, ...] = ()
    is_main: bool = False
    """Steers every subnet that no table names."""
    is_gateways: bool = False
    """Steers what enters by a gateway."""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Survey:
    """What EC2 says, read once per run: members by tag, their VPC, its tables (all routes foreign)."""

    instances: tuple[Instance, ...]
    subnets: tuple[VpcSubnet, ...]
    vpc_cidrs: tuple[Prefix, ...]
    route_tables: tuple[RouteTable, ...]
    excluded_tables: Mapping[str, str] = field(default_factory=dict)
    """Tables of members' subnets that cannot be managed, and why."""
    untagged_tables: tuple[str, ...] = ()
    """Managed tables without the cluster's tag: the roles may not write there, and failovers do not look."""
    marks: Mapping[str, str] = field(default_factory=dict)
    """The stack that has marked a managed table as its own, by table."""
    doubts: tuple[str, ...] = ()
    """What EC2 said and we do not understand, or did not say: a sentence each."""
    is_listed: bool = True
    """Whether EC2 listed the members; during a zone's disruption it does not."""
    shown_tables: frozenset[str] = frozenset()
    """Every table of the VPC in EC2's answer, ours to manage or not, also one that we cannot read."""
    vpc: str = ""

    def not_shown(self, tables: Iterable[str]) -> tuple[str, ...]:
        """Those of *tables* that EC2 did not show at all: deleted, or left out of its answer."""
        shown = {one.id for one in self.route_tables} | self.excluded_tables.keys() | self.shown_tables
        return tuple(sorted(set(tables) - shown))


@dataclass(frozen=True, slots=True)
class NotListed:
    """What EC2 says of recorded tables, or of members' subnets, that its list did not show, asked by id."""

    left_out: tuple[str, ...] = ()
    """They exist, and should have been in the list."""
    unknown: tuple[str, ...] = ()
    """EC2 neither showed them nor called them unknown."""
    why: str = ""
    """What EC2 said instead, if anything."""


@dataclass(frozen=True, slots=True)
class HeldBlock:
    """A block of a node; ``since`` is the generation of the subnet's map in which it appeared.

    ``ready``: every table covers it and its forwarders know it, so pods may use it.
    """

    prefix: Prefix
    since: int
    ready: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """What we remember of a node.

    ``gone_at`` starts the quarantine of its blocks. ``former_interfaces`` are those that it had before and
    that managed routes still lead to.
    """

    id: str
    subnet: str
    network_interface: str
    address: str
    blocks: tuple[HeldBlock, ...] = ()
    gone_at: datetime | None = None
    former_interfaces: tuple[str, ...] = ()
    missing_since: datetime | None = None
    """Since when EC2 says NotFound of it; None while it does not."""
    is_given_up: bool = False
    """Whether an operator has said that it has ended, although EC2 does not."""
    capacity: float = 1.0
    """What it can forward, in Gbit/s, as EC2 said last."""

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Its interface and the former ones: a recorded route to any of them is ours."""
        return (self.network_interface, *self.former_interfaces)

    @property
    def prefixes(self) -> tuple[Prefix, ...]:
        """The prefixes of its blocks."""
        return tuple(block.prefix for block in self.blocks)


@dataclass(frozen=True, slots=True)
class Epoch:
    """One life of the store. Generations and acknowledgements count within one epoch only."""

    number: int = 1
    table_id: str = ""
    """The table's TableId; empty while nobody could read it. A table restored from a backup has another."""
    began: datetime | None = None
    """None: before every instance (a store from before there were epochs)."""
    is_taken_up: bool = True
    """Whether its first run is over: what the route tables show is recorded."""
    is_inherited: bool = False
    """Whether nodes held blocks before it began, which the store may not know."""


@dataclass(frozen=True, slots=True, order=True)
class ReleasedSpace:
    """A prefix that *subnet* released. Nobody else may have it until it is reclaimed (``ipam.reclaim``).

    Its quarantine starts at ``gone_at``, when no route of the subnet led there any more and the subnet's
    map did not name it. ``generation`` is that map's: the kernels of the subnet must hold it.
    """

    prefix: Prefix
    subnet: str
    gone_at: datetime | None = None
    generation: int = 0
