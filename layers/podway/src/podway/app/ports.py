"""What the use cases need of the world. `bootstrap` gives them the adapters, tests give them fakes.

Each method says whether a caller may repeat it, what a call leaves that was cut off (killed, or without an
answer), and which errors it raises. Methods without such a sentence only read: they may be repeated and leave
nothing. A code of AWS's that `adapters.aws_errors` does not know comes through as botocore's ClientError.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:  # a failover that starts cold needs hardly any of it
    from podway.domain.addressing import Prefix
    from podway.domain.failover.decide import Card, CardRoute, Claim
    from podway.domain.health.reassess import AlarmsSeen
    from podway.domain.health.verdict import Verdict
    from podway.domain.inventory import Epoch, FoundById, Instance, Member, ReleasedSpace, Survey, VpcSubnet
    from podway.domain.members.maps import SubnetMap
    from podway.domain.model import RouteTable, Step
    from podway.domain.run.memory import Memory
    from podway.domain.signals import LifecycleHook

T = TypeVar("T")

LONGEST_LEASE = timedelta(seconds=125)
"""How long anybody writes alone: five seconds more than reconcile may run. Its end lies no further ahead."""
RELEASED = "released"
"""Who holds the lease of a cluster that was released, for good."""


class Cloud(Protocol):
    """EC2, as far as routes and nodes go. Every method may raise TryAgain or NeedsOperator."""

    def survey(self) -> Survey:
        """The cluster's instances, subnets, VPC and the tables to manage, complete (all pages).

        Raises NeedsOperator when the cluster is in more than one VPC.
        """
        ...

    def find(self, members: Iterable[Member], subnets: Iterable[VpcSubnet]) -> FoundById:
        """What EC2 says of these members, asked by id and without the tag. Safe to repeat.

        Whom it says nothing of is nowhere in the answer: that is no end. Never raises a PodwayError.
        """
        ...

    def route_tables(self) -> tuple[RouteTable, ...]:
        """The tables that carry the cluster's tag (only those may be written), every route marked foreign."""
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


class FailoverStore(Protocol):
    """What failover needs of the table. Every method may raise TryAgain or NeedsOperator."""

    def claim_card(self, node: str, claim: Claim, *, now: datetime) -> tuple[ClaimAnswer, Card | None]:
        """Claim the card by one conditional write. Returns whether it is claimed now, and the card.

        An open claim passes to: (1) the same event; (2) a graver reason; (3) anyone, after it expired.
        Repeat: safe for the same event. Cut off: claimed or not; the event's retry claims it again.
        """
        ...

    def card(self, node: str) -> Card | None:
        """The node's card. None if the node is no member."""
        ...

    def finish_card(self, card: Card) -> bool:
        """Mark the claim on *card* done. False if another event took it over, or routes were added since.

        Repeat: safe. Cut off: the claim is done, or stays open until it expires.
        """
        ...

    def extend_card(self, node: str, routes: Sequence[CardRoute]) -> None:
        """Add routes that *node* has just taken over to its card. A claim that is done is removed.

        Repeat: adds them a second time, until reconcile rewrites the card. Cut off: they are added or not.
        Raises Superseded when the node has no card.
        """
        ...

    def verdicts(self) -> Mapping[str, Verdict]:
        """The verdicts on all nodes that have evidence against them, or had some recently."""
        ...

    def change_verdict(
        self,
        instance: str,
        subnet: str,
        change: Callable[[Verdict], Verdict],
        *,
        seen: Verdict | None = None,
    ) -> Verdict:
        """Read the verdict (an empty one if there is none), apply *change*, and write it if it differs.

        Pass *seen* if you have just read the verdict; it saves one read. If somebody else wrote between, all
        begins again, so *change* may be called several times. Raises TryAgain after too many such times.
        Repeat: safe if *change* gives the same when applied twice. Cut off: the verdict is changed or not.
        """
        ...

    def take_tokens(self, kind: str, count: int, *, now: datetime) -> datetime:
        """Debit *count* calls of *kind* from the account's bucket. Returns when it will be full again.

        Repeat: debits again. Cut off: debited or not. Too much debited only makes later calls wait.
        """
        ...

    def add_history(self, entries: Iterable[HistoryEntry]) -> None:
        """Add entries to the history.

        Repeat: safe, the same entries are written over themselves. Cut off: some of them are written.
        """
        ...


