"""Watches moto's CloudWatch alarms, and gives them the states that CloudWatch gives them.

The server wraps every request to CloudWatch in it. moto starts an alarm as OK and tells nobody when a state
changes. On AWS a new alarm has INSUFFICIENT_DATA, and an alarm that is put again keeps its state
(PutMetricAlarm). A change of state is told; setting the same state is none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends

from podway_lab.region.changes import AlarmStateChanged

_STATE = ("state_value", "state_reason", "state_reason_data", "state_updated_timestamp")


@dataclass(frozen=True, slots=True)
class _Seen:
    alarm: Any
    state: tuple[Any, ...]


class AlarmWatch:
    """Wraps every request to CloudWatch of one account and region, one at a time."""

    def __init__(
        self,
        tell: Callable[[AlarmStateChanged], None],
        *,
        clock: Callable[[], datetime],
        account: str,
        region: str,
    ) -> None:
        self._tell = tell
        self._clock = clock
        self._account = account
        self._region = region
        self._lock = threading.Lock()

    @contextmanager
    def around(self, caller: str) -> Iterator[None]:
        """Run one request in the block; tell afterwards which states it changed."""
        with self._lock:
            before = self._seen()
            yield
            changes = list(self._changes(before, caller))
        for change in changes:
            self._tell(change)

    def _seen(self) -> dict[str, _Seen]:
        alarms: Mapping[str, Any] = cloudwatch_backends[self._account][self._region].alarms
        return {
            name: _Seen(alarm, tuple(getattr(alarm, field) for field in _STATE))
            for name, alarm in alarms.items()
        }

    def _changes(self, before: Mapping[str, _Seen], caller: str) -> Iterator[AlarmStateChanged]:
        for name, seen in self._seen().items():
            alarm = seen.alarm
            if name not in before:
                alarm.state_value = "INSUFFICIENT_DATA"
            elif alarm is not before[name].alarm:
                for field, value in zip(_STATE, before[name].state, strict=True):
                    setattr(alarm, field, value)
            elif alarm.state_value != before[name].state[0]:
                yield self._change(alarm, before[name], caller)

    def _change(self, alarm: Any, before: _Seen, caller: str) -> AlarmStateChanged:
        previous, _, _, previous_at = before.state
        return AlarmStateChanged(
            alarm=alarm.name,
            previous=previous,
            previous_at=previous_at.replace(tzinfo=UTC),
            state=alarm.state_value,
            reason=alarm.state_reason or "",
            reason_data=alarm.state_reason_data or "",
            metric=alarm.metric_name or "",
            namespace=alarm.namespace or "",
            dimensions={dimension.name: dimension.value for dimension in alarm.dimensions},
            period=int(alarm.period or 0),
            statistic=alarm.statistic or "",
            description=alarm.description or "",
            at=self._clock(),
            caller=caller,
        )
