"""What a failover did, for whoever reports it, and what a retry has to mend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from podway.app.errors import PodwayError, Throttled, TryAgain
from podway.app.ports import ClaimAnswer, HistoryEntry
from podway.domain.failover.decide import Card, Move
from podway.domain.health.verdict import Evidence
from podway.domain.model import StayReason


@dataclass(slots=True)
class FailoverOutcome:
    """What a failover did."""

    answer: ClaimAnswer
    moved: list[Move] = field(default_factory=list)
    stayed: Counter[StayReason] = field(default_factory=Counter)
    failed: list[tuple[Move, PodwayError]] = field(default_factory=list)
    waves: int = 1
    """Sequential waves of AWS calls from the event to the last replacement."""
    calls: int = 0
    """Replacements that were asked for."""

    @property
    def throttled(self) -> int:
        """Replacements that EC2 refused because there were too many calls."""
        return sum(isinstance(error, Throttled) for _, error in self.failed)


class Unfinished(TryAgain):
    """Some of it could not be done just now.

    *outcomes* say what was done and what failed; *throttled* counts other calls that were one too many.
    """

    def __init__(self, errors: Sequence[PodwayError], outcomes: Iterable[FailoverOutcome]) -> None:
        super().__init__("; ".join(dict.fromkeys(map(str, errors))))
        inner: list[Unfinished] = [one for one in errors if isinstance(one, Unfinished)]
        self.outcomes: tuple[FailoverOutcome, ...] = (
            *outcomes,
            *(outcome for one in inner for outcome in one.outcomes),
        )
        self.throttled: int = sum(isinstance(one, Throttled) for one in errors)
        self.throttled += sum(one.throttled for one in inner)


def all_done(
    outcomes: Sequence[FailoverOutcome], errors: Sequence[PodwayError]
) -> tuple[FailoverOutcome, ...]:
    """The outcomes. An error is raised, and takes them along if a retry can mend it."""
    if not errors:
        return tuple(outcomes)
    if not isinstance(errors[0], TryAgain):
        raise errors[0]
    raise Unfinished(errors, outcomes) from errors[0]


def failover_history(
    outcome: FailoverOutcome, card: Card, evidence: Evidence, event: str, *, at: datetime
) -> tuple[HistoryEntry, ...]:
    moved = tuple(
        HistoryEntry(
            at,
            "failover",
            event,
            f"{move.route.destination} in {move.route.table} moved from {card.node} to {move.standby.node}",
            evidence.source,
        )
        for move in outcome.moved
    )
    stayed = tuple(
        HistoryEntry(at, "failover", event, f"{count} routes of {card.node} stay", str(why))
        for why, count in sorted(outcome.stayed.items())
        if count
    )
    return moved + stayed
