"""What runs on the lab's instances: the metadata service, the real agent, and one pod each.

The mirror boots and halts them. Where there are no namespaces there is no kernel to program; then paper
agents read the snapshots and acknowledge them.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from podway.adapters import items
from podway.domain.addressing import Prefix
from podway.wire.agent_item import AgentItem
from podway.wire.snapshot import PackedSnapshot, Snapshot, unpack
from podway_agent.pods.conflist import ready_blocks

from podway_lab.fabric.fabric import Fabric
from podway_lab.fabric.host import Host, Pod
from podway_lab.fabric.namespace import ADMIN_PATH, Process
from podway_lab.region.identities import Identities, Identity
from podway_lab.region.metadata import serve_metadata
from podway_lab.region.model import StrictEC2
from podway_lab.region.wsgi import WsgiServer

METADATA_ADDRESS = "169.254.169.254"
CONFLIST = "10-podway.conflist"
AGENT_LOG = "agent.log"
ADDRESSES = "cni-data"
"""The folder in which host-local keeps the addresses in use; on a real node it is on /run."""
AGENTS_SOURCES = ("layers/podway/src", "node_agent/src")
"""Where a checkout has what an agent imports."""


@dataclass(frozen=True, slots=True)
class Region:
    """Where the machines live: what they must know to call it, and what the lab knows of them."""

    ec2: StrictEC2
    identities: Identities
    endpoint: str
    cluster: str
    table: str


@dataclass
class Machine:
    """A running instance."""

    host: Host
    metadata: WsgiServer
    agent: Process
    pod: Pod | None = None
    _starting: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def conflist(self) -> Path:
        """Appears when the control plane says that the node's pods may run."""
        return self.host.directory / "net.d" / CONFLIST

    def starts_pods(self) -> bool:
        """Whether pods may run here. Starts the machine's pod as soon as they may; any thread may call."""
        with self._starting:
            if self.pod is None and self.conflist.exists():
                self.pod = self.host.add_pod("pod", self.conflist)
        return self.pod is not None


class Fleet:
    """Boots and halts machines in a fabric."""

    def __init__(
        self, region: Region, fabric: Fabric, *, poll_seconds: float, agents: Path | None = None
    ) -> None:
        """*agents* is a checkout of another release: agents are started from it until they are upgraded."""
        self._region, self._fabric, self._poll = region, fabric, poll_seconds
        self._agents = agents
        self.machines: dict[str, Machine] = {}

    def boot(self, instance: str) -> None:
        """Plug the instance in, and start its metadata service and its agent."""
        with self._region.ec2.held() as state:
            (identity,) = state.instances[instance].interfaces
            interface = state.interfaces[identity]
        host = self._fabric.attach(
            network_interface=interface.id,
            subnet_id=interface.subnet,
            address=interface.address,
            mac=interface.mac,
            instance_id=instance,
        )
        host.add_address(METADATA_ADDRESS)
        metadata = serve_metadata(
            host.listen(METADATA_ADDRESS, 80),
            instance,
            ec2=self._region.ec2,
            identities=self._region.identities,
        )
        self.machines[instance] = Machine(host, metadata, self.start_agent(host))

    def start_agent(self, host: Host) -> Process:
        """Start the real agent, with what its settings file would tell it in its environment."""
        region, home = self._region, host.directory
        settings = {
            "PATH": f"{os.environ.get('PATH', '')}:{ADMIN_PATH}",
            "AWS_ENDPOINT_URL": region.endpoint,
            "PODWAY_AGENT_CLUSTER": region.cluster,
            "PODWAY_AGENT_TABLE": region.table,
            "PODWAY_AGENT_STATE_DIR": str(home / "state"),
            "PODWAY_AGENT_CNI_CONF_DIR": str(home / "net.d"),
            "PODWAY_AGENT_CNI_DATA_DIR": str(home / ADDRESSES),
            "PODWAY_AGENT_POLL_FAST_SECONDS": str(self._poll),
            "PODWAY_AGENT_POLL_SLOW_SECONDS": str(self._poll * 3),
        }
        if self._agents is not None:
            sources = (self._agents / room for room in AGENTS_SOURCES)
            settings["PYTHONPATH"] = os.pathsep.join(map(str, sources))
        with (home / AGENT_LOG).open("ab") as log:
            return host.popen(
                [sys.executable, "-m", "podway_agent", "run"], env=settings, stdout=log, stderr=log
            )

    def upgrade_agents(self) -> None:
        """Restart every agent, and from now on start those of this release."""
        self._agents = None
        for instance in list(self.machines):
            self.restart_agent(instance)

    def use_table(self, table: str) -> None:
        """Write another table into the agents' settings, and restart them all."""
        self._region = replace(self._region, table=table)
        for instance in list(self.machines):
            self.restart_agent(instance)

    def kill_agent(self, instance: str) -> None:
        """End the agent without a warning (SIGKILL); the node goes on. Raises KeyError."""
        self.machines[instance].agent.end()

    def restart_agent(self, instance: str) -> None:
        """End the agent, if it lives, and start another. Raises KeyError."""
        machine = self.machines[instance]
        machine.agent.end()
        machine.agent = self.start_agent(machine.host)

    def freeze_agent(self, instance: str) -> None:
        """Stop the agent where it is (SIGSTOP); the node goes on. Raises KeyError."""
        self.machines[instance].agent.freeze()

    def thaw_agent(self, instance: str) -> None:
        """Let a frozen agent go on. Raises KeyError."""
        self.machines[instance].agent.thaw()

    def reboot(self, instance: str) -> None:
        """Start the instance anew with what it has on disk; pods and addresses in use are gone."""
        self.halt(instance)
        self.boot(instance)

    def halt(self, instance: str) -> None:
        """End the instance with all that runs on it and all that is on /run; twice is fine."""
        machine = self.machines.pop(instance, None)
        if machine is not None:
            self._fabric.detach(instance)
            machine.metadata.stop()
            shutil.rmtree(self._fabric.directory / instance / ADDRESSES, ignore_errors=True)

    def close(self) -> None:
        """End what serves the machines; the fabric ends the machines themselves."""
        for machine in self.machines.values():
            machine.metadata.stop()

    def is_ready(self, instance: str) -> bool:
        """Whether pods may run there. Starts the machine's pod as soon as they may."""
        machine = self.machines.get(instance)
        return machine is not None and machine.starts_pods()


