"""A verdict by what can be read now, whatever events got lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from podway.domain.health.alarms import alarm_name, wanted_alarms
from podway.domain.health.reassess import DRAINED, HANDOVER, AlarmSeen, Observed, reassess
from podway.domain.health.verdict import EC2_STATE, Evidence, Severity, Verdict, accuse
from podway.domain.signals import AlarmValue, InstanceState

from tests.unit.app.cluster import instance

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOLD_DOWN = timedelta(seconds=60)
CLEAN = Verdict("i-a1", "subnet-a")
NAME = alarm_name("demo", "i-a1")
RUNS = instance("a1", launched=NOW - timedelta(days=1))


def against(source: str, severity: Severity, *, ago: float) -> Verdict:
    return accuse(CLEAN, Evidence(source, severity, NOW - timedelta(seconds=ago)))


def after(verdict: Verdict, observed: Observed) -> Verdict:
    return reassess(verdict, observed, now=NOW, hold_down=HOLD_DOWN)


def started(*, ago: float) -> Observed:
    return Observed(replace(RUNS, launched=NOW - timedelta(seconds=ago)))


def test_ec2s_word_is_withdrawn_when_ec2_says_otherwise_for_longer_than_a_read_may_be_stale() -> None:
    assert after(against(EC2_STATE, Severity.DEFINITIVE, ago=61), Observed(RUNS)).evidence == {}
    assert after(against(EC2_STATE, Severity.DEFINITIVE, ago=5), Observed(RUNS)).evidence != {}


def test_ec2s_word_is_withdrawn_at_once_from_an_instance_that_was_started_after_it() -> None:
    stopped = against(EC2_STATE, Severity.DEFINITIVE, ago=30)

    assert after(stopped, started(ago=10)).evidence == {}
    assert after(stopped, started(ago=40)).evidence != {}


def test_a_death_that_was_announced_and_died_is_over_but_a_drain_is_not() -> None:
    spot = against(f"{HANDOVER}spot-interruption", Severity.HANDOVER, ago=300)
    drain = against(DRAINED, Severity.HANDOVER, ago=300)

    assert after(spot, started(ago=10)).evidence == {}
    assert after(spot, Observed(RUNS)) == spot
    assert after(drain, started(ago=10)) == drain


@pytest.mark.parametrize("state", [one for one in InstanceState if one is not InstanceState.RUNNING])
def test_nothing_is_withdrawn_from_an_instance_that_does_not_run(state: InstanceState) -> None:
    stopped = against(EC2_STATE, Severity.DEFINITIVE, ago=3600)

    assert after(stopped, Observed(replace(RUNS, state=state))) == stopped


def test_our_alarm_as_it_stands_is_evidence_and_takes_it_back() -> None:
    alarm = AlarmSeen(NAME, AlarmValue.ALARM, NOW)

    accused = after(CLEAN, Observed(RUNS, alarm))
    unknown = after(accused, Observed(RUNS, replace(alarm, value=AlarmValue.INSUFFICIENT_DATA)))
    cleared = after(accused, Observed(RUNS, replace(alarm, value=AlarmValue.OK, at=NOW + HOLD_DOWN)))

    assert accused.evidence[f"alarm:{NAME}"].severity is Severity.INDIRECT
    assert after(accused, Observed(RUNS, alarm)) == accused, "said once"
    assert unknown == accused
    assert cleared.evidence == {}
    assert cleared.held_until == NOW + HOLD_DOWN


def test_an_alarm_that_was_ok_before_the_evidence_takes_nothing_back() -> None:
    accused = against(f"alarm:{NAME}", Severity.INDIRECT, ago=5)
    earlier = AlarmSeen(NAME, AlarmValue.OK, NOW - timedelta(seconds=30))

    assert after(accused, Observed(RUNS, earlier)) == accused


def test_forwarders_have_alarms_and_who_is_held_down_by_one_until_it_is_gone() -> None:
    held = against(f"alarm:{NAME}", Severity.INDIRECT, ago=5)
    other = against("alarm:somebody-elses", Severity.INDIRECT, ago=5)

    assert wanted_alarms("demo", {"i-b1"}, {"i-a1", "i-b1"}, {"i-a1": held}) == {"i-a1", "i-b1"}
    assert wanted_alarms("demo", {"i-b1"}, {"i-b1"}, {"i-a1": held}) == {"i-b1"}
    assert wanted_alarms("demo", {"i-b1"}, {"i-a1"}, {"i-a1": other}) == set()
