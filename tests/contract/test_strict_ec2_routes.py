"""Routes: what EC2 refuses, and what it shows of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from podway_lab.region.state import Route, Target

from tests.contract.strict_ec2 import PODS, VPC, World, code, refused


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
    pods = {"DestinationCidrBlock": PODS}
    both = create(**pods, DestinationIpv6CidrBlock="fd10::/56", NetworkInterfaceId=interface)
    assert code(both) == "InvalidParameterCombination"
    two = create(**pods, NetworkInterfaceId=interface, InstanceId=world.nodes[0])
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