class Store(FailoverStore, Protocol):
    """The whole table: what reconcile, lifecycle and the operator need beside failover's part."""

    def acquire_lease(self, owner: str, *, now: datetime, until: datetime) -> bool:
        """Make *owner* the one writer until *until*. False if somebody else is.

        A lease that ends later than LONGEST_LEASE from *now* is cut to that, except RELEASED's.
        Repeat: safe. Cut off: *owner* may hold the lease, and keeps others out until *until*.
        """
        ...

    def release_lease(self, owner: str) -> None:
        """Let the next writer in. Nothing happens if *owner* does not hold the lease.

        Repeat: safe. Cut off: *owner* may hold the lease until it expires.
        """
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
        """Write changed members, supernets and released space; remove what is *forgotten* or *reclaimed*.

        *forgotten* are members, *reclaimed* is space that was released. *given_back* is the time of the daily
        round, if this run made it.
        Repeat: safe. Cut off: parts of about a hundred items each are written, in the order *given_back*,
        *reclaimed*, *released*, *supernets*, *members*, *forgotten*.
        Raises Superseded when the lease was lost.
        """
        ...

    def table_id(self) -> str:
        """The table's own TableId, asked once per process; empty if it is not told.

        Raises TryAgain, NeedsOperator.
        """
        ...

    def save_epoch(self, owner: str, epoch: Epoch) -> None:
        """Write the epoch.

        Repeat: safe. Cut off: written or not. Raises Superseded when the lease was lost.
        """
        ...

    def announce_epoch(self, subnet: str, epoch: int) -> None:
        """Let the subnet's agents know the epoch before it has a map: they then say what they hold.

        Repeat: safe. Cut off: announced or not. A subnet that knows this epoch or a later one is left alone.
        """
        ...

    def drop_buckets(self) -> None:
        """Forget which route calls were made. Repeat: safe. Cut off: some are forgotten."""
        ...

    def record_routes(self, owner: str, table: str, destinations: frozenset[Prefix]) -> None:
        """Write which destinations of *table* are ours.

        Repeat: safe. Cut off: recorded or not. Raises Superseded when the lease was lost.
        """
        ...

    def put_card(self, card: Card) -> bool:
        """Write a card without a claim, if the stored one still has *card.version* (0: if there is none).

        False if not. Repeat: False after a call that took effect. Cut off: the card is written or not.
        """
        ...

    def remove_card(self, node: str) -> None:
        """Remove the card of a node that is gone for good. Repeat: safe. Cut off: removed or not."""
        ...

    def forget_verdict(self, verdict: Verdict) -> None:
        """Remove a verdict that says nothing any more, unless it has changed since it was read.

        Repeat: safe. Cut off: removed or not.
        """
        ...

    def publish_map(self, subnet_map: SubnetMap, *, now: datetime) -> None:
        """Let the agents of the subnet have this map.

        Raises Superseded unless its epoch and generation are newer than the stored ones: also when it is
        repeated. A later epoch is newer, whatever the generation.
        Cut off: published as a whole or not at all.
        """
        ...

    def keep_hook(self, hook: LifecycleHook, *, now: datetime) -> None:
        """Remember that *hook* waits since *now*.

        Repeat: safe, the first time stays. Cut off: kept or not.
        """
        ...

    def drop_hook(self, instance: str) -> None:
        """Forget the hook of *instance*, if there is one. Repeat: safe. Cut off: dropped or not."""
        ...


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
