"""The lab refuses a function what the template's own policies do not allow it, in EC2's words.

The policies are read from ``template.yaml`` in every test; what is expected of them is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from podway_lab.region.errors import code_of
from podway_lab.region.model import StrictEC2
from podway_lab.region.policies import Concerned, Policy, UnreadablePolicy
from podway_lab.stack.template import Place, Template

RECONCILE, FAILOVER, LIFECYCLE = "ReconcileFunction", "FailoverFunction", "LifecycleFunction"
OURS, THEIRS = "100.64.0.0/24", "100.64.1.0/24"
TAG = "podway:cluster"


@dataclass(frozen=True)
class World:
    """Two VPCs of the cluster ``demo``'s account: the stack's own, and *other*."""

    ec2: StrictEC2
    template: Template
    vpc: str
    table: str
    interface: str
    other_table: str
    other_interface: str

    def policy(self, function: str, *, without: str = "") -> Policy:
        """The function's policy, as if the action *without* were not in it."""
        documents = deepcopy(self.template.permissions(function))
        for one in (one for document in documents for one in document["Statement"]):
            actions = one["Action"] if isinstance(one["Action"], list) else [one["Action"]]
            one["Action"] = [action for action in actions if action != without]
        return Policy.parse(documents)

    def as_function(self, function: str, *, without: str = "") -> Any:
        self.ec2.bind(function, self.policy(function, without=without))
        return self.ec2.client(function)

    @property
    def operator(self) -> Any:
        return self.ec2.client()

    def untag(self, table: str) -> None:
        self.operator.delete_tags(Resources=[table], Tags=[{"Key": TAG}])


def _vpc(operator: Any, cidr: str) -> tuple[str, str, str]:
    """A VPC with a tagged table that has a route, and with an instance: VPC, table, interface."""
    vpc = operator.create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"]
    subnet = operator.create_subnet(VpcId=vpc, CidrBlock=cidr, AvailabilityZone="us-west-2a")["Subnet"]
    made = operator.run_instances(
        ImageId="ami-0", MinCount=1, MaxCount=1, InstanceType="m5.large", SubnetId=subnet["SubnetId"]
    )["Instances"][0]
    interface = made["NetworkInterfaces"][0]["NetworkInterfaceId"]
    tags = [{"ResourceType": "route-table", "Tags": [{"Key": TAG, "Value": "demo"}]}]
    table = operator.create_route_table(VpcId=vpc, TagSpecifications=tags)["RouteTable"]["RouteTableId"]
    operator.create_route(RouteTableId=table, DestinationCidrBlock=OURS, NetworkInterfaceId=interface)
    return vpc, table, interface


@pytest.fixture
def world() -> World:
    ec2 = StrictEC2()
    vpc, table, interface = _vpc(ec2.client(), "10.0.0.0/20")
    _, other_table, other_interface = _vpc(ec2.client(), "10.1.0.0/20")
    template = Template(Path("template.yaml"), {"ClusterName": "demo", "VpcId": vpc}, Place())
    return World(ec2, template, vpc, table, interface, other_table, other_interface)


def refused(call: Callable[[], object]) -> bool:
    """Whether EC2 refuses it for want of a permission; any other error is one of this test."""
    try:
        call()
    except ClientError as error:
        if code_of(error) != "UnauthorizedOperation":
            raise
        return True
    return False


def writes(client: Any, table: str, interface: str) -> dict[str, Callable[[], object]]:
    """Every call of the functions that changes something, on one table and one interface."""
    route = {"RouteTableId": table, "NetworkInterfaceId": interface}
    return {
        "ec2:CreateRoute": lambda: client.create_route(DestinationCidrBlock=THEIRS, **route),
        "ec2:ReplaceRoute": lambda: client.replace_route(DestinationCidrBlock=OURS, **route),
        "ec2:CreateTags": lambda: client.create_tags(
            Resources=[table], Tags=[{"Key": "podway:stack", "Value": "arn"}]
        ),
        "ec2:ModifyNetworkInterfaceAttribute": lambda: client.modify_network_interface_attribute(
            NetworkInterfaceId=interface, SourceDestCheck={"Value": False}
        ),
        "ec2:DeleteTags": lambda: client.delete_tags(Resources=[table], Tags=[{"Key": "podway:stack"}]),
        "ec2:DeleteRoute": lambda: client.delete_route(RouteTableId=table, DestinationCidrBlock=OURS),
    }


NEEDED = {
    RECONCILE: {
        "ec2:CreateRoute",
        "ec2:ReplaceRoute",
        "ec2:DeleteRoute",
        "ec2:CreateTags",
        "ec2:ModifyNetworkInterfaceAttribute",
    },
    FAILOVER: {"ec2:ReplaceRoute"},
    LIFECYCLE: {"ec2:ReplaceRoute", "ec2:ModifyNetworkInterfaceAttribute"},
}
"""What each function must be able to change; the tag of a stack is taken away by an operator only."""


@pytest.mark.parametrize("function", NEEDED)
def test_a_function_may_change_what_it_is_for_and_nothing_else(world: World, function: str) -> None:
    calls = writes(world.as_function(function), world.table, world.interface)

    assert {action for action, call in calls.items() if not refused(call)} == NEEDED[function]


