"""An instance and its pods: network namespaces with a life of their own.

The fabric boots and closes hosts; scenarios and tests make their faults.
"""

from __future__ import annotations

import ipaddress
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from podway_lab.fabric import conntrack
from podway_lab.fabric.cni import Attachment
from podway_lab.fabric.namespace import Namespace, new_namespace
from podway_lab.fabric.switch import ROUTER_MAC, Port, Switch

FORWARD_DROP = """
table inet lab_forward
delete table inet lab_forward
"""
FORWARD_DROP_RULE = """
table inet lab_forward {
  chain forward {
    type filter hook forward priority -1
    counter drop
  }
}
"""


class Pod(Namespace):
    """A pod: a namespace that the CNI plugins gave an address."""

    def __init__(self, name: str, attachment: Attachment, result: dict[str, Any]) -> None:
        super().__init__(attachment.pod.descriptor)
        self.name = name
        self.address = str(ipaddress.IPv4Interface(result["ips"][0]["address"]).ip)
        self.attachment = attachment
        self.result = result

    def __repr__(self) -> str:
        return f"<pod {self.name} {self.address}>"


class Host(Namespace):
    """An instance. ``ens5`` is its network interface, *directory* a folder for its files."""

    def __init__(
        self, namespace: Namespace, *, instance_id: str, port: Port, switch: Switch, directory: Path
    ) -> None:
        super().__init__(namespace.descriptor)
        self.instance_id = instance_id
        self.port = port
        self.directory = directory
        self.pods: dict[str, Pod] = {}
        self._switch = switch
        self._lock = threading.Lock()
        directory.mkdir(parents=True, exist_ok=True)

    def __repr__(self) -> str:
        return f"<host {self.instance_id} {self.address}>"

    @property
    def address(self) -> str:
        """Its private address in the subnet."""
        return self.port.address

    @property
    def network_interface(self) -> str:
        return self.port.network_interface

    def boot(self) -> None:
        """Bring loopback and ``ens5`` up, as DHCP and cloud-init leave them: address and default route."""
        segment = self.port.segment
        self.ip(
            "link set lo up",
            f"address replace {self.address}/{segment.network.prefixlen} dev ens5",
            "link set ens5 up",
            f"neighbour replace {segment.gateway} lladdr {ROUTER_MAC} dev ens5 nud permanent",
            f"route replace default via {segment.gateway}",
        )
        answer_every_probe(self)

    def add_address(self, address: str) -> None:
        """Give loopback *address* too, so that something can listen there."""
        self.ip(f"address replace {address}/32 dev lo")

    def port_down(self) -> None:
        """Pull the cable: the link goes down at both ends."""
        self._switch.set_link(self.port, up=False)

    def port_up(self) -> None:
        """Put the cable back."""
        self._switch.set_link(self.port, up=True)

    def unplug(self) -> None:
        """Take the network interface away from the running instance: ``ens5`` is gone; twice is fine."""
        self._switch.unplug(self.port)

    def plug_in(self) -> None:
        """Put the same network interface back, as a new ``ens5`` with another index; twice is fine."""
        if self.network_interface in self._switch.ports:
            return
        old = self.port
        self.port = self._switch.plug(old.network_interface, old.segment, old.address, old.mac, self)
        self.boot()

    def flap(self) -> None:
        """Switch ``ens5`` off and on: the kernel drops every unicast route; DHCP restores its own only."""
        self.ip("link set ens5 down")
        self.boot()

    def drop_everything(self, *, on: bool) -> None:
        """Lose every packet to and from the instance while its link stays up."""
        self._switch.silence(self.port, on=on)

    def set_forwarding(self, *, on: bool) -> None:
        """Turn the kernel's forwarding on or off. Off, the instance answers but relays nothing."""
        self.sysctl("net.ipv4.ip_forward", int(on))

    def drop_forwarded(self, *, on: bool) -> None:
        """Add or remove a rule that drops all that the kernel would forward, as other software's would."""
        self.nft(FORWARD_DROP + (FORWARD_DROP_RULE if on else ""))

    def fill_conntrack(self) -> int:
        """Let the kernel track all the flows it can: no new one gets through; how many there are."""
        return conntrack.fill(self)

    def empty_conntrack(self) -> None:
        """Let the kernel forget all flows."""
        conntrack.empty(self)

    def flush_routes(self, protocol: int) -> None:
        """Remove the routes of one route protocol, as somebody does by hand (the agent's is 112)."""
        self.ip(f"route flush proto {protocol}")

    def add_pod(self, name: str, conflist: Path, *, capabilities: Mapping[str, Any] | None = None) -> Pod:
        """Start a pod on the network that *conflist* describes (as its file is now).

        *capabilities* are handed to the plugins that declare them (``portMappings``, ``bandwidth``).
        Raises CniFailed with the plugin's message, ValueError when there is such a pod already.
        """
        with self._lock:
            if name in self.pods:
                raise ValueError(f"{self.instance_id} has a pod {name} already")
        namespace = new_namespace()
        attachment = Attachment(
            host=self,
            root=self.directory,
            network=json.loads(conflist.read_text()),
            container=f"{self.instance_id}-{name}",
            pod=namespace,
            capabilities=capabilities or {},
        )
        try:
            namespace.ip("link set lo up")
            answer_every_probe(namespace)
            pod = Pod(name, attachment, attachment.add())
        except BaseException:
            namespace.close()
            raise
        with self._lock:
            self.pods[name] = pod
        return pod

    def remove_pod(self, name: str) -> None:
        """End the pod: its processes, its address, its namespace. Raises CniFailed, KeyError."""
        with self._lock:
            pod = self.pods.pop(name)
        try:
            pod.attachment.delete(pod.result)
        finally:
            pod.close()

    def close(self) -> None:
        """End the instance and its pods at once, as when its power is cut."""
        for pod in self.pods.values():
            pod.close()
        self.pods = {}
        super().close()


Endpoint: TypeAlias = Host | Pod
"""An end of a path: it has an address and can send."""


def answer_every_probe(namespace: Namespace) -> None:
    """Exempt all ICMP from rate limits, or traces have gaps that mean nothing (icmp_ratemask)."""
    namespace.sysctl("net.ipv4.icmp_ratemask", 0)
    namespace.sysctl("net.ipv4.icmp_ratelimit", 0)
