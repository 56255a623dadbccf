from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from podway_lab.region import events

NOON = datetime(2026, 11, 22, 12, 0, 0, 125000, tzinfo=UTC)
STAMP = events.Stamp(id="00000000-0000-0000-0000-000000000001", at=NOON)
OK = events.AlarmState(value="OK", reason="fine", at=NOON - timedelta(hours=1))
ALARM = events.AlarmState(value="ALARM", reason="Threshold Crossed", at=NOON, reason_data={"version": "1.0"})


def every_event() -> list[events.Event]:
    return [
        events.state_change(STAMP, "i-1", "stopping"),
        events.spot_interruption(STAMP, "i-1", availability_zone="us-west-2a"),
        events.rebalance_recommendation(STAMP, "i-1"),
        events.launch_hook(STAMP, "i-1", group="nodes", hook="join"),
        events.terminate_hook(STAMP, "i-1", group="nodes", hook="leave"),
        events.scheduled_change(STAMP, ["i-1"], starts=NOON, ends=NOON + timedelta(hours=1)),
        events.alarm_change(STAMP, "a", state=ALARM, previous=OK, metric=events.Metric()),
        events.contributor_change(
            STAMP, "a", attributes={"InstanceId": "i-1"}, value="ALARM", reason="r", expression="SELECT 1"
        ),
        events.route_call(STAMP, "ReplaceRoute", parameters={"routeTableId": "rtb-1"}, user="arn"),
        events.scheduled(STAMP, "tick"),
    ]


@pytest.mark.parametrize("event", every_event(), ids=lambda event: str(event["detail-type"]))
def test_every_event_is_json_with_the_whole_envelope(event: events.Event) -> None:
    assert json.loads(json.dumps(event)) == event
    assert event.keys() == {
        "version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail",
    }  # fmt: skip
    assert event["time"] == "2026-11-22T12:00:00Z"


def test_a_state_change_spells_the_instance_with_a_hyphen() -> None:
    event = events.state_change(STAMP, "i-1", "running")

    assert event["detail"] == {"instance-id": "i-1", "state": "running"}
    assert event["resources"] == ["arn:aws:ec2:us-west-2:123456789012:instance/i-1"]


def test_an_alarm_names_its_instance_in_the_metric_and_its_reason_data_is_text() -> None:
    metric = events.Metric(dimensions={"InstanceId": "i-1"})

    detail = events.alarm_change(STAMP, "a", state=ALARM, previous=OK, metric=metric)["detail"]

    watched: dict[str, Any] = detail["configuration"]["metrics"][0]["metricStat"]
    assert watched["metric"]["dimensions"] == {"InstanceId": "i-1"}
    assert (detail["previousState"]["value"], detail["state"]["value"]) == ("OK", "ALARM")
    assert json.loads(detail["state"]["reasonData"]) == {"version": "1.0"}
    assert detail["state"]["timestamp"] == "2026-11-22T12:00:00.125+0000"


def test_a_contributor_has_neither_a_previous_state_nor_reason_data() -> None:
    detail = events.contributor_change(
        STAMP, "a", attributes={"InstanceId": "i-1"}, value="OK", reason="r", expression="SELECT 1"
    )["detail"]

    assert "previousState" not in detail
    assert detail["state"].keys() == {"value", "reason", "timestamp"}
    assert detail["alarmContributor"]["attributes"] == {"InstanceId": "i-1"}


def test_stamps_never_repeat_and_the_same_seed_gives_the_same_ids() -> None:
    one, other = (events.Stamps(clock=lambda: NOON, seed="s") for _ in range(2))

    first = [one.next().id for _ in range(100)]

    assert len(set(first)) == 100
    assert first == [other.next().id for _ in range(100)]
