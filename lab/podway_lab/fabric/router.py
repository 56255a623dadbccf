"""The VPC's implicit router: one kernel route table per VPC route table, chosen by the ingress subnet.

The fabric programs it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from podway.domain.addressing import Prefix

from podway_lab.fabric.namespace import Namespace
from podway_lab.fabric.switch import Port, Segment

FIRST_TABLE = 1000
EVERYTHING = Prefix.parse("0.0.0.0/0")
BLACKHOLE = "blackhole"

NextHops: TypeAlias = Mapping[Prefix, str | None]
"""Destination → network interface; None swallows the packets, as a route in state blackhole does."""

QUIET = """
table inet vpc
delete table inet vpc
table inet vpc {
  chain output {
    type filter hook output priority filter
    policy accept
    icmp type destination-unreachable icmp code { net-unreachable, host-unreachable } drop
    icmp type redirect drop
  }
}
"""
"""Keeps the router silent about what it cannot deliver, as a VPC's router is."""


KEEP_TTL = """\
*mangle
-F PREROUTING
-A PREROUTING -j TTL --ttl-inc 1
COMMIT
"""
"""Adds to the TTL what forwarding takes: a VPC router is no hop to traceroute. nftables itself cannot add."""


@dataclass(slots=True)
class Router:
    """Kernel tables for VPC route tables. Each change reads the kernel's table anew."""

    home: Namespace
    _numbers: dict[str, int] = field(default_factory=dict)
    _wanted: dict[str, dict[Prefix, str | None]] = field(default_factory=dict)
    _associated: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home.nft(QUIET)
        self.home.tool("iptables-nft-restore", "--noflush", text=KEEP_TTL)
        for name, value in {
            "net.ipv4.ip_forward": 1,
            "net.ipv4.conf.all.send_redirects": 0,
            "net.ipv4.conf.default.send_redirects": 0,
            "net.ipv4.conf.all.rp_filter": 0,
            "net.ipv4.conf.default.rp_filter": 0,
        }.items():
            self.home.sysctl(name, value)

    def associate(self, table: str, segments: Iterable[Segment]) -> None:
        """Let packets that enter from *segments* be routed by *table*, and by no other.

        The new rule comes before the old one goes, so that no packet falls between the two.
        """
        number = self._number(table)
        for segment in segments:
            if (before := self._associated.get(segment.bridge)) == table:
                continue
            self.home.ip(f"rule add pref {number} iif {segment.bridge} lookup {number}")
            if before is not None:
                old = self._numbers[before]
                self.home.ip(f"rule delete pref {old} iif {segment.bridge} lookup {old}")
            self._associated[segment.bridge] = table

    def want(self, table: str, routes: NextHops) -> None:
        """Remember what *table* shall hold; `program` makes it so."""
        self._number(table)
        self._wanted[table] = dict(routes)

    @property
    def tables(self) -> list[str]:
        return sorted(self._wanted)

    def tables_through(self, network_interface: str) -> list[str]:
        """The tables with a route to the interface, whether or not it is plugged in."""
        return sorted(table for table, routes in self._wanted.items() if network_interface in routes.values())

    def program(self, table: str, ports: Mapping[str, Port], segments: Iterable[Segment]) -> int:
        """Make the kernel's table hold what is wanted; returns how many routes that changed.

        Each route is replaced in one step (``ip route replace`` is atomic for forwarding); packets
        never find the table empty. What leads to an interface that is not plugged in is swallowed.
        """
        wanted = {EVERYTHING: BLACKHOLE}
        for destination, interface in self._wanted[table].items():
            port = ports.get(interface) if interface is not None else None
            wanted[destination] = (
                f"via {port.address} dev {port.segment.bridge} onlink" if port is not None else BLACKHOLE
            )
        wanted |= {Prefix.parse(str(segment.network)): f"dev {segment.bridge}" for segment in segments}
        found = self.installed(table)
        number = self._number(table)
        changes = [
            f"route replace {route(destination, target)} table {number}"
            for destination, target in sorted(wanted.items())
            if found.get(destination) != target
        ]
        changes += [
            f"route delete {route(destination, found[destination])} table {number}"
            for destination in sorted(found.keys() - wanted.keys())
        ]
        self.home.ip(*changes)
        return len(changes)

    def installed(self, table: str) -> dict[Prefix, str]:
        """What the kernel holds for *table*: destination → ``blackhole``, or where it leads."""
        number = self._number(table)
        text = self.home.tool("ip", "-json", "route", "show", "table", str(number))
        return {destination_of(entry): target_of(entry) for entry in json.loads(text)}

    def close(self) -> None:
        """Take rules and routes away, so that another fabric may begin here."""
        rules = ((bridge, self._numbers[table]) for bridge, table in self._associated.items())
        self.home.ip(
            *(f"rule delete pref {number} iif {bridge} lookup {number}" for bridge, number in rules),
            *(f"route flush table {number}" for number in self._numbers.values()),
        )
        self._associated.clear()
        self._numbers.clear()

    def _number(self, table: str) -> int:
        """The kernel's number for *table*; a new one swallows everything until it is programmed."""
        if table not in self._numbers:
            number = FIRST_TABLE + len(self._numbers)
            self.home.ip(f"route replace {route(EVERYTHING, BLACKHOLE)} table {number}")
            self._numbers[table] = number
        return self._numbers[table]


def route(destination: Prefix, target: str) -> str:
    """The route as ``ip route`` writes it: a blackhole names its type first."""
    return f"{BLACKHOLE} {destination}" if target == BLACKHOLE else f"{destination} {target}"


def destination_of(entry: Mapping[str, str]) -> Prefix:
    """The destination of a route that ``ip`` printed: a host has no length, and everything is "default"."""
    text = entry["dst"]
    if text == "default":
        return EVERYTHING
    return Prefix.parse(text) if "/" in text else Prefix.of_address(text)


def target_of(entry: Mapping[str, str]) -> str:
    if entry.get("type") == BLACKHOLE:
        return BLACKHOLE
    if "gateway" in entry:
        return f"via {entry['gateway']} dev {entry['dev']} onlink"
    return f"dev {entry['dev']}"
