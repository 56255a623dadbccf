"""What was true when: the past of every node, for judging callers by what they could have known."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from podway.domain.failover.decide import Card
from podway.domain.health.verdict import Severity, Verdict, is_accused, is_failing, is_handing_over

LONGEST_CLAIM = timedelta(seconds=120)
"""A claim that ends later was made by a clock that is ahead, and holds nothing."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One node at one time."""

    runs: bool = False
    receives: bool = False
    """EC2 lets it have packets that are not its own."""
    verdict: Verdict | None = None
    card: Card | None = None
    boots: bool = False
    """It does not run yet."""

    def passes(self) -> bool:
        """Whether packets that are not its own get through it, by all that EC2 says."""
        return self.runs and self.receives

    def is_trusted(self, now: datetime) -> bool:
        """Whether the store says nothing against giving it a route."""
        return not self.is_accused(now) and not self.is_claimed(now)

    def fits(self, now: datetime) -> bool:
        """Whether it may be given a route that carries others' blocks."""
        return self.passes() and self.is_trusted(now)

    def lives(self) -> bool:
        """Whether its own pods are there to be reached, by all that EC2 says and said."""
        return self.runs and (self.verdict is None or self.verdict.severity() is not Severity.DEFINITIVE)

    def is_claimed(self, now: datetime) -> bool:
        """Whether somebody moves its routes away just now."""
        claim = self.card.claim if self.card else None
        return claim is not None and not claim.done and now < claim.expires <= now + LONGEST_CLAIM

    def is_accused(self, now: datetime) -> bool:
        """Whether something is said against it, or was a short while ago."""
        return self.verdict is not None and (is_accused(self.verdict) or self._is_held(now))

    def is_suspect(self, now: datetime) -> bool:
        """Whether it fails by hearsay, or did a short while ago: a hand-over is none, and EC2's word more."""
        if self.verdict is None or self.verdict.severity() is Severity.DEFINITIVE:
            return False
        return is_failing(self.verdict) or self._is_held(now)

    def fails_by_hearsay(self) -> bool:
        """Whether evidence of failure stands against it, and EC2's word does not."""
        return self.verdict is not None and self.verdict.severity() is Severity.INDIRECT

    def is_handing_over(self) -> bool:
        """Whether its routes should leave although it works."""
        return self.verdict is not None and is_handing_over(self.verdict)

    def _is_held(self, now: datetime) -> bool:
        held_until = self.verdict.held_until if self.verdict else None
        return held_until is not None and now < held_until


class Word(NamedTuple):
    """When an agent wrote, and which generation of which epoch it named."""

    at: datetime
    epoch: int
    generation: int


@dataclass
class Past:
    """Facts by node, each with the time from which it held."""

    facts: dict[str, list[tuple[datetime, Fact]]] = field(default_factory=dict)
    words: dict[str, list[Word]] = field(default_factory=dict)

    def hear(self, node: str, word: Word) -> None:
        self.words.setdefault(node, []).append(word)

    def last_word(self, node: str, until: datetime) -> Word | None:
        """The newest that was written by then; None if its agent had never been heard."""
        known = self.words.get(node, [])
        number = bisect_right(known, until, key=lambda word: word.at)
        return known[number - 1] if number else None

    def learn(self, node: str, at: datetime, fact: Fact) -> None:
        known = self.facts.setdefault(node, [])
        if not known or known[-1][1] != fact:
            known.append((at, fact))

    def latest(self, node: str) -> Fact:
        known = self.facts.get(node)
        return known[-1][1] if known else Fact()

    def at(self, node: str, moment: datetime) -> Fact:
        """What held then; of the time before anything is known, the first that is."""
        known = self.facts.get(node)
        return known[self._first(known, moment)][1] if known else Fact()

    def between(
        self, node: str, since: datetime, until: datetime
    ) -> Iterator[tuple[datetime, datetime, Fact]]:
        """Every fact that held at some time of the span: from when, until when, and what."""
        known = self.facts.get(node, [])
        for number in range(self._first(known, since), len(known)):
            at, fact = known[number]
            if at > until:
                return
            end = known[number + 1][0] if number + 1 < len(known) else until
            yield max(at, since), min(end, until), fact

    @staticmethod
    def _first(known: list[tuple[datetime, Fact]], since: datetime) -> int:
        return max(bisect_right(known, since, key=lambda entry: entry[0]) - 1, 0)

    def fitted(self, node: str, since: datetime, until: datetime) -> bool:
        """Whether it was fit to be a next hop at any time of the span: what is said of it runs out."""
        return any(fact.fits(end) for _, end, fact in self.between(node, since, until))

    def trusted(self, node: str, since: datetime, until: datetime) -> bool:
        """Whether at any time of the span the store said nothing against it."""
        return any(fact.is_trusted(end) for _, end, fact in self.between(node, since, until))

    def unaccused(self, node: str, since: datetime, until: datetime) -> bool:
        """Whether at any time of the span no evidence and no hold-down spoke against it."""
        return any(not fact.is_accused(end) for _, end, fact in self.between(node, since, until))

    def lived(self, node: str, since: datetime, until: datetime) -> bool:
        """Whether its pods could be reached at any time of the span."""
        return any(fact.lives() for *_, fact in self.between(node, since, until))

    def always_fitted(self, node: str, since: datetime, until: datetime) -> bool:
        """Whether it was fit to be a next hop all the time."""
        known = list(self.between(node, since, until))
        return bool(known) and all(fact.fits(at) for at, _, fact in known)

    def always_alive(self, node: str, since: datetime, until: datetime) -> bool:
        """Whether its pods could be reached all the time."""
        known = list(self.between(node, since, until))
        return bool(known) and all(fact.lives() for *_, fact in known)
