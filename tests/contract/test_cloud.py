"""What the use cases may rely on in EC2: the fake, the adapter over the model, the adapter over HTTP."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import boto3
import pytest
from podway.adapters.ec2 import Ec2Cloud
from podway.adapters.quotas import RouteQuota
from podway.app.errors import (
    NeedsOperator,
    QuotaReached,
    RouteIsGone,
    RouteIsThere,
    TableIsGone,
    TargetIsGone,
)
from podway.app.ports import Cloud
from podway.domain.addressing import Prefix
from podway.domain.model import Create, Delete, Replace, Route, RouteState, RouteTable
from podway.domain.signals import InstanceState
from podway_lab.region.model import StrictEC2
from podway_lab.region.operation import Settings
from podway_lab.region.server import RegionServer

from tests.fakes.world import FakeCloud

QUOTA = 5
POD = Prefix.parse("100.64.0.0/26")
OTHER = Prefix.parse("100.64.0.64/26")
TAGS = [{"Key": "podway:cluster", "Value": "demo"}]


@dataclass
class World:
    cloud: Cloud
    region: StrictEC2
    table: str
    main: str
    nodes: tuple[str, str]
    interfaces: tuple[str, str]
    stranger: str

    def shown(self) -> RouteTable:
        return next(one for one in self.cloud.route_tables() if one.id == self.table)

    def route(self, destination: Prefix) -> Route | None:
        return next((one for one in self.shown().routes if one.destination == destination), None)

    def enter(self, instance: str, state: InstanceState) -> None:
        if isinstance(self.cloud, FakeCloud):
            self.cloud.enter(instance, state)
        elif state is InstanceState.TERMINATED:
            self.region.client().terminate_instances(InstanceIds=[instance])
        else:
            self.region.client().stop_instances(InstanceIds=[instance])


def tagged(kind: str) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": TAGS}]


def launch(ec2: Any, subnet: str, **more: Any) -> tuple[str, str]:
    made = ec2.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1, SubnetId=subnet, **more)["Instances"][0]
    return made["InstanceId"], made["NetworkInterfaces"][0]["NetworkInterfaceId"]


@pytest.fixture(params=["fake", "model", "http"])
def world(request: pytest.FixtureRequest) -> World:
    region = StrictEC2(settings=Settings(route_quota=QUOTA))
    ec2 = region.client()
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet, other = (
        ec2.create_subnet(VpcId=vpc, CidrBlock=cidr, AvailabilityZone="us-west-2a")["Subnet"]["SubnetId"]
        for cidr in ("10.0.0.0/20", "10.0.16.0/20")
    )
    table = ec2.create_route_table(VpcId=vpc, TagSpecifications=tagged("route-table"))["RouteTable"][
        "RouteTableId"
    ]
    ec2.associate_route_table(SubnetId=subnet, RouteTableId=table)
    one, two = (
        launch(ec2, subnet, TagSpecifications=tagged("instance")),
        launch(ec2, other, TagSpecifications=tagged("instance")),
    )
    stranger, _ = launch(ec2, subnet)
    (main,) = ec2.describe_route_tables(Filters=[{"Name": "association.main", "Values": ["true"]}])[
        "RouteTables"
    ]
    client: Any = request.getfixturevalue("http_client")(region) if request.param == "http" else ec2
    cloud: Cloud = Ec2Cloud(client, cluster="demo", quota=RouteQuota(fixed=QUOTA))
    if request.param == "fake":
        cloud = FakeCloud(cloud.survey())
    return World(cloud, region, table, main["RouteTableId"], (one[0], two[0]), (one[1], two[1]), stranger)


@pytest.fixture
def http_client() -> Any:
    server = RegionServer()

    def serve(region: StrictEC2) -> Any:
        server.start()
        server.serve(region)
        return boto3.client(
            "ec2",
            region_name="us-west-2",
            endpoint_url=server.url,
            aws_access_key_id="operator",
            aws_secret_access_key="unchecked",
        )

    yield serve
    server.stop()


def test_members_are_the_tagged_instances_and_nobody_else(world: World) -> None:
    survey = world.cloud.survey()

    assert [one.id for one in survey.instances] == sorted(world.nodes)
    assert all(one.source_dest_check for one in survey.instances)
    assert world.cloud.member(world.stranger) is None
    assert world.cloud.member("i-00000000000000000") is None
    found = world.cloud.member(world.nodes[0])
    assert found is not None
    assert found.network_interface == world.interfaces[0]


def test_tables_of_members_subnets_are_seen_with_the_main_tables_implicit_associations(world: World) -> None:
    survey = world.cloud.survey()

    steered = {table.id: table.subnets for table in survey.route_tables}
    homes = {one.id: one.subnet for one in survey.instances}
    assert steered == {world.table: (homes[world.nodes[0]],), world.main: (homes[world.nodes[1]],)}
    assert all(not route.owned for table in survey.route_tables for route in table.routes)


def test_a_mark_names_the_stack_until_that_stack_removes_it(world: World) -> None:
    before = world.cloud.survey().marks
    world.cloud.mark_tables([world.table], "stack/one")
    marked = world.cloud.survey().marks
    world.cloud.unmark_tables([world.table, world.main], "stack/two")
    left = world.cloud.survey().marks
    world.cloud.unmark_tables([world.table, world.main], "stack/one")

    assert (before, marked, left) == ({}, {world.table: "stack/one"}, {world.table: "stack/one"})
    assert world.cloud.survey().marks == {}


def test_a_route_is_created_replaced_and_deleted(world: World) -> None:
    world.cloud.apply(world.table, Create(POD, world.interfaces[0]))
    created = world.route(POD)
    world.cloud.apply(world.table, Replace(POD, world.interfaces[1], was=world.interfaces[0]))
    replaced = world.route(POD)
    world.cloud.apply(world.table, Delete(POD, was=world.interfaces[1]))

    assert created is not None
    assert replaced is not None
    assert (created.target, replaced.target) == world.interfaces
    assert world.route(POD) is None


def test_a_second_route_to_the_same_destination_is_refused(world: World) -> None:
    world.cloud.apply(world.table, Create(POD, world.interfaces[0]))

    with pytest.raises(RouteIsThere):
        world.cloud.apply(world.table, Create(POD, world.interfaces[1]))

    route = world.route(POD)
    assert route is not None
    assert route.target == world.interfaces[0]


def test_the_quota_is_refused_and_nothing_changes(world: World) -> None:
    room = QUOTA - len(world.shown().routes)
    for number in range(room):
        world.cloud.apply(world.table, Create(Prefix.parse(f"100.64.{number}.0/24"), world.interfaces[0]))

    with pytest.raises(QuotaReached):
        world.cloud.apply(world.table, Create(Prefix.parse("100.65.0.0/24"), world.interfaces[0]))

    assert len(world.shown().routes) == QUOTA


def test_a_destination_inside_the_vpc_is_for_a_person_to_mend(world: World) -> None:
    with pytest.raises(NeedsOperator):
        world.cloud.apply(world.table, Create(Prefix.parse("10.0.1.0/24"), world.interfaces[0]))


def test_what_is_gone_cannot_be_replaced_but_counts_as_deleted(world: World) -> None:
    with pytest.raises(RouteIsGone):
        world.cloud.apply(world.table, Replace(POD, world.interfaces[0], was=world.interfaces[1]))

    world.cloud.apply(world.table, Delete(POD, was=world.interfaces[0]))
    world.cloud.apply("rtb-00000000000000000", Delete(POD, was=world.interfaces[0]))
    with pytest.raises(TableIsGone):
        world.cloud.apply("rtb-00000000000000000", Create(POD, world.interfaces[0]))


def test_an_interface_that_is_gone_cannot_be_a_target(world: World) -> None:
    world.enter(world.nodes[1], InstanceState.TERMINATED)

    with pytest.raises(TargetIsGone):
        world.cloud.apply(world.table, Create(POD, world.interfaces[1]))


@pytest.mark.parametrize("state", [InstanceState.STOPPED, InstanceState.TERMINATED])
def test_a_route_to_a_dead_node_shows_as_a_blackhole_and_can_be_moved(
    world: World, state: InstanceState
) -> None:
    world.cloud.apply(world.table, Create(POD, world.interfaces[1]))
    world.enter(world.nodes[1], state)

    dead = world.route(POD)
    world.cloud.apply(world.table, Replace(POD, world.interfaces[0], was=world.interfaces[1]))

    assert dead is not None
    assert dead.state is RouteState.BLACKHOLE
    moved = world.route(POD)
    assert moved == replace(dead, target=world.interfaces[0], state=RouteState.ACTIVE)


def test_a_cleared_source_dest_check_is_seen(world: World) -> None:
    world.cloud.clear_source_dest_check(world.interfaces[0])

    checks = {one.id: one.source_dest_check for one in world.cloud.survey().instances}
    assert checks == {world.nodes[0]: False, world.nodes[1]: True}


def test_tables_are_looked_at_again_by_id_and_an_unknown_one_has_no_routes(world: World) -> None:
    world.cloud.apply(world.table, Create(POD, world.interfaces[0]))

    found = {one.id: one for one in world.cloud.look_again([world.table, "rtb-0123456789abcdef0"])}

    assert found[world.table].routes == world.shown().routes
    assert found["rtb-0123456789abcdef0"].routes == ()
