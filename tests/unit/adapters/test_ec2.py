"""What Ec2Cloud makes of EC2's answers, beyond what every Cloud promises."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from podway.adapters.ec2 import Ec2Cloud
from podway.adapters.quotas import RouteQuota
from podway.app.errors import NeedsOperator, TryAgain
from podway.domain.addressing import Prefix
from podway.domain.inventory import Member, NotListed, Survey
from podway.domain.model import Create, ForwarderPreference, Route
from podway_lab.region.alterations import leave_out, leave_out_if, omit, say
from podway_lab.region.errors import refusal
from podway_lab.region.faults import Kind
from podway_lab.region.model import StrictEC2
from podway_lab.region.operation import Settings
from podway_lab.region.state import PrefixList, Target
from podway_lab.region.state import Route as StateRoute

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


def test_tables_are_seen_while_all_that_is_left_of_the_nodes_has_ended(region: Region) -> None:
    table = region.table(OURS, subnet=region.subnets[0])
    ended = region.launch(region.subnets[0])
    region.ec2.terminate_instances(InstanceIds=ended)
    region.model.settle()

    survey = region.survey()

    assert [(one.id, one.state, one.vpc) for one in survey.instances] == [(*ended, "terminated", "")]
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


def test_a_stacks_mark_is_read_off_every_table_that_is_not_another_clusters(region: Region) -> None:
    region.launch(region.subnets[0])
    region.launch(region.subnets[1])
    mark = {"Key": "podway:stack", "Value": "one"}
    bare = region.table(mark, subnet=region.subnets[0])
    region.table({"Key": "podway:cluster", "Value": "other"}, mark, subnet=region.subnets[1])
    tagged = region.table(OURS, mark)

    assert region.survey().marks == {bare: "one", tagged: "one"}


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
    (big,) = region.launch(region.subnets[0], kind="m6i.4xlarge")

    capacities = {one.id: one.capacity for one in region.survey().instances}

    assert (capacities[small], capacities[big]) == (0.75, 6.25)


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
        cloud.route_tables,
        lambda: cloud.member(node),
        lambda: cloud.clear_source_dest_check(interface),
    ):
        region.model.faults.arm(kind, times=1)
        with pytest.raises(TryAgain):
            call()

    assert region.model.faults.fired[kind] == 3, "the trouble this test is about never happened"


@pytest.mark.parametrize("kind", [Kind.BROKEN, Kind.UNREACHABLE, Kind.LOST_REPLY])
def test_members_that_are_not_listed_are_said_to_be_so_and_the_rest_is_read(
    region: Region, kind: Kind
) -> None:
    region.launch(region.subnets[0])
    region.model.faults.arm(kind, action="ec2:DescribeInstances", times=1)

    survey = region.cloud(vpc=region.vpc).survey()

    assert not survey.is_listed
    assert survey.instances == ()
    assert {one.id for one in survey.subnets} == set(region.subnets)
    assert "does not list the members" in " ".join(survey.doubts)


@pytest.mark.parametrize("action", ["ec2:DescribeSubnets", "ec2:DescribeRouteTables", "ec2:DescribeVpcs"])
def test_without_the_rest_there_is_no_survey(region: Region, action: str) -> None:
    region.launch(region.subnets[0])
    region.model.faults.arm(Kind.BROKEN, action=action, times=1)

    with pytest.raises(TryAgain):
        region.cloud(vpc=region.vpc).survey()


def shown(survey: Survey, destination: Prefix | str) -> Route:
    (route,) = (r for table in survey.route_tables for r in table.routes if r.destination == destination)
    return route


def test_a_word_that_nobody_knew_keeps_its_text_and_stops_nothing(region: Region) -> None:
    """Case g: a state, an origin and a kind of destination that came later than this code."""
    (node,) = region.launch(region.subnets[0])
    (interface,) = region.model.state.instances[node].interfaces
    table = region.table(OURS, subnet=region.subnets[0])
    region.cloud().apply(table, Create(POD, interface))
    for alter in (
        say("RouteTables.Routes.State", "dreaming"),
        say("RouteTables.Routes.Origin", "Telepathy"),
    ):
        region.model.faults.arm(Kind.UNHEARD_OF, alter=alter)

    route = shown(region.survey(), POD)

    assert (route.state, route.state.is_known) == ("dreaming", False)
    assert (route.origin, route.origin.is_known, route.slots) == ("Telepathy", False, 1)
    assert region.cloud().route_tables()[0].id == table


def test_a_kind_of_destination_that_nobody_knew_is_opaque_and_takes_its_slot(region: Region) -> None:
    region.launch(region.subnets[0])
    table = region.table(OURS, subnet=region.subnets[0])

    def add(answer: dict[str, Any], _: Any) -> dict[str, Any]:
        strange = {"DestinationStarSign": "leo", "OracleId": "oracle-1", "State": "active"}
        tables = [{**one, "Routes": [*one["Routes"], strange]} for one in answer["RouteTables"]]
        return {**answer, "RouteTables": tables}

    region.model.faults.arm(Kind.UNHEARD_OF, action="ec2:DescribeRouteTables", alter=add)

    survey = region.survey()

    assert [one.id for one in survey.route_tables] == [table]
    assert shown(survey, "leo").slots == 1
    assert isinstance(shown(survey, "leo").target, str)


def test_an_instance_state_that_nobody_knew_keeps_its_text(region: Region) -> None:
    """Case h."""
    (node,) = region.launch(region.subnets[0])
    region.model.faults.arm(Kind.UNHEARD_OF, alter=say("Reservations.Instances.State.Name", "sleepwalking"))

    (instance,) = region.survey().instances

    assert (instance.id, instance.state, instance.state.is_known) == (node, "sleepwalking", False)


def test_a_subnet_without_an_ipv4_range_is_one_like_others(region: Region) -> None:
    """Case i."""
    block = region.ec2.associate_vpc_cidr_block(VpcId=region.vpc, AmazonProvidedIpv6CidrBlock=True)
    v6 = block["Ipv6CidrBlockAssociation"]["Ipv6CidrBlock"].replace("/56", "/64")
    made = region.ec2.create_subnet(VpcId=region.vpc, Ipv6CidrBlock=v6, Ipv6Native=True)["Subnet"]["SubnetId"]
    region.launch(region.subnets[0])

    cidrs = {one.id: one.cidrs for one in region.survey().subnets}

    assert cidrs.keys() == {*region.subnets, made}
    assert cidrs[made] == (Prefix.parse(v6),)


def test_the_primary_interface_is_that_of_the_first_network_card(region: Region) -> None:
    """Case j: an EFA-only interface has device index 0 too, and no address."""
    (node,) = region.launch(region.subnets[0])
    (primary,) = region.model.state.instances[node].interfaces
    region.model.attach_efa_only(node)

    (instance,) = region.survey().instances

    assert instance.network_interface == primary
    assert instance.address == region.model.state.interfaces[primary].address


def test_a_tagged_instance_of_another_vpc_is_left_alone_and_named(region: Region) -> None:
    """Case r."""
    (node,) = region.launch(region.subnets[0])
    other = region.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    (stranger,) = region.launch(region.subnet(9, other))

    survey = region.cloud(vpc=region.vpc).survey()

    assert [one.id for one in survey.instances] == [node]
    assert any(stranger in doubt and "another VPC" in doubt for doubt in survey.doubts)


def test_a_tagged_instance_of_another_vpc_is_no_member_when_it_is_asked_for(region: Region) -> None:
    """Case r: the lifecycle function would clear its source/dest check."""
    (node,) = region.launch(region.subnets[0])
    other = region.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    (stranger,) = region.launch(region.subnet(9, other))
    cloud = region.cloud(vpc=region.vpc)

    assert cloud.member(stranger) is None
    assert cloud.member(node) is not None


def test_while_the_quota_is_unknown_no_route_is_one_too_many(region: Region) -> None:
    """Case s: a table with more routes than the default quota."""
    (node,) = region.launch(region.subnets[0])
    (interface,) = region.model.state.instances[node].interfaces
    table = region.table(OURS, subnet=region.subnets[0])
    region.model.settings = Settings(route_quota=1000)
    for number in range(600):
        region.model.plant(
            table, StateRoute(Prefix(4, POD.value + 64 * number, 26), Target("NetworkInterfaceId", interface))
        )
    client: Any = region.model.client("podway")

    class Silent:
        def get_service_quota(self, **_: Any) -> Any:
            raise refusal("GetServiceQuota", "AccessDeniedException", "no")

    quotas: Any = Silent()
    survey = Ec2Cloud(client, cluster="demo", quota=RouteQuota(quotas), reserve=2).survey()

    assert survey.route_tables[0].quota == 603
    assert any("quota" in doubt for doubt in survey.doubts)


def test_a_customers_prefix_list_counts_with_its_most_entries(region: Region) -> None:
    """Case u; one of AWS's counts once."""
    region.launch(region.subnets[0])
    table = region.table(OURS, subnet=region.subnets[0])
    for name, entries in (("pl-0aaaaaaaaaaaaaaaa", 20), ("pl-0bbbbbbbbbbbbbbbb", None)):
        region.model.state.prefix_lists[name] = PrefixList(name, entries)
        region.model.plant(table, StateRoute(name, Target("GatewayId", "vpce-1")))

    survey = region.survey()

    assert shown(survey, "pl-0aaaaaaaaaaaaaaaa").slots == 20
    assert shown(survey, "pl-0bbbbbbbbbbbbbbbb").slots == 1


