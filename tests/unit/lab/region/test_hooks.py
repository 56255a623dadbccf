"""Auto Scaling's lifecycle actions in the lab: completed once, put off any number of times."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from podway_lab.region.hooks import Action
from podway_lab.region.server import RegionServer

NAMES = {"AutoScalingGroupName": "workers", "LifecycleHookName": "podway", "LifecycleActionToken": "1" * 36}


@pytest.fixture
def region() -> Iterator[RegionServer]:
    with RegionServer() as region:
        yield region


@pytest.fixture
def results(region: RegionServer) -> list[str]:
    told: list[str] = []
    region.actions.begin(Action("workers", "podway", "1" * 36, "i-1", told.append))
    return told


def client(region: RegionServer) -> Any:
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    return boto3.client("autoscaling", endpoint_url=region.url, region_name="us-west-2", **keys)  # type: ignore[call-overload]


def test_the_group_is_told_once_and_later_completions_are_refused_as_auto_scaling_does(
    region: RegionServer, results: list[str]
) -> None:
    client(region).record_lifecycle_action_heartbeat(**NAMES)
    client(region).complete_lifecycle_action(**NAMES, LifecycleActionResult="CONTINUE")

    with pytest.raises(ClientError, match="No active Lifecycle Action found"):
        client(region).complete_lifecycle_action(**NAMES, LifecycleActionResult="CONTINUE")
    with pytest.raises(ClientError, match="No active Lifecycle Action found"):
        client(region).record_lifecycle_action_heartbeat(**NAMES)

    assert results == ["CONTINUE"]


@pytest.mark.parametrize("other", NAMES)
def test_an_action_is_found_by_all_of_its_names(region: RegionServer, results: list[str], other: str) -> None:
    with pytest.raises(ClientError, match="ValidationError"):
        client(region).complete_lifecycle_action(
            **(NAMES | {other: "2" * 36}), LifecycleActionResult="CONTINUE"
        )

    assert results == []
