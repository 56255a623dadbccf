"""The control plane over the strict EC2, with agents on paper, on a clock that stands still until told.

Every call of a use case goes through a `Trip`, which can end it, or the whole function, at a chosen call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from weakref import WeakSet

from podway.adapters.dynamodb import DynamoStore
from podway.adapters.ec2 import Ec2Cloud
from podway.adapters.quotas import RouteQuota
from podway.app.failover import Failover
from podway.app.lifecycle import Lifecycle
from podway.app.reconcile import Reconcile
from podway.app.report import ReconcileOutcome
from podway.domain.addressing import Prefix
from podway.domain.inventory import Member
from podway.domain.model import Route
from podway.domain.routing import longest_match
from podway.domain.run.memory import AgentReport
from podway.domain.run.seen import Rules
from podway.domain.signals import InstanceState, StateChanged
from podway_lab.referee import Breach, Referee
from podway_lab.region.model import StrictEC2
from podway_lab.region.operation import Settings

from tests.fakes.store import FakeStore
from tests.fakes.world import FakeAlarms, FakeClock, FakeHints, FakeHooks, Immediate

POD_CIDR = Prefix.parse("100.64.0.0/16")
QUARANTINE = timedelta(minutes=10)
HOLD_DOWN = timedelta(seconds=60)
LEASE = timedelta(seconds=125)
TAGS = [{"Key": "podway:cluster", "Value": "demo"}]
US = "podway"
"""The caller whose writes the referee judges as ours."""


_REFEREES: WeakSet[Referee] = WeakSet()


def let_referees_rest() -> None:
    """Whoever takes a plane's table away calls this first: a referee would go on reading it, or AWS's."""
    for referee in tuple(_REFEREES):
        referee.settle()


class KilledError(BaseException):
    """The function's process ends here: nobody catches this, and nothing is cleaned up."""


@dataclass
class Trip:
    """Counts calls; the one numbered *at* raises *error*, after its effect if *too_late*."""

    at: int | None = None
    error: BaseException = field(default_factory=KilledError)
    too_late: bool = False
    calls: list[str] = field(default_factory=list)
    fired: bool = False

    def make(self, name: str, call: Callable[[], Any]) -> Any:
        """The call, or what befalls it. Whoever was killed makes no further call."""
        if self.fired and isinstance(self.error, KilledError):
            raise self.error
        self.calls.append(name)
        if len(self.calls) - 1 != self.at:
            return call()
        if self.too_late:
            call()
        self.fired = True
        raise self.error


class Tripping:
    """A port behind a trip."""

    def __init__(self, port: Any, trip: Callable[[], Trip]) -> None:
        self._port, self._trip = port, trip

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        return lambda *given, **named: self._trip().make(name, lambda: method(*given, **named))


