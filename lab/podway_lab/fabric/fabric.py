"""A VPC made of network namespaces: subnets, a router, instances. Packets are real; nothing is left behind.

The mirror changes it as the region says, and the fleet attaches instances; tests drive it directly.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from podway_lab.fabric.acls import Acls
from podway_lab.fabric.groups import TrackedFlow
from podway_lab.fabric.host import Host, answer_every_probe
from podway_lab.fabric.namespace import Namespace, new_namespace, this_namespace
from podway_lab.fabric.neighbours import introduce
from podway_lab.fabric.router import NextHops, Router
from podway_lab.fabric.rules import AclRule, GroupRule, GroupRules
from podway_lab.fabric.scratch import Scratch
from podway_lab.fabric.switch import Segment, Switch
from podway_lab.fabric.tracking import Tracking

ENDPOINT = "198.51.100.1"
"""Where the region's endpoints listen: an address for documentation (RFC 5737), on no subnet."""

BRIDGE_NETFILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


class Fabric:
    """The VPC. Its router is the namespace *home*, which unless told otherwise is the caller's own.

    Methods may be called from any thread and repeated: what is already so stays so. Everything ends
    with `close`, with the process at the latest, however that ends.
    """

    endpoint = ENDPOINT

    def __init__(
        self, home: Namespace | None = None, directory: Path | None = None, *, crowded: bool = False
    ) -> None:
        """Turn *home* into the router. *directory* takes the hosts' files; a temporary one if not given.

        *crowded*: there will be some thirty hosts or more, which must be told of their neighbours; a dead
        one's silence is then all that tells of it, without errors of address resolution.

        Raises ToolFailed or OSError where the kernel lacks something; see `entry` for asking first.
        """
        self.home = home or this_namespace()
        self.hosts: dict[str, Host] = {}
        self._crowded = crowded
        self._lock = threading.RLock()
        self._scratch = Scratch() if directory is None else None
        self.directory = self._scratch.path if self._scratch else Path(directory or ".")
        self.home.ip("link set lo up", f"address replace {ENDPOINT}/32 dev lo")
        answer_every_probe(self.home)
        if BRIDGE_NETFILTER.exists():  # on by default; it would send bridged frames through iptables
            self.home.sysctl("net/bridge/bridge-nf-call-iptables", 0)
        self._switch = Switch(self.home)
        self._router = Router(self.home)
        self._acls = Acls(self.home)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_subnet(self, subnet_id: str, cidr: str) -> Segment:
        """Add a subnet; the router gets its first address, and every table a local route to it.

        Raises ValueError where the subnet is there with another CIDR.
        """
        with self._lock:
            segment = self._switch.add_segment(subnet_id, cidr)
            self._program(self._router.tables)
            return segment

    def attach(
        self, *, network_interface: str, subnet_id: str, address: str, mac: str, instance_id: str
    ) -> Host:
        """Boot an instance; routes to its interface lead there from now on.

        Raises KeyError for an unknown subnet, ValueError when the instance runs with another interface.
        """
        with self._lock:
            if host := self.hosts.get(instance_id):
                if (host.network_interface, host.address) != (network_interface, address):
                    raise ValueError(f"{instance_id} runs with {host.network_interface} {host.address}")
                return host
            segment = self._switch.segments[subnet_id]
            inside = new_namespace()
            try:
                port = self._switch.plug(network_interface, segment, address, mac, inside)
                host = Host(
                    inside,
                    instance_id=instance_id,
                    port=port,
                    switch=self._switch,
                    directory=self.directory / instance_id,
                )
                host.boot()
                if self._crowded:
                    introduce(host, (one for one in self.hosts.values() if one.port.segment == segment))
            except BaseException:
                inside.close()
                raise
            self.hosts[instance_id] = host
            self._program(self._router.tables_through(network_interface))
            return host

    def detach(self, instance_id: str) -> None:
        """End an instance: silence it at once, then end its processes, pods and namespace.

        Routes to its interface swallow packets from now on. An unknown instance has ended already.
        """
        with self._lock:
            host = self.hosts.pop(instance_id, None)
            if host is None:
                return
            self._switch.unplug(host.port)
            self._program(self._router.tables_through(host.network_interface))
        host.close()  # takes its time, and no route must wait for it

    def set_source_dest_check(self, network_interface: str, *, on: bool) -> None:
        """Set the interface's check, plugged in or not yet; new interfaces have it on, as in EC2."""
        with self._lock:
            self._switch.set_source_dest_check(network_interface, on=on)

    def group(self, name: str) -> GroupRules:
        """The rules of the security group *name*; none if nobody has set any."""
        return self._switch.groups.rules_of(name)

    def set_group(self, name: str, rules: Iterable[GroupRule]) -> None:
        """Let the security group *name* have *rules*; interfaces may be in it before or after."""
        with self._lock:
            self._switch.groups.set_rules(name, rules)

    def join_groups(self, network_interfaces: Iterable[str], groups: Iterable[str]) -> None:
        """Enforce these security groups for the interfaces, plugged in or not yet, and no others.

        An interface that was never told of, or is in none, is as one in `rules.documented`; see `groups`.
        """
        with self._lock:
            self._switch.groups.join(network_interfaces, groups)

    def group_newcomers(self, groups: Iterable[str]) -> None:
        """Enforce these security groups for every interface that is new and was put into no other."""
        with self._lock:
            self._switch.groups.await_newcomers(groups)

    def track_flows(self, network_interfaces: Iterable[str], tracking: Tracking) -> None:
        """Let the interfaces' groups track flows so. A flow that is known follows with its next packet."""
        with self._lock:
            self._switch.groups.track(network_interfaces, tracking)

    def tracking(self, network_interface: str) -> Tracking:
        """How the interface's groups track flows."""
        return self._switch.groups.tracking_of(network_interface)

    def tracked_flows(self, network_interface: str) -> frozenset[TrackedFlow]:
        """The flows that the interface's groups track now. Raises KeyError if it is not plugged in."""
        with self._lock:
            return self._switch.groups.flows(network_interface)

    def refused_by_groups(self, network_interface: str) -> int:
        """How many packets its groups have dropped. Raises KeyError if it is not plugged in."""
        with self._lock:
            return self._switch.groups.refused(network_interface)

    def acl(self, subnet_id: str) -> tuple[AclRule, ...]:
        """The rules of the subnet's network ACL; none if nobody has set any. Raises KeyError."""
        return self._acls.rules_of(self._switch.segments[subnet_id].bridge)

    def set_acl(self, subnet_id: str, rules: Iterable[AclRule] | None) -> None:
        """Give the subnet a network ACL of *rules*; None: the one that lets everything through.

        Raises KeyError for an unknown subnet, ValueError where two rules of one way have one number.
        """
        with self._lock:
            self._acls.set(self._switch.segments[subnet_id].bridge, rules)

    def refused_by_acl(self, subnet_id: str) -> int:
        """How many packets the subnet's network ACL has dropped since it was set last. Raises KeyError."""
        with self._lock:
            return self._acls.refused(self._switch.segments[subnet_id].bridge)

    def apply_route_table(self, table_id: str, subnet_ids: Iterable[str], routes: NextHops) -> int:
        """Make *table_id* hold *routes* and the local ones, and rule over *subnet_ids* too.

        A route's value is the interface to send to; None, or one that is not attached, swallows the
        packets. Each route changes in one step, the others are not touched; a subnet that another
        table ruled changes over without a gap. Returns how many routes of the kernel changed.
        IPv4 only. Raises KeyError for an unknown subnet.
        """
        with self._lock:
            segments = [self._switch.segments[subnet] for subnet in subnet_ids]
            self._router.want(table_id, routes)
            changes = self._program([table_id])
            self._router.associate(table_id, segments)
            return changes

    def host_at(self, address: str) -> Host | None:
        """The host with this private address, for example of a hop of a trace."""
        return next((host for host in list(self.hosts.values()) if host.address == address), None)

    def close(self) -> None:
        """End all hosts and what runs in them, clear the home namespace and let it go; twice is fine."""
        with self._lock:
            for host in self.hosts.values():
                host.close()
            self.hosts.clear()
            self._router.close()
            self._switch.close()
            self.home.close()
            if self._scratch:
                self._scratch.close()

    def _program(self, tables: Iterable[str]) -> int:
        ports, segments = self._switch.ports, self._switch.segments.values()
        return sum(self._router.program(table, ports, segments) for table in tables)
