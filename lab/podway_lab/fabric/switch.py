"""The wires of the VPC: a bridge per subnet, a port per network interface, and the VPC's own filters.

The fabric and its hosts use it. While an interface's source/destination check is on, its port drops packets
that are neither from nor to the interface's own address, as AWS does, before the host or the router sees
them. What the interface's security groups say follows after that (`groups`).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from enum import Enum

from podway_lab.fabric.acls import ACLS_TABLE
from podway_lab.fabric.groups import Groups
from podway_lab.fabric.namespace import Namespace
from podway_lab.fabric.tracking import GROUPS_TABLE

MTU = 9001
"""Jumbo frames, as inside a VPC (EC2 User Guide, "Network MTU for your EC2 instance")."""

ROUTER_MAC = "02:00:0a:00:00:01"
"""One for all bridges: they are separate segments."""

FILTER = "table netdev vpc"
"""Holds two chains for each port that is not open: for what enters from the host, and what leaves."""


ADDRESS_FIELD = {"ingress": "saddr", "egress": "daddr"}
"""The address that must be the interface's own, for each hook at its port."""


class Guard(Enum):
    """What a port lets through. One that is open has no filter: packets pay for none."""

    OPEN = ""
    CHECKED = "ether type ip ip {field} != {address} counter drop"
    SILENCED = "drop"


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
    groups: Groups = field(init=False)
    _unchecked: set[str] = field(default_factory=set)
    _silenced: set[Port] = field(default_factory=set)
    _numbers: int = 0

    def __post_init__(self) -> None:
        filters = [FILTER, *(f"table {one}" for one in (GROUPS_TABLE, ACLS_TABLE))]
        self.home.nft("".join(f"{one}\ndelete {one}\n{one}\n" for one in filters))
        self.groups = Groups(self.home)

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
        self.ports[network_interface] = port
        self._guard(port)
        self.groups.plugged(network_interface, port.name, address)
        return port

    def unplug(self, port: Port) -> None:
        """Take the port away, and the cable with it."""
        if self.ports.pop(port.network_interface, None) is None:
            return
        self._silenced.discard(port)
        self.home.ip(f"link delete {port.name}")  # its filter keeps it silent, if it is, until it is gone
        self.home.nft("".join(map(_removal, _chains(port).values())))
        self.groups.unplugged(port.network_interface)

    def set_source_dest_check(self, network_interface: str, *, on: bool) -> None:
        """Check the interface's packets, or let through what others send and get by it."""
        (self._unchecked.discard if on else self._unchecked.add)(network_interface)
        if port := self.ports.get(network_interface):
            self._guard(port)

    def silence(self, port: Port, *, on: bool) -> None:
        """Drop every frame to and from the port while its link stays up."""
        (self._silenced.add if on else self._silenced.discard)(port)
        self._guard(port)

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

    def _guard(self, port: Port) -> None:
        checked = Guard.OPEN if port.network_interface in self._unchecked else Guard.CHECKED
        self.home.nft(_script(port, Guard.SILENCED if port in self._silenced else checked))


def _chains(port: Port) -> dict[str, str]:
    return {hook: f"chain netdev vpc {hook}_{port.name}" for hook in ADDRESS_FIELD}


def _removal(chain: str) -> str:
    """Lines that remove *chain*, be it there or not."""
    return f"add {chain}\nflush {chain}\ndelete {chain}\n"


def _script(port: Port, guard: Guard) -> str:
    """One transaction that leaves *port* guarded as said, however it was before."""
    script = ""
    for hook, chain in _chains(port).items():
        script += _removal(chain)
        if guard is not Guard.OPEN:
            rule = guard.value.format(field=ADDRESS_FIELD[hook], address=port.address)
            script += f"add {chain} {{ type filter hook {hook} device {port.name} priority 0; }}\n"
            script += f"add rule {chain.removeprefix('chain ')} {rule}\n"
    return script