@dataclass
class _Paper:
    thread: threading.Thread | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    ready: bool = False


class PaperFleet:
    """Agents without kernels, for machines that allow no namespaces: they read and acknowledge."""

    def __init__(self, region: Region, *, poll_seconds: float) -> None:
        self._region, self._poll = region, poll_seconds
        self._agents: dict[str, _Paper] = {}

    def boot(self, instance: str) -> None:
        """Start an agent that acknowledges whatever it reads."""
        agent = self._agents[instance] = _Paper()
        with self._region.ec2.held() as state:
            subnet = state.instances[instance].subnet
        identity = self._region.identities.instance(instance)
        agent.thread = threading.Thread(
            target=self._work,
            args=(identity, instance, subnet, agent),
            name=f"paper agent {instance}",
            daemon=True,
        )
        agent.thread.start()

    def use_table(self, table: str) -> None:
        """Let all agents use another table; they forget what they have read."""
        self._region = replace(self._region, table=table)
        for instance in list(self._agents):
            self.halt(instance)
            self.boot(instance)

    def halt(self, instance: str) -> None:
        """Let the agent write nothing any more; twice is fine."""
        if agent := self._agents.pop(instance, None):
            agent.stop.set()

    def close(self) -> None:
        """Stop all agents, and wait until the last one has written its last item."""
        agents, self._agents = list(self._agents.values()), {}
        for agent in agents:
            agent.stop.set()
        for agent in agents:
            if agent.thread is not None:
                agent.thread.join()

    def is_ready(self, instance: str) -> bool:
        """Whether the control plane says that pods may run there."""
        agent = self._agents.get(instance)
        return agent is not None and agent.ready

    def _work(self, identity: Identity, instance: str, subnet: str, agent: _Paper) -> None:
        session = boto3.Session(
            region_name=self._region.ec2.settings.name,
            aws_access_key_id=identity.access_key,
            aws_secret_access_key=identity.secret,
            aws_session_token=identity.token,
        )
        resource: Any = session.resource("dynamodb", endpoint_url=self._region.endpoint)
        table = resource.Table(self._region.table)
        known: tuple[int, int] | None = None
        held: tuple[Prefix, ...] = ()
        while not agent.stop.wait(self._poll if known else 0):
            snapshot = self._read(table, subnet)
            found = (snapshot.epoch, snapshot.generation) if snapshot else (1, 0)
            told = self._epoch(table, subnet)
            found = max(found, (told, 0))
            if known is None or found > known:
                known = found
                if snapshot is not None and snapshot.epoch == told:
                    agent.ready = agent.ready or _hands_out(snapshot, instance)
                    held = ready_blocks(snapshot, instance) or held
                _acknowledge(table, identity, instance, subnet, known, held)

    def _read(self, table: Any, subnet: str) -> Snapshot | None:
        item = table.get_item(Key=items.snapshot_key(subnet, items.SNAPSHOT_BODY)).get("Item")
        if item is None:
            return None
        packed = PackedSnapshot(
            generation=int(item["generation"]),
            epoch=int(item.get("epoch", 1)),
            checksum=item["checksum"],
            body=item["body"].value,
        )
        return unpack(packed, cluster=self._region.cluster, subnet=subnet)

    def _epoch(self, table: Any, subnet: str) -> int:
        """The store's epoch, which may be told before there is a snapshot of it."""
        item = table.get_item(Key=items.snapshot_key(subnet, items.SNAPSHOT_VERSION)).get("Item", {})
        return int(item.get("epoch", 1))


def _acknowledge(
    table: Any,
    identity: Identity,
    instance: str,
    subnet: str,
    known: tuple[int, int],
    held: tuple[Prefix, ...],
) -> None:
    epoch, generation = known
    said = AgentItem(
        pk=identity.user_id,
        instance=instance,
        subnet=subnet,
        generation=generation,
        heartbeat=datetime.now(UTC),
        cause="acknowledged" if generation else "joined",
        epoch=epoch,
        blocks=held,
    )
    table.put_item(Item=said.model_dump(mode="json"))


def _hands_out(snapshot: Snapshot, instance: str) -> bool:
    return any(
        member.id == instance and member.blocks and all(block.ready for block in member.blocks)
        for member in snapshot.members
    )


def wait_until(condition: Callable[[], bool], *, timeout: float, pause: float = 0.05) -> bool:
    """Whether *condition* came true within *timeout* seconds; it is asked at least once."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(pause)
    return True
