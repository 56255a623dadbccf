"""What events say, in our words. ``wire.events`` reads them from AWS's; failover and lifecycle react.

Signals are hints: it is normal that they come late, twice, out of order or about somebody else's instance.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

_UNKNOWN = "UNKNOWN"


class OpenWord(StrEnum):
    """A word of AWS's, of which more may come: `read` takes them all."""

    @classmethod
    def read(cls, text: str) -> Self:
        """The member of that value or, for a word that we do not know, one that keeps its text."""
        try:
            return cls(text)
        except ValueError:
            unknown = str.__new__(cls, text)
            unknown._name_, unknown._value_ = _UNKNOWN, text
            return unknown

    @property
    def is_known(self) -> bool:
        """Whether it is one of those listed here."""
        return self._name_ != _UNKNOWN


class InstanceState(OpenWord):
    """EC2's instance states."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    SHUTTING_DOWN = "shutting-down"
    TERMINATED = "terminated"


GONE = frozenset(
    {InstanceState.STOPPING, InstanceState.STOPPED, InstanceState.SHUTTING_DOWN, InstanceState.TERMINATED}
)
"""States in which an instance forwards nothing, or is about to stop doing so."""


class HandoverReason(StrEnum):
    """Why a node should hand its relayed routes over before it dies."""

    SPOT_INTERRUPTION = "spot-interruption"
    REBALANCE = "rebalance"
    MAINTENANCE = "maintenance"
    TERMINATE_HOOK = "terminate-hook"
    DRAIN = "drain"


class AlarmValue(OpenWord):
    """CloudWatch's alarm states."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


@dataclass(frozen=True, slots=True)
class LifecycleHook:
    """An Auto Scaling lifecycle action that waits for us to complete it."""

    group: str
    name: str
    token: str
    instance: str


@dataclass(frozen=True, slots=True)
class PendingHook:
    """A lifecycle action that waits until its node relays nothing any more."""

    hook: LifecycleHook
    since: datetime


@dataclass(frozen=True, slots=True)
class StateChanged:
    """An instance changed state."""

    event_id: str
    at: datetime
    instance: str
    state: InstanceState


@dataclass(frozen=True, slots=True)
class HandoverAsked:
    """Instances will go away, or should stop relaying."""

    event_id: str
    at: datetime
    instances: tuple[str, ...]
    reason: HandoverReason
    hook: LifecycleHook | None = None
    is_over: bool = False
    """What was asked for before is called off: the nodes may relay again."""


@dataclass(frozen=True, slots=True)
class Launched:
    """An Auto Scaling group holds a new instance until the hook is completed."""

    event_id: str
    at: datetime
    hook: LifecycleHook


@dataclass(frozen=True, slots=True)
class AlarmChanged:
    """An alarm, or one contributor of it, changed state for the instances it names."""

    event_id: str
    at: datetime
    alarm: str
    instances: tuple[str, ...]
    value: AlarmValue


@dataclass(frozen=True, slots=True)
class RoutesEdited:
    """Somebody wrote to a route table (CloudTrail)."""

    event_id: str
    at: datetime
    table: str


@dataclass(frozen=True, slots=True)
class AgentReported:
    """An agent's own item changed in the store (table stream).

    ``instance`` is who IAM says wrote it; ``generation`` the newest that its kernel holds completely.
    """

    event_id: str
    at: datetime
    instance: str
    suspects: tuple[str, ...] = ()
    cleared: tuple[str, ...] = ()
    """Instances that it suspected before this change and suspects no longer."""
    subnet: str = ""
    generation: int = 0
    causes: tuple[str, ...] = ()
    """What is new in it."""


@dataclass(frozen=True, slots=True)
class Hint:
    """Something may have changed: look at everything."""

    event_id: str
    at: datetime
    reason: str
    cause: str = ""
    """The event that led to it; empty when it is one itself."""


Signal = StateChanged | HandoverAsked | Launched | AlarmChanged | RoutesEdited | AgentReported | Hint
