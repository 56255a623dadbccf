"""Which failover cards a run of reconcile writes, and what it leaves to failovers. `app.carry_out` asks.

Cards are written before routes: a node can fail the moment after it gets a route, and a failover moves only
what the card names.

    claim on the stored card    card is written              routes of this node in this run
    none                        if it differs, or *touched*  ours to change
    open                        no                           gets none; one that moves now loses none either
    done, or expired            if it differs, has routes,   ours; look again first, where the failover began
                                or is *touched*              after this run began to look
    ahead of any clock          yes                          as above, and ours in the next run
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from podway.domain.failover.decide import Card, is_claimed, is_from_ahead, moves_meanwhile
from podway.domain.model import Delete, Plan, Replace


@dataclass(frozen=True, slots=True)
class HandsOff:
    """Interfaces whose routes this run leaves to failovers, by why."""

    no_new_routes: frozenset[str] = frozenset()
    """Somebody acts on their card, so this run gives them no route."""
    being_moved: frozenset[str] = frozenset()
    """A failover moves their routes just now, so this run takes none from them."""
    look_again: frozenset[str] = frozenset()
    """A failover may have moved their routes since this run read the tables, so it reads them once more."""


@dataclass(frozen=True, slots=True)
class CardChanges:
    """*write* carries the versions that were read: the store refuses a card that was claimed since."""

    write: tuple[Card, ...]
    remove: tuple[str, ...]
    hands_off: HandsOff

    def without(self, refused: Collection[str]) -> HandsOff:
        """What is left to failovers when the cards of these interfaces were *refused*: claimed since."""
        known = self.hands_off
        return HandsOff(known.no_new_routes | {*refused}, known.being_moved | {*refused}, known.look_again)


def touched(planned: Plan) -> set[str]:
    """Interfaces to or from which the plan moves a route: only a write proves that no failover has begun."""
    steps = [step for table in planned.route_tables for step in table.steps]
    given = {step.network_interface for step in steps if not isinstance(step, Delete)}
    return given | {step.was for step in steps if isinstance(step, Replace)}


def card_changes(
    wanted: Iterable[Card],
    stored: Mapping[str, Card],
    *,
    members: Collection[str],
    touched: Collection[str],
    began: datetime,
    now: datetime,
) -> CardChanges:
    """What to write so that *stored* says what is *wanted*; *began* is when this run began to look."""
    write: list[Card] = []
    claimed, moving, moved = set[str](), set[str](), set[str]()
    for card in wanted:
        before, interface = stored.get(card.node), card.network_interface
        if before is None:
            write.append(card)
            continue
        if moves_meanwhile(before, since=began):
            (moved if before.claim and before.claim.done else moving).add(interface)
        if is_claimed(before, now=now):
            claimed.add(interface)
            continue
        differs = card != replace(before, version=0, claim=None)
        # one with routes would stop the next event, and one from a clock that is ahead would never be old
        has_old_claim = before.claim is not None and (
            bool(card.routes) or is_from_ahead(before.claim, now=now)
        )
        if differs or has_old_claim or interface in touched:
            write.append(replace(card, version=before.version))
    hands_off = HandsOff(frozenset(claimed), frozenset(moving), frozenset(moved))
    return CardChanges(tuple(write), tuple(sorted(stored.keys() - members)), hands_off)
