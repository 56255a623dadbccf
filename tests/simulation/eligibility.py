"""Who may relay for others, by what a run could have known of them.

The checker's own reading of *eligible*, *frozen* and *nobody is left*: it shares no code with the planner.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from podway.domain.addressing import Prefix
from podway.domain.health.verdict import Severity
from podway.domain.inventory import Member

from tests.fakes.store import FakeStore
from tests.simulation.facts import Past
from tests.simulation.tasks import Invocation

STALE = timedelta(seconds=10)
"""How old a view of EC2 may be that a caller is shown. What the store says is never old."""
SILENCE = timedelta(minutes=12)
"""After so long without a word of its agent a node is suspect."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who stands behind an interface; interfaces of the dead are remembered."""

    instance: str
    subnet: str
    member: bool


@dataclass
class Eligibility:
    """What runs could have known of nodes."""

    past: Past
    owners: Mapping[str, Owner]
    store: FakeStore
    holds_in_kernel: Callable[[str], int]

    kept: Mapping[str, Member]
    """What the region's members were given; see `Kept`."""

    def members(self, run: Invocation) -> Mapping[str, Member]:
        """As the run has read or written them, and those whom it should know because they run."""
        known: Mapping[str, Member] = run.notes.get("members") or self.store.found_members
        kept: Mapping[str, Member] = run.notes.get("kept", self.kept)
        lost = {
            node: one
            for node, one in kept.items()
            if node in self.kept and (node not in known or known[node].gone_at)
        }
        return {**known, **lost} if lost else known

    def may_relay(self, node: str, run: Invocation, now: datetime) -> bool:
        """Whether the run could believe that *node* is eligible, or that nobody is and it is no worse.

        Failover asks neither EC2 who runs nor others' cards: it passes over whom something is said against
        when it reads the verdicts. Reconcile was shown EC2 as it was a while ago, but the store as it is, and
        rewrites the card of who gets a route: from then on it has to know of claims. Where nobody is left a
        living node is better than none; where the monitor is the likelier fault, who relays goes on.
        """
        if is_failover(run):
            return self.past.unaccused(node, run.notes["heard"], now)
        told = run.notes["told"].get(node, run.notes["since"])
        looked = told - STALE
        if not self.past.lived(node, looked, now):
            return False
        if (
            self.past.fitted(node, looked, now)
            and self.past.trusted(node, told, now)
            and self.has_joined(node, now, run)
            and not self.is_silent(node, run.notes["since"])
        ):
            return True
        home = self.neighbours(node)
        return self.is_forsaken(home, run, looked, now) or (
            node in self.relaying(run) and self.was_frozen(home, looked, now)
        )

    def lags(self, node: str, since: int, run: Invocation, now: datetime) -> bool:
        """Whether *node* does not hold what became ready in generation *since*, and a fit neighbour does.

        Laggards rank last: they serve when nobody else is left.
        """
        looked = run.notes["since"] - STALE
        return self.holds_in_kernel(node) < since and any(
            self.past.always_fitted(one, looked, now)
            and self.has_joined(one, looked, run)
            and self.said(one, since, looked)
            and not self.is_silent(one, now)
            and self.shows(one, run)
            for one in self.neighbours(node)
        )

    def said(self, node: str, generation: int, since: datetime) -> bool:
        """Whether its agent had acknowledged that generation of the store's epoch by then."""
        word, epoch = self.past.last_word(node, since), self.store.epoch.number if self.store.epoch else 1
        return word is not None and word.epoch == epoch and word.generation >= generation

    def must_keep(self, node: str, run: Invocation, now: datetime) -> bool:
        """Whether a living suspect keeps what it relays: nobody was eligible all the time, or all froze."""
        since = run.notes["since"] - STALE
        home = self.neighbours(node)
        known = list(self.past.between(node, since, now))
        relays_on = known and all(
            fact.passes() and fact.lives() and fact.is_suspect(now) for *_, fact in known
        )
        if not relays_on or any(fact.is_handing_over() or fact.is_claimed(at) for at, _, fact in known):
            return False
        return self.always_frozen(home, since, now) or not any(
            self.past.fitted(one, since, now) for one in home
        )

    def is_mass_failure(self, lost: str, run: Invocation, now: datetime) -> bool:
        """Whether failover acts on hearsay while most of the node's subnet failed by hearsay alone."""
        card = self.store.cards.get(lost)
        if card is None or card.claim is None or card.claim.severity is not Severity.INDIRECT:
            return False
        home = self.neighbours(lost)
        members = [one for one in self.store.found_members.values() if one.subnet == card.subnet]
        known = [list(self.past.between(one, run.notes["heard"], now)) for one in home - {lost}]
        failing = 1 + sum(bool(facts) and all(f.fails_by_hearsay() for *_, f in facts) for facts in known)
        return 2 * failing > max(card.subnet_size, len(members))

    def is_forsaken(self, home: Collection[str], run: Invocation, since: datetime, now: datetime) -> bool:
        """Whether at some time of the span nobody of *home* was eligible."""
        return not any(
            self.past.always_fitted(one, since, now)
            and self.has_joined(one, since, run)
            and not self.is_silent(one, now)
            and self.shows(one, run)
            for one in home
        )

    def shows(self, node: str, run: Invocation) -> bool:
        """Whether the run's list showed it as a member: a stray ranks with the draining."""
        return is_failover(run) or node in run.notes.get("listed", ())

    def was_frozen(self, home: Collection[str], since: datetime, now: datetime) -> bool:
        """Whether at one moment of the span most of the living nodes of *home* were suspect.

        Or most of all nodes, and some of *home*: a broken monitor need not stop at a subnet's border.
        """
        moments = list(self._moments(since, now))
        everybody = {owner.instance for owner in self.owners.values() if owner.member}
        return any(
            self._is_mass(home, at) or (self._is_mass(everybody, at) and self._suspects(home, at))
            for at in moments
        )

    def always_frozen(self, home: Collection[str], since: datetime, now: datetime) -> bool:
        """Whether most of the nodes of *home* that live or boot were suspect all the time."""
        return all(self._is_mass(home, at, booting=True) for at in self._moments(since, now))

    def _moments(self, since: datetime, now: datetime) -> Iterator[datetime]:
        """The span's beginning and end, and whenever something changed between."""
        yield from (since, now)
        for known in self.past.facts.values():
            yield from (at for at, _ in known if since < at <= now)

    def _is_mass(self, nodes: Collection[str], at: datetime, *, booting: bool = False) -> bool:
        facts = {one: self.past.at(one, at) for one in nodes}
        alive = [one for one, fact in facts.items() if fact.lives() or (booting and fact.boots)]
        return 2 * len(self._suspects(alive, at)) > len(alive)

    def _suspects(self, nodes: Collection[str], at: datetime) -> list[str]:
        return [one for one in nodes if self.past.at(one, at).is_suspect(at) or self.is_silent(one, at)]

    def is_silent(self, node: str, at: datetime) -> bool:
        """Whether its agent had been heard, and not for long."""
        word = self.past.last_word(node, at)
        return word is not None and at - word.at > SILENCE

    def has_joined(self, node: str, since: datetime, run: Invocation) -> bool:
        """Whether its blocks were handed out, or its agent had said that its kernel holds them."""
        member = self.members(run).get(node)
        if member is None or not member.blocks:
            return False
        newest = max(block.since for block in member.blocks)
        return self.said(node, newest, since) or any(block.ready for block in member.blocks)

    def neighbours(self, node: str) -> set[str]:
        """The members of its subnet, itself among them."""
        home = next(owner.subnet for owner in self.owners.values() if owner.instance == node)
        return {owner.instance for owner in self.owners.values() if owner.subnet == home and owner.member}

    def relaying(self, run: Invocation) -> set[str]:
        """Who had a route for more than its own blocks, by the tables that the run was shown."""
        members = self.members(run)
        return {
            owner.instance
            for view in run.notes.get("views", {}).values()
            for destination, target in view.items()
            if (owner := self.owners.get(target)) is not None
            and not _is_own(destination, members.get(owner.instance))
        }


def _is_own(destination: Prefix, member: Member | None) -> bool:
    return member is not None and any(prefix.contains(destination) for prefix in member.prefixes)


def is_failover(run: Invocation) -> bool:
    """Whether the run moves routes off nodes whose cards it has claimed."""
    return "lost" in run.notes
