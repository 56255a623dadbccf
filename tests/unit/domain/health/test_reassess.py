"""A verdict by what can be read now, whatever events got lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
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
    alarm = AlarmSeen(NAME, AlarmValue.ALARM, NOW, ("i-a1",))

    accused = after(CLEAN, Observed(RUNS, (alarm,)))
    unknown = after(accused, Observed(RUNS, (replace(alarm, value=AlarmValue.INSUFFICIENT_DATA),)))
    cleared = after(accused, Observed(RUNS, (replace(alarm, value=AlarmValue.OK, at=NOW + HOLD_DOWN),)))

    assert accused.evidence[f"alarm:{NAME}"].severity is Severity.INDIRECT
    assert after(accused, Observed(RUNS, (alarm,))) == accused, "said once"
    assert unknown == accused
    assert cleared.evidence == {}
    assert cleared.held_until == NOW + HOLD_DOWN


def test_an_alarm_that_was_ok_before_the_evidence_takes_nothing_back() -> None:
    accused = against(f"alarm:{NAME}", Severity.INDIRECT, ago=5)
    earlier = AlarmSeen(NAME, AlarmValue.OK, NOW - timedelta(seconds=30))

    assert after(accused, Observed(RUNS, (earlier,))) == accused


def test_evidence_of_an_alarm_that_is_no_more_is_dropped_and_counts_again_if_it_shows() -> None:
    """Case v: CloudWatch sends no OK for an alarm that was deleted."""
    accused = against("alarm:ops", Severity.INDIRECT, ago=3600)
    shows = AlarmSeen("ops", AlarmValue.ALARM, NOW - timedelta(hours=1), ("i-a1",))

    dropped = after(accused, Observed(RUNS, gone_alarms=frozenset({"ops"})))
    again = after(dropped, Observed(RUNS, (shows,)))

    assert dropped.evidence == {}
    assert dropped.held_until == NOW + HOLD_DOWN
    assert again.evidence == accused.evidence


def test_an_alarm_with_contributors_accuses_nobody_by_its_own_state_and_spares_all_when_it_is_ok() -> None:
    """Case v: of the fleet's alarm only events say who contributes."""
    accused = against("alarm:fleet", Severity.INDIRECT, ago=300)
    fleet = AlarmSeen("fleet", AlarmValue.ALARM, NOW - timedelta(seconds=60))

    assert after(CLEAN, Observed(RUNS, (fleet,))) == CLEAN
    assert after(accused, Observed(RUNS, (fleet,))) == accused
    assert after(accused, Observed(RUNS, (replace(fleet, value=AlarmValue.OK),))).evidence == {}


@given(
    names=st.sets(st.sampled_from(["ours", "ops", "fleet", "theirs"])),
    gone=st.sets(st.sampled_from(["ours", "ops", "fleet", "theirs"])),
    listed=st.dictionaries(st.sampled_from(["ours", "ops", "fleet"]), st.sampled_from(list(AlarmValue))),
)
def test_whatever_alarms_say_only_their_own_evidence_ends(
    names: set[str], gone: set[str], listed: dict[str, AlarmValue]
) -> None:
    """Case v, generated: evidence ends if its alarm is gone or OK, and by nothing else."""
    verdict = CLEAN
    for name in sorted(names):
        verdict = accuse(verdict, Evidence(f"alarm:{name}", Severity.INDIRECT, NOW - HOLD_DOWN))
    seen = tuple(AlarmSeen(name, value, NOW) for name, value in sorted(listed.items()))

    left = after(verdict, Observed(RUNS, seen, frozenset(gone)))

    ended = gone | {name for name, value in listed.items() if value is AlarmValue.OK}
    assert left.evidence.keys() == {f"alarm:{name}" for name in names - ended}


def test_forwarders_have_alarms_and_who_is_held_down_by_one_until_it_is_gone() -> None:
    held = against(f"alarm:{NAME}", Severity.INDIRECT, ago=5)
    other = against("alarm:somebody-elses", Severity.INDIRECT, ago=5)

    assert wanted_alarms("demo", {"i-b1"}, {"i-a1", "i-b1"}, {"i-a1": held}) == {"i-a1", "i-b1"}
    assert wanted_alarms("demo", {"i-b1"}, {"i-b1"}, {"i-a1": held}) == {"i-b1"}
    assert wanted_alarms("demo", {"i-b1"}, {"i-a1"}, {"i-a1": other}) == set()
