"""Alarms on nodes: recognised by their names, seen with all pages, removed a hundred at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from podway.adapters.cloudwatch import NodeAlarms
from podway.app.errors import TryAgain
from podway.domain.health.alarms import AlarmNames, alarm_name, fleet_alarm
from podway.domain.signals import AlarmValue


@pytest.fixture
def client() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client(
            "cloudwatch", region_name="us-west-2", aws_access_key_id="key", aws_secret_access_key="secret"
        )


def test_an_alarm_looks_at_the_status_checks_of_its_node(client: Any) -> None:
    NodeAlarms(client, names=AlarmNames("demo")).watch("i-1")

    (made,) = client.describe_alarms()["MetricAlarms"]
    assert made["AlarmName"] == "podway/demo/i-1"
    assert (made["Namespace"], made["MetricName"]) == ("AWS/EC2", "StatusCheckFailed")
    assert made["Dimensions"] == [{"Name": "InstanceId", "Value": "i-1"}]
    assert made["TreatMissingData"] == "missing", "a stopped instance is EC2's to tell"


def test_only_the_clusters_own_alarms_are_seen_with_their_state(client: Any) -> None:
    ours, theirs = (NodeAlarms(client, names=AlarmNames(cluster)) for cluster in ("demo", "demo-2"))
    ours.watch("i-1")
    theirs.watch("i-2")
    client.set_alarm_state(AlarmName=alarm_name("demo", "i-1"), StateValue="ALARM", StateReason="test")

    seen = ours.seen()

    assert seen.ours.keys() == {"i-1"}
    assert seen.ours["i-1"].value is AlarmValue.ALARM
    assert seen.ours["i-1"].at.tzinfo is not None
    assert seen.ours["i-1"].instances == ("i-1",)
    assert (seen.others, seen.gone) == ({}, frozenset())


def put(client: Any, name: str, *instances: str) -> None:
    """Somebody's alarm on these instances: one metric, or an expression over theirs."""
    metric = {"Namespace": "CWAgent", "MetricName": "disk_used_percent"}
    several = [
        {
            "Id": f"m{number}",
            "MetricStat": {
                "Metric": {**metric, "Dimensions": [{"Name": "InstanceId", "Value": one}]},
                "Period": 60,
                "Stat": "Maximum",
            },
            "ReturnData": number == 0,
        }
        for number, one in enumerate(instances)
    ]
    one = {**metric, "Dimensions": [{"Name": "InstanceId", "Value": instances[0]}], "Period": 60}
    client.put_metric_alarm(
        AlarmName=name,
        EvaluationPeriods=1,
        Threshold=80.0,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        **({**one, "Statistic": "Maximum"} if len(instances) == 1 else {"Metrics": several}),
    )


def test_the_operators_alarms_are_seen_by_their_prefix_and_others_never(client: Any) -> None:
    """Case v: what an alarm says counts by its name; who deleted one is asked for by name, and it is gone."""
    put(client, "disk 80 % full", "i-1")
    put(client, "ops-packets", "i-1")
    put(client, "ops-either", "i-1", "i-2")
    put(client, fleet_alarm("demo"), "i-9")
    alarms = NodeAlarms(client, names=AlarmNames("demo", "ops-"))
    alarms.watch("i-1")
    asked = {"disk 80 % full", "ops-packets", "ops-deleted", fleet_alarm("demo")}

    seen, unasked = alarms.seen(asked), alarms.seen()

    assert seen.ours.keys() == {"i-1"}
    assert {name: one.instances for name, one in seen.others.items()} == {
        "ops-packets": ("i-1",),
        "ops-either": ("i-1", "i-2"),
        fleet_alarm("demo"): ("i-9",),
    }
    assert seen.gone == {"disk 80 % full", "ops-deleted"}
    assert unasked.others.keys() == {"ops-packets", "ops-either"}
    assert NodeAlarms(client, names=AlarmNames("demo")).seen().others == {}


def test_a_prefix_that_takes_ours_in_makes_nobody_elses_of_them(client: Any) -> None:
    alarms = NodeAlarms(client, names=AlarmNames("demo", "podway/"))
    alarms.watch("i-1")

    seen = alarms.seen()

    assert seen.ours.keys() == {"i-1"}
    assert seen.others == {}


def test_all_pages_are_seen_and_any_number_is_removed(client: Any) -> None:
    alarms = NodeAlarms(client, names=AlarmNames("demo"))
    nodes = {f"i-{number}" for number in range(130)}
    for node in nodes:
        alarms.watch(node)

    seen = alarms.seen()
    alarms.forget(nodes | {"i-never-there"})

    assert seen.ours.keys() == nodes
    assert alarms.seen().ours == {}


@pytest.mark.parametrize("field", ["StateValue", "StateUpdatedTimestamp"])
def test_an_alarm_that_leaves_out_its_state_is_there_and_says_nothing(client: Any, field: str) -> None:
    alarms = NodeAlarms(client, names=AlarmNames("demo"))
    alarms.watch("i-1")
    alarms.watch("i-2")
    leave_out(client, lambda one: one.pop(field))

    seen = alarms.seen(asked=[alarm_name("demo", "i-1")])

    assert seen.ours.keys() == {"i-1", "i-2"}
    assert not any(one.value.is_known for one in seen.ours.values())
    assert seen.gone == frozenset()


def test_no_alarm_is_taken_for_gone_where_an_answer_cannot_be_read(client: Any) -> None:
    alarms = NodeAlarms(client, names=AlarmNames("demo"))
    alarms.watch("i-1")
    leave_out(client, lambda one: one.pop("AlarmName"))

    with pytest.raises(TryAgain):
        alarms.seen(asked=[alarm_name("demo", "i-1")])


def test_no_alarm_is_taken_for_gone_where_an_answer_shows_no_list(client: Any) -> None:
    client.meta.events.register(
        "after-call.cloudwatch.DescribeAlarms", lambda parsed, **_: parsed.pop("MetricAlarms")
    )

    with pytest.raises(TryAgain):
        NodeAlarms(client, names=AlarmNames("demo")).seen(asked=["podway/demo/i-1"])


def leave_out(client: Any, change: Callable[[dict[str, Any]], object]) -> None:
    """Every alarm that CloudWatch shows from now on is changed."""

    def alter(parsed: dict[str, Any], **_: object) -> None:
        for one in parsed["MetricAlarms"]:
            change(one)

    client.meta.events.register("after-call.cloudwatch.DescribeAlarms", alter)
