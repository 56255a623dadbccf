"""Nodes whose kernels the agent's own dataplane programs, in subnets that a hand-made table connects.

No store, no control plane: what a snapshot says is said here. For tests of packets, and for measuring.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

from podway.domain.addressing import Prefix
from podway.wire.snapshot import Snapshot, SnapshotMember
from podway_agent.dataplane import Dataplane
from podway_agent.host.identity import Identity
from podway_lab.fabric.fabric import Fabric
from podway_lab.fabric.host import Host, Pod

from tests.integration.agent.node import settings
from tests.lab.handmade import SUBNETS, SUPERNETS, TABLE, address, attach, block, interface
from tests.unit.agent.snapshots import State, member, snapshot


class Planes:
    """Node ``x1`` forwards for subnet x; every node runs the agent's own dataplane.

    Unless *led*, the snapshots do not say that the one table leads each subnet's space to its own nodes.
    """

    def __init__(self, fabric: Fabric, directory: Path, nodes: Iterable[str], *, led: bool = True) -> None:
        self.fabric, self.directory, self.nodes, self.led = fabric, directory, tuple(nodes), led
        self.subnets = sorted({name[0] for name in self.nodes})
        for subnet in self.subnets:
            fabric.add_subnet(f"subnet-{subnet}", SUBNETS[subnet])
        self.hosts: dict[str, Host] = {}
        for name in self.nodes:
            self.hosts[name] = attach(fabric, name)
            fabric.set_source_dest_check(interface(name), on=False)
        self.apply({})
        self.planes: dict[str, Dataplane] = {}
        self.pods: dict[str, Pod] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for plane in self.planes.values():
            plane.kernel.close()

    def apply(self, direct: Mapping[str, str]) -> None:
        """Let the table hold every subnet's anchor, and these nodes' blocks by those nodes."""
        routes: dict[Prefix, str | None] = {
            Prefix.parse(SUPERNETS[subnet]): interface(f"{subnet}1") for subnet in self.subnets
        }
        routes |= {block(owner): interface(hop) for owner, hop in direct.items()}
        self.fabric.apply_route_table(TABLE, [f"subnet-{subnet}" for subnet in self.subnets], routes)

    def start(self, **changed: Any) -> None:
        """Start the agents' dataplanes and, on the conflists that they write, a pod on each node."""
        for name, host in self.hosts.items():
            own = settings(self.directory / name, **changed)
            self_of = Identity(f"i-{name}", f"subnet-{name[0]}", address(name), "", "us-west-2", "")
            self.planes[name] = host.call(partial(Dataplane, own, self_of))
            self.tell(name)
            self.pods[name] = host.add_pod("pod", own.cni_conf_dir / "10-podway.conflist")

    def tell(self, name: str, *, unknown: Iterable[str] = (), **states: State) -> None:
        """Have node *name* hold the snapshot of its subnet, with the *states* of members as said.

        It is one from before the *unknown* nodes joined.
        """
        told = self.snapshot(name[0], states, unknown=unknown)
        outcome = self.hosts[name].call(lambda: self.planes[name].converge(told, look=True))
        assert outcome.is_complete, outcome.faults

    def snapshot(self, subnet: str, states: Mapping[str, State], *, unknown: Iterable[str] = ()) -> Snapshot:
        """What the control plane would say to the nodes of *subnet*."""
        members: list[SnapshotMember] = [
            member(f"i-{name}", address(name), str(block(name)), state=states.get(name, "ready"))
            for name in self.nodes
            if name[0] == subnet and name not in unknown
        ]
        return snapshot(
            *members,
            subnet=f"subnet-{subnet}",
            subnet_cidrs=[SUBNETS[subnet]],
            reachable_here=[SUPERNETS[subnet]],
            forwarders=(f"i-{subnet}1",),
            led_here=[SUPERNETS[subnet]] if self.led else [],
        )
