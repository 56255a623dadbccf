"""What a failover did, and what a retry has to mend.

`Failover` makes outcomes, `Lifecycle` decides by them, `handling` logs and counts them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from podway.app.errors import PodwayError, Throttled, TryAgain
from podway.app.ports import ClaimAnswer, HistoryEntry
from podway.domain.failover.decide import Card, Move
from podway.domain.health.verdict import Evidence
from podway.domain.model import StayReason, counted


@dataclass(slots=True)
class FailoverOutcome:
    """What one node's failover did."""

    answer: ClaimAnswer
    """Whether it got the node's card."""
    moved: list[Move] = field(default_factory=list)
    stayed: Counter[StayReason] = field(default_factory=Counter)
    """Routes that were not moved, by reason."""
    failed: list[tuple[Move, PodwayError]] = field(default_factory=list)
    heirs: set[str] = field(default_factory=set)
    """Standbys that had routes of the card before this run."""
    waves: int = 1
    """Waves of AWS calls, one after the other, from the event to the last replacement."""
    calls: int = 0
    """Calls of ReplaceRoute, successful or not."""

    @property
    def throttled(self) -> int:
        """Calls of ReplaceRoute that EC2 refused because there were too many."""
        return sum(isinstance(error, Throttled) for _, error in self.failed)


class Unfinished(TryAgain):
    """A part could not be done just now; the event's retry does it.

    ``outcomes`` say what was done and what failed. ``throttled`` counts refused calls that are in no outcome.
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
    """The outcomes, if nothing failed.

    Raises the first error as it is if no retry can mend it, else Unfinished, which carries the outcomes.
    """
    if not errors:
        return tuple(outcomes)
    if not isinstance(errors[0], TryAgain):
        raise errors[0]
    raise Unfinished(errors, outcomes) from errors[0]


def failover_history(
    outcome: FailoverOutcome, card: Card, evidence: Evidence, event: str, *, at: datetime
) -> tuple[HistoryEntry, ...]:
    """An entry for every route that moved, and one for each reason why others stay."""
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
        HistoryEntry(at, "failover", event, f"{counted(count, 'route')} of {card.node} stayed", str(why))
        for why, count in sorted(outcome.stayed.items())
        if count
    )
    return moved + stayed
