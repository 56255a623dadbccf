"""Evidence becomes a verdict: only its own source withdraws it, and who falls often waits longer."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podway.domain.health.verdict import (
    LONGEST_HOLD_DOWN,
    Evidence,
    Severity,
    Verdict,
    accuse,
    cut_ahead,
    health,
    is_failing,
    is_failing_indirectly,
    is_frozen,
    is_handing_over,
    is_outdated,
    is_spent,
    withdraw,
)
from podway.domain.model import Health

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOLD_DOWN = timedelta(seconds=60)
CLEAN = Verdict("i-1", "subnet-a")


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def said(source: str = "alarm:x", severity: Severity = Severity.INDIRECT, at: datetime = NOW) -> Evidence:
    return Evidence(source, severity, at)


def taken_back(verdict: Verdict, source: str = "alarm:x", at: datetime = NOW) -> Verdict:
    return withdraw(verdict, source, as_of=at, now=at, hold_down=HOLD_DOWN)


def suspects(*names: str, subnet: str = "subnet-a", severity: Severity = Severity.INDIRECT) -> list[Verdict]:
    return [accuse(Verdict(name, subnet), said(severity=severity)) for name in names]


@pytest.mark.parametrize(
    ("severity", "judged"),
    [
        (Severity.HANDOVER, Health.HEALTHY),
        (Severity.INDIRECT, Health.SUSPECT),
        (Severity.DEFINITIVE, Health.FAILED),
    ],
)
def test_a_verdict_is_as_grave_as_its_gravest_evidence(severity: Severity, judged: Health) -> None:
    verdict = accuse(accuse(CLEAN, said("drain", Severity.HANDOVER)), said("other", severity))

    assert health(verdict, now=NOW) is judged
    assert is_handing_over(verdict)


def test_nobody_speaks_against_a_node_without_a_verdict() -> None:
    assert health(None, now=NOW) is Health.HEALTHY
    assert not is_handing_over(None)


def test_only_its_own_source_withdraws_evidence() -> None:
    accused = accuse(accuse(CLEAN, said("alarm:x")), said("alarm:y"))

    one_left = taken_back(accused, "alarm:x")
    same = taken_back(accused, "alarm:z")

    assert set(one_left.evidence) == {"alarm:y"}
    assert one_left.held_until is None, "it still fails, so nothing is held down yet"
    assert same == accused


def test_a_late_ok_does_not_withdraw_what_was_said_after_it() -> None:
    accused = accuse(CLEAN, said(at=later(10)))

    assert withdraw(accused, "alarm:x", as_of=later(5), now=later(20), hold_down=HOLD_DOWN) == accused


def test_news_that_its_source_has_taken_back_since_changes_nothing() -> None:
    taken = taken_back(accuse(CLEAN, said(at=NOW)), at=later(10))

    for at in (NOW, later(10)):
        assert is_outdated(taken, said(at=at))
        assert accuse(taken, said(at=at)) == taken
    assert is_failing(accuse(taken, said(at=later(11))))


def test_a_node_is_held_down_after_its_last_failing_evidence_and_then_serves_again() -> None:
    taken = taken_back(accuse(CLEAN, said()))

    assert taken.held_until == later(60)
    assert health(taken, now=later(59)) is Health.SUSPECT
    assert health(taken, now=later(60)) is Health.HEALTHY


def test_a_handover_that_ends_holds_nobody_down() -> None:
    taken = taken_back(accuse(CLEAN, said("drain", Severity.HANDOVER)), "drain")

    assert (taken.held_until, taken.flaps) == (None, 0)
    assert not is_handing_over(taken)


def test_the_hold_down_doubles_with_each_flap_up_to_half_an_hour() -> None:
    verdict, pauses = CLEAN, []
    for number in range(8):
        at = NOW + timedelta(hours=number)
        verdict = taken_back(accuse(verdict, said(at=at)), at=at)
        assert verdict.held_until is not None
        pauses.append(verdict.held_until - at)

    assert pauses[:5] == [HOLD_DOWN * 2**number for number in range(5)]
    assert pauses[5:] == [LONGEST_HOLD_DOWN] * 3


@pytest.mark.parametrize("flaps", [44, 1_000_000])
def test_no_number_of_flaps_is_too_many(flaps: int) -> None:
    taken = taken_back(accuse(replace(CLEAN, flaps=flaps), said()))

    assert taken.held_until is not None
    assert taken.held_until - NOW == LONGEST_HOLD_DOWN


def test_a_second_accusation_while_it_fails_is_no_second_flap() -> None:
    verdict = accuse(accuse(CLEAN, said("alarm:x")), said("ec2-state", Severity.DEFINITIVE))

    assert verdict.flaps == 1


def test_a_verdict_is_spent_when_nothing_was_said_and_the_longest_hold_down_has_passed() -> None:
    taken = taken_back(accuse(CLEAN, said()))
    assert taken.held_until is not None
    end = taken.held_until + LONGEST_HOLD_DOWN

    assert not is_spent(accuse(CLEAN, said()), now=later(1e6))
    assert not is_spent(taken, now=end)
    assert is_spent(taken, now=end + timedelta(seconds=1))
    assert is_spent(CLEAN, now=NOW)


def test_a_subnet_freezes_at_more_than_half_by_indirect_evidence() -> None:
    assert not is_frozen(4, suspects("i-1", "i-2"), "subnet-a")
    assert is_frozen(4, suspects("i-1", "i-2", "i-3"), "subnet-a")


def test_neither_other_subnets_nor_ec2s_word_nor_handovers_freeze_a_subnet() -> None:
    others = suspects("i-1", "i-2", "i-3", subnet="subnet-b")
    dead = suspects("i-4", "i-5", "i-6", severity=Severity.DEFINITIVE)
    leaving = suspects("i-7", "i-8", "i-9", severity=Severity.HANDOVER)

    assert not is_frozen(4, [*others, *dead, *leaving], "subnet-a")


def test_who_is_dead_by_ec2s_word_does_not_fail_indirectly() -> None:
    verdict = accuse(accuse(CLEAN, said()), said("ec2-state", Severity.DEFINITIVE))

    assert is_failing(verdict)
    assert not is_failing_indirectly(verdict)


@given(
    ahead=st.integers(-7 * 3600, 7 * 3600),
    was_withdrawn=st.integers(-7 * 3600, 7 * 3600),
    held=st.integers(-7 * 3600, 7 * 3600),
)
def test_what_lies_ahead_is_cut_and_can_be_withdrawn_and_said_anew(
    ahead: int, was_withdrawn: int, held: int
) -> None:
    """Case x, generated: no clock but ours decides how long anything lasts."""
    verdict = replace(
        accuse(CLEAN, said(at=later(ahead))),
        withdrawn={"alarm:y": later(was_withdrawn)},
        held_until=later(held),
    )

    cut = cut_ahead(verdict, now=NOW)

    assert cut_ahead(cut, now=NOW) == cut
    assert (cut == verdict) == (
        ahead <= 0 and was_withdrawn <= 0 and held <= LONGEST_HOLD_DOWN.total_seconds()
    )
    assert taken_back(cut, at=NOW).evidence == {}
    assert "alarm:y" in accuse(cut, said("alarm:y", at=later(1))).evidence
    assert cut.held_until is not None
    assert cut.held_until <= NOW + LONGEST_HOLD_DOWN
