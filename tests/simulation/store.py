"""The store and EC2 as functions meet them: every call takes time, and may fail before or after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from botocore.exceptions import ClientError
from podway.app.errors import TryAgain, Unexpected
from podway.app.ports import ClaimAnswer, HistoryEntry
from podway.domain.addressing import Prefix
from podway.domain.failover.decide import Card, CardRoute, Claim
from podway.domain.health.verdict import Verdict
from podway.domain.inventory import Epoch, Member, ReleasedSpace
from podway.domain.members.maps import SubnetMap
from podway.domain.run.memory import Memory
from podway.domain.signals import LifecycleHook
from podway_lab.region.errors import code_of
from podway_lab.region.model import Client, StrictEC2

from tests.fakes.store import FakeStore
from tests.fakes.world import FakeAlarms
from tests.simulation.tasks import Scheduler

T = TypeVar("T")
STORE_TAKES = 0.01
EC2_TAKES = 0.08
Noted = Callable[[str, Any], None]


class Calls:
    """The way of a call to the store and back; *chance* of a failure on either way."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.chance = 0.0
        self.fired: Counter[str] = Counter()

    def make(self, effect: Callable[[], T]) -> T:
        """*effect* in the midst of its call. Raises TryAgain when it, or its answer, got lost."""
        task = self.scheduler.current
        if task is None:
            return effect()
        rng = self.scheduler.rng
        task.pause(rng.expovariate(1 / STORE_TAKES))
        if rng.random() < self.chance:
            self.fired["store refuses"] += 1
            raise TryAgain("the store is busy")
        result = effect()
        task.pause(rng.expovariate(1 / STORE_TAKES))
        if rng.random() < self.chance:
            self.fired["store's reply lost"] += 1
            raise TryAgain("the store's answer got lost")
        return result


