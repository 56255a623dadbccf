from __future__ import annotations

import math
import threading

import pytest
from botocore.exceptions import ClientError, OperationNotPageableError, ParamValidationError
from podway.domain.addressing import Prefix
from podway_lab.region.changes import (
    InstanceStateChanged,
    InterfaceCreated,
    InterfaceDeleted,
    RouteWritten,
    SourceDestCheckChanged,
    TableAssociated,
)
from podway_lab.region.errors import code_of
from podway_lab.region.operation import Settings
from podway_lab.region.state import PrefixList, Route, Target

from tests.unit.lab.region.worlds import Small

LIST = "pl-0123456789abcdef0"


def states(small: Small) -> list[str]:
    return [change.state for change in small.told(InstanceStateChanged)]


def test_every_state_of_an_instance_is_told_even_if_it_lasts_no_time() -> None:
    small = Small()

    node, _ = small.launch()
    small.ec2.stop_instances(InstanceIds=[node])
    small.ec2.start_instances(InstanceIds=[node])
    small.ec2.terminate_instances(InstanceIds=[node])

    assert states(small) == [
        "pending", "running", "stopping", "stopped", "pending", "running", "shutting-down", "terminated",
    ]  # fmt: skip
    assert [change.caller for change in small.told(InstanceStateChanged)][:2] == ["test", "aws"]


def test_states_last_as_long_as_the_settings_say() -> None:
    small = Small(settings=Settings(lifecycle={"pending": 10, "stopping": 30}))
    node, _ = small.launch()

    small.clock.pass_(9)
    small.region.settle()
    early = states(small)
    small.clock.pass_(1)
    small.region.settle()
    small.ec2.stop_instances(InstanceIds=[node])
    small.clock.pass_(30)
    described = small.ec2.describe_instances()["Reservations"][0]["Instances"][0]

    assert early == ["pending"]
    assert states(small) == ["pending", "running", "stopping", "stopped"]
    assert described["State"]["Name"] == "stopped"


def test_a_state_without_an_end_waits_for_somebody_to_settle_it() -> None:
    small = Small(settings=Settings(lifecycle={"pending": math.inf}))
    node, _ = small.launch()
    small.clock.pass_(10**6)
    small.region.settle()
    waiting = states(small)

    small.region.settle(node)

    assert (waiting, states(small)) == (["pending"], ["pending", "running"])


def test_a_terminated_instance_is_forgotten_after_an_hour() -> None:
    small = Small()
    node, _ = small.launch()
    small.ec2.terminate_instances(InstanceIds=[node])

    small.clock.pass_(3600)
    still_there = node in small.region.state.instances
    small.ec2.describe_instances()
    small.clock.pass_(1)

    assert still_there
    assert small.ec2.describe_instances()["Reservations"] == []


def test_a_route_write_is_told_with_what_stood_before_and_who_wrote() -> None:
    small = Small()
    _, first = small.launch()
    _, second = small.launch()
    small.create("100.64.0.0/16", first)

    small.region.client("reconcile").replace_route(
        RouteTableId=small.table, DestinationCidrBlock="100.64.0.0/16", NetworkInterfaceId=second
    )
    small.ec2.delete_route(RouteTableId=small.table, DestinationCidrBlock="100.64.0.0/16")

    created, replaced, deleted = small.told(RouteWritten)
    assert [change.action for change in (created, replaced, deleted)] == ["create", "replace", "delete"]
    assert (replaced.before.target.id, replaced.after.target.id) == (first, second)
    assert (replaced.caller, replaced.at) == ("reconcile", small.clock.now)
    assert created.destination == Prefix.parse("100.64.0.0/16")


def test_a_refused_write_is_not_told() -> None:
    small = Small()
    _, interface = small.launch()
    small.create("100.64.0.0/16", interface)

    with pytest.raises(ClientError):
        small.create("100.64.0.0/16", interface)

    assert len(small.told(RouteWritten)) == 1


def test_interfaces_come_and_go_with_their_instance() -> None:
    small = Small()
    node, interface = small.launch(PrivateIpAddress="10.0.0.77")
    small.ec2.terminate_instances(InstanceIds=[node])

    (created,) = small.told(InterfaceCreated)
    (deleted,) = small.told(InterfaceDeleted)
    assert (created.interface, created.address, created.instance) == (interface, "10.0.0.77", node)
    assert (deleted.interface, deleted.instance) == (interface, node)


