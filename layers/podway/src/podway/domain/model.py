"""The facts a plan is made from, as frozen values.

Reconcile builds them from EC2 and the store, ``wire.cluster`` from a cluster document, which they mirror
field by field. So one planner serves both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from podway.domain.addressing import Prefix
from podway.domain.signals import OpenWord


class NodeState(StrEnum):
    """Where a node is in its life. Its blocks must be reachable while it is ``ready`` or ``draining``."""

    JOINING = "joining"
    READY = "ready"
    DRAINING = "draining"
    GONE = "gone"


class Health(StrEnum):
    """The verdict on a node."""

    HEALTHY = "healthy"
    SUSPECT = "suspect"
    FAILED = "failed"


class ForwarderPreference(StrEnum):
    """Whether the operator lets the node relay for others (tag ``podway:forwarder``)."""

    ALLOW = "allow"
    PREFER = "prefer"
    NEVER = "never"


class RouteState(OpenWord):
    """EC2's word on a route."""

    ACTIVE = "active"
    BLACKHOLE = "blackhole"
    FILTERED = "filtered"


class RouteOrigin(OpenWord):
    """Who made a route; propagated and advertised ones do not count against the quota."""

    CREATE_ROUTE_TABLE = "CreateRouteTable"
    CREATE_ROUTE = "CreateRoute"
    PROPAGATED = "EnableVgwRoutePropagation"
    ADVERTISED = "Advertisement"


_UNCOUNTED = frozenset({RouteOrigin.PROPAGATED, RouteOrigin.ADVERTISED})
"""Origins whose routes take no slot of the quota (Amazon VPC quotas: "non-propagated routes")."""

DEFAULT_QUOTA = 500
"""Routes per table and family unless raised; at most 1,000 (Amazon VPC quotas, L-93826ACB)."""

DEFAULT_RESERVE = 2
"""Slots kept free for transitions and for routes made by hand."""


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet and the supernets it owns; no supernets means an adopted one (blocks anywhere)."""

    id: str
    supernets: tuple[Prefix, ...]
    availability_zone: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A node, its blocks, and whether it may forward.

    ``weight`` is the node's traffic share (spread evenly over its blocks), ``capacity`` its
    forwarding capacity in the same relative unit for all nodes. ``behind`` are ready blocks
    of its subnet that its agent has not acknowledged yet: it ranks last for routes over them.
    """

    id: str
    subnet: str
    network_interface: str
    blocks: tuple[Prefix, ...]
    state: NodeState = NodeState.READY
    health: Health = Health.HEALTHY
    weight: float = 1.0
    capacity: float = 1.0
    forwarder: ForwarderPreference = ForwarderPreference.ALLOW
    spot: bool = False
    behind: frozenset[Prefix] = frozenset()


@dataclass(frozen=True, slots=True)
class Route:
    """An entry of a route table.

    ``destination`` is text for a prefix list (``pl-…``) and for a kind of destination that we do not know.
    """

    destination: Prefix | str
    target: str
    state: RouteState = RouteState.ACTIVE
    origin: RouteOrigin = RouteOrigin.CREATE_ROUTE
    owned: bool = False
    entries: int = 1
    """What the quota counts it as: a customer-managed prefix list as its MaxEntries."""

    @property
    def slots(self) -> int:
        """What it takes of the quota; an origin that we do not know takes as much as a route of ours."""
        return 0 if self.origin in _UNCOUNTED else self.entries


@dataclass(frozen=True, slots=True)
class RouteTable:
    """A route table, the subnets whose traffic it steers, and its present routes."""

    id: str
    routes: tuple[Route, ...]
    subnets: tuple[str, ...] = ()
    quota: int = DEFAULT_QUOTA
    reserve: int = DEFAULT_RESERVE


@dataclass(frozen=True, slots=True)
class Cluster:
    """All facts of one cluster."""

    name: str
    pod_cidrs: tuple[Prefix, ...]
    subnets: tuple[Subnet, ...]
    nodes: tuple[Node, ...]
    route_tables: tuple[RouteTable, ...]
    vpc_cidrs: tuple[Prefix, ...] = ()
    released: tuple[Prefix, ...] = ()
    """Released space that is not reclaimed yet: no route may cover it."""


class RouteKind(StrEnum):
    """Direct: every required block it matches is its next hop's own, at least one."""

    DIRECT = "direct"
    AGGREGATED = "aggregated"


@dataclass(frozen=True, slots=True)
class PlannedRoute:
    """A desired managed route, its standbys (node ids, best first) and why it is there."""

    destination: Prefix
    next_hop: str
    network_interface: str
    kind: RouteKind
    standbys: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Create:
    """Make a route that is not there."""

    destination: Prefix
    network_interface: str


@dataclass(frozen=True, slots=True)
class Replace:
    """Give a route another target; *was* is the target it is expected to have now."""

    destination: Prefix
    network_interface: str
    was: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a route; *was* is the target it is expected to have now."""

    destination: Prefix
    was: str


Step = Create | Replace | Delete


def apply_step(table: RouteTable, step: Step) -> RouteTable:
    """The table after *step* was carried out."""
    routes = tuple(route for route in table.routes if route.destination != step.destination)
    if not isinstance(step, Delete):
        routes = (*routes, Route(step.destination, step.network_interface, owned=True))
    return replace(table, routes=routes)


def describe(step: Step) -> str:
    """The step in words."""
    match step:
        case Create():
            return f"created {step.destination} via {step.network_interface}"
        case Replace():
            return f"moved {step.destination} from {step.was} to {step.network_interface}"
        case Delete():
            return f"deleted {step.destination}, which went via {step.was}"


def counted(count: int, one: str) -> str:
    """How many there are, in words: 1 route, 2 routes."""
    return f"{count} {one if count == 1 else one + 's'}"


@dataclass(frozen=True, slots=True)
class Hole:
    """A required block that no route of the plan covers, and why."""

    block: Prefix
    reason: str


@dataclass(frozen=True, slots=True)
class TablePlan:
    """What one table should hold and how to get there, one API call per step."""

    table: str
    budget: Mapping[int, int]
    """Managed routes allowed, per address family (4, 6)."""
    routes: tuple[PlannedRoute, ...]
    steps: tuple[Step, ...]
    direct_weight: float
    total_weight: float
    max_relayed_load: float
    holes: tuple[Hole, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan for a whole cluster."""

    cluster: str
    route_tables: tuple[TablePlan, ...]
    warnings: tuple[str, ...] = field(default=())


class StayReason(StrEnum):
    """Why a route of the card stays where it is."""

    MOVED_ALREADY = "it no longer points at the failed node"
    NOBODY = "no standby is eligible"
    FROZEN = "more than half of the subnet fails by indirect evidence"
    CLUSTER_FROZEN = "more than half of the cluster fails by indirect evidence"
    OUTDATED = "its source has said otherwise since"
    UNSEEN = "EC2 does not show its table"
