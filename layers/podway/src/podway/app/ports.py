"""What the use cases need of the world. Adapters and fakes provide it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:  # a failover that starts cold needs hardly any of it
    from podway.domain.addressing import Prefix
    from podway.domain.failover.decide import Card, CardRoute, Claim
    from podway.domain.health.reassess import AlarmSeen
    from podway.domain.health.verdict import Verdict
    from podway.domain.inventory import Instance, Member, ReleasedSpace, Survey
    from podway.domain.members.maps import SubnetMap
    from podway.domain.model import RouteTable, Step
    from podway.domain.signals import LifecycleHook

T = TypeVar("T")


class Cloud(Protocol):
    """EC2, as far as routes and nodes go.

    Every method may raise TryAgain or NeedsOperator.
    """

    def survey(self) -> Survey:
        """The cluster's instances, subnets, VPC and the tables to manage, complete (all pages)."""
        ...

    def route_tables(self) -> tuple[RouteTable, ...]:
        """The tables that carry the cluster's tag (only those may be written), all routes foreign."""
        ...

    def member(self, instance: str) -> Instance | None:
        """The instance, when it exists and carries the cluster's tag."""
        ...

    def apply(self, table: str, step: Step) -> None:
        """Carry out one step.

        Deleting what is gone is success. Raises RouteIsThere, RouteIsGone, TargetIsGone,
        TableIsGone, QuotaReached.
        """
        ...

    def clear_source_dest_check(self, network_interface: str) -> None:
        """Let the interface carry packets that are not its own."""
        ...


@dataclass(frozen=True, slots=True)
class AgentReport:
    """What an agent wrote of itself."""

    instance: str
    subnet: str
    generation: int
    heartbeat: datetime
    suspects: tuple[str, ...] = ()
    blocks_wanted: int = 0


@dataclass(frozen=True, slots=True)
class PendingHook:
    """A lifecycle action that waits until its node relays nothing any more."""

    hook: LifecycleHook
    since: datetime


@dataclass(frozen=True, slots=True)
class Memory:
    """What reconcile needs of the store, read in one go."""

    members: tuple[Member, ...]
    supernets: Mapping[str, tuple[Prefix, ...]]
    records: Mapping[str, frozenset[Prefix]]
    """Destinations recorded as ours, by table."""
    verdicts: Mapping[str, Verdict]
    cards: Mapping[str, Card]
    """Read before the verdicts: a claim that came between shows in the card's version."""
    reports: Mapping[str, AgentReport]
    maps: Mapping[str, SubnetMap]
    hooks: Mapping[str, PendingHook] = field(default_factory=dict)
    """Hooks that wait, by instance."""
    released: tuple[ReleasedSpace, ...] = ()
    given_back: datetime | None = None
    """When subnets last gave back space; at first, when the clock was started."""


class ClaimAnswer(StrEnum):
    """Whether a card is ours to act on, and why not."""

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


class FailoverStore(Protocol):
    """What failover needs of the table. Every method may raise TryAgain."""

    def claim_card(self, node: str, claim: Claim, *, now: datetime) -> tuple[ClaimAnswer, Card | None]:
        """Whether the card is now claimed, and the card as it stands. One conditional write.

        The same event's retry, a graver reason, or anyone after expiry takes an undone claim over.
        """
        ...

    def card(self, node: str) -> Card | None:
        """The card as it stands; None for who is no member."""
        ...

    def finish_card(self, card: Card) -> bool:
        """Mark the claim on *card* done; False when it was taken over, or the card has grown since."""
        ...

    def extend_card(self, node: str, routes: Sequence[CardRoute]) -> None:
        """Add routes that *node* has just taken over to its card; a claim that is done is lifted.

        Raises Superseded when it has no card.
        """
        ...

    def verdicts(self) -> Mapping[str, Verdict]:
        """All nodes that have evidence against them, or had recently."""
        ...

    def change_verdict(
        self,
        instance: str,
        subnet: str,
        change: Callable[[Verdict], Verdict],
        *,
        seen: Verdict | None = None,
    ) -> Verdict:
        """Apply *change* to the verdict (empty when there is none), repeated until nobody interferes.

        Whoever has just *seen* it saves the first reading.
        """
        ...

    def take_tokens(self, kind: str, count: int, *, now: datetime) -> datetime:
        """Debit *count* calls of *kind* from the account's bucket; when it will be full again."""
        ...

    def add_history(self, entries: Iterable[HistoryEntry]) -> None:
        """Append to the history."""
        ...


class Store(FailoverStore, Protocol):
    """The table. Every method may raise TryAgain; writes under the lease raise Superseded."""

    def acquire_lease(self, owner: str, *, now: datetime, until: datetime) -> bool:
        """Whether *owner* is the one writer until *until*."""
        ...

    def release_lease(self, owner: str) -> None:
        """Let the next writer in; nothing happens when *owner* does not hold the lease."""
        ...

    def recall(self) -> Memory:
        """Everything that reconcile needs."""
        ...

    def save_inventory(
        self,
        owner: str,
        *,
        members: Iterable[Member],
        forgotten: Iterable[str],
        supernets: Mapping[str, tuple[Prefix, ...]],
        released: Iterable[ReleasedSpace] = (),
        reclaimed: Iterable[Prefix] = (),
        given_back: datetime | None = None,
    ) -> None:
        """Write changed members, supernets and released space, remove what is forgotten or reclaimed.

        *given_back*, if any, is the time of the daily round that did so. Raises Superseded.
        """
        ...

    def record_routes(self, owner: str, table: str, destinations: frozenset[Prefix]) -> None:
        """Write which destinations of *table* are ours. Raises Superseded."""
        ...

    def put_card(self, card: Card) -> bool:
        """Rewrite a card whose version is the one that was read; False when it changed since."""
        ...

    def remove_card(self, node: str) -> None:
        """Forget the card of a node that is gone for good."""
        ...

    def forget_verdict(self, verdict: Verdict) -> None:
        """Remove a verdict that says nothing any more, unless it has changed since it was read."""
        ...

    def publish_map(self, subnet_map: SubnetMap, *, now: datetime) -> None:
        """Let the agents of the subnet have this map. Raises Superseded on an older generation."""
        ...

    def keep_hook(self, hook: LifecycleHook, *, now: datetime) -> None:
        """Remember that *hook* waits; *now* counts only the first time."""
        ...

    def drop_hook(self, instance: str) -> None:
        """Forget the hook of *instance*, if there is one."""
        ...


class Hints(Protocol):
    """The queue whose every message means: look again."""

    def hint(self, reason: str) -> None:
        """Ask for a reconcile."""
        ...


class Hooks(Protocol):
    """Auto Scaling's lifecycle hooks."""

    def complete(self, hook: LifecycleHook) -> None:
        """Let the group go on; a hook that is no longer waiting is success."""
        ...

    def extend(self, hook: LifecycleHook) -> None:
        """Have the group wait longer; a hook that is no longer waiting is success."""
        ...


class Alarms(Protocol):
    """CloudWatch alarms on nodes. Every method may raise TryAgain or NeedsOperator."""

    def seen(self) -> Mapping[str, AlarmSeen]:
        """Ours as they stand, by instance (all pages)."""
        ...

    def watch(self, instance: str) -> None:
        """Have an alarm on the instance's status checks."""
        ...

    def forget(self, instances: Collection[str]) -> None:
        """Have none on these any more."""
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
    """Runs calls that do not depend on each other side by side."""

    def start(self, call: Callable[[], T]) -> Future[T]:
        """The call, under way; its result or exception comes from the future."""
        ...