def test_setting_the_source_dest_check_to_what_it_is_changes_nothing() -> None:
    small = Small()
    _, interface = small.launch()

    for value in (True, False, False):
        small.ec2.modify_network_interface_attribute(
            NetworkInterfaceId=interface, SourceDestCheck={"Value": value}
        )

    assert [change.enabled for change in small.told(SourceDestCheckChanged)] == [False]


def test_the_table_of_a_subnet_follows_its_association() -> None:
    small = Small()
    table = small.ec2.create_route_table(VpcId=small.vpc)["RouteTable"]["RouteTableId"]

    before = small.region.state.table_of(small.subnet).id
    small.ec2.associate_route_table(RouteTableId=table, SubnetId=small.subnet)

    assert (before, small.region.state.table_of(small.subnet).id) == (small.table, table)
    assert [change.subnet for change in small.told(TableAssociated)] == [small.subnet]
    assert small.region.state.subnets_of(table) == (small.subnet,)


def test_a_subnet_gives_away_as_many_instances_as_it_has_addresses() -> None:
    small = Small()
    tiny = small.ec2.create_subnet(VpcId=small.vpc, CidrBlock="10.0.16.0/28")["Subnet"]["SubnetId"]

    def launch(least: int, most: int) -> int:
        asked = {"ImageId": "ami-1", "MinCount": least, "MaxCount": most, "SubnetId": tiny}
        return len(small.ec2.run_instances(**asked)["Instances"])

    assert launch(1, 20) == 11
    with pytest.raises(ClientError) as caught:
        launch(1, 1)
    assert code_of(caught.value) == "InsufficientFreeAddressesInSubnet"


def test_the_client_checks_parameters_as_boto3_does() -> None:
    small = Small()

    with pytest.raises(ParamValidationError, match="RouteTableId"):
        small.ec2.create_route(DestinationCidrBlock="100.64.0.0/16")
    with pytest.raises(AttributeError, match="describe_rout_tables"):
        _ = small.ec2.describe_rout_tables
    with pytest.raises(OperationNotPageableError):
        small.ec2.get_paginator("create_route")


def test_calls_of_many_threads_are_atomic() -> None:
    small = Small()
    _, interface = small.launch()

    def create(block: int) -> None:
        for number in range(20):
            small.create(f"100.{block}.{number}.0/24", interface)

    threads = [threading.Thread(target=create, args=(block,)) for block in range(64, 72)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(small.destinations()) == len(small.told(RouteWritten)) == 160


def test_an_efa_only_interface_has_device_index_0_on_its_own_card_and_no_address() -> None:
    small = Small()
    node, primary = small.launch()
    efa = small.region.attach_efa_only(node)

    (shown,) = small.ec2.describe_instances(InstanceIds=[node])["Reservations"][0]["Instances"]
    found = {one["NetworkInterfaceId"]: one for one in shown["NetworkInterfaces"]}

    assert found.keys() == {primary, efa}
    assert {one["Attachment"]["DeviceIndex"] for one in found.values()} == {0}
    assert (found[primary]["Attachment"]["NetworkCardIndex"], "PrivateIpAddress" in found[primary]) == (
        0,
        True,
    )
    assert (found[efa]["Attachment"]["NetworkCardIndex"], "PrivateIpAddress" in found[efa]) == (1, False)


def test_an_ipv6_only_subnet_shows_no_ipv4_range() -> None:
    small = Small()
    block = small.ec2.associate_vpc_cidr_block(VpcId=small.vpc, AmazonProvidedIpv6CidrBlock=True)
    v6 = block["Ipv6CidrBlockAssociation"]["Ipv6CidrBlock"].replace("/56", "/64")

    made = small.ec2.create_subnet(VpcId=small.vpc, Ipv6CidrBlock=v6, Ipv6Native=True)["Subnet"]

    assert "CidrBlock" not in made
    assert made["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"] == v6


def test_a_prefix_list_counts_with_its_most_entries() -> None:
    small = Small(settings=Settings(route_quota=4))
    _, interface = small.launch()
    small.region.state.prefix_lists[LIST] = PrefixList(LIST, max_entries=2)
    small.region.plant(small.table, Route(LIST, Target("GatewayId", "vgw-1")))
    small.create("100.64.0.0/16", interface)

    with pytest.raises(ClientError, match="RouteLimitExceeded"):
        small.create("100.65.0.0/16", interface)
