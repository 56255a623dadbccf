"""Routes, links and addresses of the kernel as values, and how netlink spells them. Ground of the room."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from podway.domain.addressing import WIDTH, Prefix

from podway_agent.kernel import netlink
from podway_agent.kernel.netlink import KernelRefused, Message, Netlink, Request

PROTOCOL = 112
"""Marks our routes. Free in iproute2's rt_protos, and not used by FRR, BIRD, Cilium or Calico."""
MAIN_TABLE = 254
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
VERSION = {family: version for version, family in FAMILY.items()}
UNICAST_METRIC = {4: 0, 6: 1024}
"""The kernel's own default for each family."""
UNREACHABLE_METRIC = 4278198272
"""Worse than any route that leads somewhere (0xff002000)."""

RTMSG = struct.Struct("=BBBBBBBBI")
IFINFOMSG = struct.Struct("=BxHiII")
IFADDRMSG = struct.Struct("=BBBBI")
U32 = struct.Struct("=I")
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY = 1, 4, 5, 6
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU = 1, 3, 4
IFA_ADDRESS, IFA_LOCAL = 1, 2
ONLINK_FLAG = 0x4
UP_FLAGS = 0x1 | 0x10000
"""Switched on, and with a carrier."""
SCOPE_UNIVERSE, SCOPE_NOWHERE = 0, 255
HAS_IPV6 = Path("/proc/thread-self/net/if_inet6")


class Kind(IntEnum):
    """What a route does with a packet (RTN_*)."""

    OTHER = 0
    UNICAST = 1
    BLACKHOLE = 6
    UNREACHABLE = 7
    PROHIBIT = 8


class Key(NamedTuple):
    """What tells the routes of a table apart: a route replaces the one with the same key."""

    prefix: Prefix
    metric: int


def keys_of(prefix: Prefix) -> tuple[Key, Key]:
    """The keys at which we keep routes to *prefix*: the way there, and the backstop."""
    return Key(prefix, UNICAST_METRIC[prefix.version]), Key(prefix, UNREACHABLE_METRIC)


class Target(NamedTuple):
    """Where a route leads."""

    kind: Kind
    gateway: int | None = None
    link: int | None = None
    onlink: bool = False


class Route(NamedTuple):
    """A route of the main table."""

    key: Key
    target: Target


class KernelRoute(NamedTuple):
    """A route as the kernel has it, with the protocol number that says whose it is."""

    key: Key
    target: Target
    protocol: int

    @property
    def is_ours(self) -> bool:
        return self.protocol == PROTOCOL


class Link(NamedTuple):
    """A network interface."""

    number: int
    """The kernel's index of it."""
    name: str
    mtu: int
    mac: str
    up: bool


def text(address: int | None, version: int) -> str:
    """An address as people write it; ``-`` for none."""
    if address is None:
        return "-"
    return str(Prefix(version, address, WIDTH[version]).first_address)


# --- routes ------------------------------------------------------------------------------


def _unsigned(value: bytes | None) -> int | None:
    return U32.unpack(value)[0] if value else None


_KINDS = {kind.value: kind for kind in Kind}


@lru_cache(maxsize=1 << 14)
def decode_route(payload: bytes) -> KernelRoute | None:
    """The route in an RTM_*ROUTE message; None unless it is a plain one of the main table.

    Routes for one type of service, and copies that the kernel keeps of an exception, are not plain.
    Answers are remembered, since each look finds the same bytes again: that halves the time of a look.
    """
    family, length, _, tos, table, protocol, _, kind, flags = RTMSG.unpack_from(payload)
    version = VERSION.get(family)
    if version is None or table != MAIN_TABLE or tos or flags & 0x200:  # 0x200: RTM_F_CLONED
        return None
    said = netlink.attributes(payload, RTMSG.size)
    known = _KINDS.get(kind, Kind.OTHER)
    destination = Prefix(version, int.from_bytes(said.get(RTA_DST, b""), "big"), length)
    target = Target(known)
    if known is Kind.UNICAST:
        gateway = said.get(RTA_GATEWAY)
        target = Target(
            known,
            int.from_bytes(gateway, "big") if gateway else None,
            _unsigned(said.get(RTA_OIF)),
            bool(flags & ONLINK_FLAG),
        )
    return KernelRoute(Key(destination, _unsigned(said.get(RTA_PRIORITY)) or 0), target, protocol)


