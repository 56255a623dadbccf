from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
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
