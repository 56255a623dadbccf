"""Turns the region's changes into the events that AWS sends, and puts them on the bus.

The lab makes one; the region calls it with every change, and scenarios send events of others through it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from podway_lab.region.changes import AlarmStateChanged, Change, EventPut, InstanceStateChanged, RouteWritten
from podway_lab.region.events import (
    AlarmState,
    Event,
    Metric,
    Stamp,
    Stamps,
    alarm_change,
    custom,
    route_call,
    state_change,
)
from podway_lab.region.model import StrictEC2

OPERATOR = "operator"
"""CloudTrail tells of this caller's route writes only: the template's rule leaves out Podway's."""

TRAIL_DELAY_SECONDS = 3.0
"""Until CloudTrail tells of a call; AWS takes minutes."""


class Pump:
    """Follows *ec2*; *put* takes an event and must not wait for its handlers."""

    def __init__(self, ec2: StrictEC2, put: Callable[[Event], object]) -> None:
        self._put = put
        self._stamps = Stamps(ec2.clock, ec2.settings.account, ec2.settings.name)
        self.sent: list[tuple[datetime, Event]] = []
        """Every event with the moment it was sent, oldest first."""
        self._closed = threading.Event()
        ec2.subscribe(self._listen)

    def close(self) -> None:
        """Send nothing any more."""
        self._closed.set()

    def stamp(self) -> Stamp:
        """A stamp for an event that somebody outside the region sends."""
        return self._stamps.next()

    def send(self, event: Event) -> None:
        """Put one event on the bus."""
        if not self._closed.is_set():
            self.sent.append((self._stamps.clock(), event))
            self._put(event)

    def _listen(self, change: Change) -> None:
        match change:
            case InstanceStateChanged():
                self.send(state_change(self._stamps.next(), change.instance, change.state))
            case AlarmStateChanged():
                self.send(self._alarm(change))
            case EventPut():
                self.send(custom(self._stamps.next(), change.source, change.detail_type, change.detail))
            case RouteWritten(caller=caller) if caller == OPERATOR:
                timer = threading.Timer(TRAIL_DELAY_SECONDS, self.send, (self._trail(change),))
                timer.daemon = True
                timer.start()

    def _alarm(self, change: AlarmStateChanged) -> Event:
        return alarm_change(
            self._stamps.next(),
            change.alarm,
            state=AlarmState(change.state, change.reason, change.at),
            previous=AlarmState(change.previous, "", change.previous_at),
            metric=Metric(
                change.metric, change.namespace, change.dimensions, change.period, change.statistic
            ),
            description=change.description,
        )

    def _trail(self, change: RouteWritten) -> Event:
        stamp = self._stamps.next()
        return route_call(
            stamp,
            f"{change.action.title()}Route",
            parameters={"routeTableId": change.table, "destinationCidrBlock": str(change.destination)},
            user=f"arn:aws:iam::{stamp.account}:user/{change.caller}",
        )
