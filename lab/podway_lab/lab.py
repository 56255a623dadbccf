"""A VPC in a box: starts region, stack, fabric, machines and referee together, and ends them together.

The command and the longer tests start one; scenarios are played in it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import boto3
from podway import bootstrap
from podway.adapters.dynamodb import DynamoStore
from podway.app.operator import Operator
from podway.config import Settings as Config
from podway.domain.addressing import Prefix
from podway.domain.inventory import Member
from podway.domain.tables import TABLE_TAG

from podway_lab import sources
from podway_lab.deployed.cloudformation import CloudFormationStack
from podway_lab.deployed.hosting import UnderEmulator
from podway_lab.deployed.moto_patches import patch_moto
from podway_lab.deployed.sam import EMULATED_ACCOUNT, Built, deploy
from podway_lab.fabric.fabric import ENDPOINT, Fabric
from podway_lab.fabric.host import Pod
from podway_lab.fabric.scratch import Scratch
from podway_lab.machines import Fleet, PaperFleet, Region, wait_until
from podway_lab.mirror import Mirror
from podway_lab.pump import OPERATOR, Pump
from podway_lab.referee import Breach, Referee
from podway_lab.region.calls import Made
from podway_lab.region.identities import Identities
from podway_lab.region.model import StrictEC2
from podway_lab.region.operation import Settings
from podway_lab.region.policies import Policy
from podway_lab.region.server import RegionServer
from podway_lab.stack.delivery import Delivery, DeliveryFaults, Pace
from podway_lab.stack.deploy import Credentials, Stack, deploy_stack
from podway_lab.stack.functions import Hosting, Invocation
from podway_lab.stack.inprocess import InThisProcess, shared_environment
from podway_lab.stack.template import Place, Template

FUNCTIONS = "podway"
"""What the functions' names begin with in the region's call log, and for the referee."""
POLL_SECONDS = 0.5
"""Between two polls of the store by an agent of the lab; on real nodes 2 s while joining or forwarding."""
CROWD = 30
"""From so many nodes on agents poll less often, and hosts are told their neighbours."""


ROUGH = DeliveryFaults(seed=1, duplicate=0.3, delay=0.3, longest_delay=1.0)
"""What the bus does by default where the stack is deployed: events come twice, late, and so out of order."""


class _Installed(NamedTuple):
    """An installed stack, where its functions run, and its table's name."""

    stack: Stack
    hosting: Hosting
    table: str


@dataclass(frozen=True, slots=True)
class SubnetPlan:
    """A subnet with a table of its own, *foreign* routes of others in it, and its first nodes."""

    name: str
    cidr: str
    zone: str
    nodes: tuple[str, ...]
    foreign: int = 0


@dataclass(frozen=True, slots=True)
class LabPlan:
    """What to build."""

    cluster: str = "demo"
    vpc_cidr: str = "10.0.0.0/16"
    pod_cidr: str = "100.64.0.0/16"
    block_length: int = 26
    quota: int = 500
    reserve: int = 2
    quarantine: int = 600
    hold_down: int = 5
    alarm_prefix: str = "StatusCheckFailed"
    """What the names of the operator's alarms begin with: that of the sentence ``alarm for NODE``."""
    tick: float = 5.0
    """Seconds between two ticks of the schedule; a minute on AWS."""
    subnets: tuple[SubnetPlan, ...] = ()
    delivery_faults: DeliveryFaults | None = None
    """What happens to events on their way; None: nothing, or `ROUGH` where the stack is deployed."""