def member(node: str, subnet: str) -> Member:
    return Member(node, subnet, "eni-0", "10.0.0.9")


def test_members_are_asked_for_by_id_a_zone_at_a_time(region: Region) -> None:
    """Case d: ids of healthy zones are answered, those of the disrupted one are not."""
    other = region.ec2.create_subnet(VpcId=region.vpc, CidrBlock="10.0.8.0/24", AvailabilityZone="us-west-2b")
    far = other["Subnet"]["SubnetId"]
    (here,), (there,) = region.launch(region.subnets[0]), region.launch(far)
    cloud = region.cloud(vpc=region.vpc)
    subnets = cloud.survey().subnets
    region.model.disrupt("us-west-2b")

    found = cloud.find([member(here, region.subnets[0]), member(there, far)], subnets)

    assert not cloud.survey().is_listed
    assert [one.id for one in found.instances] == [here]
    assert found.not_found == frozenset()
    assert any("us-west-2b" in doubt for doubt in found.doubts)


def test_ids_that_ec2_does_not_know_are_taken_out_and_the_rest_asked_again(region: Region) -> None:
    nodes = region.launch(region.subnets[0], count=3)
    unknown = [f"i-0{number:016x}" for number in range(3)]

    asked = [member(node, region.subnets[0]) for node in (*nodes, *unknown)]
    found = region.cloud(vpc=region.vpc).find(asked, region.survey().subnets)

    assert [one.id for one in found.instances] == sorted(nodes)
    assert found.not_found == frozenset(unknown)


