"""What Ec2Cloud makes of EC2's answers, beyond what every Cloud promises."""

from __future__ import annotations

from typing import Any

import pytest
from podway.adapters.ec2 import Ec2Cloud
from podway.adapters.quotas import RouteQuota
from podway.app.errors import NeedsOperator, TryAgain
from podway.domain.addressing import Prefix
from podway.domain.inventory import Survey
from podway.domain.model import Create, ForwarderPreference
from podway_lab.region.faults import Kind
from podway_lab.region.model import StrictEC2

POD, POD_6 = Prefix.parse("100.64.0.0/20"), Prefix.parse("fd00:64::/52")
OURS = {"Key": "podway:cluster", "Value": "demo"}


class Region:
    """A VPC with two subnets; what tests add comes on top."""

    def __init__(self) -> None:
        self.model = StrictEC2()
        self.ec2: Any = self.model.client()
        self.vpc = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnets = [self.subnet(number) for number in range(2)]

    def subnet(self, number: int, vpc: str = "") -> str:
        made = self.ec2.create_subnet(
            VpcId=vpc or self.vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone="us-west-2a"
        )
        return str(made["Subnet"]["SubnetId"])

    def launch(self, subnet: str, *tags: dict[str, str], kind: str = "m5.large", count: int = 1) -> list[str]:
        made = self.ec2.run_instances(
            ImageId="ami-1",
            InstanceType=kind,
            MinCount=count,
            MaxCount=count,
            SubnetId=subnet,
            TagSpecifications=[{"ResourceType": "instance", "Tags": [OURS, *tags]}],
        )
        return [one["InstanceId"] for one in made["Instances"]]

    def table(self, *tags: dict[str, str], subnet: str = "") -> str:
        specification = {"TagSpecifications": [{"ResourceType": "route-table", "Tags": list(tags)}]}
        made = self.ec2.create_route_table(VpcId=self.vpc, **(specification if tags else {}))
        table = str(made["RouteTable"]["RouteTableId"])
        if subnet:
            self.ec2.associate_route_table(SubnetId=subnet, RouteTableId=table)
        return table

    def cloud(self, **more: Any) -> Ec2Cloud:
        client: Any = self.model.client("podway")
        return Ec2Cloud(client, cluster="demo", quota=RouteQuota(fixed=50), **more)

    def survey(self) -> Survey:
        return self.cloud().survey()


@pytest.fixture
def region() -> Region:
    return Region()


def test_where_there_is_nothing_of_the_cluster_there_is_nothing_to_see(region: Region) -> None:
    assert region.survey() == Survey((), (), (), ())


def test_tagged_tables_are_seen_before_the_first_node_comes(region: Region) -> None:
    table = region.table(OURS, subnet=region.subnets[0])

    survey = region.survey()

    assert [one.id for one in survey.route_tables] == [table]
    assert [one.id for one in survey.subnets] == sorted(region.subnets)


def test_a_cluster_in_two_vpcs_is_for_a_person_to_mend(region: Region) -> None:
    other = region.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    region.launch(region.subnets[0])
    region.launch(region.subnet(0, other))

    with pytest.raises(NeedsOperator, match="more than one VPC"):
        region.survey()


def test_tables_of_other_subnets_and_other_clusters_are_none_of_ours(region: Region) -> None:
    region.launch(region.subnets[0])
    ours = region.table(subnet=region.subnets[0])
    region.table({"Key": "podway:cluster", "Value": "other"}, subnet=region.subnets[1])
    region.table()

    assert [one.id for one in region.survey().route_tables] == [ours]


def test_a_table_of_a_members_subnet_without_the_clusters_tag_is_told_apart(region: Region) -> None:
    region.launch(region.subnets[0])
    bare = region.table(subnet=region.subnets[0])
    tagged = region.table(OURS)

    survey = region.survey()

    assert {one.id for one in survey.route_tables} == {bare, tagged}
    assert survey.untagged_tables == (bare,)


def test_a_gateways_table_is_left_out_and_named(region: Region) -> None:
    region.launch(region.subnets[0])
    table = region.table(OURS)
    gateway = region.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    region.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=region.vpc)
    region.ec2.associate_route_table(GatewayId=gateway, RouteTableId=table)

    survey = region.survey()

    assert table not in {one.id for one in survey.route_tables}
    assert survey.excluded_tables == {table: "it belongs to a gateway"}


def test_all_pages_are_read(region: Region) -> None:
    nodes = sorted(region.launch(region.subnets[0], count=240))
    tables = sorted(region.table(OURS) for _ in range(120))

    survey = region.survey()

    assert [one.id for one in survey.instances] == nodes
    assert [one.id for one in survey.route_tables if one.id in set(tables)] == tables


@pytest.mark.parametrize(
    ("wish", "obeyed"),
    [
        ("never", ForwarderPreference.NEVER),
        ("prefer", ForwarderPreference.PREFER),
        ("sometimes", ForwarderPreference.ALLOW),
    ],
)
def test_the_operators_wish_is_read_from_a_tag(
    region: Region, wish: str, obeyed: ForwarderPreference
) -> None:
    region.launch(region.subnets[0], {"Key": "podway:forwarder", "Value": wish})

    assert [one.forwarder for one in region.survey().instances] == [obeyed]


def test_a_bigger_machine_forwards_more(region: Region) -> None:
    (small,) = region.launch(region.subnets[0], kind="m5.large")
    (big,) = region.launch(region.subnets[0], kind="m5.4xlarge")

    capacities = {one.id: one.capacity for one in region.survey().instances}

    assert capacities[big] > capacities[small] > 0


def test_routes_of_both_families_are_written_by_their_own_names(region: Region) -> None:
    (node,) = region.launch(region.subnets[0])
    table = region.table(OURS, subnet=region.subnets[0])
    interface = region.model.state.instances[node].interfaces[0]

    for prefix in (POD, POD_6):
        region.cloud().apply(table, Create(prefix, interface))

    (seen,) = region.cloud().route_tables()
    assert {one.destination for one in seen.routes if one.target == interface} == {POD, POD_6}


@pytest.mark.parametrize("kind", [Kind.THROTTLED, Kind.BROKEN, Kind.UNREACHABLE, Kind.LOST_REPLY])
def test_every_trouble_of_the_api_asks_for_another_try(region: Region, kind: Kind) -> None:
    (node,) = region.launch(region.subnets[0])
    (interface,) = region.model.state.instances[node].interfaces
    cloud = region.cloud()
    for call in (
        cloud.survey,
        cloud.route_tables,
        lambda: cloud.member(node),
        lambda: cloud.clear_source_dest_check(interface),
    ):
        region.model.faults.arm(kind, times=1)
        with pytest.raises(TryAgain):
            call()

    assert region.model.faults.fired[kind] == 4, "the trouble this test is about never happened"
