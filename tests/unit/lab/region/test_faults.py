from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from podway_lab.region.alterations import end_early, leave_out, leave_out_if, omit, say
from podway_lab.region.calls import waves
from podway_lab.region.errors import code_of
from podway_lab.region.faults import Faults, Kind
from podway_lab.region.model import StrictEC2

from tests.unit.lab.region.worlds import Small

PODS = "100.64.0.0/16"


@pytest.mark.parametrize(
    ("kind", "code"), [(Kind.THROTTLED, "RequestLimitExceeded"), (Kind.BROKEN, "InternalError")]
)
def test_a_refused_call_does_nothing(kind: Kind, code: str) -> None:
    small = Small()
    _, interface = small.launch()
    small.faults.arm(kind, action="ec2:CreateRoute", times=1)

    with pytest.raises(ClientError) as caught:
        small.create(PODS, interface)

    assert code_of(caught.value) == code
    assert small.destinations() == set()
    small.create(PODS, interface)
    assert small.faults.fired == {kind: 1}


def test_a_call_that_cannot_arrive_does_nothing() -> None:
    small = Small()
    _, interface = small.launch()
    small.faults.arm(Kind.UNREACHABLE, action="ec2:CreateRoute", times=1)

    with pytest.raises(ConnectionClosedError):
        small.create(PODS, interface)

    assert small.destinations() == set()
    assert small.faults.fired == {Kind.UNREACHABLE: 1}


def test_a_lost_reply_hides_a_write_that_happened() -> None:
    small = Small()
    _, interface = small.launch()
    small.faults.arm(Kind.LOST_REPLY, action="ec2:CreateRoute", times=1)

    with pytest.raises(ConnectionClosedError):
        small.create(PODS, interface)

    assert small.destinations() == {PODS}
    assert small.faults.fired == {Kind.LOST_REPLY: 1}


def test_a_refused_call_loses_no_reply() -> None:
    small = Small()
    _, interface = small.launch()
    small.create(PODS, interface)
    small.faults.arm(Kind.LOST_REPLY, action="ec2:CreateRoute", times=1)

    with pytest.raises(ClientError, match="RouteAlreadyExists"):
        small.create(PODS, interface)
    assert small.faults.fired == {}


def test_a_stale_read_shows_the_region_as_it_was() -> None:
    small = Small()
    node, interface = small.launch()
    small.faults.arm(Kind.STALE, action="ec2:Describe*", seconds=5)
    small.clock.pass_(10)
    small.create(PODS, interface)
    small.ec2.stop_instances(InstanceIds=[node])

    small.clock.pass_(4)
    before = small.destinations()
    state = small.ec2.describe_instances()["Reservations"][0]["Instances"][0]["State"]["Name"]
    small.clock.pass_(2)
    after = small.destinations()

    assert (before, state, after) == (set(), "running", {PODS})
    assert small.faults.fired[Kind.STALE] == 3


def test_stale_reads_never_touch_writes() -> None:
    small = Small()
    _, interface = small.launch()
    small.faults.arm(Kind.STALE, seconds=60)
    small.create(PODS, interface)

    with pytest.raises(ClientError, match="RouteAlreadyExists"):
        small.create(PODS, interface)
    assert small.faults.fired == {}


def test_a_slow_call_waits_before_it_is_carried_out() -> None:
    small = Small()
    small.faults.arm(Kind.SLOW, action="ec2:DescribeRouteTables", seconds=0.25)

    small.destinations()
    small.ec2.describe_vpcs()

    assert small.pauses == [0.25]


def test_faults_are_aimed_at_a_caller_and_end_when_disarmed() -> None:
    small = Small()
    small.faults.arm(Kind.THROTTLED, caller="failover")

    small.ec2.describe_vpcs()
    with pytest.raises(ClientError):
        small.region.client("failover").describe_vpcs()
    small.faults.disarm(Kind.THROTTLED)
    small.region.client("failover").describe_vpcs()

    assert small.faults.fired == {Kind.THROTTLED: 1}


def test_the_same_seed_strikes_the_same_calls() -> None:
    def struck(seed: int) -> list[bool]:
        faults = Faults(seed=seed)
        faults.arm(Kind.BROKEN, chance=0.5)
        outcomes = []
        for _ in range(64):
            try:
                with faults.around("ec2:CreateRoute", "test"):
                    outcomes.append(False)
            except ClientError:
                outcomes.append(True)
        return outcomes

    assert struck(7) == struck(7) != struck(8)
    assert 0 < sum(struck(7)) < 64


def is_throttled(call: Callable[[], object]) -> bool:
    try:
        call()
    except ClientError as error:
        return code_of(error) == "RequestLimitExceeded"
    return False


def test_a_burst_of_fifty_writes_then_five_a_second() -> None:
    small = Small(throttled=True)
    _, interface = small.launch()

    def created(block: int) -> int:
        """How many of 200 routes came through."""
        names = [f"100.{block}.{number}.0/24" for number in range(200)]
        return sum(not is_throttled(partial(small.create, name, interface)) for name in names)

    assert created(64) == 50
    small.clock.pass_(2)
    assert created(65) == 10
    small.ec2.delete_route(RouteTableId=small.table, DestinationCidrBlock="100.64.0.0/24")


def test_reads_have_bigger_buckets_and_careless_reads_smaller_ones() -> None:
    small = Small(throttled=True)
    small.launch()

    def answered(**given: int) -> int:
        """How many of 200 calls came through."""
        return sum(not is_throttled(partial(small.ec2.describe_instances, **given)) for _ in range(200))

    assert answered() == 50
    assert answered(MaxResults=5) == 100