def test_a_member_without_the_tag_is_found_by_id_and_shows_no_tag(region: Region) -> None:
    (node,) = region.launch(region.subnets[0])
    region.ec2.delete_tags(Resources=[node], Tags=[OURS])

    found = region.cloud(vpc=region.vpc).find([member(node, region.subnets[0])], ())

    assert [(one.id, one.tagged) for one in found.instances] == [(node, False)]


def test_what_an_answer_by_id_leaves_out_is_neither_found_nor_unknown(region: Region) -> None:
    (node,) = region.launch(region.subnets[0])
    region.model.faults.arm(Kind.THINNER, alter=leave_out(1.0))

    found = region.cloud(vpc=region.vpc).find([member(node, region.subnets[0])], ())

    assert (found.instances, found.not_found) == ((), frozenset())


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_missing_or_new_in_an_answer_the_rest_of_it_is_read(
    region: Region, data: st.DataObject
) -> None:
    """Generated siblings of g to j: any one field left out of rows, or said in a word that nobody knows."""
    path = data.draw(st.sampled_from(FIELDS))
    alter = data.draw(st.sampled_from([omit(path, share=0.5), say(path, "unheard of", share=0.5)]))
    if not region.model.state.instances:
        (node,) = region.launch(region.subnets[0])
        region.launch(region.subnets[1])
        table = region.table(OURS, subnet=region.subnets[0])
        region.cloud().apply(table, Create(POD, region.model.state.instances[node].interfaces[0]))
    whole = region.cloud(vpc=region.vpc).survey()
    region.model.faults.arm(Kind.UNHEARD_OF, alter=alter, action="ec2:Describe*")
    try:
        thin = region.cloud(vpc=region.vpc).survey()
    except TryAgain:
        assert path.startswith("Vpcs."), "only without the VPC's own ranges nothing can be told"
        return
    finally:
        region.model.faults.disarm()

    left_out = len(whole.instances) + len(whole.subnets) - len(thin.instances) - len(thin.subnets)
    assert left_out <= len(thin.doubts), "what was left out is named"


