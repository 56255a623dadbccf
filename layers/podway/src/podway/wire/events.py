"""Reads AWS's events about nodes, alarms and routes, as values of ``domain.signals``.

Called by `batches` with the JSON that Lambda hands to the functions. Field names are AWS's own: the EC2 user
guide (state change, Spot, rebalance), the Auto Scaling, CloudWatch and AWS Health user guides, and
CloudTrail's record contents. ``tests/events`` holds one file per event.

Events come from the whole account, carry no tags, and arrive late, doubled or out of order. What is not about
an instance, or not ours, becomes ``Dropped``, never an exception.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal, TypeAlias

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from podway.domain.health.alarms import AlarmNames
from podway.domain.signals import (
    AlarmChanged,
    AlarmValue,
    HandoverAsked,
    HandoverReason,
    Hint,
    InstanceState,
    Launched,
    LifecycleHook,
    RoutesEdited,
    Signal,
    StateChanged,
)


class DropReason(StrEnum):
    """Why an event leads to nothing. It is in the log."""

    UNKNOWN = "unknown"
    MALFORMED = "malformed"
    FOREIGN_ACCOUNT = "foreign-account"
    FOREIGN_ALARM = "foreign-alarm"
    """An alarm about an instance that is neither ours nor begins with the operator's prefix."""
    TEST_NOTIFICATION = "test-notification"
    IRRELEVANT = "irrelevant"
    """Understood, but it says nothing about an instance or a route (a refused call, a closed notice)."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """An event that leads to nothing. ``detail`` says in the log what was wrong with it."""

    reason: DropReason
    detail: str = ""
    event_id: str = ""


Understood: TypeAlias = Signal | Dropped

MOST_FAULTS = 5
"""How many faults of one message are named: who writes it decides how many there are."""

_INSTANCE = re.compile(r"i-[0-9a-f]{8,17}")
"""EC2's instance ids: 17 hexadecimal digits, 8 in old accounts and in AWS's own examples."""

InstanceId = Annotated[str, StringConstraints(pattern=f"^{_INSTANCE.pattern}$")]


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, defer_build=True)
    """A shape is built with the first event that needs it: a cold failover needs one or two of many."""


class _Envelope(_Shape):
    """What every EventBridge event has around its detail."""

    id: str = Field(min_length=1)
    time: AwareDatetime
    account: str
    detail: Mapping[str, object]


class _StateDetail(_Shape):
    instance: InstanceId = Field(alias="instance-id")
    state: InstanceState


class _InstanceDetail(_Shape):
    instance: InstanceId = Field(alias="instance-id")


class _HookDetail(_Shape):
    instance: InstanceId = Field(alias="EC2InstanceId")
    group: str = Field(alias="AutoScalingGroupName", min_length=1)
    name: str = Field(alias="LifecycleHookName", min_length=1)
    token: str = Field(alias="LifecycleActionToken", min_length=1)
    transition: Literal["autoscaling:EC2_INSTANCE_LAUNCHING", "autoscaling:EC2_INSTANCE_TERMINATING"] = Field(
        alias="LifecycleTransition"
    )

    def hook(self) -> LifecycleHook:
        return LifecycleHook(group=self.group, name=self.name, token=self.token, instance=self.instance)


class _HealthEntity(_Shape):
    value: str = Field(alias="entityValue")


class _HealthDetail(_Shape):
    service: str
    category: str = Field(alias="eventTypeCategory")
    status: str = Field(default="", alias="statusCode")
    entities: tuple[_HealthEntity, ...] = Field(default=(), alias="affectedEntities")


class _DrainDetail(_Shape):
    instances: tuple[InstanceId, ...] = Field(min_length=1)


class _Metric(_Shape):
    dimensions: Mapping[str, str] = Field(default_factory=dict)


class _MetricStat(_Shape):
    metric: _Metric


class _MetricQuery(_Shape):
    stat: _MetricStat | None = Field(default=None, alias="metricStat")


class _AlarmConfiguration(_Shape):
    metrics: tuple[_MetricQuery, ...] = ()


class _AlarmState(_Shape):
    value: AlarmValue
    timestamp: AwareDatetime


class _Contributor(_Shape):
    attributes: Mapping[str, str] = Field(default_factory=dict)


class _AlarmDetail(_Shape):
    name: str = Field(alias="alarmName", min_length=1)
    state: _AlarmState
    configuration: _AlarmConfiguration = Field(default_factory=_AlarmConfiguration)
    contributor: _Contributor | None = Field(default=None, alias="alarmContributor")

    def instances(self) -> tuple[str, ...]:
        """The instances whose metrics the alarm, or this contributor of it, looks at."""
        dimensions = [query.stat.metric.dimensions for query in self.configuration.metrics if query.stat]
        if self.contributor:
            dimensions = [self.contributor.attributes]
        named = {found for each in dimensions if (found := each.get("InstanceId"))}
        return tuple(sorted(filter(_INSTANCE.fullmatch, named)))


class _AlarmAction(_Shape):
    """What CloudWatch sends when a function is the alarm's own action: no EventBridge envelope."""

    arn: str = Field(alias="alarmArn")
    account: str = Field(alias="accountId")
    time: str
    detail: _AlarmDetail = Field(alias="alarmData")


