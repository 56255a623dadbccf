"""Who is a member by what the region knows, and what must stay theirs: the checker's books on absence.

A member is an instance of the cluster's VPC that ever carried the cluster's tag. What it was given is its
own until EC2 has terminated it, whatever EC2 shows, and whatever the store says of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from podway.domain.addressing import Prefix
from podway.domain.inventory import Member
from podway.domain.signals import InstanceState
from podway_lab.region.changes import RouteWritten
from podway_lab.region.model import StrictEC2

from tests.simulation.eligibility import STALE, Owner
from tests.simulation.facts import Past
from tests.simulation.tasks import Invocation
from tests.simulation.views import catches, hop


@dataclass
class Kept:
    """What running members have, and which of them a run was not shown."""

    region: StrictEC2
    owners: Mapping[str, Owner]
    past: Past
    quarantine: timedelta
    given: dict[str, Member] = field(default_factory=dict)
    """As last written, of every member that EC2 has not terminated."""

    died: dict[str, datetime] = field(default_factory=dict)
    held: dict[Prefix, str] = field(default_factory=dict)
    """Who was last given a block."""

    robbed: set[str] = field(default_factory=set)
    """Who holds what the store does not know since it is another one."""

    def begin_life(self, stored: Mapping[str, Member], held: Mapping[str, Collection[Prefix]]) -> None:
        """The store is another one. What was never handed out, and is not in it, was given to nobody."""
        for node, member in self.given.items():
            known = set(stored[node].prefixes) if node in stored else set[Prefix]()
            blocks = tuple(one for one in member.blocks if one.prefix in known.union(held.get(node, ())))
            self.given[node] = replace(member, blocks=blocks)
            if node not in stored or not known.issuperset(self.given[node].prefixes):
                self.robbed.add(node)
        known_of = {node: set(member.prefixes) for node, member in stored.items()}
        self.held = {
            prefix: node
            for prefix, node in self.held.items()
            if prefix in known_of.get(node, ()) or (node in self.given and prefix in held.get(node, ()))
        }
        for node in tuple(self.robbed):
            instance = self.region.state.instances.get(node)
            if instance is None or instance.state not in RUNS:
                self.fall_silent(node)

    def end(self, node: str, at: datetime) -> None:
        """EC2 has terminated it."""
        self.died.setdefault(node, at)
        self.given.pop(node, None)

    def fall_silent(self, node: str) -> None:
        """It runs no more. What it has not said by now in this life of the store, nobody can know of."""
        if node in self.robbed:
            self.robbed.discard(node)
            self.given.pop(node, None)
            self.held = {prefix: owner for prefix, owner in self.held.items() if owner != node}

    def why_shared(self, stored: Mapping[str, Member], now: datetime) -> str:
        """Which block belongs to two, or went to another before it had rested; empty when none does."""
        held = {prefix: member.id for member in stored.values() for prefix in member.prefixes}
        for one, other in pairwise(sorted(held)):
            if one.contains(other):
                return f"{one} of {held[one]} and {other} of {held[other]} overlap"
        for prefix, node in held.items():
            for earlier, owner in self.held.items():
                if owner != node and prefix.overlaps(earlier) and not self._has_rested(owner, now):
                    return f"{prefix} of {owner} (died {self.died.get(owner)}) went to {node} without a rest"
        self.held |= held
        return ""

    def _has_rested(self, owner: str, now: datetime) -> bool:
        died = self.died.get(owner)
        return died is not None and now - died >= self.quarantine

    def look(self, stored: Mapping[str, Member]) -> str:
        """The inventory was written: what is wrong with that; empty when nothing is."""
        wrong = ""
        for node, before in list(self.given.items()):
            if not self.exists(node):
                del self.given[node]
                continue
            after = stored.get(node)
            if node in self.robbed and (after is None or set(before.prefixes) - set(after.prefixes)):
                continue
            self.robbed.discard(node)
            if after is None or after.gone_at is not None:
                wrong = f"{node}, which EC2 has not terminated, is a member no more"
            elif lost := set(before.prefixes) - set(after.prefixes):
                wrong = (
                    f"{', '.join(map(str, sorted(lost)))} was taken from {node}, which EC2 has not terminated"
                )
        members = {owner.instance for owner in self.owners.values() if owner.member}
        for node, member in stored.items():
            if member.gone_at is None and node in members - self.robbed and self.exists(node):
                self.given[node] = member
        return wrong

    def exists(self, node: str) -> bool:
        """Whether EC2 has the instance, and has not terminated it."""
        instance = self.region.state.instances.get(node)
        return instance is not None and instance.state != "terminated"

    def is_missed(self, node: str, run: Invocation, now: datetime) -> bool:
        """Whether a running member, against which nothing is said, did not show in the run's list."""
        fits = self.past.always_fitted(node, run.notes["since"] - STALE, now)
        return node in self.given and fits and node not in run.notes.get("listed", ())

    def why_wrong(
        self,
        change: RouteWritten,
        before: Mapping[Prefix, str],
        after: Mapping[Prefix, str],
        run: Invocation,
        now: datetime,
    ) -> str:
        """Why the write takes its own way from a running member that was not shown; empty when it does not.

        What it relays for others may move. A table without room is planned anew, whoever is shown.
        """
        left = self.owners.get(change.before.target.id) if change.before is not None else None
        if (
            left is None
            or not self.is_missed(left.instance, run, now)
            or change.table in run.notes["pressed"]
        ):
            return ""
        assert change.before is not None
        caught = {
            prefix: node
            for node, member in self.given.items()
            for prefix in member.prefixes
            if catches(before, prefix) == change.destination
        }
        alone = set(caught.values()) == {left.instance}
        if alone and any(hop(after, prefix) != change.before.target.id for prefix in caught):
            return f"{change.action} {change.destination} in {change.table}: the own way of {left.instance}"
        return ""

    def is_pressed(self, table: str) -> bool:
        """Whether the table is as full as the reserve lets it be: whoever looks plans it anew."""
        routes = self.region.state.tables[table].routes.values()
        return (
            sum(route.counts for route in routes if route.family == FAMILY)
            >= self.region.settings.route_quota - RESERVE
        )


RUNS = ("pending", "running")
FAMILY = 4
RESERVE = 3
"""Slots that are free in a table to which our plans need not take anything from: the reserve, and one."""


def shown(answer: Mapping[str, Any]) -> set[str]:
    """The instances of an answer that show as members: tagged, in a known state, with an interface."""
    return {
        one["InstanceId"]
        for row in answer["Reservations"]
        for one in row["Instances"]
        if any(each["Key"] == "podway:cluster" for each in one.get("Tags", ()))
        and InstanceState.read(one.get("State", {}).get("Name", "")).is_known
        and one.get("NetworkInterfaces")
    }
