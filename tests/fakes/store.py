"""The Store port in memory; keeps the contract that ``tests/contract/test_store.py`` states."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from podway.app.errors import Superseded
from podway.app.ports import (
    LONGEST_LEASE,
    RELEASED,
    ClaimAnswer,
    HistoryEntry,
)
from podway.domain.addressing import Prefix
from podway.domain.failover.decide import Card, CardRoute, Claim, has_expired
from podway.domain.failover.pacing import debit
from podway.domain.health.verdict import Verdict
from podway.domain.inventory import Epoch, Member, ReleasedSpace
from podway.domain.members.maps import SubnetMap
from podway.domain.run.memory import AgentReport, Memory
from podway.domain.signals import LifecycleHook, PendingHook

OLD = Epoch(1, "table-1")
"""The epoch of a store from before there were epochs."""


@dataclass
class FakeStore:
    """*writes* counts what changed something."""

    found_members: dict[str, Member] = field(default_factory=dict)
    found_supernets: dict[str, tuple[Prefix, ...]] = field(default_factory=dict)
    records: dict[str, frozenset[Prefix]] = field(default_factory=dict)
    found_verdicts: dict[str, Verdict] = field(default_factory=dict)
    cards: dict[str, Card] = field(default_factory=dict)
    reports: dict[str, AgentReport] = field(default_factory=dict)
    maps: dict[str, SubnetMap] = field(default_factory=dict)
    history: list[HistoryEntry] = field(default_factory=list)
    lease: tuple[str, datetime] | None = None
    found_released: dict[Prefix, ReleasedSpace] = field(default_factory=dict)
    given_back: datetime | None = None
    hooks: dict[str, PendingHook] = field(default_factory=dict)
    buckets: dict[str, datetime] = field(default_factory=dict)
    spoilt: dict[str, str] = field(default_factory=dict)
    """Agents whose items are beyond their bounds, and how: they are refused, and named."""
    epoch: Epoch | None = OLD
    """By default that of a store that has been running for long; None in a new one."""
    found_table_id: str = "table-1"
    announced: dict[str, int] = field(default_factory=dict)
    """Epochs that agents know before there is a map, by subnet."""
    writes: int = 0

    def acquire_lease(self, owner: str, *, now: datetime, until: datetime) -> bool:
        if self.lease is not None and self.lease[0] != owner and self.lease[1] >= now:
            holder, ends = self.lease
            self.lease = (holder, ends if holder == RELEASED else min(ends, now + LONGEST_LEASE))
            return False
        self.lease = (owner, until)
        return True

    def release_lease(self, owner: str) -> None:
        if self.lease is not None and self.lease[0] == owner:
            self.lease = None

    def recall(self) -> Memory:
        return Memory(
            members=tuple(sorted(self.found_members.values(), key=lambda member: member.id)),
            supernets=dict(self.found_supernets),
            records=dict(self.records),
            verdicts=dict(self.found_verdicts),
            cards=dict(self.cards),
            reports=self.read_reports(),
            doubts=self.doubts(),
            maps=dict(self.maps),
            hooks=dict(self.hooks),
            released=tuple(self.found_released[prefix] for prefix in sorted(self.found_released)),
            given_back=self.given_back,
            epoch=self.epoch,
        )

    def read_reports(self) -> dict[str, AgentReport]:
        """What agents say, but those that spoil their items."""
        return {node: one for node, one in self.reports.items() if node not in self.spoilt}

    def doubts(self) -> tuple[str, ...]:
        return tuple(f"the item of {node} is refused: {why}" for node, why in sorted(self.spoilt.items()))

    def table_id(self) -> str:
        return self.found_table_id

    def save_epoch(self, owner: str, epoch: Epoch) -> None:
        self._under_lease(owner)
        self.epoch = epoch

    def announce_epoch(self, subnet: str, epoch: int) -> None:
        known = self.maps.get(subnet)
        if epoch > max(known.epoch if known else 1, self.announced.get(subnet, 1)):
            self.writes += 1
            self.announced[subnet] = epoch

    def drop_buckets(self) -> None:
        self.buckets.clear()

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
        members, forgotten = tuple(members), tuple(forgotten)
        released, reclaimed = tuple(released), tuple(reclaimed)
        if not (members or forgotten or supernets or released or reclaimed or given_back):
            return
        self._under_lease(owner)
        self.found_members |= {member.id: member for member in members}
        for node in forgotten:
            self.found_members.pop(node, None)
        self.found_supernets |= supernets
        for prefix in reclaimed:
            self.found_released.pop(prefix, None)
        self.found_released |= {one.prefix: one for one in released}
        self.given_back = given_back or self.given_back

    def record_routes(self, owner: str, table: str, destinations: frozenset[Prefix]) -> None:
        self._under_lease(owner)
        self.records[table] = destinations

    def put_card(self, card: Card) -> bool:
        present = self.cards.get(card.node)
        if (present.version if present else 0) != card.version:
            return False
        self._put(replace(card, version=card.version + 1, claim=None))
        return True

    def remove_card(self, node: str) -> None:
        self.writes += 1
        self.cards.pop(node, None)

    def claim_card(self, node: str, claim: Claim, *, now: datetime) -> tuple[ClaimAnswer, Card | None]:
        card = self.cards.get(node)
        if card is None:
            return ClaimAnswer.NOT_A_MEMBER, None
        held = card.claim
        if held is not None:
            is_graver = held.severity < claim.severity
            if held.done and not is_graver:
                return ClaimAnswer.DONE, card
            is_ours = held.event == claim.event and held.claimant in ("", claim.claimant)
            if not (is_ours or is_graver or has_expired(held, now=now)):
                return ClaimAnswer.TAKEN, card
        claimed = self._put(replace(card, version=card.version + 1, claim=claim))
        return ClaimAnswer.CLAIMED, claimed

    def card(self, node: str) -> Card | None:
        return self.cards.get(node)

    def finish_card(self, card: Card) -> bool:
        present = self.cards.get(card.node)
        assert card.claim is not None
        if present is None or not _is_same(present.claim, card.claim):
            return False
        if present.version != card.version:
            return False
        self._put(replace(present, claim=replace(card.claim, done=True)))
        return True

    def leave_claim(self, node: str, claim: Claim) -> None:
        present = self.cards.get(node)
        held = present.claim if present is not None else None
        if present is not None and held is not None and _is_same(held, claim):
            self._put(replace(present, claim=replace(held, claimant="", expires=claim.expires)))

    def extend_card(self, node: str, routes: Sequence[CardRoute]) -> None:
        card = self.cards.get(node)
        if card is None:
            raise Superseded(node)
        claim = None if card.claim is None or card.claim.done else card.claim
        self._put(replace(card, routes=(*card.routes, *routes), version=card.version + 1, claim=claim))

    def verdicts(self) -> Mapping[str, Verdict]:
        return dict(self.found_verdicts)

    def change_verdict(
        self,
        instance: str,
        subnet: str,
        change: Callable[[Verdict], Verdict],
        *,
        seen: Verdict | None = None,
    ) -> Verdict:
        del seen
        before = self.found_verdicts.get(instance, Verdict(instance, subnet))
        after = change(before)
        if after != before:
            self.writes += 1
            self.found_verdicts[instance] = after
        return after

    def forget_verdict(self, verdict: Verdict) -> None:
        if self.found_verdicts.get(verdict.instance) == verdict:
            self.writes += 1
            del self.found_verdicts[verdict.instance]

    def publish_map(self, subnet_map: SubnetMap, *, now: datetime) -> None:
        del now
        present = self.maps.get(subnet_map.subnet)
        if present is not None and (present.epoch, present.generation) >= (
            subnet_map.epoch,
            subnet_map.generation,
        ):
            raise Superseded(subnet_map.subnet)
        self.writes += 1
        self.maps[subnet_map.subnet] = subnet_map

    def keep_hook(self, hook: LifecycleHook, *, now: datetime) -> None:
        self.writes += 1
        before = self.hooks.get(hook.instance)
        self.hooks[hook.instance] = PendingHook(hook, before.since if before else now)

    def drop_hook(self, instance: str) -> None:
        self.writes += 1
        self.hooks.pop(instance, None)

    def take_tokens(self, kind: str, count: int, *, now: datetime) -> datetime:
        self.buckets[kind] = debit(self.buckets.get(kind), count, now=now)
        return self.buckets[kind]

    def add_history(self, entries: Iterable[HistoryEntry]) -> None:
        self.history += entries

    def _under_lease(self, owner: str) -> None:
        if self.lease is None or self.lease[0] != owner:
            raise Superseded(owner)
        self.writes += 1

    def _put(self, card: Card) -> Card:
        self.writes += 1
        self.cards[card.node] = card
        return card


def _is_same(stored: Claim | None, claim: Claim) -> bool:
    return stored is not None and (stored.event, stored.claimant) == (claim.event, claim.claimant)