class _RouteParameters(_Shape):
    table: str = Field(default="", alias="routeTableId")


class _CallDetail(_Shape):
    source: str = Field(alias="eventSource")
    name: str = Field(alias="eventName", min_length=1)
    error: str | None = Field(default=None, alias="errorCode")
    parameters: _RouteParameters | None = Field(default=None, alias="requestParameters")


def parse_event(
    event: Mapping[str, object], *, account: str | None, alarms: AlarmNames | None = None
) -> Understood:
    """The signal that *event* carries, or why it carries none. Never raises.

    *account* is the function's own: events of other accounts are dropped. *alarms* says which alarms count:
    others are dropped. None accepts all.
    """
    said = _understood(event, account)
    if alarms is None or not isinstance(said, AlarmChanged) or alarms.count(said.alarm):
        return said
    return Dropped(DropReason.FOREIGN_ALARM, f"alarm {said.alarm}", said.event_id)


def _understood(event: Mapping[str, object], account: str | None) -> Understood:
    event_id = event.get("id")
    name = event_id if isinstance(event_id, str) else ""
    if _is_test(event) or _is_test(event.get("detail")):
        return Dropped(DropReason.TEST_NOTIFICATION, event_id=name)
    try:
        if "alarmData" in event:
            return _alarm_action(event, account)
        reader = _READERS.get(_kind(event))
        if reader is None:
            return Dropped(DropReason.UNKNOWN, detail=" / ".join(_kind(event)), event_id=name)
        envelope = _Envelope.model_validate(event)
        if account not in (None, envelope.account):
            return Dropped(DropReason.FOREIGN_ACCOUNT, detail=envelope.account, event_id=name)
        return reader(envelope)
    except ValidationError as error:
        return Dropped(DropReason.MALFORMED, detail=faults_of(error), event_id=name)


def _kind(event: Mapping[str, object]) -> tuple[str, str]:
    return str(event.get("source", "")), str(event.get("detail-type", ""))


def _is_test(body: object) -> bool:
    """Auto Scaling sends one when a hook is made: a body with this event and no instance."""
    return isinstance(body, Mapping) and body.get("Event") == "autoscaling:TEST_NOTIFICATION"


def faults_of(error: ValidationError) -> str:
    """What is wrong with a message, field by field, for the log."""
    faults = error.errors(include_input=False, include_url=False)[:MOST_FAULTS]
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)


def _state_changed(event: _Envelope) -> Understood:
    detail = _StateDetail.model_validate(event.detail)
    return StateChanged(event.id, event.time, detail.instance, detail.state)


def _spot(event: _Envelope) -> Understood:
    detail = _InstanceDetail.model_validate(event.detail)
    return HandoverAsked(event.id, event.time, (detail.instance,), HandoverReason.SPOT_INTERRUPTION)


