"""The world in which the contract of a strict EC2 is tested, and how a refusal is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError
from podway_lab.region.model import StrictEC2

VPC = "10.0.0.0/16"
PODS = "100.64.0.0/16"


@dataclass
class World:
    """A region with one VPC of two subnets, two nodes and a table of its own for subnet a."""

    ec2: Any
    region: StrictEC2
    vpc: str
    subnet_a: str
    subnet_b: str
    main: str
    table: str
    nodes: tuple[str, ...]
    interfaces: tuple[str, ...]

    def routes(self, table: str = "") -> dict[str, dict[str, Any]]:
        shown = self.ec2.describe_route_tables(RouteTableIds=[table or self.table])["RouteTables"][0]
        return {
            route.get("DestinationCidrBlock") or route.get("DestinationIpv6CidrBlock"): route
            for route in shown["Routes"]
        }

    def associations(self, table: str) -> list[dict[str, Any]]:
        (shown,) = self.ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"]
        return list(shown["Associations"])

    def create(self, destination: str, *, to: int = 0, **more: Any) -> Any:
        return self.ec2.create_route(
            RouteTableId=self.table,
            DestinationCidrBlock=destination,
            NetworkInterfaceId=self.interfaces[to],
            **more,
        )

    def replace(self, destination: str, *, to: int = 1, **more: Any) -> Any:
        return self.ec2.replace_route(
            RouteTableId=self.table,
            DestinationCidrBlock=destination,
            NetworkInterfaceId=self.interfaces[to],
            **more,
        )

    def delete(self, destination: str, **more: Any) -> Any:
        return self.ec2.delete_route(RouteTableId=self.table, DestinationCidrBlock=destination, **more)

    def state(self, node: int = 0) -> str:
        described = self.ec2.describe_instances(InstanceIds=[self.nodes[node]])
        return str(described["Reservations"][0]["Instances"][0]["State"]["Name"])


def make_world(ec2: Any, region: StrictEC2) -> World:
    vpc = ec2.create_vpc(CidrBlock=VPC)["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=cidr, AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for cidr, zone in (("10.0.0.0/20", "us-west-2a"), ("10.0.16.0/20", "us-west-2b"))
    ]
    launched = [
        ec2.run_instances(ImageId="ami-1", InstanceType="m5.large", MinCount=1, MaxCount=1, SubnetId=subnet)[
            "Instances"
        ][0]
        for subnet in subnets
    ]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=subnets[0])
    main = ec2.describe_route_tables(Filters=[{"Name": "association.main", "Values": ["true"]}])
    return World(
        ec2=ec2,
        region=region,
        vpc=vpc,
        subnet_a=subnets[0],
        subnet_b=subnets[1],
        main=main["RouteTables"][0]["RouteTableId"],
        table=table,
        nodes=tuple(node["InstanceId"] for node in launched),
        interfaces=tuple(node["NetworkInterfaces"][0]["NetworkInterfaceId"] for node in launched),
    )


def refused(call: Callable[[], object]) -> tuple[str, str]:
    """The code and the message with which *call* is refused."""
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def code(call: Callable[[], object]) -> str:
    return refused(call)[0]
