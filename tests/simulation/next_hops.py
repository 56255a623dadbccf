"""Who may be given a route, and from whom it may be taken (I6): the checker asks at every write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from podway.domain.addressing import Prefix
from podway.domain.inventory import Member
from podway_lab.region.changes import RouteWritten

from tests.fakes.store import FakeStore
from tests.simulation.eligibility import STALE, Eligibility, Owner, is_failover
from tests.simulation.facts import Past
from tests.simulation.steering import Steering
from tests.simulation.tasks import Invocation
from tests.simulation.views import Broken, View, catches, hop


@dataclass
class NextHops:
    """Judges by what the run could have known."""

    eligibility: Eligibility
    past: Past
    owners: Mapping[str, Owner]
    store: FakeStore
    steering: Steering

    def check_target(self, change: RouteWritten, after: View, run: Invocation, now: datetime) -> None:
        """The new next hop may relay what the route catches of others, and its card says so."""
        assert change.after is not None
        assert isinstance(change.destination, Prefix)
        table, destination, owner = change.table, change.destination, self.owners[change.after.target.id]
        others = [
            member
            for member in self.eligibility.members(run).values()
            if member.id != owner.instance and member.gone_at is None
            for block in member.blocks
            if catches(after, block.prefix) == destination
        ]
        if any(member.subnet != owner.subnet for member in others):
            raise Broken(f"I6: {destination} in {table} goes to {owner.subnet}, whose nodes do not hold it")
        if not others:
            return  # it carries nothing but its own
        if owner.instance in run.notes.get("overwrote", ()):
            raise Broken(f"I6: {destination} in {table} goes to {owner.instance}, which somebody relieves")
        if not self._is_direct(destination, others, owner, run, now):
            self._check_eligible(change, owner.instance, run, now)
            if any(self._must_cover(table, one, run) for one in others):
                self._check_kept(change, owner.instance, run, now)
                self._check_held(change, after, others, run, now)
        card = self.store.cards.get(owner.instance)
        if not is_failover(run) and (
            card is None
            or not any((one.table, one.destination) == (table, destination) for one in card.routes)
        ):
            raise Broken(f"I6: {destination} in {table} is not on the card of {owner.instance}")

    def _is_direct(
        self,
        destination: Prefix,
        others: list[Member],
        owner: Owner,
        run: Invocation,
        now: datetime,
    ) -> bool:
        """Whether all that the route must carry is its next hop's own, and there is some.

        Blocks of the dead, and of who has not joined yet, need not be reachable: a route for the rest of a
        prefix may lead to a suspect's own, and may be made while a narrower one, which goes next, still
        catches that. Without anything of its own inside there is no such excuse. Failover knows of neither,
        and moves no direct route.
        """
        if is_failover(run):
            return False
        since = run.notes["told"].get(owner.instance, run.notes["since"]) - STALE
        owed = any(
            self.eligibility.has_joined(
                one.id, run.notes["since"], run
            )  # by what agents had said when it read
            and self.past.always_alive(one.id, since, now)
            for one in others
        )
        itself = self.eligibility.members(run).get(owner.instance)
        own = itself is not None and any(destination.contains(block) for block in itself.prefixes)
        return own and not owed and self.past.lived(owner.instance, since, now)

    def _check_eligible(self, change: RouteWritten, node: str, run: Invocation, now: datetime) -> None:
        if self.eligibility.may_relay(node, run, now):
            return
        since = run.notes["heard"] if is_failover(run) else run.notes["since"] - STALE
        known = [f"{at:%H:%M:%S} {fact}" for at, _, fact in self.past.between(node, since, now)]
        raise Broken(
            f"I6: {change.action} {change.destination} in {change.table}: {run.name} gives it to {node},"
            f" unfit since {since:%H:%M:%S}: {known}"
        )

    def _check_kept(self, change: RouteWritten, node: str, run: Invocation, now: datetime) -> None:
        """Fail static: reconcile takes nothing from a suspect that must be believed.

        A table of the node's own subnet holds a safety net, which nobody's packets depend on.
        """
        if is_failover(run) or change.before is None:
            return
        left = self.owners.get(change.before.target.id)
        if left is not None and left.instance != node and self.eligibility.must_keep(left.instance, run, now):
            raise Broken(
                f"I6: {change.destination} in {change.table} is taken from {left.instance} for {node}"
                " though the monitor is the likelier fault, or nobody is left"
            )

    def check_static(
        self, change: RouteWritten, before: View, after: View, run: Invocation, now: datetime
    ) -> None:
        """Fail static: whom a suspect relays for that must be believed is not cut off either."""
        left = self.owners.get(change.before.target.id) if change.before is not None else None
        if is_failover(run) or left is None or not self.eligibility.must_keep(left.instance, run, now):
            return
        since = run.notes["since"] - STALE
        for member in self.eligibility.members(run).values():
            if member.id == left.instance or member.subnet != left.subnet:
                continue
            if not self._must_cover(change.table, member, run) or not self.past.always_alive(
                member.id, since, now
            ):
                continue
            for block in member.blocks:
                if not block.ready or catches(before, block.prefix) != change.destination:
                    continue
                taken = self.owners.get(hop(after, block.prefix) or "")
                if taken is None or taken.subnet != member.subnet:
                    raise Broken(
                        f"I6: {change.action} {change.destination} in {change.table} cuts {block.prefix} off"
                        f" from {left.instance}, though the monitor is the likelier fault, or nobody is left"
                    )

    def _check_held(
        self, change: RouteWritten, after: View, others: list[Member], run: Invocation, now: datetime
    ) -> None:
        """Reconcile gives ready blocks to a kernel that knows them, if there is one; failover cannot ask."""
        assert change.after is not None
        node = self.owners[change.after.target.id].instance
        ready = [
            block.since
            for member in others
            for block in member.blocks
            if block.ready and catches(after, block.prefix) == change.destination
        ]
        if not is_failover(run) and ready and self.eligibility.lags(node, max(ready), run, now):
            raise Broken(f"I6: {change.destination} in {change.table} goes to {node}, which lags behind")

    def check_failover(self, change: RouteWritten, before: View, run: Invocation, now: datetime) -> None:
        assert isinstance(change.destination, Prefix)
        if change.action != "replace":
            raise Broken(f"I6: failover {change.action}s")
        pointed = self.owners.get(before.get(change.destination, ""))
        if pointed is None or pointed.instance not in run.notes["lost"]:
            raise Broken(f"I6: failover moved {change.destination}, which it saw at {pointed}")
        if self.eligibility.is_mass_failure(pointed.instance, run, now):
            raise Broken(f"I6: failover believed hearsay against {pointed.instance} and most of its subnet")

    def _must_cover(self, table: str, member: Member, run: Invocation) -> bool:
        return self.steering.must_cover(table, member.subnet, run.notes.get("since"))
