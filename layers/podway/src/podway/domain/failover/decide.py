"""What to do at once when a node fails: move the routes on its card, and nothing else.

The failover use case asks. Reconcile writes cards while all is well, so failover needs no inventory and no
plan.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from podway.domain.addressing import Prefix
from podway.domain.health.verdict import (
    Severity,
    Verdict,
    health,
    is_cluster_frozen,
    is_frozen,
    is_handing_over,
)
from podway.domain.model import Health, Replace, StayReason

CLAIM_LASTS = timedelta(seconds=60)
"""After this anybody may take a claim over: it is longer than the function may run."""

SKEW = timedelta(seconds=60)
"""How far the clocks of two who make claims may be apart."""

DONE_WITHIN = timedelta(seconds=10)
"""A failover that takes longer is throttled, or dead: reconcile no longer leaves the card's routes to it."""


@dataclass(frozen=True, slots=True)
class Standby:
    """A node that may take a route over."""

    node: str
    network_interface: str


@dataclass(frozen=True, slots=True)
class CardRoute:
    """A route through the node that carries blocks of others, with ranked standbys and its weight."""

    table: str
    destination: Prefix
    standbys: tuple[Standby, ...]
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Claim:
    """Who acts on a card, why, and until when nobody else does."""

    event: str
    severity: Severity
    expires: datetime
    done: bool = False
    claimant: str = ""
    """Which of the event's deliveries acts; empty in claims from before it was kept: any may go on."""


@dataclass(frozen=True, slots=True)
class Card:
    """A member's failover card. Every member has one; without routes there is nothing to move.

    ``subnet_size`` and ``cluster_size`` count present members, for the freeze rule. ``watchers`` are the
    siblings whose votes count. ``version`` grows with every rewrite and every claim, so the store refuses
    a write by a reader of an older one.
    """

    node: str
    subnet: str
    network_interface: str
    subnet_size: int
    routes: tuple[CardRoute, ...] = ()
    version: int = 0
    claim: Claim | None = None
    cluster_size: int = 0
    watchers: tuple[str, ...] = ()
    is_awaited: bool = True
    """Whether a block waits, or will wait, for the acknowledgement of the node's agent."""


def is_from_ahead(claim: Claim, *, now: datetime) -> bool:
    """Whether only a clock that is ahead can have made the claim by now: then it holds nothing."""
    return claim.expires > now + CLAIM_LASTS + SKEW


def has_expired(claim: Claim, *, now: datetime) -> bool:
    """Whether anybody may take the claim over."""
    return claim.expires < now or is_from_ahead(claim, now=now)


def is_claimed(card: Card, *, now: datetime) -> bool:
    """Whether somebody acts on the card just now."""
    claim = card.claim
    return claim is not None and not claim.done and now < claim.expires and not is_from_ahead(claim, now=now)


def moves_meanwhile(card: Card, *, since: datetime) -> bool:
    """Whether a failover may have moved the card's routes *since* then, or moves them still.

    True also for one that began before that and is done.
    """
    return card.claim is not None and since < card.claim.expires - CLAIM_LASTS + DONE_WITHIN


@dataclass(frozen=True, slots=True)
class Move:
    """A replacement to make at once, and who takes over."""

    route: CardRoute
    step: Replace
    standby: Standby


@dataclass(frozen=True, slots=True)
class Unmoved:
    """A route that stays, and why."""

    route: CardRoute
    why: StayReason


@dataclass(frozen=True, slots=True)
class Decision:
    """Moves, heaviest first, and what stays."""

    moves: tuple[Move, ...]
    unmoved: tuple[Unmoved, ...]


def decide(
    card: Card,
    severity: Severity,
    *,
    targets: Mapping[tuple[str, Prefix], str],
    verdicts: Iterable[Verdict],
    now: datetime,
    refused: Collection[str] = (),
    unseen: Collection[str] = (),
) -> Decision:
    """Which routes move to whom.

    *targets* maps (table, destination) to the interface that the route has now: only routes that still
    point at the failed node move, and none in tables that are *unseen*. A standby is passed over if it
    fails, hands over itself, or has an interface that EC2 *refused*. A card may name a route twice, if it
    came back to the node before the card was rewritten: it moves once, as it was named last.
    """
    known = {verdict.instance: verdict for verdict in verdicts}
    frozen = _why_frozen(card, severity, known)
    moves: list[Move] = []
    unmoved: list[Unmoved] = []
    named = {(route.table, route.destination): route for route in card.routes}
    for route in sorted(named.values(), key=lambda route: (-route.weight, route.table, route.destination)):
        standby = next(
            (
                one
                for one in route.standbys
                if one.network_interface not in refused and _serves(one, card, known, now)
            ),
            None,
        )
        if route.table in unseen:
            unmoved.append(Unmoved(route, StayReason.UNSEEN))
        elif targets.get((route.table, route.destination)) != card.network_interface:
            unmoved.append(Unmoved(route, StayReason.MOVED_ALREADY))
        elif frozen is not None:
            unmoved.append(Unmoved(route, frozen))
        elif standby is None:
            unmoved.append(Unmoved(route, StayReason.NOBODY))
        else:
            step = Replace(route.destination, standby.network_interface, was=card.network_interface)
            moves.append(Move(route, step, standby))
    return Decision(tuple(moves), tuple(unmoved))


def _why_frozen(card: Card, severity: Severity, verdicts: Mapping[str, Verdict]) -> StayReason | None:
    if severity is not Severity.INDIRECT:
        return None
    if is_frozen(card.subnet_size, verdicts.values(), card.subnet):
        return StayReason.FROZEN
    return StayReason.CLUSTER_FROZEN if is_cluster_frozen(card.cluster_size, verdicts.values()) else None


def _serves(standby: Standby, card: Card, verdicts: Mapping[str, Verdict], now: datetime) -> bool:
    verdict = verdicts.get(standby.node)
    if standby.node == card.node or is_handing_over(verdict):
        return False
    return health(verdict, now=now) is Health.HEALTHY