@dataclass
class Plane:
    """Subnets a, b, … with a table each; nodes are named after their subnet: a1, a2, b1."""

    nodes: tuple[str, ...] = ("a1", "a2", "a3", "b1", "b2", "b3")
    quota: int = 500
    pod_cidrs: tuple[Prefix, ...] = (POD_CIDR,)
    kinds: Mapping[str, str] = field(default_factory=dict)
    """The instance types of nodes that are none of the usual one."""
    dynamodb: Any = None
    """A client of a real table named ``podway``; without one the store is in memory."""
    clock: FakeClock = field(default_factory=FakeClock)
    hints: FakeHints = field(default_factory=FakeHints)
    hooks: FakeHooks = field(default_factory=FakeHooks)
    alarms: FakeAlarms = field(init=False)
    trip: Trip = field(default_factory=Trip)
    ids: dict[str, str] = field(default_factory=dict)
    subnets: dict[str, str] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    runs: int = 0

    def __post_init__(self) -> None:
        self.region = StrictEC2(clock=self.clock.now, settings=Settings(route_quota=self.quota))
        self.ec2 = self.region.client()
        memory = self.dynamodb is None
        self.store: Any = (
            FakeStore() if memory else DynamoStore(self.dynamodb, table="podway", cluster="demo")
        )
        self.referee = Referee(
            self.region, self.pod_cidrs, self.members, lambda caller: caller == US, QUARANTINE
        )
        if not memory:
            _REFEREES.add(self.referee)
        self._build()
        self.alarms = FakeAlarms(self.clock.now)
        self.start_cold()

    def start_cold(self) -> None:
        """The functions in processes of their own that remember nothing."""
        client: Any = self.region.client(US)
        cloud = Ec2Cloud(client, cluster="demo", quota=RouteQuota(fixed=self.quota))
        ports = {
            "cloud": cloud,
            "store": self.store,
            "hints": self.hints,
            "hooks": self.hooks,
            "alarms": self.alarms,
        }
        worn: dict[str, Any] = {name: Tripping(port, lambda: self.trip) for name, port in ports.items()}
        narrow = {name: worn[name] for name in ("cloud", "store", "hints")}
        self.failover = Failover(**narrow, clock=self.clock, parallel=Immediate(), hold_down=HOLD_DOWN)
        self.lifecycle = Lifecycle(**narrow, failover=self.failover, hooks=worn["hooks"], clock=self.clock)
        rules = Rules("demo", self.pod_cidrs, 26, QUARANTINE, HOLD_DOWN, LEASE)
        self._reconcile = Reconcile(**worn, clock=self.clock, rules=rules)

    def _build(self) -> None:
        vpc = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        for number, letter in enumerate(sorted({name[0] for name in self.nodes})):
            subnet = self.ec2.create_subnet(
                VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"us-west-2{letter}"
            )["Subnet"]["SubnetId"]
            table = self.ec2.create_route_table(
                VpcId=vpc, TagSpecifications=[{"ResourceType": "route-table", "Tags": TAGS}]
            )["RouteTable"]["RouteTableId"]
            self.ec2.associate_route_table(SubnetId=subnet, RouteTableId=table)
            self.subnets[letter], self.tables[letter] = subnet, table
        for name in self.nodes:
            self.launch(name)

    # What happens to the world

    def launch(self, name: str) -> None:
        made = self.ec2.run_instances(
            ImageId="ami-1",
            InstanceType=self.kinds.get(name, "m5.large"),
            MinCount=1,
            MaxCount=1,
            SubnetId=self.subnets[name[0]],
            TagSpecifications=[{"ResourceType": "instance", "Tags": TAGS}],
        )
        self.ids[name] = made["Instances"][0]["InstanceId"]

    def terminate(self, name: str) -> None:
        self.ec2.terminate_instances(InstanceIds=[self.ids[name]])

    def interface(self, name: str) -> str:
        return self.region.state.instances[self.ids[name]].interfaces[0]

    def agents_acknowledge(self) -> None:
        """Every running agent's kernel holds the newest map of its subnet."""
        maps = self.store.recall().maps
        for one in self.region.state.instances.values():
            known = maps.get(one.subnet)
            if known is not None and one.state == "running":
                self._report(AgentReport(one.id, one.subnet, known.generation, self.clock.now()))

    def _report(self, report: AgentReport) -> None:
        if self.dynamodb is None:
            self.store.reports[report.instance] = report
            return
        said = {
            "pk": f"AROAEXAMPLE:{report.instance}",
            "sk": "agent",
            "reports": "agents",
            "instance": report.instance,
            "subnet": report.subnet,
            "heartbeat": report.heartbeat.isoformat(),
            "cause": "acknowledged",
        }
        item = {name: {"S": value} for name, value in said.items()}
        self.dynamodb.put_item(TableName="podway", Item=item | {"generation": {"N": str(report.generation)}})

    # What the control plane does

    def reconcile(self) -> ReconcileOutcome:
        self.runs += 1
        self.clock.go_on(seconds=1)
        return self._reconcile.run(f"run {self.runs}")

    def settle(self) -> None:
        """Reconcile and agents take turns until there is nothing more to do."""
        for _ in range(8):
            self.agents_acknowledge()
            before = self._generations()
            outcome = self.reconcile()
            self.referee.review()
            idle = not (outcome.busy or outcome.applied or outcome.failed or outcome.joined)
            if idle and self._generations() == before:
                return
        raise AssertionError("the cluster does not come to rest")

    def _generations(self) -> dict[str, int]:
        return {subnet: one.generation for subnet, one in self.store.recall().maps.items()}

    def dies(self, name: str, *, event: str = "event") -> StateChanged:
        """The node is gone; the event that says so."""
        self.terminate(name)
        return StateChanged(event, self.clock.now(), self.ids[name], InstanceState.TERMINATED)

    def stops(self, name: str) -> StateChanged:
        """The node stops, and keeps its interface; the event that says so."""
        self.ec2.stop_instances(InstanceIds=[self.ids[name]])
        return StateChanged(f"{name} stops", self.clock.now(), self.ids[name], InstanceState.STOPPING)

    # What can be seen

    def members(self) -> tuple[Member, ...]:
        if isinstance(self.store, FakeStore):
            return tuple(self.store.found_members.values())
        found: tuple[Member, ...] = self.store.members()
        return found

    def table(self, letter: str) -> dict[Prefix, str]:
        """Destination and target of the pod routes in the table of a subnet."""
        routes = self.region.state.tables[self.tables[letter]].routes.values()
        return {
            route.destination: route.target.id
            for route in routes
            if isinstance(route.destination, Prefix)
            and any(cidr.contains(route.destination) for cidr in self.pod_cidrs)
        }

    def uncovered(self) -> list[str]:
        """Running nodes without a ready block, or that a packet from another subnet would not reach."""
        members = {member.id: member for member in self.members()}
        alive = {one.id: one for one in self.region.state.instances.values() if one.state == "running"}
        homes = {interface: one.subnet for one in alive.values() for interface in one.interfaces}
        missed = []
        for node, instance in alive.items():
            blocks = members[node].blocks if node in members else ()
            ready = bool(blocks) and all(block.ready for block in blocks)
            for letter, subnet in self.subnets.items():
                routes = [Route(*one) for one in self.table(letter).items()]
                hops = [longest_match(routes, block.prefix) for block in blocks]
                reached = all(hop is not None and homes.get(hop.target) == instance.subnet for hop in hops)
                if not ready or (subnet != instance.subnet and not reached):
                    missed.append(f"{node} from {subnet}")
        return missed

    def orphans(self) -> set[tuple[str, Prefix]]:
        """Pod routes that nobody remembers having made, and so nobody will ever move."""
        records = self.store.recall().records
        return {
            (letter, destination)
            for letter, table in self.tables.items()
            for destination in self.table(letter).keys() - records.get(table, frozenset())
        }

    def runs_still(self, name: str) -> bool:
        return self.region.state.instances[self.ids[name]].state == "running"

    def busiest(self, letter: str) -> str:
        """The node of the subnet with the most routes on its card."""
        cards = self.store.recall().cards
        names = [name for name in self.ids if name[0] == letter and self.ids[name] in cards]
        return max(names, key=lambda name: len(cards[self.ids[name]].routes))

    def breaches(self) -> list[Breach]:
        return self.referee.review()
