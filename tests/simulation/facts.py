"""What was true when: the past of every node, for judging callers by what they could have known."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from podway.domain.failover import Card
from podway.domain.health import Severity, Verdict, is_accused


@dataclass(frozen=True, slots=True)
class Fact:
    """One node at one time."""

    runs: bool = False
    receives: bool = False
    """EC2 lets it have packets that are not its own."""
    verdict: Verdict | None = None
    card: Card | None = None

    def fits(self, now: datetime) -> bool:
        """Whether it may be given a route that carries others' blocks."""
        return self.runs and self.receives and not self.is_accused(now) and not self.is_claimed(now)

    def lives(self) -> bool:
        """Whether its own pods are there to be reached, by all that EC2 says and said."""
        return self.runs and (self.verdict is None or self.verdict.severity() is not Severity.DEFINITIVE)

    def is_claimed(self, now: datetime) -> bool:
        """Whether somebody moves its routes away just now."""
        claim = self.card.claim if self.card else None
        return claim is not None and not claim.done and now < claim.expires

    def is_accused(self, now: datetime) -> bool:
        """Whether something is said against it, or was a short while ago."""
        if self.verdict is None:
            return False
        held_until = self.verdict.held_until
        return is_accused(self.verdict) or (held_until is not None and now < held_until)


@dataclass
class Past:
    """Facts by node, each with the time from which it held."""

    facts: dict[str, list[tuple[datetime, Fact]]] = field(default_factory=dict)

    def learn(self, node: str, at: datetime, fact: Fact) -> None:
        known = self.facts.setdefault(node, [])
        if not known or known[-1][1] != fact:
            known.append((at, fact))

    def latest(self, node: str) -> Fact:
        known = self.facts.get(node)
        return known[-1][1] if known else Fact()

    def between(self, node: str, since: datetime, until: datetime) -> Iterator[tuple[datetime, Fact]]:
        """Every fact that held at some time of the span, with a time of the span at which it did."""
        known = self.facts.get(node, [])
        first = max(bisect_right(known, since, key=lambda entry: entry[0]) - 1, 0)
        for at, fact in known[first:]:
            if at > until:
                return
            yield max(at, since), fact

    def fitted(self, node: str, since: datetime, until: datetime) -> bool:
        """Whether it was fit to be a next hop at any time of the span."""
        return any(fact.fits(at) or fact.fits(until) for at, fact in self.between(node, since, until))

    def always_fitted(self, node: str, since: datetime, until: datetime) -> bool:
        """Whether it was fit to be a next hop all the time."""
        known = list(self.between(node, since, until))
        return bool(known) and all(fact.fits(at) for at, fact in known)

    def always_alive(self, node: str, since: datetime, until: datetime) -> bool:
        """Whether its pods could be reached all the time."""
        known = list(self.between(node, since, until))
        return bool(known) and all(fact.lives() for _, fact in known)
