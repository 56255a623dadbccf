"""The invariants I1 to I8, checked after every write by what its caller could have known.

Shares no code with the planner: who is covered is decided by trying every prefix.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from podway.app.report import ReconcileOutcome
from podway.domain.addressing import Prefix
from podway.domain.inventory import Member
from podway_lab.region.changes import (
    Change,
    InstanceStateChanged,
    RouteWritten,
    SourceDestCheckChanged,
    TableAssociated,
    TableDisassociated,
    TagsChanged,
)
from podway_lab.region.model import StrictEC2

from tests.fakes.store import FakeStore
from tests.simulation.eligibility import STALE, Eligibility, Owner, is_failover
from tests.simulation.facts import Fact, Past
from tests.simulation.kept import RUNS, Kept, shown
from tests.simulation.next_hops import NextHops
from tests.simulation.space import Space
from tests.simulation.steering import Steering
from tests.simulation.tasks import Invocation, Scheduler
from tests.simulation.views import Broken, View, hop

OURS = "podway"
STRAY = "a stray stack"
"""Another stack of the cluster: it may write nothing while ours has marked its tables."""


@dataclass
class Checker:
    """Hears of every change of the region and of the store."""

    region: StrictEC2
    scheduler: Scheduler
    store: FakeStore
    pod_cidr: Prefix
    quarantine: timedelta
    holds_in_kernel: Callable[[str], int]
    """Generation that a node's kernel holds."""
    was_handed: Callable[[str], Collection[Prefix]]
    """Blocks that a node was ever handed out, in whatever life of the store."""
    past: Past = field(default_factory=Past)
    owners: dict[str, Owner] = field(default_factory=dict)
    makers: dict[tuple[str, Prefix], tuple[str, datetime]] = field(default_factory=dict)
    edited: set[tuple[str, Prefix]] = field(default_factory=set)
    """Routes that somebody else wrote to."""
    checked: Counter[str] = field(default_factory=Counter)
    space: Space = field(init=False)
    kept: Kept = field(init=False)
    steering: Steering = field(init=False)
    vpc: str = ""
    """The cluster's."""

    def __post_init__(self) -> None:
        self.kept = Kept(self.region, self.owners, self.past, self.quarantine)
        self.steering = Steering(self.region, self.owners)
        self.eligibility = Eligibility(
            self.past, self.owners, self.store, self.holds_in_kernel, self.kept.given
        )
        self.next_hops = NextHops(self.eligibility, self.past, self.owners, self.store, self.steering)
        self.region.subscribe(self.hear)
        self.region.subscribe(self.hear_of_strays)
        self.space = Space(self.region, self.owners, self.past, self.holds_in_kernel, self.quarantine)

    def begin_life(self, held: Mapping[str, Collection[Prefix]]) -> None:
        """The store is another one: what agents were handed out (*held*) is theirs, whatever it says."""
        self.kept.begin_life(self.store.found_members, held)
        self.space = replace(self.space, owned={}, lost={}, named={}, leaving={})
        self.space.look(self.store, self.scheduler.moment)
        for node in {owner.instance for owner in self.owners.values()}:
            self._refresh(node)

    # what functions come to know

    def noted(self, what: str, about: Any) -> None:
        """A function read or wrote the store."""
        now, run = self.scheduler.moment, self._run()
        match what:
            case "recall":
                run.notes |= {"since": now, "members": dict(self.store.found_members), "told": {}}
                run.notes["kept"] = dict(self.kept.given)
            case "claim":
                run.notes.setdefault("since", now)
                run.notes.setdefault("lost", set()).add(about)
                self._refresh(about)
            case "card":
                before, after = self.past.latest(about), self.store.cards.get(about)
                if before.is_claimed(now) and (after is None or after.claim is None):
                    run.notes.setdefault("overwrote", set()).add(about)
                self._refresh(about)
                run.notes.setdefault("told", {})[about] = now
            case "verdicts":
                run.notes["heard"] = now
            case "verdict":
                self._refresh(about)
            case "map":
                self.space.told(self.store.maps[about])
            case "inventory":
                self._check_addresses(about, now)
                self._check_space(about, now)
                if wrong := self.kept.look(self.store.found_members):
                    raise Broken(f"I4: {wrong}")
                run.notes["members"] = dict(self.store.found_members)

    def saw(self, operation: str, given: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """A function was answered."""
        run = self._run()
        if operation == "DescribeInstances" and "Filters" in given:
            run.notes.setdefault("listed", set()).update(shown(answer))
        if operation != "DescribeRouteTables":
            return
        views = run.notes.setdefault("views", {})
        run.notes.setdefault("since", self.scheduler.moment)
        run.notes["looked"] = self.scheduler.moment
        pressed = run.notes.setdefault("pressed", set())
        for table in answer["RouteTables"]:
            if self.kept.is_pressed(table["RouteTableId"]):
                pressed.add(table["RouteTableId"])
            views[table["RouteTableId"]] = {
                Prefix.parse(route["DestinationCidrBlock"]): route.get("NetworkInterfaceId", "elsewhere")
                for route in table["Routes"]
                if "DestinationCidrBlock" in route
            }

    def _run(self) -> Invocation:
        task = self.scheduler.current
        return task.invocation if task is not None else Invocation("the world")

    # what happens

    def hear(self, change: Change) -> None:
        match change:
            case SourceDestCheckChanged() if self._is_elsewhere(change):
                raise Broken(f"I2: the check of {change.instance}, in another VPC, was changed")
            case InstanceStateChanged() | SourceDestCheckChanged():
                self._learn_owner(change.instance)
                self._refresh(change.instance)
                if isinstance(change, InstanceStateChanged):
                    self._leave(change)
            case TagsChanged() if change.resource in self.region.state.instances:
                self._learn_owner(change.resource)
            case TableAssociated() | TableDisassociated():
                self.steering.changed[change.table] = change.at
            case TagsChanged() if change.resource in self.region.state.tables:
                self.steering.changed[change.resource] = change.at
            case RouteWritten(destination=Prefix() as destination):
                if change.caller == OURS:
                    self._check_write(change)
                else:
                    self.edited.add((change.table, destination))
                key = (change.table, destination)
                if change.after is None:
                    self.makers.pop(key, None)
                else:
                    self.makers[key] = (change.caller, change.at)

    def _leave(self, change: InstanceStateChanged) -> None:
        if change.state not in RUNS:
            self.kept.fall_silent(change.instance)
        if change.state == "terminated":
            self.kept.end(change.instance, change.at)

    def hear_of_strays(self, change: Change) -> None:
        """Whatever another stack changes is ours."""
        if isinstance(change, RouteWritten | TagsChanged | SourceDestCheckChanged) and change.caller == STRAY:
            raise Broken(f"I2: another stack writes: {change}")

    def _is_elsewhere(self, change: SourceDestCheckChanged) -> bool:
        return change.caller == OURS and self.region.state.instances[change.instance].vpc != self.vpc

    def check_drift(self, outcome: ReconcileOutcome) -> None:
        """Nobody is blamed for what we did ourselves."""
        for one, _ in outcome.diverted:
            if (one.table, one.destination) not in self.edited:
                raise Broken(f"drift: nobody but us moved {one}")
            self.checked["drift"] += 1

    def _learn_owner(self, node: str) -> None:
        instance = self.region.state.instances[node]
        for interface in instance.interfaces:
            before = self.owners.get(interface)
            member = (before is not None and before.member) or "podway:cluster" in instance.tags
            self.owners[interface] = Owner(node, instance.subnet, member and instance.vpc == self.vpc)

    def _refresh(self, node: str) -> None:
        instance = self.region.state.instances.get(node)
        runs = instance is not None and instance.state == "running"
        receives = False
        if instance is not None and instance.interfaces:
            receives = not self.region.state.interfaces[instance.interfaces[0]].source_dest_check
        fact = Fact(
            runs,
            receives,
            self.store.found_verdicts.get(node),
            self.store.cards.get(node),
            boots=instance is not None and instance.state == "pending",
        )
        self.past.learn(node, self.scheduler.moment, fact)

    # I4

    def _check_addresses(self, before: Mapping[str, Member], now: datetime) -> None:
        members = self.store.found_members
        if wrong := self.kept.why_shared(members, now):
            raise Broken(f"I4: {wrong}")
        for member in members.values():
            old = before.get(member.id)
            ready = {block.prefix for block in old.blocks if block.ready} if old else set()
            for block in member.blocks:
                if block.prefix in self.was_handed(member.id):
                    continue  # its pods use it already: the store has learnt of it anew
                if block.ready and block.prefix not in ready:
                    self._check_ready(member, block.prefix, block.since, now)
        self.checked["I4"] += 1

    def _check_space(self, before: Mapping[str, Member], now: datetime) -> None:
        """Nobody gets what another subnet had before nothing leads there any more."""
        held = {prefix for member in before.values() for prefix in member.prefixes}
        self.space.look(self.store, now)
        for member in self.store.found_members.values():
            for prefix in member.prefixes:
                if prefix not in held and (why := self.space.leads_to_another(prefix, member.subnet, now)):
                    raise Broken(f"I8: {prefix} of {member.id}: {why}")

    def _check_ready(self, member: Member, prefix: Prefix, since: int, now: datetime) -> None:
        """A block is handed out only when routes and kernels let packets for it through."""
        notes = self._run().notes
        if self.holds_in_kernel(member.id) < since and self.past.latest(member.id).runs:
            raise Broken(f"ready: {prefix} of {member.id} is not in its own kernel")
        for table, view in notes["views"].items():
            target = hop(view, prefix)
            owner = self.owners.get(target or "")
            if not self.steering.is_settled(table, notes.get("since")):
                continue
            if not self._must_cover(table, member):
                self._check_own_way(member, prefix, since, owner, now)
                continue
            if owner is None or owner.subnet != member.subnet:
                raise Broken(f"ready: {prefix} of {member.id} has no way in {table}: {target}")
            if owner.instance != member.id and not self.eligibility.may_relay(
                owner.instance, self._run(), now
            ):
                raise Broken(f"ready: {prefix} of {member.id} relies on {owner.instance} in {table}")
            if self.holds_in_kernel(owner.instance) < since:
                raise Broken(f"ready: {owner.instance} does not know {prefix} of {member.id}")
        self.checked["ready"] += 1

    def _check_own_way(
        self, member: Member, prefix: Prefix, since: int, owner: Owner | None, now: datetime
    ) -> None:
        """Siblings that have not heard of a block yet send by their own table, to somebody who has.

        One that drains is not waited for, nor a stray, which ranks with it.
        """
        if owner is None or owner.subnet != member.subnet or owner.instance == member.id:
            return
        start = self._run().notes["since"] - STALE
        fit = self.past.always_fitted(owner.instance, start, now)
        fit = fit and self.eligibility.shows(owner.instance, self._run())
        if fit and self.holds_in_kernel(owner.instance) < since:
            raise Broken(f"ready: {owner.instance}, to whom siblings send, does not know {prefix}")
        self.checked["own way"] += 1

    # I1, I2, I3, I6

    def _check_write(self, change: RouteWritten) -> None:
        assert isinstance(change.destination, Prefix)
        run, now = self._run(), change.at
        if not self.pod_cidr.contains(change.destination):
            raise Broken(f"I2: {change.destination} is outside the pod CIDR")
        if not self.steering.is_tagged(change.table, run.notes["since"]):
            raise Broken(f"I2: {change.table} does not carry the cluster's tag")
        before: View = run.notes["views"].setdefault(change.table, {})
        after = dict(before)
        if change.after is None:
            after.pop(change.destination, None)
        else:
            after[change.destination] = change.after.target.id
        self._check_ownership(change, run)
        held = self.region.state.tables[change.table].routes.values()
        counted = sum(route.counts for route in held if route.family == change.destination.version)
        if counted > self.region.settings.route_quota:
            raise Broken(f"I3: {change.table} holds {counted} routes")
        if change.after is not None:
            self.next_hops.check_target(change, after, run, now)
        self._check_absence(change, before, after, run, now)
        self.next_hops.check_static(change, before, after, run, now)
        if is_failover(run):
            self.next_hops.check_failover(change, before, run, now)
            self.checked["failover"] += 1
        self._check_cover(change, before, after, run, now)
        run.notes["views"][change.table] = after
        self.checked["writes"] += 1

    def _check_absence(
        self, change: RouteWritten, before: View, after: View, run: Invocation, now: datetime
    ) -> None:
        """Reconcile takes its own way from nobody because it was not shown. Its own subnet needs none."""
        left = self.owners.get(change.before.target.id) if change.before is not None else None
        member = self.kept.given.get(left.instance) if left is not None else None
        if is_failover(run) or member is None or not self._must_cover(change.table, member):
            return
        if wrong := self.kept.why_wrong(change, before, after, run, now):
            raise Broken(f"I1: it was not shown, and that is no end: {wrong}")
        self.checked["absence"] += self.kept.is_missed(member.id, run, now)

    def _check_ownership(self, change: RouteWritten, run: Invocation) -> None:
        assert isinstance(change.destination, Prefix)
        maker, at = self.makers.get((change.table, change.destination), (OURS, change.at))
        if change.before is None or maker == OURS or at >= run.notes["looked"] - STALE:
            return
        recorded = change.destination in self.store.records.get(change.table, ())
        if not (recorded and change.before.target.id in self.owners):
            raise Broken(f"I2: {change.action} {change.destination} in {change.table}, made by {maker}")
        self.checked["I2"] += 1

    def _check_cover(
        self, change: RouteWritten, before: View, after: View, run: Invocation, now: datetime
    ) -> None:
        assert isinstance(change.destination, Prefix)
        start = run.notes["since"] - STALE
        for member in self.eligibility.members(run).values():
            if member.gone_at is not None or not self._must_cover(change.table, member):
                continue
            if not self.past.always_alive(member.id, start, now):
                continue
            for block in member.blocks:
                if not block.ready or not change.destination.overlaps(block.prefix):
                    continue
                left, taken = hop(before, block.prefix), hop(after, block.prefix)
                had = self._covers(left, member, start, now, run, always=True)
                if left != taken and had and not self._covers(taken, member, start, now, run, always=False):
                    raise Broken(
                        f"I1: {change.action} {change.destination} in {change.table} uncovers {block.prefix}"
                    )
                self.checked["I1"] += had

    def _covers(
        self,
        target: str | None,
        member: Member,
        since: datetime,
        now: datetime,
        run: Invocation,
        *,
        always: bool,
    ) -> bool:
        """Whether the block is reached: through who was eligible all the time, or by what the run knew."""
        owner = self.owners.get(target or "")
        if owner is None or owner.subnet != member.subnet:
            return False
        if owner.instance == member.id:
            return True
        if always:
            return self.past.always_fitted(owner.instance, since, now)
        return self.eligibility.may_relay(owner.instance, run, now)

    # small facts

    def _must_cover(self, table: str, member: Member) -> bool:
        return self.steering.must_cover(table, member.subnet, self._run().notes.get("since"))
