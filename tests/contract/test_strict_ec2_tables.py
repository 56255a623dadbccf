"""Route tables: what they steer, and what may not be done to them."""

from __future__ import annotations

from typing import Any

from tests.contract.strict_ec2 import World, code


def test_only_explicit_associations_and_the_main_one_are_listed(world: World) -> None:
    shown = {
        table["RouteTableId"]: table["Associations"]
        for table in world.ec2.describe_route_tables()["RouteTables"]
    }

    assert [(a["Main"], a.get("SubnetId")) for a in shown[world.main]] == [(True, None)]
    assert [(a["Main"], a.get("SubnetId")) for a in shown[world.table]] == [(False, world.subnet_a)]


def test_a_subnet_without_an_association_follows_the_main_table(world: World) -> None:
    state = world.region.state
    (association,) = world.associations(world.table)

    assert state.table_of(world.subnet_b).id == world.main
    world.ec2.disassociate_route_table(AssociationId=association["RouteTableAssociationId"])

    assert state.table_of(world.subnet_a).id == world.main
    world.ec2.delete_route_table(RouteTableId=world.table)
    assert world.table not in state.tables


def test_a_table_that_steers_something_cannot_be_deleted(world: World) -> None:
    assert code(lambda: world.ec2.delete_route_table(RouteTableId=world.table)) == "DependencyViolation"
    assert code(lambda: world.ec2.delete_route_table(RouteTableId=world.main)) == "DependencyViolation"


def test_the_main_association_can_be_moved_but_not_removed(world: World) -> None:
    (main,) = world.associations(world.main)
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

    (shown,) = world.associations(edge)

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
