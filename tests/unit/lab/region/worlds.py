"""A small region on a clock that only the test moves."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from podway_lab.region.changes import Change
from podway_lab.region.faults import Faults
from podway_lab.region.model import Client, StrictEC2
from podway_lab.region.operation import Settings


@dataclass
class Clock:
    now: datetime = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Small:
    """One subnet, no nodes yet; every change and every pause is written down."""

    settings: Settings = field(default_factory=Settings)
    throttled: bool = False
    clock: Clock = field(default_factory=Clock)
    changes: list[Change] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.faults = Faults(seed=1, pause=self.pauses.append)
        self.region = StrictEC2(
            clock=self.clock, settings=self.settings, faults=self.faults, throttled=self.throttled
        )
        self.ec2: Client = self.region.client("test")
        self.vpc = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = self.ec2.create_subnet(VpcId=self.vpc, CidrBlock="10.0.0.0/20")["Subnet"]
        self.subnet: str = subnet["SubnetId"]
        self.table = self.region.state.vpcs[self.vpc].main_table
        self.region.subscribe(self.changes.append)

    def launch(self, **more: Any) -> tuple[str, str]:
        """A new instance and its interface."""
        launched = self.ec2.run_instances(
            ImageId="ami-1", MinCount=1, MaxCount=1, SubnetId=self.subnet, **more
        )["Instances"][0]
        return launched["InstanceId"], launched["NetworkInterfaces"][0]["NetworkInterfaceId"]

    def create(self, destination: str, interface: str) -> None:
        self.ec2.create_route(
            RouteTableId=self.table, DestinationCidrBlock=destination, NetworkInterfaceId=interface
        )

    def destinations(self) -> set[str]:
        """What DescribeRouteTables shows, the local route apart."""
        (table,) = self.ec2.describe_route_tables(RouteTableIds=[self.table])["RouteTables"]
        return {route["DestinationCidrBlock"] for route in table["Routes"]} - {"10.0.0.0/16"}

    def told(self, kind: type[Change]) -> list[Any]:
        return [change for change in self.changes if isinstance(change, kind)]