def _rebalance(event: _Envelope) -> Understood:
    detail = _InstanceDetail.model_validate(event.detail)
    return HandoverAsked(event.id, event.time, (detail.instance,), HandoverReason.REBALANCE)


def _launch_hook(event: _Envelope) -> Understood:
    return Launched(event.id, event.time, _HookDetail.model_validate(event.detail).hook())


def _terminate_hook(event: _Envelope) -> Understood:
    hook = _HookDetail.model_validate(event.detail).hook()
    return HandoverAsked(event.id, event.time, (hook.instance,), HandoverReason.TERMINATE_HOOK, hook)


def _health(event: _Envelope) -> Understood:
    detail = _HealthDetail.model_validate(event.detail)
    instances = sorted({one.value for one in detail.entities if _INSTANCE.fullmatch(one.value)})
    planned = detail.service == "EC2" and detail.category == "scheduledChange"
    if not planned or not instances:
        return Dropped(DropReason.IRRELEVANT, f"{detail.service} {detail.category} {detail.status}", event.id)
    over = detail.status == "closed"  # it is done, or was called off
    return HandoverAsked(event.id, event.time, tuple(instances), HandoverReason.MAINTENANCE, is_over=over)


def _drain(event: _Envelope) -> Understood:
    detail = _DrainDetail.model_validate(event.detail)
    return HandoverAsked(event.id, event.time, tuple(sorted(set(detail.instances))), HandoverReason.DRAIN)


def _alarm(event: _Envelope) -> Understood:
    return _alarm_changed(event.id, _AlarmDetail.model_validate(event.detail))


def _alarm_action(event: Mapping[str, object], account: str | None) -> Understood:
    action = _AlarmAction.model_validate(event)
    event_id = f"{action.arn}@{action.time}"  # this shape has no id; the same transition has the same two
    if account not in (None, action.account):
        return Dropped(DropReason.FOREIGN_ACCOUNT, detail=action.account, event_id=event_id)
    return _alarm_changed(event_id, action.detail)


def _alarm_changed(event_id: str, detail: _AlarmDetail) -> Understood:
    instances = detail.instances()
    if not instances:  # every alarm of the account comes by
        return Dropped(DropReason.IRRELEVANT, f"alarm {detail.name} names no instance", event_id)
    return AlarmChanged(event_id, detail.state.timestamp, detail.name, instances, detail.state.value)


def _call(event: _Envelope) -> Understood:
    detail = _CallDetail.model_validate(event.detail)
    if detail.source != "ec2.amazonaws.com" or detail.error:
        return Dropped(DropReason.IRRELEVANT, f"{detail.source} {detail.name} {detail.error}", event.id)
    return RoutesEdited(event.id, event.time, detail.parameters.table if detail.parameters else "")


def _tick(event: _Envelope) -> Understood:
    return Hint(event.id, event.time, "schedule")


DRAIN_SOURCE, DRAIN_DETAIL_TYPE = "podway", "Podway Drain Requested"
"""The one event that is ours: ``podway drain`` puts it on the bus, detail ``{"instances": [...]}``."""

_READERS: Mapping[tuple[str, str], Callable[[_Envelope], Understood]] = {
    ("aws.ec2", "EC2 Instance State-change Notification"): _state_changed,
    ("aws.ec2", "EC2 Spot Instance Interruption Warning"): _spot,
    ("aws.ec2", "EC2 Instance Rebalance Recommendation"): _rebalance,
    ("aws.ec2", "AWS API Call via CloudTrail"): _call,
    ("aws.autoscaling", "EC2 Instance-launch Lifecycle Action"): _launch_hook,
    ("aws.autoscaling", "EC2 Instance-terminate Lifecycle Action"): _terminate_hook,
    ("aws.health", "AWS Health Event"): _health,
    ("aws.cloudwatch", "CloudWatch Alarm State Change"): _alarm,
    ("aws.cloudwatch", "CloudWatch Alarm Contributor State Change"): _alarm,
    ("aws.events", "Scheduled Event"): _tick,
    (DRAIN_SOURCE, DRAIN_DETAIL_TYPE): _drain,
}
