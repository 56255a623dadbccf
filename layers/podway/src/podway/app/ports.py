"""What the use cases need of the world. `bootstrap` gives them the adapters, tests give them fakes.

Each method says whether a caller may repeat it, what a call leaves that was cut off (killed, or without an
answer), and which errors it raises. Methods without such a sentence only read: they may be repeated and leave
nothing. The table's ports are in `stores`. A code of AWS's that `adapters.aws_errors` does not know comes
through as botocore's ClientError.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:  # a failover that starts cold needs hardly any of it
    from podway.domain.health.reassess import AlarmsSeen
    from podway.domain.inventory import FoundById, Instance, Member, NotListed, Survey, VpcSubnet
    from podway.domain.model import RouteTable, Step
    from podway.domain.signals import LifecycleHook

T = TypeVar("T")

LONGEST_LEASE = timedelta(seconds=125)
"""How long anybody writes alone: five seconds more than reconcile may run. Its end lies no further ahead."""
RELEASED = "released"
"""Who holds the lease of a cluster that was released, for good."""


class Cloud(Protocol):
    """EC2, as far as routes and nodes go. Every method may raise TryAgain or NeedsOperator."""

    def survey(self, homes: Collection[str] = ()) -> Survey:
        """The cluster's instances, subnets, VPC and the tables to manage, complete (all pages).

        *homes* are subnets of members that EC2 may not list: the tables that steer these are managed too.
        Raises NeedsOperator when the cluster is in more than one VPC.
        """
        ...

    def find(self, members: Iterable[Member], subnets: Iterable[VpcSubnet]) -> FoundById:
        """What EC2 says of these members, asked by id and without the tag. Safe to repeat.

        Whom it says nothing of is nowhere in the answer: that is no end. Never raises a PodwayError.
        """
        ...

    def find_subnets(self, subnets: Collection[str], vpc: str) -> NotListed:
        """What EC2 says of these subnets, asked by id. Those that it calls unknown are nowhere in the answer.

        One of another VPC than *vpc* is rightly not listed. Safe to repeat. Never raises a PodwayError.
        """
        ...

    def find_tables(self, tables: Collection[str], vpc: str) -> NotListed:
        """What EC2 says of these tables, asked by id. Those that it calls unknown are nowhere in the answer.

        A table of another VPC than *vpc* that is not tagged for the cluster is rightly not listed.
        Safe to repeat. Never raises a PodwayError.
        """
        ...

    def route_tables(self) -> tuple[RouteTable, ...]:
        """The tables that carry the cluster's tag (only those may be written), every route marked foreign."""
        ...

    def look_again(self, tables: Collection[str]) -> tuple[RouteTable, ...]:
        """These tables, asked by id: `route_tables` left them out. One that EC2 calls unknown has no routes.

        One that it leaves out once more is nowhere in the answer.
        """
        ...

    def member(self, instance: str) -> Instance | None:
        """The instance, if it exists and carries the cluster's tag."""
        ...

    def apply(self, table: str, step: Step) -> None:
        """Make one step: one call of CreateRoute, ReplaceRoute or DeleteRoute.

        Repeat: a Replace or Delete does no harm (deleting what is gone is success); a Create that took effect
        raises RouteIsThere. Cut off: the route is as before or as the step says; look at the table.
        Raises RouteIsThere and QuotaReached (Create), RouteIsGone (Replace), TargetIsGone, TableIsGone.
        """
        ...

    def mark_tables(self, tables: Collection[str], stack: str) -> None:
        """Write on tables which stack they belong to. *tables* are some, and carry the cluster's tag.

        Repeat: safe. Cut off: all are marked or none. What another stack has written is written over.
        """
        ...

    def unmark_tables(self, tables: Collection[str], stack: str) -> None:
        """Remove the mark from those of *tables* that *stack* has marked. Repeat: safe. Cut off: as above."""
        ...

    def is_interface_gone(self, network_interface: str) -> bool:
        """Whether EC2 says that there is no such interface. An answer without it says nothing: False."""
        ...

    def clear_source_dest_check(self, network_interface: str) -> None:
        """Let the interface carry packets that are not its own.

        Repeat: safe. Cut off: the check is on or off. Raises TargetIsGone.
        """
        ...


class ClaimAnswer(StrEnum):
    """Whether the caller may act on a card, and if not, why."""

    CLAIMED = "claimed"
    NOT_A_MEMBER = "no card: not a member of this cluster"
    DONE = "its routes have been moved"
    TAKEN = "another event acts on it"


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """An entry of the history: who moved where, when, why."""

    at: datetime
    actor: str
    event: str
    what: str
    why: str
    detail: Mapping[str, str] = field(default_factory=dict)


class Hints(Protocol):
    """The queue of requests for a run of reconcile."""

    def hint(self, reason: str) -> None:
        """Ask for a run of reconcile. Raises TryAgain or NeedsOperator.

        Repeat: safe, it may cost a run more. Cut off: the hint is sent or not.
        """
        ...


class Hooks(Protocol):
    """Auto Scaling's lifecycle hooks. Every method may raise TryAgain or NeedsOperator."""

    def complete(self, hook: LifecycleHook) -> None:
        """Let the group go on. A hook that no longer waits is success. Repeat: safe. Cut off: done or not."""
        ...

    def extend(self, hook: LifecycleHook) -> None:
        """Start the hook's timeout anew. A hook that no longer waits is success.

        Repeat: safe. Cut off: done or not.
        """
        ...


class Alarms(Protocol):
    """CloudWatch alarms on nodes. Every method may raise TryAgain or NeedsOperator."""

    def seen(self, asked: Collection[str] = ()) -> AlarmsSeen:
        """Our alarms and the operator's, as they stand (all pages).

        Those *asked* for that no list has shown are asked for by name: an absence in a list is no end.
        """
        ...

    def watch(self, instance: str) -> None:
        """Make the alarm on the instance's status checks. Repeat: safe. Cut off: made or not."""
        ...

    def forget(self, instances: Collection[str]) -> None:
        """Remove the alarms of these instances, those that exist.

        Repeat: safe. Cut off: some of them are removed.
        """
        ...


class Clock(Protocol):
    """The time."""

    def now(self) -> datetime:
        """The present moment, with its zone."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let that time pass."""
        ...


class Parallel(Protocol):
    """Runs independent calls side by side."""

    def start(self, call: Callable[[], T]) -> Future[T]:
        """Start *call*. The future gives its result or raises its exception."""
        ...