FIELDS = [
    "Reservations.Instances.InstanceId",
    "Reservations.Instances.State",
    "Reservations.Instances.State.Name",
    "Reservations.Instances.SubnetId",
    "Reservations.Instances.VpcId",
    "Reservations.Instances.InstanceType",
    "Reservations.Instances.LaunchTime",
    "Reservations.Instances.Tags",
    "Reservations.Instances.NetworkInterfaces",
    "Reservations.Instances.NetworkInterfaces.Attachment",
    "Reservations.Instances.NetworkInterfaces.Attachment.DeviceIndex",
    "Reservations.Instances.NetworkInterfaces.NetworkInterfaceId",
    "Reservations.Instances.NetworkInterfaces.PrivateIpAddress",
    "Subnets.SubnetId",
    "Subnets.CidrBlock",
    "Subnets.AvailabilityZone",
    "RouteTables.RouteTableId",
    "RouteTables.VpcId",
    "RouteTables.Tags",
    "RouteTables.Associations",
    "RouteTables.Associations.SubnetId",
    "RouteTables.Associations.AssociationState",
    "RouteTables.Routes",
    "RouteTables.Routes.DestinationCidrBlock",
    "RouteTables.Routes.State",
    "RouteTables.Routes.Origin",
    "RouteTables.Routes.NetworkInterfaceId",
    "Vpcs.CidrBlock",
    "Vpcs.CidrBlockAssociationSet",
    "Vpcs.CidrBlockAssociationSet.CidrBlock",
    "InstanceTypes.InstanceType",
    "InstanceTypes.NetworkInfo",
]


def test_tables_that_a_list_left_out_are_told_from_those_that_are_gone(region: Region) -> None:
    """One unknown id fails them all: the rest is asked again."""
    there, gone = region.table(OURS, subnet=region.subnets[0]), region.table(OURS)
    region.launch(region.subnets[0])
    region.ec2.delete_route_table(RouteTableId=gone)
    region.model.faults.arm(Kind.THINNER, alter=leave_out_if(lambda row: row.get("RouteTableId") == there))
    cloud = region.cloud()

    survey = cloud.survey()

    assert survey.not_shown([there, gone]) == tuple(sorted((there, gone)))
    region.model.faults.disarm()
    assert cloud.find_tables([there, gone], survey.vpc) == NotListed(left_out=(there,))


def test_a_table_that_is_neither_shown_nor_called_unknown_is_unknown(region: Region) -> None:
    table = region.table(OURS, subnet=region.subnets[0])
    region.model.faults.arm(Kind.THINNER, alter=leave_out(1.0))

    found = region.cloud().find_tables([table], region.vpc)

    assert found == NotListed(unknown=(table,))


@pytest.mark.parametrize("field", ["VpcId", "Tags", "Routes", "Associations", "RouteTableId"])
def test_a_table_that_shows_with_less_is_left_out_or_unknown_and_never_anothers(
    region: Region, field: str
) -> None:
    """Without its VPC and its tag it may be ours all the same."""
    table = region.table(subnet=region.subnets[0])
    region.model.faults.arm(Kind.THINNER, alter=omit(f"RouteTables.{field}"))

    found = region.cloud().find_tables([table], region.vpc)

    assert (*found.left_out, *found.unknown) == (table,)


def test_a_table_of_ours_that_ec2_will_not_speak_of_is_unknown(region: Region) -> None:
    table = region.table(OURS, subnet=region.subnets[0])
    region.model.faults.arm(Kind.REFUSED, code="UnauthorizedOperation")

    found = region.cloud().find_tables([table], region.vpc)

    assert found.unknown == (table,)
    assert "UnauthorizedOperation" in found.why


def test_a_table_without_members_and_tag_is_shown_and_not_missed(region: Region) -> None:
    """Its tag was taken away, or its subnet's nodes are gone: it is not ours to manage, and not left out."""
    other, _ = region.table(subnet=region.subnets[1]), region.table(OURS, subnet=region.subnets[0])
    region.launch(region.subnets[0])

    survey = region.cloud().survey()

    assert other not in {one.id for one in survey.route_tables}
    assert survey.not_shown([other]) == ()


def test_an_interface_is_gone_only_if_ec2_says_so(region: Region) -> None:
    """An answer that leaves it out says nothing."""
    region.launch(region.subnets[0])
    (standing,) = region.model.state.interfaces
    cloud = region.cloud()

    assert cloud.is_interface_gone("eni-0123456789abcdef0")
    assert not cloud.is_interface_gone(standing)
    region.model.faults.arm(Kind.THINNER, alter=leave_out(1.0))
    assert not cloud.is_interface_gone(standing)


def test_a_subnet_is_found_by_id_unless_it_is_in_another_vpc(region: Region) -> None:
    """A member may have been taken for one of this VPC: its subnet must not end every run."""
    elsewhere = region.ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    theirs = str(
        region.ec2.create_subnet(VpcId=elsewhere, CidrBlock="10.9.0.0/24", AvailabilityZone="us-west-2a")[
            "Subnet"
        ]["SubnetId"]
    )
    here, gone = region.subnets[0], "subnet-0123456789abcdef0"

    assert region.cloud().find_subnets([here, theirs, gone], region.vpc) == NotListed(left_out=(here,))