@pytest.mark.parametrize("function", NEEDED)
def test_an_untagged_table_refuses_every_write_and_another_clusters_does(world: World, function: str) -> None:
    client = world.as_function(function)
    for change in (
        lambda: world.untag(world.table),
        lambda: world.operator.create_tags(Resources=[world.table], Tags=[{"Key": TAG, "Value": "prod"}]),
    ):
        change()
        calls = writes(client, world.table, world.interface)

        allowed = {action for action, call in calls.items() if not refused(call)}

        assert allowed <= {"ec2:ModifyNetworkInterfaceAttribute"}


@pytest.mark.parametrize("function", [RECONCILE, LIFECYCLE])
def test_an_interface_of_another_vpc_keeps_its_check(world: World, function: str) -> None:
    calls = writes(world.as_function(function), world.other_table, world.other_interface)

    assert refused(calls["ec2:ModifyNetworkInterfaceAttribute"])


def test_the_tag_of_the_stack_is_the_only_one_that_a_function_may_write(world: World) -> None:
    client = world.as_function(RECONCILE)
    mark, other = {"Key": "podway:stack", "Value": "a"}, {"Key": TAG, "Value": "demo"}

    assert not refused(lambda: client.create_tags(Resources=[world.table], Tags=[mark]))
    assert refused(lambda: client.create_tags(Resources=[world.table], Tags=[other]))
    assert refused(lambda: client.create_tags(Resources=[world.table], Tags=[mark, other]))
    world.untag(world.other_table)
    assert refused(lambda: client.create_tags(Resources=[world.table, world.other_table], Tags=[mark]))


@pytest.mark.parametrize("function", NEEDED)
def test_an_action_that_is_taken_out_of_the_policy_is_refused(world: World, function: str) -> None:
    for action in sorted(NEEDED[function]):
        calls = writes(world.as_function(function, without=action), world.table, world.interface)

        assert refused(calls[action]), action


def described(client: Any) -> Iterator[tuple[str, Callable[[], object]]]:
    for name in ("RouteTables", "Instances", "Subnets", "Vpcs", "InstanceTypes", "ManagedPrefixLists"):
        method = "".join(f"_{one.lower()}" if one.isupper() else one for one in name)
        yield f"ec2:Describe{name}", getattr(client, f"describe{method}")


def test_a_describe_needs_its_action_and_no_more(world: World) -> None:
    for action, _ in described(world.operator):
        bound = world.as_function(RECONCILE)
        assert not refused(dict(described(bound))[action])
        unbound = world.as_function(RECONCILE, without=action)
        assert refused(dict(described(unbound))[action])


def test_a_dry_run_asks_for_the_permission_too(world: World) -> None:
    world.untag(world.table)

    assert refused(
        lambda: world.as_function(FAILOVER).replace_route(
            RouteTableId=world.table,
            DestinationCidrBlock=OURS,
            NetworkInterfaceId=world.interface,
            DryRun=True,
        )
    )


def test_what_does_not_exist_is_not_found_rather_than_refused(world: World) -> None:
    with pytest.raises(ClientError) as caught:
        world.as_function(RECONCILE).delete_route(RouteTableId="rtb-0", DestinationCidrBlock=OURS)

    assert code_of(caught.value) == "InvalidRouteTableID.NotFound"


def test_a_condition_that_the_lab_cannot_check_is_refused_when_the_policy_is_read() -> None:
    statement = {"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}

    with pytest.raises(UnreadablePolicy, match="DateLessThan"):
        Policy.parse([{"Statement": {**statement, "Condition": {"DateLessThan": {"aws:CurrentTime": "x"}}}}])
    with pytest.raises(UnreadablePolicy, match="NotAction"):
        Policy.parse([{"Statement": [{"Effect": "Allow", "NotAction": "ec2:*", "Resource": "*"}]}])


@pytest.mark.parametrize(
    ("condition", "keys", "holds"),
    [
        ({"StringEquals": {"k": "a"}}, {"k": ("a",)}, True),
        ({"StringEquals": {"k": "a"}}, {}, False),
        ({"ForAllValues:StringEquals": {"k": ["a"]}}, {}, True),
        ({"ForAllValues:StringEquals": {"k": ["a"]}}, {"k": ("a", "b")}, False),
        ({"ForAnyValue:StringEquals": {"k": ["a"]}}, {"k": ("a", "b")}, True),
        ({"ForAnyValue:StringEquals": {"k": ["a"]}}, {}, False),
        ({"StringLike": {"k": "a*"}}, {"k": ("ab",)}, True),
        ({"StringEquals": {"k": "a*"}}, {"k": ("ab",)}, False),
        ({"Null": {"k": "false"}}, {}, False),
        ({"Null": {"k": "false"}}, {"k": ("a",)}, True),
        ({"Null": {"k": "true"}}, {}, True),
        ({"StringEquals": {"k": "a", "other": "b"}}, {"k": ("a",)}, False),
    ],
)
def test_conditions_hold_as_iam_says(
    condition: dict[str, Any], keys: dict[str, tuple[str, ...]], *, holds: bool
) -> None:
    statement = {"Effect": "Allow", "Action": "ec2:X", "Resource": "arn:*", "Condition": condition}

    assert Policy.parse([{"Statement": [statement]}]).allows("ec2:X", Concerned("arn:x", keys)) is holds


def test_a_denial_wins() -> None:
    allow = {"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}
    policy = Policy.parse([{"Statement": [allow, {"Effect": "Deny", "Action": "ec2:X", "Resource": "*"}]}])

    assert policy.allows("ec2:Y", Concerned("*", {}))
    assert not policy.allows("ec2:X", Concerned("*", {}))