class SimStore:
    """The Store port: *table* behind calls; *noted* hears what was read and written, as it happens."""

    def __init__(self, table: FakeStore, calls: Calls, noted: Noted) -> None:
        self.table = table
        self._calls, self._noted = calls, noted

    def _call(self, name: str, about: Any, effect: Callable[[], T]) -> T:
        def noted() -> T:
            result = effect()
            self._noted(name, about)
            return result

        return self._calls.make(noted)

    def acquire_lease(self, owner: str, *, now: datetime, until: datetime) -> bool:
        return self._call("lease", owner, lambda: self.table.acquire_lease(owner, now=now, until=until))

    def release_lease(self, owner: str) -> None:
        self._call("release", owner, lambda: self.table.release_lease(owner))

    def recall(self) -> Memory:
        """Part by part, in the order in which DynamoDB is asked: other writers come between."""
        table = self.table
        members = self._call("recall", None, lambda: dict(table.found_members))
        supernets, released, given_back = self._call(
            "read", None, lambda: (dict(table.found_supernets), table.recall().released, table.given_back)
        )
        cards = self._call("read", None, lambda: dict(table.cards))
        maps = self._call("read", None, lambda: dict(table.maps))
        records = self._call("read", None, lambda: dict(table.records))
        verdicts = self._call("read", None, lambda: dict(table.found_verdicts))
        reports, doubts = self._call("read", None, lambda: (table.read_reports(), table.doubts()))
        hooks = self._call("read", None, lambda: dict(table.hooks))
        return Memory(
            members=tuple(members[node] for node in sorted(members)),
            supernets=supernets,
            records=records,
            verdicts=verdicts,
            cards=cards,
            reports=reports,
            doubts=doubts,
            maps=maps,
            hooks=hooks,
            released=released,
            given_back=given_back,
            epoch=self.table.epoch,
        )

    def table_id(self) -> str:
        return self._call("read", None, self.table.table_id)

    def save_epoch(self, owner: str, epoch: Epoch) -> None:
        self._call("epoch", epoch, lambda: self.table.save_epoch(owner, epoch))

    def announce_epoch(self, subnet: str, epoch: int) -> None:
        self._call("announce", subnet, lambda: self.table.announce_epoch(subnet, epoch))

    def drop_buckets(self) -> None:
        self._call("buckets", None, self.table.drop_buckets)

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
        kept, gone, before = tuple(members), tuple(forgotten), {}
        moved, rested = tuple(released), tuple(reclaimed)

        def save() -> None:
            before.update(self.table.found_members)
            self.table.save_inventory(
                owner,
                members=kept,
                forgotten=gone,
                supernets=supernets,
                released=moved,
                reclaimed=rested,
                given_back=given_back,
            )

        if kept or gone or supernets or moved or rested or given_back:
            self._call("inventory", before, save)

    def record_routes(self, owner: str, table: str, destinations: frozenset[Prefix]) -> None:
        self._call("record", table, lambda: self.table.record_routes(owner, table, destinations))

    def put_card(self, card: Card) -> bool:
        return self._call("card", card.node, lambda: self.table.put_card(card))

    def remove_card(self, node: str) -> None:
        self._call("card", node, lambda: self.table.remove_card(node))

    def claim_card(self, node: str, claim: Claim, *, now: datetime) -> tuple[ClaimAnswer, Card | None]:
        return self._call("claim", node, lambda: self.table.claim_card(node, claim, now=now))

    def card(self, node: str) -> Card | None:
        return self._call("read", node, lambda: self.table.card(node))

    def leave_claim(self, node: str, claim: Claim) -> None:
        self._call("leave claim", node, lambda: self.table.leave_claim(node, claim))

    def finish_card(self, card: Card) -> bool:
        return self._call("card", card.node, lambda: self.table.finish_card(card))

    def extend_card(self, node: str, routes: Sequence[CardRoute]) -> None:
        self._call("card", node, lambda: self.table.extend_card(node, routes))

    def verdicts(self) -> Mapping[str, Verdict]:
        return self._call("verdicts", None, self.table.verdicts)

    def change_verdict(
        self,
        instance: str,
        subnet: str,
        change: Callable[[Verdict], Verdict],
        *,
        seen: Verdict | None = None,
    ) -> Verdict:
        del seen
        return self._call("verdict", instance, lambda: self.table.change_verdict(instance, subnet, change))

    def forget_verdict(self, verdict: Verdict) -> None:
        self._call("verdict", verdict.instance, lambda: self.table.forget_verdict(verdict))

    def publish_map(self, subnet_map: SubnetMap, *, now: datetime) -> None:
        self._call("map", subnet_map.subnet, lambda: self.table.publish_map(subnet_map, now=now))

    def keep_hook(self, hook: LifecycleHook, *, now: datetime) -> None:
        self._call("hook", hook.instance, lambda: self.table.keep_hook(hook, now=now))

    def drop_hook(self, instance: str) -> None:
        self._call("hook", instance, lambda: self.table.drop_hook(instance))

    def take_tokens(self, kind: str, count: int, *, now: datetime) -> datetime:
        return self._call("tokens", kind, lambda: self.table.take_tokens(kind, count, now=now))

    def add_history(self, entries: Iterable[HistoryEntry]) -> None:
        if kept := tuple(entries):
            self._call("history", None, lambda: self.table.add_history(kept))


@dataclass
class SimAlarms(FakeAlarms):
    """The Alarms port; while CloudWatch *is_full*, it makes none. *fired* counts what it refused."""

    is_full: bool = False
    fired: int = 0

    def watch(self, instance: str) -> None:
        if self.is_full:
            self.fired += 1
            raise Unexpected("LimitExceeded")
        super().watch(instance)


class SimClient(Client):
    """An EC2 client whose calls take time; *saw* hears of answers, *refused* of codes of refusals."""

    def __init__(
        self,
        region: StrictEC2,
        caller: str,
        scheduler: Scheduler,
        saw: Callable[[str, Mapping[str, Any], Any], None],
        refused: Callable[[str], None],
    ) -> None:
        super().__init__(region, caller)
        self._scheduler, self._saw, self._refused = scheduler, saw, refused

    def _call(self, operation: str, /, **given: Any) -> Any:
        task = self._scheduler.current
        if task is None:
            return super()._call(operation, **given)
        rng = self._scheduler.rng
        task.pause(rng.expovariate(1 / EC2_TAKES))
        try:
            answer = super()._call(operation, **given)
            self._saw(operation, given, answer)
        except ClientError as error:
            self._refused(code_of(error))
            raise
        finally:
            task.pause(rng.expovariate(1 / EC2_TAKES))
        return answer
