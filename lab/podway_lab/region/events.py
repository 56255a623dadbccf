"""The JSON that AWS documents for the events Podway listens to, built from plain values.

The lab's pump, scenarios, the schedule and tests call it; nothing here delivers anything. Shapes and
spellings follow the EC2 user guide (state change, Spot, rebalance), the Auto Scaling and AWS Health user
guides, "Alarm events and EventBridge" of the CloudWatch user guide, and CloudTrail's record contents.
"""

from __future__ import annotations

import itertools
import json
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Event = dict[str, Any]
"""An EventBridge event: the envelope with its ``detail``."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an envelope says about itself: its own id, whose account and region, and when."""

    id: str
    at: datetime
    account: str = "123456789012"
    region: str = "us-west-2"


@dataclass
class Stamps:
    """Hands out stamps with ids that never repeat; the same seed gives the same ids."""

    clock: Callable[[], datetime]
    account: str = "123456789012"
    region: str = "us-west-2"
    seed: str = "podway"
    _count: itertools.count[int] = field(default_factory=itertools.count, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def next(self) -> Stamp:
        with self._lock:
            number = next(self._count)
        unique = uuid.uuid5(uuid.NAMESPACE_URL, f"{self.seed}/{number}")
        return Stamp(id=str(unique), at=self.clock(), account=self.account, region=self.region)


def state_change(stamp: Stamp, instance: str, state: str) -> Event:
    """EC2 says that *instance* is now in *state* (``pending`` … ``terminated``)."""
    detail = {"instance-id": instance, "state": state}
    return _envelope(
        stamp,
        "aws.ec2",
        "EC2 Instance State-change Notification",
        detail,
        resources=[_instance_arn(stamp, instance)],
    )


def spot_interruption(
    stamp: Stamp, instance: str, *, availability_zone: str, action: str = "terminate"
) -> Event:
    """EC2 takes a Spot instance in two minutes. The ARN names the zone, but no account (user guide)."""
    return _envelope(
        stamp,
        "aws.ec2",
        "EC2 Spot Instance Interruption Warning",
        {"instance-id": instance, "instance-action": action},
        resources=[f"arn:aws:ec2:{availability_zone}:instance/{instance}"],
    )


def rebalance_recommendation(stamp: Stamp, instance: str) -> Event:
    """A Spot instance is at elevated risk of interruption."""
    return _envelope(
        stamp,
        "aws.ec2",
        "EC2 Instance Rebalance Recommendation",
        {"instance-id": instance},
        resources=[_instance_arn(stamp, instance)],
    )


def launch_hook(stamp: Stamp, instance: str, *, group: str, hook: str, token: str = "") -> Event:
    """An Auto Scaling group waits for somebody to complete the launch of *instance*."""
    return _hook(stamp, "launch", instance, group=group, hook=hook, token=token)


def terminate_hook(stamp: Stamp, instance: str, *, group: str, hook: str, token: str = "") -> Event:
    """An Auto Scaling group waits for somebody to let go of *instance*."""
    return _hook(stamp, "terminate", instance, group=group, hook=hook, token=token)


def scheduled_change(
    stamp: Stamp,
    instances: Sequence[str],
    *,
    starts: datetime,
    ends: datetime,
    code: str = "AWS_EC2_INSTANCE_STOP_SCHEDULED",
) -> Event:
    """AWS Health announces maintenance of *instances*."""
    detail = {
        "eventArn": f"arn:aws:health:{stamp.region}::event/EC2/{code}/{code}_{stamp.id}",
        "service": "EC2",
        "eventTypeCode": code,
        "eventTypeCategory": "scheduledChange",
        "eventScopeCode": "ACCOUNT_SPECIFIC",
        "communicationId": stamp.id.replace("-", ""),
        "startTime": _http_date(starts),
        "endTime": _http_date(ends),
        "lastUpdatedTime": _http_date(stamp.at),
        "statusCode": "upcoming",
        "eventRegion": stamp.region,
        "eventDescription": [{"language": "en_US", "latestDescription": "Scheduled maintenance."}],
        "affectedEntities": [
            {"entityValue": instance, "status": "IMPAIRED", "tags": {}} for instance in instances
        ],
        "affectedAccount": stamp.account,
        "page": "1",
        "totalPages": "1",
    }
    return _envelope(stamp, "aws.health", "AWS Health Event", detail, resources=list(instances))


@dataclass(frozen=True, slots=True)
class AlarmState:
    """One side of an alarm's transition."""

    value: str
    reason: str
    at: datetime
    reason_data: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """What a standard alarm watches."""

    name: str = "StatusCheckFailed"
    namespace: str = "AWS/EC2"
    dimensions: Mapping[str, str] = field(default_factory=dict)
    period: int = 60
    stat: str = "Maximum"


def alarm_change(
    stamp: Stamp,
    alarm: str,
    *,
    state: AlarmState,
    previous: AlarmState,
    metric: Metric,
    description: str = "",
) -> Event:
    """A standard alarm changed state."""
    watched = {
        "metric": {
            "namespace": metric.namespace,
            "name": metric.name,
            "dimensions": dict(metric.dimensions),
        },
        "period": metric.period,
        "stat": metric.stat,
    }
    identity = str(uuid.uuid5(uuid.NAMESPACE_URL, f"metric/{alarm}"))
    configuration: dict[str, Any] = {"metrics": [{"id": identity, "metricStat": watched, "returnData": True}]}
    if description:
        configuration["description"] = description
    detail = {
        "alarmName": alarm,
        "state": _alarm_state(state),
        "previousState": _alarm_state(previous),
        "configuration": configuration,
    }
    return _envelope(
        stamp,
        "aws.cloudwatch",
        "CloudWatch Alarm State Change",
        detail,
        resources=[_alarm_arn(stamp, alarm)],
    )


def contributor_change(
    stamp: Stamp,
    alarm: str,
    *,
    attributes: Mapping[str, str],
    value: str,
    reason: str,
    expression: str,
    period: int = 60,
) -> Event:
    """One series of a Metrics Insights alarm changed state: no previous state, no reason data."""
    identity = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([alarm, dict(attributes)], sort_keys=True))
    detail = {
        "alarmName": alarm,
        "alarmContributor": {"id": identity.hex[:16], "attributes": dict(attributes)},
        "state": {"value": value, "reason": reason, "timestamp": _milliseconds(stamp.at)},
        "configuration": {
            "metrics": [{"id": "m1", "expression": expression, "returnData": True, "period": period}]
        },
    }
    return _envelope(
        stamp,
        "aws.cloudwatch",
        "CloudWatch Alarm Contributor State Change",
        detail,
        resources=[_alarm_arn(stamp, alarm)],
    )