def test_calls_are_logged_with_their_end() -> None:
    small = Small()
    mark = small.region.calls.mark()

    small.region.client("reconcile").describe_vpcs()
    with pytest.raises(ClientError):
        small.ec2.describe_vpcs(VpcIds=["vpc-0"])

    made = small.region.calls.made("ec2:Describe*", since=mark)
    assert [(call.caller, call.action, call.error) for call in made] == [
        ("reconcile", "ec2:DescribeVpcs", ""),
        ("test", "ec2:DescribeVpcs", "InvalidVpcID.NotFound"),
    ]
    assert len(small.region.calls.made(caller="reconcile")) == 1


def test_waves_are_calls_that_waited_for_one_another() -> None:
    together = threading.Barrier(4, timeout=30)

    def wait_for_the_others(_: float) -> None:
        together.wait()

    region = StrictEC2(faults=Faults(pause=wait_for_the_others))
    region.faults.arm(Kind.SLOW, action="ec2:DescribeVpcs", seconds=1)
    client = region.client()

    client.describe_subnets()
    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(client.describe_vpcs)
    client.describe_subnets()

    assert len(region.calls.made()) == 6
    assert waves(region.calls.made()) == 3


def instances(small: Small, **given: Any) -> list[str]:
    found = small.ec2.describe_instances(**given)["Reservations"]
    return sorted(one["InstanceId"] for row in found for one in row["Instances"])


def test_an_answer_may_leave_rows_out_and_says_nothing_of_it() -> None:
    small = Small()
    (one, _), (other, _) = small.launch(), small.launch()
    small.faults.arm(
        Kind.THINNER,
        action="ec2:DescribeInstances",
        times=1,
        alter=leave_out_if(lambda row: row["InstanceId"] == one),
    )

    assert instances(small) == [other]
    assert instances(small) == sorted([one, other])
    assert small.faults.fired == {Kind.THINNER: 1}


def test_an_answer_that_loses_nothing_is_not_counted_as_thinner() -> None:
    small = Small()
    small.launch()
    small.faults.arm(Kind.THINNER, alter=leave_out(0.0))

    instances(small)

    assert small.faults.fired == {}


def test_pages_may_end_early() -> None:
    small = Small()
    nodes = [small.launch()[0] for _ in range(7)]
    small.faults.arm(Kind.THINNER, alter=end_early)

    pages = small.ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5})
    shown = [one["InstanceId"] for page in pages for row in page["Reservations"] for one in row["Instances"]]

    assert shown == sorted(nodes)[:5]


def test_a_word_may_be_new_and_a_field_may_be_missing() -> None:
    small = Small()
    small.launch()
    small.faults.arm(Kind.UNHEARD_OF, alter=say("RouteTables.Routes.State", "dreaming"))
    small.faults.arm(Kind.UNHEARD_OF, alter=omit("Subnets.CidrBlock"))

    (table,) = small.ec2.describe_route_tables(RouteTableIds=[small.table])["RouteTables"]
    (subnet,) = small.ec2.describe_subnets()["Subnets"]

    assert {route["State"] for route in table["Routes"]} == {"dreaming"}
    assert "CidrBlock" not in subnet
    assert small.faults.fired == {Kind.UNHEARD_OF: 2}


def test_a_call_may_be_refused_with_a_code_that_nobody_knows() -> None:
    small = Small()
    _, interface = small.launch()
    small.faults.arm(Kind.REFUSED, action="ec2:CreateRoute", times=1, code="IncorrectState")

    with pytest.raises(ClientError, match="IncorrectState"):
        small.create(PODS, interface)
    assert small.destinations() == set()


def test_only_calls_about_one_thing_may_be_refused() -> None:
    small = Small()
    _, interface = small.launch()
    small.faults.arm(Kind.REFUSED, action="ec2:*Route", about="rtb-other", code="IncorrectState")

    small.create(PODS, interface)
    small.faults.arm(Kind.REFUSED, action="ec2:*Route", about=small.table, code="IncorrectState")

    with pytest.raises(ClientError, match="IncorrectState"):
        small.ec2.delete_route(RouteTableId=small.table, DestinationCidrBlock=PODS)


def test_ec2_may_not_find_an_instance_that_goes_on() -> None:
    small = Small()
    (lost, _), (other, _) = small.launch(), small.launch()
    small.region.lose_sight(lost)

    assert instances(small) == [other]
    with pytest.raises(ClientError, match=rf"InvalidInstanceID.NotFound.*{lost}"):
        instances(small, InstanceIds=[lost, other])
    assert small.region.state.instances[lost].state == "running"
    small.region.lose_sight("*")
    assert instances(small) == []
    small.region.lose_sight()
    assert instances(small) == sorted([lost, other])


@pytest.mark.parametrize(
    ("kind", "given"), [(Kind.REFUSED, {}), (Kind.THINNER, {}), (Kind.BROKEN, {"code": "Odd"})]
)
def test_a_fault_needs_what_it_does_and_no_more(kind: Kind, given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=str(kind)):
        Faults().arm(kind, **given)


def test_while_a_zone_is_disrupted_only_ids_of_other_zones_are_answered() -> None:
    small = Small()
    other_zone = small.ec2.create_subnet(
        VpcId=small.vpc, CidrBlock="10.0.16.0/20", AvailabilityZone="us-west-2b"
    )["Subnet"]["SubnetId"]
    here, _ = small.launch()
    there = small.ec2.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1, SubnetId=other_zone)
    healthy = there["Instances"][0]["InstanceId"]
    small.region.disrupt("us-west-2a")

    for given in ({}, {"InstanceIds": [here]}, {"InstanceIds": [here, healthy]}):
        with pytest.raises(ClientError, match="Unavailable"):
            instances(small, **given)
    assert instances(small, InstanceIds=[healthy]) == [healthy]
    small.region.disrupt()
    assert instances(small) == sorted([here, healthy])
