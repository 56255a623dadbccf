"""Instances and interfaces: their life, one truth about the source/dest check, idempotent launches."""

from __future__ import annotations

from typing import Any

from tests.contract.strict_ec2 import World, code


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
