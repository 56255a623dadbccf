"""A small cluster in memory whose agents acknowledge what they are told, for tests of the use cases."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from podway.app.failover import Failover
from podway.app.lifecycle import Lifecycle
from podway.app.reconcile import Reconcile
from podway.app.report import ReconcileOutcome
from podway.domain.addressing import Prefix
from podway.domain.inventory import Instance, Survey, VpcSubnet
from podway.domain.model import Route, RouteOrigin, RouteTable
from podway.domain.run.memory import AgentReport
from podway.domain.run.seen import Rules
from podway.domain.signals import InstanceState

from tests.fakes.store import FakeStore
from tests.fakes.world import FakeAlarms, FakeClock, FakeCloud, FakeHints, FakeHooks, Immediate

POD_CIDR = Prefix.parse("100.64.0.0/16")
QUARANTINE = timedelta(minutes=10)
HOLD_DOWN = timedelta(seconds=60)
SUBNETS = ("subnet-a", "subnet-b")
TABLES = {"subnet-a": "rtb-a", "subnet-b": "rtb-b"}
LOCAL = Route(Prefix.parse("10.0.0.0/16"), "local", origin=RouteOrigin.CREATE_ROUTE_TABLE)


def instance(name: str, **more: object) -> Instance:
    """Node *a1* is the first of subnet-a, and so on."""
    facts = {
        "id": f"i-{name}",
        "state": InstanceState.RUNNING,
        "subnet": f"subnet-{name[0]}",
        "network_interface": f"eni-{name}",
        "address": f"10.0.{ord(name[0]) - 97}.{int(name[1:]) + 3}",
    }
    return Instance(**{**facts, **more})  # type: ignore[arg-type]  # facts are spelt as a mapping to be overridden


@dataclass
class Play:
    """The control plane and its world. ``settle`` lets agents and reconcile come to rest."""

    quota: int = 500
    nodes: tuple[str, ...] = ("a1", "a2", "a3", "b1", "b2", "b3")
    cloud: FakeCloud = field(init=False)
    store: FakeStore = field(default_factory=FakeStore)
    clock: FakeClock = field(default_factory=FakeClock)
    hints: FakeHints = field(default_factory=FakeHints)
    hooks: FakeHooks = field(default_factory=FakeHooks)
    alarms: FakeAlarms = field(init=False)
    runs: int = 0
    pod_cidrs: tuple[Prefix, ...] = (POD_CIDR,)
    stack: str = ""
    silent: set[str] = field(default_factory=set)
    """Nodes whose agents say nothing any more."""

    def __post_init__(self) -> None:
        self.alarms = FakeAlarms(self.clock.now)
        self.cloud = FakeCloud(
            Survey(
                instances=tuple(instance(name) for name in self.nodes),
                subnets=tuple(
                    VpcSubnet(name, (Prefix.parse(f"10.0.{number}.0/24"),), f"zone-{name[-1]}")
                    for number, name in enumerate(SUBNETS)
                ),
                vpc_cidrs=(Prefix.parse("10.0.0.0/16"),),
                route_tables=tuple(
                    RouteTable(TABLES[subnet], (LOCAL,), (subnet,), self.quota) for subnet in SUBNETS
                ),
            )
        )
        self.failover = Failover(
            cloud=self.cloud,
            store=self.store,
            hints=self.hints,
            clock=self.clock,
            parallel=Immediate(),
            hold_down=HOLD_DOWN,
        )
        self.lifecycle = Lifecycle(
            cloud=self.cloud,
            store=self.store,
            failover=self.failover,
            hints=self.hints,
            hooks=self.hooks,
            clock=self.clock,
        )

    def rules(self) -> Rules:
        """What reconcile and the operator go by."""
        lease = timedelta(seconds=125)
        return Rules("demo", self.pod_cidrs, 26, QUARANTINE, HOLD_DOWN, lease, self.stack)

    def reconcile(self) -> ReconcileOutcome:
        reconcile = Reconcile(
            cloud=self.cloud,
            store=self.store,
            hints=self.hints,
            clock=self.clock,
            alarms=self.alarms,
            hooks=self.hooks,
            rules=self.rules(),
        )
        self.runs += 1
        self.clock.go_on(seconds=1)
        return reconcile.run(f"run {self.runs}")

    def agents_acknowledge(self) -> None:
        """Every running agent's kernel holds the newest map of its subnet."""
        for one in self.cloud.surveyed.instances:
            known = self.store.maps.get(one.subnet)
            if known is not None and one.state is InstanceState.RUNNING and one.id not in self.silent:
                self.store.reports[one.id] = AgentReport(
                    one.id, one.subnet, known.generation, self.clock.now()
                )

    def settle(self) -> None:
        """Every instance becomes ready."""
        self.settle_all_but()

    def settle_all_but(self, *gone: str) -> None:
        """Every instance but those becomes ready."""
        for _ in range(4):
            self.reconcile()
            self.agents_acknowledge()
        here = [one.id for one in self.cloud.surveyed.instances if one.id not in gone]
        assert self.is_ready(*here), "the cluster did not settle"

    def is_ready(self, *nodes: str) -> bool:
        members = self.store.found_members
        return all(
            node in members
            and bool(members[node].blocks)
            and all(block.ready for block in members[node].blocks)
            for node in nodes
        )

    def block(self, node: str) -> Prefix:
        return self.store.found_members[node].blocks[0].prefix

    def forwarder_of(self, subnet: str, table: str) -> str:
        """The node that the anchor of *subnet* in *table* leads to."""
        (supernet,) = self.store.found_supernets[subnet]
        return self.cloud.table(table)[supernet].replace("eni-", "i-")

    def targets(self) -> dict[str, set[str]]:
        """The nodes that routes lead to, by table."""
        return {
            table: {target.replace("eni-", "i-") for target in self.cloud.table(table).values()}
            for table in TABLES.values()
        }

    def silence(self, *nodes: str) -> None:
        """These agents say nothing any more."""
        self.silent |= set(nodes)

    def join(self, name: str) -> None:
        """One more instance runs."""
        self.cloud.add(instance(name))

    def next_hops(self) -> list[tuple[str, str]]:
        """The owner of each ready block of another subnet, and the node that a table leads it to, if any."""
        nodes = {name: one.id for one in self.store.found_members.values() for name in one.interfaces}
        found = []
        for member in self.store.found_members.values():
            for prefix in (block.prefix for block in member.blocks if block.ready and not member.gone_at):
                for subnet, table in TABLES.items():
                    routes = self.cloud.table(table)
                    matching = [one for one in routes if one.contains(prefix)]
                    if subnet != member.subnet:
                        hop = routes[max(matching, key=lambda one: one.length)] if matching else ""
                        found.append((member.id, nodes.get(hop, "")))
        return found

    def uncovered(self) -> list[str]:
        """Owners of ready blocks that some table leads to no running node of their own subnet."""
        running = {
            one.id
            for one in self.cloud.surveyed.instances
            if one.state not in (InstanceState.STOPPED, InstanceState.TERMINATED)
        }
        return [owner for owner, hop in self.next_hops() if hop not in running or hop[2] != owner[2]]
