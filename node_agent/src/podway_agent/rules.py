"""Routing rules of the kernel as values, and how netlink spells them. Ours bear our protocol number."""

from __future__ import annotations

import struct
from typing import NamedTuple

from podway.domain.addressing import WIDTH, Prefix

from podway_agent import netlink, routing
from podway_agent.netlink import Netlink, Request
from podway_agent.routing import FAMILY, PROTOCOL, U32, VERSION

RULE = struct.Struct("=BBBBBBBBI")
FRA_DST, FRA_IIFNAME, FRA_PRIORITY, FRA_MARK, FRA_SUPPRESS, FRA_TABLE, FRA_MASK, FRA_PROTOCOL = (
    *(1, 3, 6, 10, 14, 15, 16, 21),
)
TO_TABLE, UNREACHABLE = 1, 7
EXACTLY = 0xFFFFFFFF
ANY_LENGTH = 0xFFFFFFFF


class Rule(NamedTuple):
    """Which packets a rule is for, and where they look: a table, or ``unreachable`` when that is 0."""

    version: int
    priority: int
    """The kernel asks the lowest first."""
    table: int = 0
    mark: int = 0
    """The mark that a packet bears, compared whole; 0: whatever it bears."""
    enters: str = ""
    """Name of the interface by which it came; empty: by any, or made here."""
    to: tuple[Prefix, ...] = ()
    """The one prefix that holds its destination; none: any."""
    wide: int = -1
    """The table's routes of this length and shorter are passed over; -1: none."""


def ours(kernel: Netlink) -> list[Rule]:
    """The rules under our protocol number. Raises KernelRefused."""
    found: list[Rule] = []
    for version in routing.versions():
        question = RULE.pack(FAMILY[version], 0, 0, 0, 0, 0, 0, 0, 0)
        found += filter(None, map(decode, kernel.dump(netlink.RTM_GETRULE, question)))
    return found


def decode(payload: bytes) -> Rule | None:
    """The rule in an RTM_*RULE message, if it is ours."""
    said = netlink.attributes(payload, RULE.size)
    family, length, *_ = RULE.unpack_from(payload)
    version = VERSION.get(family)
    if version is None or said.get(FRA_PROTOCOL) != bytes([PROTOCOL]):
        return None
    target = said.get(FRA_DST)
    wide = _number(said.get(FRA_SUPPRESS), ANY_LENGTH)
    return Rule(
        version,
        _number(said.get(FRA_PRIORITY)),
        _number(said.get(FRA_TABLE)),
        _number(said.get(FRA_MARK)),
        said.get(FRA_IIFNAME, b"").rstrip(b"\0").decode(),
        (Prefix(version, int.from_bytes(target, "big"), length),) if target else (),
        -1 if wide == ANY_LENGTH else wide,
    )


def _number(value: bytes | None, missing: int = 0) -> int:
    return U32.unpack(value)[0] if value else missing


def adding(rule: Rule) -> Request:
    """Add *rule*; refused when one that says the same stands already."""
    return Request(netlink.RTM_NEWRULE, netlink.F_CREATE | netlink.F_EXCLUSIVE, _encode(rule))


def removing(rule: Rule) -> Request:
    """Remove *rule*, and only if it is ours: the protocol number goes with the request."""
    return Request(netlink.RTM_DELRULE, 0, _encode(rule))


def _encode(rule: Rule) -> bytes:
    length = rule.to[0].length if rule.to else 0
    action = TO_TABLE if rule.table else UNREACHABLE
    body = RULE.pack(FAMILY[rule.version], length, 0, 0, 0, 0, 0, action, 0)
    body += netlink.attribute(FRA_PRIORITY, U32.pack(rule.priority))
    for prefix in rule.to:
        body += netlink.attribute(FRA_DST, prefix.value.to_bytes(WIDTH[rule.version] // 8, "big"))
    if rule.enters:
        body += netlink.attribute(FRA_IIFNAME, rule.enters.encode() + b"\0")
    if rule.mark:
        body += netlink.attribute(FRA_MARK, U32.pack(rule.mark))
        body += netlink.attribute(FRA_MASK, U32.pack(EXACTLY))
    if rule.table:
        body += netlink.attribute(FRA_TABLE, U32.pack(rule.table))
    if rule.wide >= 0:
        body += netlink.attribute(FRA_SUPPRESS, U32.pack(rule.wide))
    return body + netlink.attribute(FRA_PROTOCOL, bytes([PROTOCOL]))
