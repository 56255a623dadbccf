"""Describing: filters, pages, and no silence about what is unknown."""

from __future__ import annotations

import pytest

from tests.contract.strict_ec2 import World, code, refused


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
    assert code(world.ec2.describe_images) == "UnsupportedOperation"
    parameter = code(
        lambda: world.ec2.run_instances(
            ImageId="ami-1", MinCount=1, MaxCount=1, SubnetId=world.subnet_a, UserData="#!/bin/sh"
        )
    )
    assert parameter == "UnsupportedOperation"
    assert len(world.region.state.instances) == 2
