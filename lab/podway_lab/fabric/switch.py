"""The wires of the VPC: a bridge per subnet, a port per network interface, and the VPC's own filter.

Frames that AWS would drop are dropped here, before the host or the router sees them: packets that are
neither from nor to the interface's own address while its source/destination check is on.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from podway_lab.fabric.namespace import Namespace

MTU = 9001
"""Jumbo frames, as inside a VPC (EC2 User Guide, "Network MTU for your EC2 instance")."""

ROUTER_MAC = "02:00:0a:00:00:01"
"""One for all bridges: they are separate segments."""

WALL = """
table bridge vpc
delete table bridge vpc
table bridge vpc {
  set own { typeof meta iifname . ip saddr; }
  set unchecked { type ifname; }
  set silenced { type ifname; }
  chain ingress {
    type filter hook prerouting priority 0
    policy accept
    iifname @silenced drop
    iifname @unchecked accept
    ether type ip iifname . ip saddr != @own counter drop
  }
  chain egress {
    type filter hook postrouting priority 0
    policy accept
    oifname @silenced drop
    oifname @unchecked accept
    ether type ip oifname . ip daddr != @own counter drop
  }
}
"""


@dataclass(frozen=True, slots=True)
class Segment:
    """A subnet as a bridge; its first address is the router's, as in a VPC."""

    bridge: str
    network: ipaddress.IPv4Network

    @property
    def gateway(self) -> str:
        return str(self.network[1])


@dataclass(frozen=True, slots=True)
class Port:
    """Where a network interface is plugged in: *name* is its end in the router's namespace."""

    name: str
    segment: Segment
    network_interface: str
    address: str
    mac: str


@dataclass(slots=True)
class Switch:
    """All segments and ports. Every method leaves the kernel as described, however often it is called."""

    home: Namespace
    segments: dict[str, Segment] = field(default_factory=dict)
    ports: dict[str, Port] = field(default_factory=dict)
    _unchecked: set[str] = field(default_factory=set)
    _numbers: int = 0

    def __post_init__(self) -> None:
        self.home.nft(WALL)

    def add_segment(self, subnet: str, cidr: str) -> Segment:
        """The subnet's bridge. Raises ValueError where the subnet is there with another CIDR."""
        network = ipaddress.IPv4Network(cidr)
        if subnet in self.segments:
            if self.segments[subnet].network != network:
                raise ValueError(f"{subnet} is {self.segments[subnet].network} already, not {cidr}")
            return self.segments[subnet]
        segment = Segment(f"br{len(self.segments) + 1}", network)
        self.home.ip(
            f"link add name {segment.bridge} mtu {MTU} address {ROUTER_MAC} type bridge stp_state 0",
            f"address add {segment.gateway}/{network.prefixlen} dev {segment.bridge}",
            f"link set {segment.bridge} up",
        )
        self.segments[subnet] = segment
        return segment

    def plug(
        self, network_interface: str, segment: Segment, address: str, mac: str, inside: Namespace
    ) -> Port:
        """Lay a cable from the segment to a new device ``ens5`` in the namespace *inside*.

        The router's neighbour entry is permanent and outlives the port: in a VPC what is sent to a
        dead instance vanishes silently, without ARP failures and the ICMP errors they cause.
        """
        self._numbers += 1
        port = Port(f"port{self._numbers}", segment, network_interface, address, mac)
        self.home.ip(
            f"link add name {port.name} mtu {MTU} type veth"
            f" peer name ens5 mtu {MTU} address {mac} netns {inside.path}",
            f"link set {port.name} master {segment.bridge} up",
            f"neighbour replace {address} lladdr {mac} dev {segment.bridge} nud permanent",
        )
        self.home.nft(f'add element bridge vpc own {{ "{port.name}" . {address} }}')
        self.ports[network_interface] = port
        if network_interface in self._unchecked:
            self._set_member("unchecked", port, present=True)
        return port

    def unplug(self, port: Port) -> None:
        """Take the port away, and the cable with it."""
        if self.ports.pop(port.network_interface, None) is None:
            return
        self.home.ip(f"link delete {port.name}")
        self.home.nft(
            f'delete element bridge vpc own {{ "{port.name}" . {port.address} }}\n'
            + "".join(self._set_change(name, port, present=False) for name in ("unchecked", "silenced"))
        )

    def set_source_dest_check(self, network_interface: str, *, on: bool) -> None:
        """Check the interface's packets, or let through what others send and get by it."""
        (self._unchecked.discard if on else self._unchecked.add)(network_interface)
        if port := self.ports.get(network_interface):
            self._set_member("unchecked", port, present=not on)

    def silence(self, port: Port, *, on: bool) -> None:
        """Drop every frame to and from the port while its link stays up."""
        self._set_member("silenced", port, present=on)

    def set_link(self, port: Port, *, up: bool) -> None:
        """Pull the port's cable, or put it back."""
        self.home.ip(f"link set {port.name} {'up' if up else 'down'}")

    def owner_of(self, address: str) -> str | None:
        """The network interface that is plugged in with *address*."""
        return next((port.network_interface for port in self.ports.values() if port.address == address), None)

    def close(self) -> None:
        """Take the bridges away; the ports go with their other ends."""
        self.home.ip(*(f"link delete {segment.bridge}" for segment in self.segments.values()))
        self.segments.clear()

    def _set_member(self, name: str, port: Port, *, present: bool) -> None:
        self.home.nft(self._set_change(name, port, present=present))

    @staticmethod
    def _set_change(name: str, port: Port, *, present: bool) -> str:
        """Adding first makes a deletion succeed whether or not the element was there."""
        element = f'element bridge vpc {name} {{ "{port.name}" }}'
        return f"add {element}\n" + ("" if present else f"delete {element}\n")
