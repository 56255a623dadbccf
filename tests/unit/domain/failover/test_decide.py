"""What moves at once when a node fails: its card's routes that still point at it, to who can serve."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from podway.domain.addressing import Prefix
from podway.domain.failover.decide import (
    Card,
    CardRoute,
    Claim,
    Decision,
    Move,
    Standby,
    Unmoved,
    decide,
    is_claimed,
)
from podway.domain.health.verdict import Evidence, Severity, Verdict, accuse, withdraw
from podway.domain.model import Replace, StayReason

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
FIRST, SECOND = Standby("i-2", "eni-2"), Standby("i-3", "eni-3")
LIGHT = CardRoute("rtb-1", Prefix.parse("100.64.0.0/20"), (FIRST, SECOND), 1.0)
HEAVY = CardRoute("rtb-2", Prefix.parse("100.64.0.0/20"), (FIRST, SECOND), 5.0)
CARD = Card("i-1", "subnet-a", "eni-1", 5, (LIGHT, HEAVY))
POINTING = {(route.table, route.destination): "eni-1" for route in CARD.routes}


def verdict(node: str, severity: Severity = Severity.INDIRECT) -> Verdict:
    return accuse(Verdict(node, "subnet-a"), Evidence("source", severity, NOW))


def decided(
    *verdicts: Verdict,
    severity: Severity = Severity.DEFINITIVE,
    targets: Mapping[tuple[str, Prefix], str] = POINTING,
    refused: Collection[str] = (),
) -> Decision:
    return decide(CARD, severity, targets=targets, verdicts=verdicts, now=NOW, refused=refused)


def takers(decision: Decision) -> set[str]:
    return {move.standby.node for move in decision.moves}


def test_every_route_moves_to_the_first_standby_the_heaviest_first() -> None:
    steps = [Replace(route.destination, "eni-2", was="eni-1") for route in (HEAVY, LIGHT)]

    assert decided() == Decision((Move(HEAVY, steps[0], FIRST), Move(LIGHT, steps[1], FIRST)), ())


@pytest.mark.parametrize("elsewhere", ["eni-9", "eni-2"])
def test_a_route_that_points_elsewhere_is_left_alone(elsewhere: str) -> None:
    decision = decided(targets=POINTING | {("rtb-2", HEAVY.destination): elsewhere})

    assert [move.route for move in decision.moves] == [LIGHT]
    assert decision.unmoved == (Unmoved(HEAVY, StayReason.MOVED_ALREADY),)


def test_a_route_that_is_gone_is_left_alone() -> None:
    assert decided(targets={}).moves == ()


@pytest.mark.parametrize("severity", [one for one in Severity if one is not Severity.SUSPICION])
def test_a_standby_that_fails_or_hands_over_is_passed_over(severity: Severity) -> None:
    assert takers(decided(verdict("i-2", severity))) == {"i-3"}


def test_a_standby_that_is_held_down_is_passed_over() -> None:
    held = withdraw(verdict("i-2"), "source", as_of=NOW, now=NOW, hold_down=timedelta(seconds=1))

    assert takers(decided(held)) == {"i-3"}


def test_a_standby_whose_interface_is_gone_is_passed_over() -> None:
    assert takers(decided(refused={"eni-2"})) == {"i-3"}


def test_a_node_does_not_stand_by_for_itself() -> None:
    card = replace(CARD, routes=(replace(LIGHT, standbys=(Standby("i-1", "eni-1"), SECOND)),))

    decision = decide(card, Severity.DEFINITIVE, targets=POINTING, verdicts=(), now=NOW)

    assert takers(decision) == {"i-3"}


def test_when_nobody_can_serve_nothing_moves() -> None:
    decision = decided(verdict("i-2"), verdict("i-3", Severity.HANDOVER))

    assert decision.moves == ()
    assert {one.why for one in decision.unmoved} == {StayReason.NOBODY}


def test_more_than_half_failing_by_hearsay_moves_nothing_but_ec2s_word_does() -> None:
    hearsay = [verdict(node) for node in ("i-1", "i-4", "i-5")]

    frozen = decided(*hearsay, severity=Severity.INDIRECT)

    assert {one.why for one in frozen.unmoved} == {StayReason.FROZEN}
    assert takers(decided(*hearsay, severity=Severity.DEFINITIVE)) == {"i-2"}
    assert takers(decided(*hearsay[:2], severity=Severity.INDIRECT)) == {"i-2"}


def test_more_than_half_of_the_cluster_failing_by_hearsay_moves_nothing_either() -> None:
    card = replace(CARD, cluster_size=7)
    elsewhere = [replace(verdict(f"i-{number}"), subnet="subnet-b") for number in (11, 12, 13)]

    def decided_for(*verdicts: Verdict, size: int = 7, severity: Severity = Severity.INDIRECT) -> Decision:
        return decide(
            replace(card, cluster_size=size), severity, targets=POINTING, verdicts=verdicts, now=NOW
        )

    frozen = decided_for(verdict("i-1"), *elsewhere)

    assert {one.why for one in frozen.unmoved} == {StayReason.CLUSTER_FROZEN}
    assert takers(decided_for(verdict("i-1"), *elsewhere, size=8)) == {"i-2"}, "half is not more than half"
    assert takers(decided_for(verdict("i-1"), *elsewhere, size=0)) == {"i-2"}, "an old card knows no size"
    assert takers(decided_for(*elsewhere, severity=Severity.DEFINITIVE)) == {"i-2"}


@pytest.mark.parametrize(
    ("claim", "claimed"),
    [
        (None, False),
        (Claim("event", Severity.INDIRECT, NOW + timedelta(seconds=1)), True),
        (Claim("event", Severity.INDIRECT, NOW), False),
        (Claim("event", Severity.INDIRECT, NOW + timedelta(seconds=1), done=True), False),
    ],
)
def test_a_card_is_claimed_until_the_claim_is_done_or_expires(claim: Claim | None, claimed: bool) -> None:
    assert is_claimed(replace(CARD, claim=claim), now=NOW) is claimed
