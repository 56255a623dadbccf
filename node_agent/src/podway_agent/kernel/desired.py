"""From a snapshot to the routes that this node's kernel should hold. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from podway.domain.addressing import Prefix
from podway.wire.snapshot import Snapshot

from podway_agent.kernel.membership import own_blocks
from podway_agent.kernel.routing import UNICAST_METRIC, UNREACHABLE_METRIC, Key, Kind, Target


class Position(NamedTuple):
    """Where this node stands in its subnet."""

    instance: str
    link: int
    """Index of the interface that holds its primary address."""
    routers: dict[int, tuple[int, ...]]
    """Per address family the VPC router's addresses; the first is the gateway of what another subnet owns."""
    refuses: bool = False
    """Whether our nftables table stands: it refuses what comes in for an address that nobody here knows."""


@dataclass(frozen=True)
class DesiredRoutes:
    """What should be, and what cannot be."""

    routes: dict[Key, Target]
    impossible: tuple[str, ...] = ()
    """One sentence per destination for which no route can be made."""


def desired_routes(snapshot: Snapshot, position: Position) -> DesiredRoutes:
    """Siblings' blocks by their owner, others' space by the VPC router, the rest unreachable.

    A node that is gone has no route: its blocks answer ``unreachable`` at once, from everywhere.
    What of the rest the subnet's own route table leads here has no route either, unless this node forwards:
    it leaves for the VPC router, which knows a forwarder that knows better; our nftables table refuses it
    where it comes in.
    The node's own blocks are unreachable too: each pod in them has a longer route of its own.
    """
    routes: dict[Key, Target] = {}
    impossible: list[str] = []

    def lead(prefixes: Iterable[Prefix], gateway: tuple[int, int] | None, whose: str) -> None:
        for prefix in prefixes:
            if gateway is None or gateway[0] != prefix.version:
                impossible.append(f"{prefix} of {whose} has no gateway of its address family")
                continue
            key = Key(prefix, UNICAST_METRIC[prefix.version])
            routes[key] = Target(Kind.UNICAST, gateway[1], position.link, onlink=True)

    for prefix in snapshot.elsewhere:
        routers = position.routers.get(prefix.version)
        lead((prefix,), None if routers is None else (prefix.version, routers[0]), "another subnet")
    for member in sorted(snapshot.members, key=lambda member: member.id):
        if member.id != position.instance and member.state != "gone":
            lead((block.cidr for block in member.blocks), _numbers(member.address), member.id)
    for prefix in (*_unreachable(snapshot, position), *own_blocks(snapshot, position.instance)):
        routes[Key(prefix, UNREACHABLE_METRIC)] = Target(Kind.UNREACHABLE)
    return DesiredRoutes(routes, tuple(impossible))


def _unreachable(snapshot: Snapshot, position: Position) -> list[Prefix]:
    """What of this subnet's space is refused wherever it comes from, and not only where it comes in.

    Our table knows by the VPC router's address who is unknown. What a forwarder sends there may come back,
    and what it itself sent would then be dropped in silence: the kernel takes its source for a forgery.
    """
    leaves = set(snapshot.led_here)
    if not position.refuses or position.instance in snapshot.forwarders:
        leaves = set()
    return [
        prefix
        for prefix in snapshot.reachable_here
        if prefix not in leaves or prefix.version not in position.routers
    ]


def _numbers(address: str) -> tuple[int, int] | None:
    """Family and value of *address*; None when it is no address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    return parsed.version, int(parsed)


def vpc_router(snapshot: Snapshot, address: str) -> int | None:
    """The VPC router's address in the subnet range around *address*: its base plus one.

    AWS reserves it there in every IPv4 subnet range (VPC user guide, "Subnet CIDR blocks").
    """
    own = Prefix.of_address(address)
    around = (cidr for cidr in snapshot.subnet_cidrs if cidr.version == 4 and cidr.contains(own))  # noqa: PLR2004  (the family's own number)
    found = next(around, None)
    return None if found is None else found.value + 1
