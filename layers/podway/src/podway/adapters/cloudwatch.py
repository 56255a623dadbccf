"""Keeps CloudWatch's alarms on the nodes that forward, for reconcile, and removes them for a release."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from podway.adapters.aws_errors import aws_errors
from podway.domain.health.alarms import alarm_name, prefix_of
from podway.domain.health.reassess import AlarmSeen
from podway.domain.signals import AlarmValue

NAMES_PER_CALL = 100
"""The most alarms that one DeleteAlarms takes."""


class NodeAlarms:
    """The Alarms port over a CloudWatch client."""

    def __init__(self, client: Any, *, cluster: str) -> None:
        self._client, self._cluster = client, cluster

    def seen(self) -> Mapping[str, AlarmSeen]:
        """Our alarms by instance. Their names say whose they are."""
        prefix = prefix_of(self._cluster)
        pages = self._client.get_paginator("describe_alarms").paginate(AlarmNamePrefix=prefix)
        with aws_errors():
            found = [one for page in pages for one in page.get("MetricAlarms", ())]
        return {
            one["AlarmName"].removeprefix(prefix): AlarmSeen(
                one["AlarmName"], AlarmValue.read(one["StateValue"]), one["StateUpdatedTimestamp"]
            )
            for one in found
        }

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