class Lab:
    """A running lab. Names of nodes and subnets are the plan's; the region has ids for them."""

    def __init__(
        self,
        plan: LabPlan,
        *,
        with_fabric: bool,
        deployed: Built | None = None,
        agents: Path | None = None,
    ) -> None:
        """With *deployed* the stack is deployed for real and runs under the runtime's emulator.

        *agents* is a checkout of another release, whose agents the machines start with.
        """
        self._agents = agents
        self.plan = plan
        self.with_fabric = with_fabric
        self.deployed = deployed
        self.ids: dict[str, str] = {}
        """Instance ids by node name, subnet ids by subnet name, table ids by subnet name with ``rtb-``."""
        self._updated: dict[str, str] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, stack: contextlib.ExitStack) -> None:
        plan = self.plan
        nodes = sum(len(subnet.nodes) for subnet in plan.subnets)
        poll = max(POLL_SECONDS, nodes / CROWD)
        self.fabric = stack.enter_context(Fabric(crowded=nodes >= CROWD)) if self.with_fabric else None
        self.ec2 = StrictEC2(settings=self._settings())
        self.identities = Identities(self.ec2.settings.account)
        self.server = stack.enter_context(
            RegionServer(self.ec2, identities=self.identities, host=ENDPOINT if self.fabric else "127.0.0.1")
        )
        self.operator = self.ec2.client(OPERATOR)
        vpc = self.operator.create_vpc(CidrBlock=plan.vpc_cidr)["Vpc"]["VpcId"]
        installed = self._deploy(vpc, stack) if self.deployed else self._install(vpc)
        self.delivery = Delivery(
            installed.stack,
            hosting=installed.hosting,
            pace=Pace(tick=plan.tick),
            faults=plan.delivery_faults or (ROUGH if self.deployed else None),
        )
        for caller, function in self.delivery.callers().items():
            self.ec2.bind(caller, Policy.parse(installed.stack.permissions(function)))
        bootstrap.forget()
        self.region = Region(self.ec2, self.identities, self.server.url, plan.cluster, installed.table)
        self.fleet: Fleet | PaperFleet = (
            Fleet(self.region, self.fabric, poll_seconds=poll, agents=self._agents)
            if self.fabric
            else PaperFleet(self.region, poll_seconds=poll)
        )
        stack.callback(self.fleet.close)
        self.mirror = Mirror(self.ec2, self.fabric, self.fleet)
        self.store = self.store_in(installed.table)
        self.referee = Referee(
            self.ec2,
            (Prefix.parse(plan.pod_cidr),),
            self.members,
            is_ours=lambda caller: caller.startswith(FUNCTIONS),
            quarantine=timedelta(seconds=plan.quarantine),
        )
        self.pump = Pump(self.ec2, self.delivery.put)
        stack.callback(self.pump.close)
        stack.enter_context(self.delivery)
        self._build(vpc)

    def _settings(self) -> Settings:
        if self.deployed:
            return Settings(route_quota=self.plan.quota, account=EMULATED_ACCOUNT)
        return Settings(route_quota=self.plan.quota)

    def _install(self, vpc: str) -> _Installed:
        """The stack as the template declares it, its functions in this process."""
        self.template = Template(sources.TEMPLATE, self._parameters(vpc), self._place())
        made = deploy_stack(self.template)
        hosting = InThisProcess(made, sources.FOLDER, self._function_credentials)
        return _Installed(made, hosting, self.template.name_of("Table"))

    def _deploy(self, vpc: str, stack: contextlib.ExitStack) -> _Installed:
        """The stack as ``sam deploy`` makes it, its functions under Lambda's own runtime."""
        assert self.deployed is not None, "only a lab that was given a build deploys"
        scratch = Scratch()
        stack.callback(scratch.close)
        patch_moto()
        deploy(self.deployed, self._place(), self._parameters(vpc), scratch.path)
        made = CloudFormationStack(self._place())
        hosting = UnderEmulator(
            made,
            self.deployed.tools.runtime,
            credentials=self._function_credentials,
            folder=scratch.path,
            with_mounts=os.geteuid() == 0,
        )
        return _Installed(made, hosting, made.outputs["TableName"])

    def _function_credentials(self, name: str) -> Credentials:
        identity = self.identities.function(f"{FUNCTIONS}/{name}")
        return Credentials(identity.access_key, identity.secret, owner=identity.name)

    def _place(self) -> Place:
        settings = self.ec2.settings
        return Place(account=settings.account, region=settings.name, endpoint=self.server.url)

    def _parameters(self, vpc: str) -> dict[str, str]:
        plan = self.plan
        return {
            "ClusterName": plan.cluster,
            "VpcId": vpc,
            "PodCidrs": plan.pod_cidr,
            "BlockLength": str(plan.block_length),
            "RouteReserve": str(plan.reserve),
            "QuarantineSeconds": str(plan.quarantine),
            "HoldDownSeconds": str(plan.hold_down),
            "AlarmPrefix": plan.alarm_prefix,
        }

    def client(self, service: str) -> Any:
        """A client of the region, as the operator."""
        return boto3.client(
            service,  # type: ignore[call-overload]  # the stubs want a literal
            endpoint_url=self.server.url,
            region_name=self.ec2.settings.name,
            aws_access_key_id="operator",
            aws_secret_access_key="secret",  # noqa: S106  (nobody checks it in the lab)
        )

    @cached_property
    def podway(self) -> Operator:
        """What the ``podway`` command does over AWS, done here, as the operator."""
        session = boto3.Session(
            aws_access_key_id="operator",
            aws_secret_access_key="secret",  # noqa: S106  (nobody checks it in the lab)
            region_name=self.ec2.settings.name,
        )
        told = shared_environment(self.delivery.stack.functions().values()) | self._updated
        return bootstrap.operator(session, Config.from_environment(told), endpoint_url=self.server.url)

    def use_table(self, table: str, stream: str) -> None:
        """Let the functions, the operator and the referee use another *table*, and the *stream* of it."""
        self._updated = {"PODWAY_TABLE": table}
        self.delivery.update(self._updated, stream)
        self.store = self.store_in(table)
        self.__dict__.pop("podway", None)

    def store_in(self, table: str) -> DynamoStore:
        return DynamoStore(self.client("dynamodb"), table=table, cluster=self.plan.cluster)

    # Building

    def _build(self, vpc: str) -> None:
        for subnet in self.plan.subnets:
            made = self.operator.create_subnet(
                VpcId=vpc, CidrBlock=subnet.cidr, AvailabilityZone=subnet.zone
            )["Subnet"]["SubnetId"]
            table = self.operator.create_route_table(
                VpcId=vpc, TagSpecifications=_tags("route-table", self.plan.cluster, f"rtb-{subnet.name}")
            )["RouteTable"]["RouteTableId"]
            self.operator.associate_route_table(SubnetId=made, RouteTableId=table)
            self.ids |= {subnet.name: made, f"rtb-{subnet.name}": table}
            self._add_foreign(table, vpc, subnet.foreign)

    def _add_foreign(self, table: str, vpc: str, count: int) -> None:
        """Add foreign routes: Podway must not touch them, and they take slots of the quota."""
        if not count:
            return
        gateway = self.operator.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.operator.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
        for number in range(count):
            self.operator.create_route(
                RouteTableId=table, DestinationCidrBlock=f"192.168.{number}.0/24", GatewayId=gateway
            )

    def launch(self, node: str, subnet: str) -> str:
        """Start an instance, tagged for the cluster; its id."""
        self.ids[node] = self.operator.run_instances(
            ImageId="ami-0123456789abcdef0",
            MinCount=1,
            MaxCount=1,
            InstanceType="m5.large",
            SubnetId=self.ids[subnet],
            IamInstanceProfile={"Name": "podway-node"},
            TagSpecifications=_tags("instance", self.plan.cluster, node),
        )["Instances"][0]["InstanceId"]
        return self.ids[node]

    def launch_all(self) -> None:
        """Start all nodes of the plan."""
        for subnet in self.plan.subnets:
            for node in subnet.nodes:
                self.launch(node, subnet.name)

    # Looking

    @property
    def names(self) -> Mapping[str, str]:
        """Names by id: the reverse of ``ids``."""
        return {identity: name for name, identity in self.ids.items()}

    @property
    def subnets(self) -> list[str]:
        """Names of the subnets."""
        return [subnet.name for subnet in self.plan.subnets]

    def subnet_of(self, node: str) -> str:
        """The name of the subnet that *node* is, or was, in."""
        return self.names[self.ec2.state.instances[self.ids[node]].subnet]

    def supernets(self, subnet: str) -> tuple[Prefix, ...]:
        """What *subnet* owns of the pod CIDR."""
        return self.store.supernets().get(self.ids[subnet], ())

    def nodes(self, subnet: str | None = None) -> list[str]:
        """Names of the nodes that run, of one subnet or of all."""
        state = self.ec2.state
        return sorted(
            name
            for name, identity in self.ids.items()
            if (found := state.instances.get(identity)) is not None
            and found.state == "running"
            and subnet in (None, self.names[found.subnet])
        )

    def members(self) -> tuple[Member, ...]:
        """The inventory, as the store has it."""
        return self.store.members()

    def pod(self, node: str) -> Pod:
        """The pod on *node*. Raises LookupError while there is none."""
        machine = self.fleet.machines.get(self.ids[node]) if isinstance(self.fleet, Fleet) else None
        if machine is None or machine.pod is None:
            raise LookupError(f"there is no pod on {node}")
        return machine.pod

    def is_ready(self, node: str) -> bool:
        """Whether pods may run on *node*."""
        return self.fleet.is_ready(self.ids[node])

    def wait(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Whether *condition* came true within *timeout* seconds."""
        return wait_until(condition, timeout=timeout)

    def blocks(self) -> dict[Prefix, str]:
        """The name of every block's owner."""
        return {prefix: self.names[one.id] for one in self.members() for prefix in one.prefixes}

    def direct(self, subnet: str) -> frozenset[Prefix]:
        """Destinations of the direct routes in *subnet*'s table."""
        return direct_routes(dict(self.managed(subnet)), self.blocks())

    def managed(self, subnet: str) -> Iterator[tuple[Prefix, str]]:
        """The managed routes in *subnet*'s table, with the name of their next hop (or its id)."""
        state = self.ec2.state
        pods = Prefix.parse(self.plan.pod_cidr)
        for destination, route in sorted(
            (
                one
                for one in state.tables[self.ids[f"rtb-{subnet}"]].routes.items()
                if isinstance(one[0], Prefix)
            ),
        ):
            if isinstance(destination, Prefix) and pods.contains(destination):
                interface = state.interfaces.get(route.target.id)
                owner = interface.instance if interface else route.target.id
                yield destination, self.names.get(owner, owner)

    def others_routes(self, subnet: str) -> int:
        """How many routes of *subnet*'s table the quota counts that are not managed."""
        table = self.ec2.state.tables[self.ids[f"rtb-{subnet}"]]
        return sum(route.counts for route in table.routes.values()) - len(tuple(self.managed(subnet)))

    def calls_of(self, run: Invocation) -> list[Made]:
        """The calls that *run* made: its environment calls by a name of its own, one run at a time."""
        made = self.ec2.calls.made(caller=run.caller)
        return [call for call in made if run.started <= call.at <= run.ended]

    def review(self) -> list[Breach]:
        """All breaches, once the fabric has followed the region."""
        self.mirror.settle()
        return self.referee.review()


def _tags(kind: str, cluster: str, name: str) -> list[dict[str, Any]]:
    tags = [{"Key": TABLE_TAG, "Value": cluster}, {"Key": "Name", "Value": name}]
    return [{"ResourceType": kind, "Tags": tags}]


def direct_routes(routes: Mapping[Prefix, str], blocks: Mapping[Prefix, str]) -> frozenset[Prefix]:
    """The direct ones of *routes*: they carry blocks of their next hop only, at least one."""
    carried: dict[Prefix, set[str]] = {}
    for block, owner in blocks.items():
        matches = (one for one in routes if one.contains(block))
        match = max(matches, key=lambda one: one.length, default=None)
        if match is not None:
            carried.setdefault(match, set()).add(owner)
    return frozenset(one for one, owners in carried.items() if owners == {routes[one]})
