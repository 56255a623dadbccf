"""Alarms on nodes: recognised by their names, seen with all pages, removed a hundred at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from podway.adapters.cloudwatch import NodeAlarms
from podway.domain.health.alarms import alarm_name
from podway.domain.signals import AlarmValue


@pytest.fixture
def client() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client(
            "cloudwatch", region_name="us-west-2", aws_access_key_id="key", aws_secret_access_key="secret"
        )


def test_an_alarm_looks_at_the_status_checks_of_its_node(client: Any) -> None:
    NodeAlarms(client, cluster="demo").watch("i-1")

    (made,) = client.describe_alarms()["MetricAlarms"]
    assert made["AlarmName"] == "podway/demo/i-1"
    assert (made["Namespace"], made["MetricName"]) == ("AWS/EC2", "StatusCheckFailed")
    assert made["Dimensions"] == [{"Name": "InstanceId", "Value": "i-1"}]
    assert made["TreatMissingData"] == "missing", "a stopped instance is EC2's to tell"


def test_only_the_clusters_own_alarms_are_seen_with_their_state(client: Any) -> None:
    ours, theirs = NodeAlarms(client, cluster="demo"), NodeAlarms(client, cluster="demo-2")
    ours.watch("i-1")
    theirs.watch("i-2")
    client.set_alarm_state(AlarmName=alarm_name("demo", "i-1"), StateValue="ALARM", StateReason="test")

    seen = ours.seen()

    assert seen.keys() == {"i-1"}
    assert seen["i-1"].value is AlarmValue.ALARM
    assert seen["i-1"].at.tzinfo is not None


def test_all_pages_are_seen_and_any_number_is_removed(client: Any) -> None:
    alarms = NodeAlarms(client, cluster="demo")
    nodes = {f"i-{number}" for number in range(130)}
    for node in nodes:
        alarms.watch(node)

    seen = alarms.seen()
    alarms.forget(nodes | {"i-never-there"})

    assert seen.keys() == nodes
    assert alarms.seen() == {}
