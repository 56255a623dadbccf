"""Keeps CloudWatch's alarms on the nodes that forward, for reconcile, and removes them for a release.

It also reads what the operator's alarms say: those whose names begin with the operator's prefix.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from podway.adapters.aws_errors import aws_errors, part
from podway.domain.health.alarms import AlarmNames, alarm_name, prefix_of
from podway.domain.health.reassess import AlarmSeen, AlarmsSeen
from podway.domain.signals import AlarmValue

NAMES_PER_CALL = 100
"""The most alarms that one DeleteAlarms or DescribeAlarms takes."""
_UNSAID = AlarmValue.read("not shown")
_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


class NodeAlarms:
    """The Alarms port over a CloudWatch client."""

    def __init__(self, client: Any, *, names: AlarmNames) -> None:
        self._client, self._cluster, self._names = client, names.cluster, names

    def seen(self, asked: Collection[str] = ()) -> AlarmsSeen:
        """Our alarms by instance, since their names say whose they are, and others that count by name."""
        prefix = prefix_of(self._cluster)
        found = dict(self._described(AlarmNamePrefix=prefix))
        if self._names.operators:
            found |= self._described(AlarmNamePrefix=self._names.operators)
        missing = sorted(name for name in asked if name not in found and self._names.count(name))
        for start in range(0, len(missing), NAMES_PER_CALL):
            found |= self._described(AlarmNames=missing[start : start + NAMES_PER_CALL])
        ours = {name: one for name, one in found.items() if name.startswith(prefix)}
        return AlarmsSeen(
            {name.removeprefix(prefix): one for name, one in ours.items()},
            {name: one for name, one in found.items() if name not in ours},
            frozenset(asked) - found.keys(),
        )

    def _described(self, **which: Any) -> Iterator[tuple[str, AlarmSeen]]:
        """The metric alarms by name. Composite ones name no instance.

        Raises TryAgain where an alarm has no name: then no other may be taken for gone either.
        """
        pages = self._client.get_paginator("describe_alarms").paginate(**which)
        with aws_errors():
            for page in pages:
                for one in part(page, "MetricAlarms"):
                    name = part(one, "AlarmName")
                    yield name, _seen(name, one)

    def watch(self, instance: str) -> None:
        """Make an alarm on EC2's own status checks, which are free and come every minute.

        A stopped instance publishes nothing. Missing data is no evidence: EC2's state says that it stopped.
        """
        with aws_errors():
            self._client.put_metric_alarm(
                AlarmName=alarm_name(self._cluster, instance),
                AlarmDescription=f"Podway: {instance} relays for others; kept and removed by reconcile.",
                Namespace="AWS/EC2",
                MetricName="StatusCheckFailed",
                Dimensions=[{"Name": "InstanceId", "Value": instance}],
                Statistic="Maximum",
                Period=60,
                EvaluationPeriods=2,
                Threshold=1.0,
                ComparisonOperator="GreaterThanOrEqualToThreshold",
                TreatMissingData="missing",
            )

    def forget(self, instances: Collection[str]) -> None:
        """Remove their alarms. An alarm that is gone already is success."""
        names = [alarm_name(self._cluster, one) for one in sorted(instances)]
        for start in range(0, len(names), NAMES_PER_CALL):
            with aws_errors():
                self._client.delete_alarms(AlarmNames=names[start : start + NAMES_PER_CALL])


def _seen(name: str, alarm: Mapping[str, Any]) -> AlarmSeen:
    """The alarm as it stands. One that does not show its state, or since when, is there and says nothing."""
    at = alarm.get("StateUpdatedTimestamp")
    if at is None:
        return AlarmSeen(name, _UNSAID, _BEFORE_ALL, _instances(alarm))
    return AlarmSeen(name, AlarmValue.read(alarm.get("StateValue", str(_UNSAID))), at, _instances(alarm))


def _instances(alarm: Mapping[str, Any]) -> tuple[str, ...]:
    """The instances whose metrics *alarm* looks at, by its one metric or those of its expression."""
    metrics = [alarm, *(query.get("MetricStat", {}).get("Metric", {}) for query in alarm.get("Metrics", ()))]
    dimensions = (one for metric in metrics for one in metric.get("Dimensions", ()))
    return tuple(
        sorted({one.get("Value", "") for one in dimensions if one.get("Name") == "InstanceId"} - {""})
    )
