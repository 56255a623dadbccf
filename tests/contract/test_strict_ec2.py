"""One contract for every EC2 that the tests and the lab use, in the words of boto3.

It runs over the model in-process and over boto3, HTTP and the region's server: both must refuse what AWS
refuses (see the operations' modules for where AWS says so).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from podway_lab.region.model import StrictEC2
from podway_lab.region.server import RegionServer
from podway_lab.region.state import Route, Target

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


@pytest.fixture(scope="module")
def http() -> Iterator[tuple[Any, Callable[[StrictEC2], None]]]:
    """A boto3 client of a server whose region each test replaces by its own."""
    with RegionServer() as server:
        client = boto3.client(
            "ec2",
            region_name="us-west-2",
            endpoint_url=server.url,
            aws_access_key_id="operator",
            aws_secret_access_key="unchecked",
            config=Config(retries={"total_max_attempts": 1}),
        )
        yield client, server.serve


@pytest.fixture(params=["in-process", "http"])
def world(request: pytest.FixtureRequest) -> World:
    region = StrictEC2()
    if request.param == "in-process":
        return make_world(region.client(), region)
    client, serve = request.getfixturevalue("http")
    serve(region)
    return make_world(client, region)


def refused(call: Callable[[], object]) -> tuple[str, str]:
    """The code and the message with which *call* is refused."""
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def code(call: Callable[[], object]) -> str:
    return refused(call)[0]


# --- routes


def test_a_route_to_an_interface_shows_the_instance_behind_it(world: World) -> None:
    assert world.create(PODS)["Return"] is True

    assert world.routes()[PODS] == {
        "DestinationCidrBlock": PODS,
        "NetworkInterfaceId": world.interfaces[0],
        "InstanceId": world.nodes[0],
        "InstanceOwnerId": "123456789012",
        "Origin": "CreateRoute",
        "State": "active",
    }
    assert world.routes()[VPC]["GatewayId"] == "local"
    assert world.routes()[VPC]["Origin"] == "CreateRouteTable"


def test_the_canonical_form_of_a_destination_is_what_is_stored(world: World) -> None:
    world.create("100.64.5.7/16")

    assert PODS in world.routes()
    assert code(lambda: world.replace("100.64.5.7/16")) == "InvalidParameterValue"
    assert code(lambda: world.delete("100.64.5.7/16")) == "InvalidRoute.NotFound"


def test_a_second_route_for_a_destination_is_refused_and_changes_nothing(world: World) -> None:
    world.create(PODS)

    assert refused(lambda: world.create(PODS, to=1)) == (
        "RouteAlreadyExists",
        f"The route identified by {PODS} already exists.",
    )
    assert code(lambda: world.create("100.64.9.9/16")) == "RouteAlreadyExists"
    assert world.routes()[PODS]["NetworkInterfaceId"] == world.interfaces[0]


def test_a_table_takes_as_many_routes_as_its_quota_and_families_count_apart(world: World) -> None:
    world.region.settings = replace(world.region.settings, route_quota=3)
    world.create("100.64.0.0/24")
    world.create("100.64.1.0/24")

    code_of_the_fourth = code(lambda: world.create("100.64.2.0/24"))
    world.ec2.create_route(
        RouteTableId=world.table,
        DestinationIpv6CidrBlock="fd10::/56",
        NetworkInterfaceId=world.interfaces[0],
    )

    assert code_of_the_fourth == "RouteLimitExceeded"
    assert sorted(world.routes()) == sorted([VPC, "100.64.0.0/24", "100.64.1.0/24", "fd10::/56"])
    world.replace("100.64.0.0/24")
    world.delete("100.64.1.0/24")
    world.create("100.64.2.0/24")


def test_propagated_routes_do_not_count_against_the_quota(world: World) -> None:
    world.region.settings = replace(world.region.settings, route_quota=2)
    (table,) = [table for table in world.region.state.tables.values() if table.id == world.table]
    (local,) = table.routes.values()
    for destination, origin in (("pl-1", "Advertisement"), ("pl-2", "EnableVgwRoutePropagation")):
        world.region.plant(world.table, Route(destination, Target("GatewayId", "vgw-1"), origin))

    world.create(PODS)

    assert local.counts
    assert code(lambda: world.create("100.65.0.0/16")) == "RouteLimitExceeded"


@pytest.mark.parametrize("destination", ["10.0.1.0/24", "10.0.0.0/16", "10.0.0.0/19", "10.0.255.1/32"])
def test_a_destination_inside_the_vpc_is_refused(world: World, destination: str) -> None:
    assert code(lambda: world.create(destination)) == "InvalidParameterValue"

    assert set(world.routes()) == {VPC}


def test_a_whole_subnet_and_anything_wider_than_the_vpc_are_allowed(world: World) -> None:
    world.create("10.0.16.0/20")
    world.create("10.0.0.0/8")

    assert {"10.0.16.0/20", "10.0.0.0/8"} < set(world.routes())


@pytest.mark.parametrize("destination", ["169.254.168.0/22", "169.254.170.0/24"])
def test_prefixes_of_aws_services_are_refused(world: World, destination: str) -> None:
    assert code(lambda: world.create(destination)) == "InvalidParameterValue"


def test_the_ipv6_prefix_of_aws_services_is_refused(world: World) -> None:
    def create() -> None:
        world.ec2.create_route(
            RouteTableId=world.table,
            DestinationIpv6CidrBlock="fd00:ec2::/64",
            NetworkInterfaceId=world.interfaces[0],
        )

    assert code(create) == "InvalidParameterValue"


def test_a_replaced_route_leads_elsewhere_and_keeps_its_place(world: World) -> None:
    world.create(PODS)

    world.replace(PODS)

    assert world.routes()[PODS]["NetworkInterfaceId"] == world.interfaces[1]
    assert world.routes()[PODS]["InstanceId"] == world.nodes[1]


def test_replacing_what_is_not_there_says_to_create_it(world: World) -> None:
    assert refused(lambda: world.replace(PODS)) == (
        "InvalidParameterValue",
        f"There is no route defined for '{PODS}' in the route table. Use CreateRoute instead.",
    )
    assert set(world.routes()) == {VPC}


def test_deleting_what_is_not_there_says_so(world: World) -> None:
    world.create(PODS)
    world.delete(PODS)

    assert code(lambda: world.delete(PODS)) == "InvalidRoute.NotFound"


def test_the_local_route_cannot_be_touched(world: World) -> None:
    assert code(lambda: world.replace(VPC)) == "InvalidParameterValue"
    assert code(lambda: world.delete(VPC)) == "InvalidParameterValue"
    assert world.routes()[VPC]["GatewayId"] == "local"


def test_a_dry_run_is_answered_with_an_error_and_has_no_effect(world: World) -> None:
    world.create(PODS)
    before = world.routes()

    codes = {
        code(lambda: world.create("100.65.0.0/16", DryRun=True)),
        code(lambda: world.replace(PODS, DryRun=True)),
        code(lambda: world.delete(PODS, DryRun=True)),
        code(lambda: world.ec2.terminate_instances(InstanceIds=list(world.nodes), DryRun=True)),
        code(
            lambda: world.ec2.modify_network_interface_attribute(
                NetworkInterfaceId=world.interfaces[0], SourceDestCheck={"Value": False}, DryRun=True
            )
        ),
    }

    assert codes == {"DryRunOperation"}
    assert world.routes() == before
    assert world.state() == "running"


def test_exactly_one_destination_and_one_target(world: World) -> None:
    table, interface = world.table, world.interfaces[0]

    def create(**given: str) -> Callable[[], object]:
        return lambda: world.ec2.create_route(RouteTableId=table, **given)

    assert code(create(NetworkInterfaceId=interface)) == "MissingParameter"
    assert code(create(DestinationCidrBlock=PODS)) == "MissingParameter"
    both = create(
        DestinationCidrBlock=PODS, DestinationIpv6CidrBlock="fd10::/56", NetworkInterfaceId=interface
    )
    assert code(both) == "InvalidParameterCombination"
    two = create(DestinationCidrBlock=PODS, NetworkInterfaceId=interface, InstanceId=world.nodes[0])
    assert code(two) == "InvalidParameterCombination"


@pytest.mark.parametrize("text", ["100.64.0.0/33", "pods", "fd10::/56"])
def test_a_destination_that_is_no_ipv4_cidr_is_refused(world: World, text: str) -> None:
    assert code(lambda: world.create(text)) == "InvalidParameterValue"


def test_unknown_tables_interfaces_and_instances_have_codes_of_their_own(world: World) -> None:
    def create(table: str, **target: str) -> Callable[[], object]:
        return lambda: world.ec2.create_route(RouteTableId=table, DestinationCidrBlock=PODS, **target)

    nowhere = create("rtb-0", NetworkInterfaceId=world.interfaces[0])
    assert code(nowhere) == "InvalidRouteTableID.NotFound"
    assert code(create(world.table, NetworkInterfaceId="eni-0")) == "InvalidNetworkInterfaceID.NotFound"
    assert code(create(world.table, InstanceId="i-0")) == "InvalidInstanceID.NotFound"


def test_an_interface_of_another_vpc_is_refused(world: World) -> None:
    other = world.ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    subnet = world.ec2.create_subnet(VpcId=other, CidrBlock="10.1.0.0/20")["Subnet"]["SubnetId"]
    launched = world.ec2.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1, SubnetId=subnet)
    foreign = launched["Instances"][0]["NetworkInterfaces"][0]["NetworkInterfaceId"]

    def create() -> None:
        world.ec2.create_route(
            RouteTableId=world.table, DestinationCidrBlock=PODS, NetworkInterfaceId=foreign
        )

    assert code(create) == "InvalidParameterValue"
    assert set(world.routes()) == {VPC}


def test_an_instance_as_a_target_stands_for_its_interface(world: World) -> None:
    world.ec2.create_route(RouteTableId=world.table, DestinationCidrBlock=PODS, InstanceId=world.nodes[1])

    assert world.routes()[PODS]["NetworkInterfaceId"] == world.interfaces[1]


def test_a_route_to_a_stopped_instance_is_a_black_hole_until_it_runs_again(world: World) -> None:
    world.create(PODS)

    world.ec2.stop_instances(InstanceIds=[world.nodes[0]])
    stopped = world.routes()[PODS]
    world.ec2.start_instances(InstanceIds=[world.nodes[0]])

    assert (stopped["State"], stopped["NetworkInterfaceId"]) == ("blackhole", world.interfaces[0])
    assert world.routes()[PODS]["State"] == "active"


def test_a_route_to_a_terminated_instance_stays_as_a_black_hole(world: World) -> None:
    world.create(PODS)

    world.ec2.terminate_instances(InstanceIds=[world.nodes[0]])

    assert world.routes()[PODS]["State"] == "blackhole"
    assert "InstanceId" not in world.routes()[PODS]
    assert code(lambda: world.create("100.65.0.0/16")) == "InvalidNetworkInterfaceID.NotFound"
    world.replace(PODS)
    assert world.routes()[PODS]["State"] == "active"


# --- tables


def test_only_explicit_associations_and_the_main_one_are_listed(world: World) -> None:
    shown = {
        table["RouteTableId"]: table["Associations"]
        for table in world.ec2.describe_route_tables()["RouteTables"]
    }

    assert [(a["Main"], a.get("SubnetId")) for a in shown[world.main]] == [(True, None)]
    assert [(a["Main"], a.get("SubnetId")) for a in shown[world.table]] == [(False, world.subnet_a)]


def test_a_subnet_without_an_association_follows_the_main_table(world: World) -> None:
    state = world.region.state
    (association,) = world.ec2.describe_route_tables(RouteTableIds=[world.table])["RouteTables"][0][
        "Associations"
    ]

    assert state.table_of(world.subnet_b).id == world.main
    world.ec2.disassociate_route_table(AssociationId=association["RouteTableAssociationId"])

    assert state.table_of(world.subnet_a).id == world.main
    assert world.ec2.delete_route_table(RouteTableId=world.table)


def test_a_table_that_steers_something_cannot_be_deleted(world: World) -> None:
    assert code(lambda: world.ec2.delete_route_table(RouteTableId=world.table)) == "DependencyViolation"
    assert code(lambda: world.ec2.delete_route_table(RouteTableId=world.main)) == "DependencyViolation"


def test_the_main_association_can_be_moved_but_not_removed(world: World) -> None:
    (main,) = world.ec2.describe_route_tables(RouteTableIds=[world.main])["RouteTables"][0]["Associations"]
    identity = main["RouteTableAssociationId"]

    removal = code(lambda: world.ec2.disassociate_route_table(AssociationId=identity))
    moved = world.ec2.replace_route_table_association(AssociationId=identity, RouteTableId=world.table)

    assert removal == "InvalidParameterValue"
    assert moved["NewAssociationId"] != identity
    assert world.region.state.table_of(world.subnet_b).id == world.table


def test_a_gateway_can_have_a_table(world: World) -> None:
    gateway = world.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    world.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=world.vpc)
    edge = world.ec2.create_route_table(VpcId=world.vpc)["RouteTable"]["RouteTableId"]
    world.ec2.associate_route_table(RouteTableId=edge, GatewayId=gateway)
    world.ec2.create_route(RouteTableId=world.table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)

    (shown,) = world.ec2.describe_route_tables(RouteTableIds=[edge])["RouteTables"][0]["Associations"]

    assert shown["GatewayId"] == gateway
    assert world.routes()["0.0.0.0/0"]["State"] == "active"


def test_a_block_may_join_the_vpc_inside_a_route_but_not_around_one(world: World) -> None:
    world.create("100.64.0.0/18")

    def associate(cidr: str) -> Any:
        return world.ec2.associate_vpc_cidr_block(VpcId=world.vpc, CidrBlock=cidr)

    assert code(lambda: associate("100.64.0.0/16")) == "InvalidVpc.Range"
    associate("100.64.1.0/24")

    assert world.routes()["100.64.1.0/24"]["GatewayId"] == "local"
    assert code(lambda: world.create("100.64.1.64/26")) == "InvalidParameterValue"


# --- instances and interfaces


def test_the_source_dest_check_of_an_instance_and_its_interface_is_one(world: World) -> None:
    def seen() -> tuple[bool, bool, bool]:
        described = world.ec2.describe_instances(InstanceIds=[world.nodes[0]])
        instance = described["Reservations"][0]["Instances"][0]
        interfaces = world.ec2.describe_network_interfaces(NetworkInterfaceIds=[world.interfaces[0]])
        interface = interfaces["NetworkInterfaces"][0]
        return (
            instance["SourceDestCheck"],
            instance["NetworkInterfaces"][0]["SourceDestCheck"],
            interface["SourceDestCheck"],
        )

    assert seen() == (True, True, True)
    world.ec2.modify_network_interface_attribute(
        NetworkInterfaceId=world.interfaces[0], SourceDestCheck={"Value": False}
    )
    assert seen() == (False, False, False)
    world.ec2.modify_instance_attribute(InstanceId=world.nodes[0], SourceDestCheck={"Value": True})
    assert seen() == (True, True, True)


def test_a_terminated_instance_stays_visible_without_interface_and_address(world: World) -> None:
    world.ec2.terminate_instances(InstanceIds=[world.nodes[0]])

    instance = world.ec2.describe_instances(InstanceIds=[world.nodes[0]])["Reservations"][0]["Instances"][0]
    interfaces = world.ec2.describe_network_interfaces()["NetworkInterfaces"]

    assert instance["State"]["Name"] == "terminated"
    assert instance.keys().isdisjoint({"PrivateIpAddress", "SubnetId", "VpcId"})
    assert world.interfaces[0] not in {interface["NetworkInterfaceId"] for interface in interfaces}


def test_calls_report_the_states_that_an_instance_passes(world: World) -> None:
    node = [world.nodes[0]]

    def names(answer: Any) -> tuple[str, str]:
        (change,) = next(value for key, value in answer.items() if key.endswith("ingInstances"))
        return change["PreviousState"]["Name"], change["CurrentState"]["Name"]

    assert names(world.ec2.stop_instances(InstanceIds=node)) == ("running", "stopping")
    assert names(world.ec2.stop_instances(InstanceIds=node)) == ("stopped", "stopped")
    assert names(world.ec2.start_instances(InstanceIds=node)) == ("stopped", "pending")
    assert names(world.ec2.terminate_instances(InstanceIds=node)) == ("running", "shutting-down")
    assert names(world.ec2.terminate_instances(InstanceIds=node)) == ("terminated", "terminated")
    assert code(lambda: world.ec2.start_instances(InstanceIds=node)) == "IncorrectInstanceState"


def test_a_replacement_may_take_the_address_of_the_dead_but_not_of_the_living(world: World) -> None:
    first = world.region.state.interfaces[world.interfaces[0]].address

    def launch() -> Any:
        return world.ec2.run_instances(
            ImageId="ami-1", MinCount=1, MaxCount=1, SubnetId=world.subnet_a, PrivateIpAddress=first
        )["Instances"][0]

    assert code(launch) == "InvalidIPAddress.InUse"
    world.ec2.terminate_instances(InstanceIds=[world.nodes[0]])
    again = launch()

    assert again["PrivateIpAddress"] == first
    assert again["NetworkInterfaces"][0]["NetworkInterfaceId"] != world.interfaces[0]


def test_the_same_client_token_launches_once(world: World) -> None:
    def launch(count: int = 2) -> Any:
        return world.ec2.run_instances(
            ImageId="ami-1", MinCount=count, MaxCount=count, SubnetId=world.subnet_b, ClientToken="token"
        )["Instances"]

    assert [i["InstanceId"] for i in launch()] == [i["InstanceId"] for i in launch()]
    assert code(lambda: launch(3)) == "IdempotentParameterMismatch"
    assert len(world.region.state.instances) == 4


def test_a_spot_instance_says_so_and_cannot_be_stopped(world: World) -> None:
    spot = world.ec2.run_instances(
        ImageId="ami-1",
        MinCount=1,
        MaxCount=1,
        SubnetId=world.subnet_a,
        InstanceMarketOptions={"MarketType": "spot"},
        IamInstanceProfile={"Name": "podway-node"},
    )["Instances"][0]

    assert spot["InstanceLifecycle"] == "spot"
    assert spot["IamInstanceProfile"]["Arn"].endswith(":instance-profile/podway-node")
    assert code(lambda: world.ec2.stop_instances(InstanceIds=[spot["InstanceId"]])) == "UnsupportedOperation"


def test_types_tell_their_baseline_bandwidth(world: World) -> None:
    (kind,) = world.ec2.describe_instance_types(InstanceTypes=["m6i.large"])["InstanceTypes"]

    assert kind["NetworkInfo"]["NetworkCards"][0]["BaselineBandwidthInGbps"] == 0.781
    unknown = code(lambda: world.ec2.describe_instance_types(InstanceTypes=["x9.huge"]))
    assert unknown == "InvalidInstanceType"


# --- describing


def test_tags_select_instances_and_can_be_taken_away(world: World) -> None:
    def tagged(name: str, value: str) -> list[str]:
        described = world.ec2.describe_instances(Filters=[{"Name": name, "Values": [value]}])
        return [i["InstanceId"] for r in described["Reservations"] for i in r["Instances"]]

    world.ec2.create_tags(Resources=[world.nodes[0]], Tags=[{"Key": "podway:cluster", "Value": "demo"}])

    assert tagged("tag:podway:cluster", "demo") == [world.nodes[0]]
    assert tagged("tag:podway:cluster", "d*") == [world.nodes[0]]
    assert tagged("tag-key", "podway:cluster") == [world.nodes[0]]
    assert tagged("tag:podway:cluster", "other") == []
    world.ec2.delete_tags(Resources=[world.nodes[0]], Tags=[{"Key": "podway:cluster"}])
    assert tagged("tag-key", "podway:cluster") == []


def test_filters_add_up_and_their_values_are_alternatives(world: World) -> None:
    world.ec2.stop_instances(InstanceIds=[world.nodes[0]])

    def found(**filters: list[str]) -> set[str]:
        asked = [{"Name": name.replace("_", "-"), "Values": values} for name, values in filters.items()]
        described = world.ec2.describe_instances(Filters=asked)
        return {i["InstanceId"] for r in described["Reservations"] for i in r["Instances"]}

    assert found(instance_state_name=["stopped", "running"]) == set(world.nodes)
    assert found(instance_state_name=["running"], vpc_id=[world.vpc]) == {world.nodes[1]}
    assert found(instance_state_name=["running"], subnet_id=[world.subnet_a]) == set()


def test_interfaces_are_found_by_instance_address_and_subnet(world: World) -> None:
    address = world.region.state.interfaces[world.interfaces[0]].address

    def found(name: str, value: str) -> list[str]:
        described = world.ec2.describe_network_interfaces(Filters=[{"Name": name, "Values": [value]}])
        return [interface["NetworkInterfaceId"] for interface in described["NetworkInterfaces"]]

    assert found("attachment.instance-id", world.nodes[0]) == [world.interfaces[0]]
    assert found("private-ip-address", address) == [world.interfaces[0]]
    assert found("subnet-id", world.subnet_b) == [world.interfaces[1]]


def test_tables_are_found_by_what_they_steer(world: World) -> None:
    def found(name: str, value: str) -> list[str]:
        described = world.ec2.describe_route_tables(Filters=[{"Name": name, "Values": [value]}])
        return [table["RouteTableId"] for table in described["RouteTables"]]

    assert found("association.subnet-id", world.subnet_a) == [world.table]
    assert found("association.subnet-id", world.subnet_b) == []
    assert found("association.main", "true") == [world.main]
    assert sorted(found("vpc-id", world.vpc)) == sorted([world.main, world.table])


@pytest.mark.parametrize(
    "operation",
    [
        "describe_instances",
        "describe_network_interfaces",
        "describe_route_tables",
        "describe_subnets",
        "describe_vpcs",
        "describe_instance_types",
    ],
)
def test_an_unknown_filter_is_an_error_and_not_an_empty_answer(world: World, operation: str) -> None:
    describe = getattr(world.ec2, operation)

    assert refused(lambda: describe(Filters=[{"Name": "colour", "Values": ["red"]}])) == (
        "InvalidParameterValue",
        "The filter 'colour' is invalid",
    )


def test_pages_lead_through_everything_once(world: World) -> None:
    for _ in range(11):
        world.ec2.create_route_table(VpcId=world.vpc)
    world.ec2.run_instances(ImageId="ami-1", MinCount=11, MaxCount=11, SubnetId=world.subnet_a)

    def pages(operation: str, things: str) -> list[int]:
        paginator = world.ec2.get_paginator(operation)
        return [len(page[things]) for page in paginator.paginate(PaginationConfig={"PageSize": 5})]

    assert pages("describe_route_tables", "RouteTables") == [5, 5, 3]
    assert pages("describe_network_interfaces", "NetworkInterfaces") == [5, 5, 3]
    instances = world.ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5})
    seen = [i["InstanceId"] for page in instances for r in page["Reservations"] for i in r["Instances"]]
    assert len(seen) == len(set(seen)) == 13


def test_a_description_without_a_page_size_still_ends_a_page_at_the_maximum(world: World) -> None:
    for _ in range(101):
        world.ec2.create_route_table(VpcId=world.vpc)

    first = world.ec2.describe_route_tables()
    second = world.ec2.describe_route_tables(NextToken=first["NextToken"])

    assert (len(first["RouteTables"]), len(second["RouteTables"])) == (100, 3)
    assert "NextToken" not in second


def test_page_sizes_out_of_bounds_and_foreign_tokens_are_refused(world: World) -> None:
    assert code(lambda: world.ec2.describe_instances(MaxResults=4)) == "InvalidParameterValue"
    assert code(lambda: world.ec2.describe_instances(NextToken="bm9uc2Vuc2U=")) == "InvalidNextToken"
    both = code(lambda: world.ec2.describe_instances(MaxResults=5, InstanceIds=[world.nodes[0]]))
    assert both == "InvalidParameterCombination"


def test_things_that_do_not_exist_are_not_found(world: World) -> None:
    codes = [
        code(lambda: world.ec2.describe_instances(InstanceIds=["i-0"])),
        code(lambda: world.ec2.describe_route_tables(RouteTableIds=["rtb-0"])),
        code(lambda: world.ec2.describe_subnets(SubnetIds=["subnet-0"])),
        code(lambda: world.ec2.describe_vpcs(VpcIds=["vpc-0"])),
        code(lambda: world.ec2.describe_network_interfaces(NetworkInterfaceIds=["eni-0"])),
    ]

    assert codes == [
        "InvalidInstanceID.NotFound",
        "InvalidRouteTableID.NotFound",
        "InvalidSubnetID.NotFound",
        "InvalidVpcID.NotFound",
        "InvalidNetworkInterfaceID.NotFound",
    ]


def test_what_the_lab_does_not_model_is_refused_and_never_ignored(world: World) -> None:
    assert code(lambda: world.ec2.describe_images()) == "UnsupportedOperation"
    parameter = code(
        lambda: world.ec2.run_instances(
            ImageId="ami-1", MinCount=1, MaxCount=1, SubnetId=world.subnet_a, UserData="#!/bin/sh"
        )
    )
    assert parameter == "UnsupportedOperation"
    assert len(world.region.state.instances) == 2