def route_call(
    stamp: Stamp, name: str, *, parameters: Mapping[str, str], user: str, error: str | None = None
) -> Event:
    """CloudTrail's record of a call such as ReplaceRoute; *user* is the caller's ARN."""
    detail: dict[str, Any] = {
        "eventVersion": "1.11",
        "userIdentity": {"type": "AssumedRole", "arn": user, "accountId": stamp.account},
        "eventTime": _seconds(stamp.at),
        "eventSource": "ec2.amazonaws.com",
        "eventName": name,
        "awsRegion": stamp.region,
        "sourceIPAddress": "192.0.2.10",
        "userAgent": "lab",
        "requestParameters": dict(parameters),
        "responseElements": None if error else {"requestId": stamp.id, "_return": True},
        "requestID": stamp.id,
        "eventID": stamp.id,
        "readOnly": False,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": stamp.account,
        "eventCategory": "Management",
    }
    if error:
        detail |= {"errorCode": error, "errorMessage": error}
    return _envelope(stamp, "aws.ec2", "AWS API Call via CloudTrail", detail, resources=[])


def scheduled(stamp: Stamp, rule: str) -> Event:
    """The tick of a scheduled rule."""
    arn = f"arn:aws:events:{stamp.region}:{stamp.account}:rule/{rule}"
    return _envelope(stamp, "aws.events", "Scheduled Event", {}, resources=[arn])


def _hook(stamp: Stamp, kind: str, instance: str, *, group: str, hook: str, token: str) -> Event:
    launching = kind == "launch"
    detail = {
        "LifecycleActionToken": token or str(uuid.uuid5(uuid.NAMESPACE_URL, f"hook/{stamp.id}")),
        "AutoScalingGroupName": group,
        "LifecycleHookName": hook,
        "EC2InstanceId": instance,
        "LifecycleTransition": f"autoscaling:EC2_INSTANCE_{'LAUNCHING' if launching else 'TERMINATING'}",
        "Origin": "EC2" if launching else "AutoScalingGroup",
        "Destination": "AutoScalingGroup" if launching else "EC2",
    }
    group_id = uuid.uuid5(uuid.NAMESPACE_URL, f"group/{group}")
    arn = (
        f"arn:aws:autoscaling:{stamp.region}:{stamp.account}"
        f":autoScalingGroup:{group_id}:autoScalingGroupName/{group}"
    )
    return _envelope(
        stamp, "aws.autoscaling", f"EC2 Instance-{kind} Lifecycle Action", detail, resources=[arn]
    )


def custom(stamp: Stamp, source: str, detail_type: str, detail: str) -> Event:
    """An event that somebody put on the bus, with its *detail* as JSON."""
    return _envelope(stamp, source, detail_type, json.loads(detail), resources=[])


def _envelope(stamp: Stamp, source: str, kind: str, detail: dict[str, Any], *, resources: list[str]) -> Event:
    return {
        "version": "0",
        "id": stamp.id,
        "detail-type": kind,
        "source": source,
        "account": stamp.account,
        "time": _seconds(stamp.at),
        "region": stamp.region,
        "resources": resources,
        "detail": detail,
    }


def _alarm_state(state: AlarmState) -> dict[str, str]:
    shown = {"value": state.value, "reason": state.reason, "timestamp": _milliseconds(state.at)}
    if state.reason_data is not None:
        shown["reasonData"] = json.dumps(dict(state.reason_data), separators=(",", ":"))
    return shown


def _instance_arn(stamp: Stamp, instance: str) -> str:
    return f"arn:aws:ec2:{stamp.region}:{stamp.account}:instance/{instance}"


def _alarm_arn(stamp: Stamp, alarm: str) -> str:
    return f"arn:aws:cloudwatch:{stamp.region}:{stamp.account}:alarm:{alarm}"


def _seconds(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _milliseconds(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}+0000"


def _http_date(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
