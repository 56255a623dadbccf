"""What rules of security groups and network ACLs say: which packets, in or out, from where or to where.

Sentences and tests make them; `groups` and `acls` enforce them. Rules are about IPv4, as the fabric is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from podway.domain.addressing import Prefix

ANYWHERE = Prefix.parse("0.0.0.0/0")
LAST_PORT = 65535
PASSED_BY = ("meta protocol != ip accept", "ip daddr 224.0.0.0/4 drop")
"""What no rule is asked about: ARP, and multicast, which a VPC does not carry (and hosts send, unasked)."""
WITH_PORTS = ("tcp", "udp")
_SELECTION = re.compile(r"everything|icmp|(?P<protocol>tcp|udp)( (?P<first>\d+)(-(?P<last>\d+))?)?")


class Way(Enum):
    """Whether packets come or go, as the instance or the subnet sees it."""

    IN = "in"
    OUT = "out"

    @property
    def peer(self) -> str:
        """The field of the packet that holds the other side's address."""
        return "saddr" if self is Way.IN else "daddr"

    @property
    def hook(self) -> str:
        """The hook where such packets pass a device of the router's namespace: what comes in leaves there."""
        return "egress" if self is Way.IN else "ingress"


@dataclass(frozen=True, slots=True)
class Selection:
    """Packets of a protocol ("" is all), to ports of the receiver from *first* to *last*."""

    protocol: str = ""
    first: int = 0
    last: int = LAST_PORT

    @classmethod
    def parse(cls, text: str) -> Selection:
        """Read ``everything``, ``icmp``, ``tcp``, ``tcp 8080``, ``udp 1024-65535``. Raises ValueError."""
        match = _SELECTION.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no selection of packets")
        if match["protocol"] is None:
            return cls("icmp" if text == "icmp" else "")
        first = int(match["first"] or 0)
        last = int(match["last"] or (first if match["first"] else LAST_PORT))
        if not first <= last <= LAST_PORT:
            raise ValueError(f"{text!r} has no such ports")
        return cls(match["protocol"], first, last)

    @property
    def has_all_ports(self) -> bool:
        return (self.first, self.last) == (0, LAST_PORT)

    def expression(self) -> str:
        """What fits it, in nftables' words; "" for every packet."""
        protocol = f"meta l4proto {self.protocol}" if self.protocol else ""
        return protocol if self.has_all_ports else f"{protocol} th dport {self.ports}"

    @property
    def ports(self) -> str:
        return f"{self.first}-{self.last}"


EVERY_PACKET = Selection()


@dataclass(frozen=True, slots=True)
class GroupRule:
    """A group lets these through; *peer* is a range, or the name of a group.

    The name stands for the addresses that interfaces of that group have themselves, and for no pod's: AWS
    knows no others. (VPC User Guide, "Security group rules": naming the group of instances that are reached
    through a middlebox lets nothing through.)
    """

    way: Way
    selection: Selection
    peer: Prefix | str


@dataclass(frozen=True, slots=True)
class AclRule:
    """An ACL lets these through or, unless *allowed*, drops them. The lowest number that fits counts."""

    number: int
    way: Way
    selection: Selection
    peer: Prefix
    allowed: bool = True


GroupRules: TypeAlias = tuple[GroupRule, ...]


def documented(group: str, pods: Prefix) -> GroupRules:
    """What README and SECURITY.md want of a node's *group*: *pods* in and out, on all protocols and ports.

    Beside it stand the rules of AWS's default group: in from the group itself, out to anywhere.
    """
    peers: Iterable[tuple[Way, Prefix | str]] = (
        (Way.IN, pods),
        (Way.OUT, pods),
        (Way.IN, group),
        (Way.OUT, ANYWHERE),
    )
    return tuple(GroupRule(way, EVERY_PACKET, peer) for way, peer in peers)


def wide_open() -> GroupRules:
    """Everything in and out: flows of TCP and UDP are not tracked, and ACLs have to filter."""
    return tuple(GroupRule(way, EVERY_PACKET, ANYWHERE) for way in Way)
