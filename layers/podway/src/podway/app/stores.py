"""What the use cases need of the table, subject by subject: each asks for the subjects that it touches.

Every method may raise TryAgain or NeedsOperator; what its sentences mean, `ports` says. `adapters.dynamodb`
keeps all subjects, `adapters.fast_store` those of failovers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # lifecycle needs hardly any of it
    from podway.app.ports import ClaimAnswer, HistoryEntry
    from podway.domain.addressing import Prefix
    from podway.domain.failover.decide import Card, CardRoute, Claim
    from podway.domain.health.verdict import Verdict
    from podway.domain.inventory import Epoch, Member, ReleasedSpace
    from podway.domain.members.maps import SubnetMap
    from podway.domain.run.memory import Memory
    from podway.domain.signals import LifecycleHook


class LeaseStore(Protocol):
    """The one writer's lease."""

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


class MemoryStore(Protocol):
    """What is remembered of all subjects, read at once."""

    def recall(self) -> Memory:
        """Everything that reconcile needs."""
        ...

    def table_id(self) -> str:
        """The table's own TableId, asked each time; empty if it is not told.

        Raises TryAgain, NeedsOperator.
        """
        ...


class InventoryStore(Protocol):
    """Members, supernets, released space, and which routes are ours."""

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

    def record_routes(self, owner: str, table: str, destinations: frozenset[Prefix]) -> None:
        """Write which destinations of *table* are ours.

        Repeat: safe. Cut off: recorded or not. Raises Superseded when the lease was lost.
        """
        ...


class EpochStore(Protocol):
    """The store's own life."""

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


class ClaimStore(Protocol):
    """Failover cards, as far as failovers go."""

    def claim_card(self, node: str, claim: Claim, *, now: datetime) -> tuple[ClaimAnswer, Card | None]:
        """Claim the card by one conditional write. Returns whether it is claimed now, and the card.

        An open claim passes to: (1) the same claimant of the same event; (2) anyone, after it expired. Any
        claim, a done one too, passes to (3) a graver reason.
        Repeat: safe for the same claimant. Cut off: claimed or not; `leave_claim` takes it back.
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

    def leave_claim(self, node: str, claim: Claim) -> None:
        """Let the event's next delivery go on with *claim* at once, and all others once ``claim.expires``.

        It stays on the card, since who reads that must know that routes may have moved. Nothing happens if
        the card has another claim by now.
        Repeat: safe. Cut off: it is left, or stays its claimant's until it expires.
        """
        ...

    def extend_card(self, node: str, routes: Sequence[CardRoute]) -> None:
        """Add routes that *node* has just taken over to its card. A claim that is done is removed.

        Repeat: adds them a second time, until reconcile rewrites the card. Cut off: they are added or not.
        Raises Superseded when the node has no card.
        """
        ...


class CardStore(ClaimStore, Protocol):
    """Failover cards."""

    def put_card(self, card: Card) -> bool:
        """Write a card without a claim, if the stored one still has *card.version* (0: if there is none).

        False if not. Repeat: False after a call that took effect. Cut off: the card is written or not.
        """
        ...

    def remove_card(self, node: str) -> None:
        """Remove the card of a node that is gone for good. Repeat: safe. Cut off: removed or not."""
        ...


class EvidenceStore(Protocol):
    """Verdicts, as far as failovers go."""

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


class VerdictStore(EvidenceStore, Protocol):
    """Verdicts."""

    def forget_verdict(self, verdict: Verdict) -> None:
        """Remove a verdict that says nothing any more, unless it has changed since it was read.

        Repeat: safe. Cut off: removed or not.
        """
        ...


class MapStore(Protocol):
    """The maps of the subnets, for their agents."""

    def publish_map(self, subnet_map: SubnetMap, *, now: datetime) -> None:
        """Let the agents of the subnet have this map.

        Raises Superseded unless its epoch and generation are newer than the stored ones: also when it is
        repeated. A later epoch is newer, whatever the generation.
        Cut off: published as a whole or not at all.
        """
        ...


class HookStore(Protocol):
    """Lifecycle hooks that wait."""

    def keep_hook(self, hook: LifecycleHook, *, now: datetime) -> None:
        """Remember that *hook* waits since *now*.

        Repeat: safe, the first time stays. Cut off: kept or not.
        """
        ...

    def drop_hook(self, instance: str) -> None:
        """Forget the hook of *instance*, if there is one. Repeat: safe. Cut off: dropped or not."""
        ...


class TokenStore(Protocol):
    """How many calls of EC2 the account may make."""

    def take_tokens(self, kind: str, count: int, *, now: datetime) -> datetime:
        """Debit *count* calls of *kind* from the account's bucket. Returns when it will be full again.

        Repeat: debits again. Cut off: debited or not. Too much debited only makes later calls wait.
        """
        ...


class HistoryStore(Protocol):
    """Who moved where, when, why."""

    def add_history(self, entries: Iterable[HistoryEntry]) -> None:
        """Add entries to the history.

        Repeat: safe, the same entries are written over themselves. Cut off: some of them are written.
        """
        ...


class FailoverStore(ClaimStore, EvidenceStore, TokenStore, HistoryStore, Protocol):
    """What failover needs."""


class RouteStore(InventoryStore, TokenStore, Protocol):
    """What whoever writes routes needs: to know them again, and how fast it may."""


class InheritanceStore(InventoryStore, EpochStore, VerdictStore, Protocol):
    """What an epoch's first run needs."""


class LifecycleStore(ClaimStore, HookStore, Protocol):
    """What lifecycle needs."""


class OperatorStore(
    LeaseStore, MemoryStore, InventoryStore, EpochStore, EvidenceStore, HistoryStore, Protocol
):
    """What the operator's commands need, beside what the ledger tells."""


class Store(
    LeaseStore,
    MemoryStore,
    InheritanceStore,
    CardStore,
    MapStore,
    HookStore,
    FailoverStore,
    Protocol,
):
    """The whole table: what a run of reconcile needs."""
