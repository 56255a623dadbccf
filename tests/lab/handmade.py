"""A small cluster, its routes programmed by hand: what the fabric must carry, without agent or planner."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from podway.domain.addressing import Prefix
from podway_lab.fabric.fabric import Fabric
from podway_lab.fabric.host import Host, Pod

from tests import limits

SUBNETS = {"a": "10.0.0.0/20", "b": "10.0.16.0/20", "c": "10.0.32.0/20"}
SUPERNETS = {"a": "100.64.0.0/20", "b": "100.64.16.0/20", "c": "100.64.32.0/20"}
TABLE = "rtb-1"


class Cluster:
    """Nodes ``a1 a2 b1 b2 c1 c2`` with a pod each, all reachable: ``a1`` forwards for subnet a, and so on."""

    def __init__(self, fabric: Fabric, *, per_subnet: int = 2) -> None:
        self.fabric = fabric
        self.per_subnet = per_subnet
        for subnet, cidr in SUBNETS.items():
            fabric.add_subnet(f"subnet-{subnet}", cidr)
        names = [f"{subnet}{number}" for subnet in SUBNETS for number in range(1, per_subnet + 1)]
        self.hosts: dict[str, Host] = {name: self.boot(name) for name in names}
        self.pods: dict[str, Pod] = {name: self.start_pod(name) for name in names}
        self.apply(self.aggregates())

    def boot(self, name: str) -> Host:
        host = attach(self.fabric, name)
        self.fabric.set_source_dest_check(interface(name), on=False)
        self.configure(name, host)
        return host

    def configure(self, name: str, host: Host) -> None:
        """What the agent does on a node: forwarding, no redirects, routes to its peers' blocks."""
        host.set_forwarding(on=True)
        for device in ("all", "ens5"):
            host.sysctl(f"net.ipv4.conf.{device}.send_redirects", 0)
        subnet = name[0]
        peers = [f"{subnet}{number}" for number in range(1, self.per_subnet + 1)]
        host.ip(
            f"route replace unreachable {SUPERNETS[subnet]}",
            *(f"route replace {block(peer)} via {address(peer)}" for peer in peers if peer != name),
        )

    def start_pod(self, name: str, pod: str = "pod") -> Pod:
        host = self.hosts[name]
        return host.add_pod(pod, conflist(host.directory, block(name)))

    def aggregates(self) -> dict[Prefix, str | None]:
        return {Prefix.parse(supernet): interface(f"{subnet}1") for subnet, supernet in SUPERNETS.items()}

    def apply(self, routes: Mapping[Prefix, str | None]) -> int:
        return self.fabric.apply_route_table(TABLE, [f"subnet-{subnet}" for subnet in SUBNETS], routes)


def attach(fabric: Fabric, name: str) -> Host:
    return fabric.attach(
        network_interface=interface(name),
        subnet_id=f"subnet-{name[0]}",
        address=address(name),
        mac=f"02:00:00:00:{ord(name[0]):02x}:{int(name[1:]):02x}",
        instance_id=f"i-{name}",
    )


def interface(name: str) -> str:
    return f"eni-{name}"


def address(name: str) -> str:
    return f"10.0.{16 * 'abc'.index(name[0])}.{10 + int(name[1:])}"


def block(name: str) -> Prefix:
    """The node's /26: the first of the supernet for node 1, and so on."""
    return Prefix.parse(f"100.64.{16 * 'abc'.index(name[0])}.{64 * (int(name[1:]) - 1)}/26")


def conflist(directory: Path, blocks: Prefix) -> Path:
    """The network configuration that the agent of a node with one block writes."""
    ipam = {
        "type": "host-local",
        "dataDir": "/run/cni-podway",
        "ranges": [[{"subnet": str(blocks)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    path = directory / "10-podway.conflist"
    plugins = [
        {"type": "ptp", "ipMasq": False, "mtu": 9001, "ipam": ipam},
        {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
        {"type": "bandwidth", "capabilities": {"bandwidth": True}},
    ]
    path.write_text(json.dumps({"cniVersion": "1.0.0", "name": "podway", "plugins": plugins}))
    return path


def eventually(condition: Callable[[], bool], *, within: float = limits.PATIENCE_SECONDS) -> bool:
    """Whether *condition* becomes true; the limit is for machines under load and says nothing else."""
    until = time.monotonic() + within
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
