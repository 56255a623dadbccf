"""Sentences about what AWS and operators do to single nodes, and to the failover function.

The player knows them by `OPERATIONS`.
"""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable
from datetime import timedelta

from podway.domain.model import counted

from podway_lab.region.events import (
    Event,
    Stamp,
    rebalance_recommendation,
    scheduled_change,
    spot_interruption,
    terminate_hook,
)
from podway_lab.region.hooks import Action
from podway_lab.scenario.stage import NotSo, Stage
from podway_lab.scenario.verbs import Verb, Verbs

OPERATIONS = Verbs()
_GROUP, _HOOK = "workers", "podway-terminate"
_STATUS_CHECK = "StatusCheckFailed"


def _zone(stage: Stage, instance: str) -> str:
    subnet = stage.lab.subnet_of(stage.lab.names[instance])
    return next(one.zone for one in stage.lab.plan.subnets if one.name == subnet)


_NOTICES: dict[str, Callable[[Stage, Stamp, str], Event]] = {
    r"Spot interruption of (?P<node>.+)": lambda stage, stamp, one: spot_interruption(
        stamp, one, availability_zone=_zone(stage, one)
    ),
    r"rebalance of (?P<node>.+) is recommended": lambda _, stamp, one: rebalance_recommendation(stamp, one),
    r"maintenance of (?P<node>.+) is announced": lambda _, stamp, one: scheduled_change(
        stamp, [one], starts=stamp.at + timedelta(days=1), ends=stamp.at + timedelta(days=2)
    ),
}


@OPERATIONS.says(r"stop (?P<node>.+?)(?P<ended> and terminate it at once)?")
def _stop(stage: Stage, match: re.Match[str]) -> str:
    node = stage.chosen(match["node"])
    instance, operator = stage.lab.ids[node], stage.lab.operator

    def action() -> None:
        operator.stop_instances(InstanceIds=[instance])
        if match["ended"]:
            operator.terminate_instances(InstanceIds=[instance])

    return f"{node}: {stage.provoke(f'{node} stopped', action, node)}"


@OPERATIONS.says(r"start (?P<node>.+) again")
def _start_again(stage: Stage, match: re.Match[str]) -> str:
    stage.lab.operator.start_instances(InstanceIds=[stage.lab.ids[stage.chosen(match["node"])]])
    return stage.it


def _told(make: Callable[[Stage, Stamp, str], Event]) -> Verb:
    def verb(stage: Stage, match: re.Match[str]) -> str:
        node = stage.chosen(match["node"])
        stage.note(node)
        stage.lab.pump.send(make(stage, stage.lab.pump.stamp(), stage.lab.ids[node]))
        return node

    return verb


@OPERATIONS.says(r"the group terminates (?P<node>.+)")
def _group_terminates(stage: Stage, match: re.Match[str]) -> str:
    node = stage.chosen(match["node"])
    stage.note(node)
    instance, token = stage.lab.ids[node], str(uuid.uuid4())

    def completed(_: str) -> None:
        stage.noted.relayed_at_completion[node] = stage.relayed(node)
        end = stage.lab.operator.terminate_instances
        threading.Thread(target=end, kwargs={"InstanceIds": [instance]}, daemon=True).start()

    stage.lab.server.actions.begin(Action(_GROUP, _HOOK, token, instance, completed))
    event = terminate_hook(stage.lab.pump.stamp(), instance, group=_GROUP, hook=_HOOK, token=token)
    stage.lab.pump.send(event)
    return node


@OPERATIONS.says(r"the group let go of (?P<node>.+) after its routes had left")
def _let_go(stage: Stage, match: re.Match[str]) -> str:
    node = stage.chosen(match["node"])
    if node not in stage.noted.relayed_at_completion:
        raise NotSo(f"the group still waits with {node}")
    if relayed := stage.noted.relayed_at_completion[node]:
        raise NotSo(f"{node} still relayed {counted(relayed, 'block')} when the group was told to go on")
    return f"{node}: the hook was completed when it relayed nothing"


@OPERATIONS.says(r"terminate (?P<node>.+)")
def _terminate(stage: Stage, match: re.Match[str]) -> str:
    node = stage.chosen(match["node"])
    instance = stage.lab.ids[node]
    done = stage.provoke(
        f"{node} terminated",
        lambda: stage.lab.operator.terminate_instances(InstanceIds=[instance]),
        node,
    )
    return f"{node}: {done}"


@OPERATIONS.says(r"alarm for (?P<node>.+)")
def _alarm(stage: Stage, match: re.Match[str]) -> str:
    node = stage.chosen(match["node"])
    name = f"{_STATUS_CHECK}-{node}"
    cloudwatch = stage.lab.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/EC2",
        MetricName=_STATUS_CHECK,
        Dimensions=[{"Name": "InstanceId", "Value": stage.lab.ids[node]}],
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
    )
    done = stage.provoke(
        f"{_STATUS_CHECK} alarm for {node}",
        lambda: cloudwatch.set_alarm_state(
            AlarmName=name, StateValue="ALARM", StateReason="status check failed"
        ),
        node,
    )
    return f"{node}: {done}"


@OPERATIONS.says(r"the failover function is cold")
def _cold(stage: Stage, _: re.Match[str]) -> str:
    stage.lab.delivery.chill("FailoverFunction")
    return "" if stage.lab.deployed else "its clients and use case are built anew"


for _pattern, _make in _NOTICES.items():
    OPERATIONS.add(_pattern, _told(_make))
