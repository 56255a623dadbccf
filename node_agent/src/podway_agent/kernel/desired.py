"""From a snapshot to the routes that this node's kernel should hold. Pure. Dataplane and doctor ask."""

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
    """What routes depend on beside the snapshot: this node, its interface, and who routes for it."""

    instance: str
    link: int
    """Index of the interface that holds its primary address."""
    routers: dict[int, tuple[int, ...]]
    """Per address family the VPC router's addresses; the first is the gateway of what another subnet owns."""
    refuses: bool = False
    """Whether our nftables table is installed, which refuses what comes in for unknown addresses."""


@dataclass(frozen=True)
class DesiredRoutes:
    """The routes that the kernel should hold, and those that cannot be made."""

    routes: dict[Key, Target]
    impossible: tuple[str, ...] = ()
    """One sentence per destination for which no route can be made."""


def desired_routes(snapshot: Snapshot, position: Position) -> DesiredRoutes:
    """Siblings' blocks by their owner, others' space by the VPC router, the rest unreachable.

    - A node that is gone has no route. Its blocks are part of the rest, and answer ``unreachable`` at once.
    - The node's own blocks are ``unreachable``. Each pod in them has a longer route of its own.
    - Parts of the rest may have no route at all: `_unreachable` says which.
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
    """The prefixes of this subnet's space that are ``unreachable`` in the main table.

    A prefix that the subnet's own route table leads here needs no route of ours. What this node sends there
    leaves for the VPC router, and reaches a forwarder that knows every block. What comes in for an address
    that nobody here knows is refused by our nftables table.
    Such a prefix is ``unreachable`` all the same if any holds:
    (1) Our table is not installed.
    (2) The VPC router's address is not known: our table tells by it what is about to leave.
    (3) This node forwards. What it sends to the VPC router may come back to it, and the kernel drops that in
    silence: it takes a source address of its own for a forgery.
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