def _encode_route(route: Route, *, scope: int) -> bytes:
    (version, value, length), metric = route.key
    kind, gateway, link, onlink = route.target
    size = WIDTH[version] // 8
    parts = [
        RTMSG.pack(
            FAMILY[version], length, 0, 0, MAIN_TABLE, PROTOCOL, scope, kind, ONLINK_FLAG if onlink else 0
        ),
        netlink.attribute(RTA_DST, value.to_bytes(size, "big")),
        netlink.attribute(RTA_PRIORITY, U32.pack(metric)),
    ]
    if gateway is not None:
        parts.append(netlink.attribute(RTA_GATEWAY, gateway.to_bytes(size, "big")))
    if link is not None:
        parts.append(netlink.attribute(RTA_OIF, U32.pack(link)))
    return b"".join(parts)


def adding(route: Route) -> Request:
    """Add *route*; refused when any route is at its key."""
    flags = netlink.F_CREATE | netlink.F_EXCLUSIVE
    return Request(netlink.RTM_NEWROUTE, flags, _encode_route(route, scope=SCOPE_UNIVERSE))


def replacing(route: Route) -> Request:
    """Replace the route at its key, whoever made that: look first."""
    flags = netlink.F_CREATE | netlink.F_REPLACE
    return Request(netlink.RTM_NEWROUTE, flags, _encode_route(route, scope=SCOPE_UNIVERSE))


def removing(route: Route) -> Request:
    """Remove *route*, and only if it is ours: the protocol number goes with the request."""
    return Request(netlink.RTM_DELROUTE, 0, _encode_route(route, scope=SCOPE_NOWHERE))


def versions() -> tuple[int, ...]:
    """The address families of this kernel."""
    return (4, 6) if HAS_IPV6.exists() else (4,)


def main_routes(kernel: Netlink, *, protocol: int = 0) -> list[KernelRoute]:
    """The main table of both families; with *protocol*, that protocol's routes only.

    Raises KernelRefused.
    """
    found: list[KernelRoute] = []
    for version in versions():
        question = RTMSG.pack(FAMILY[version], 0, 0, 0, MAIN_TABLE, protocol, 0, 0, 0)
        try:
            answers = kernel.dump(netlink.RTM_GETROUTE, question)
        except KernelRefused as error:
            if error.errno != errno.ENOENT:  # a new namespace has no main table before its first route
                raise
            continue
        found += [route for route in map(decode_route, answers) if route]
    return found


# --- links and addresses -----------------------------------------------------------------


def decode_link(payload: bytes) -> Link:
    """The interface in an RTM_*LINK message."""
    _, _, index, flags, _ = IFINFOMSG.unpack_from(payload)
    said = netlink.attributes(payload, IFINFOMSG.size)
    return Link(
        number=index,
        name=said.get(IFLA_IFNAME, b"").rstrip(b"\0").decode(),
        mtu=_unsigned(said.get(IFLA_MTU)) or 0,
        mac=said.get(IFLA_ADDRESS, b"").hex(":"),
        up=flags & UP_FLAGS == UP_FLAGS,
    )


def links(kernel: Netlink) -> list[Link]:
    """All interfaces of the namespace. Raises KernelRefused."""
    question = IFINFOMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    return [decode_link(answer) for answer in kernel.dump(netlink.RTM_GETLINK, question)]


def decode_address(payload: bytes) -> tuple[str, int] | None:
    """The address in an RTM_*ADDR message and the index of its interface."""
    family, _, _, _, index = IFADDRMSG.unpack_from(payload)
    said = netlink.attributes(payload, IFADDRMSG.size)
    value = said.get(IFA_LOCAL) or said.get(IFA_ADDRESS)
    if family not in VERSION or not value:
        return None
    return str(ipaddress.ip_address(value)), index


def holder(kernel: Netlink, address: str) -> int | None:
    """Index of the interface that holds *address*. Raises KernelRefused."""
    version = ipaddress.ip_address(address).version
    question = IFADDRMSG.pack(FAMILY[version], 0, 0, 0, 0)
    found = map(decode_address, kernel.dump(netlink.RTM_GETADDR, question))
    return next((index for held, index in filter(None, found) if held == address), None)


def default_gateway(routes: Iterable[KernelRoute], *, version: int, link: int) -> int | None:
    """The best default route's gateway on interface *link*."""
    found = [
        (route.key.metric, route.target.gateway)
        for route in routes
        if route.key.prefix.version == version
        and not route.key.prefix.length
        and route.target.gateway is not None
        and route.target.link == link
    ]
    return min(found)[1] if found else None


def route_in(event: Message) -> KernelRoute | None:
    """The route that an event is about; None when it is about something else."""
    if event.kind not in (netlink.RTM_NEWROUTE, netlink.RTM_DELROUTE):
        return None
    return decode_route(event.payload)
