"""Alarms follow forwarders, deaths are put off until routes have left, and route calls keep to EC2's pace."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from podway.app.errors import NeedsOperator, PodwayError, Throttled, TryAgain, Unexpected
from podway.app.upkeep import ALARMS_PER_RUN, CHECKS_PER_RUN, clear_checks, keep_alarms
from podway.domain.failover.cards import forwarders
from podway.domain.failover.pacing import BURST_CALLS, REFILL, RESERVED_CALLS
from podway.domain.health.quorum import PEERS
from podway.domain.health.verdict import Evidence, Severity, accuse
from podway.domain.model import Create
from podway.domain.run.hooks import HOOK_PATIENCE
from podway.domain.signals import (
    AgentReported,
    AlarmChanged,
    AlarmValue,
    HandoverAsked,
    HandoverReason,
    InstanceState,
    LifecycleHook,
)

from tests.unit.app.cluster import Play, instance

TIGHT = 5


def settled() -> Play:
    play = Play(quota=TIGHT)
    play.settle()
    return play


def hook_of(node: str) -> LifecycleHook:
    return LifecycleHook("workers", "podway-terminate", "token", node)


def ask(play: Play, node: str) -> None:
    play.lifecycle.react(
        HandoverAsked(f"hook {node}", play.clock.now(), (node,), HandoverReason.TERMINATE_HOOK, hook_of(node))
    )


def drain_all_of_b(play: Play, *spared: str) -> None:
    evidence = Evidence("handover:drain", Severity.HANDOVER, play.clock.now())
    for node in {"i-b1", "i-b2", "i-b3"}.difference(spared):
        play.store.change_verdict(node, "subnet-b", partial(accuse, evidence=evidence))


# alarms


def test_exactly_the_forwarders_have_an_alarm() -> None:
    play = settled()

    assert play.alarms.standing.keys() == forwarders(play.store.cards.values())
    assert 0 < len(play.alarms.standing) < 6, "cost follows forwarders, not nodes"


def test_a_node_that_its_alarm_holds_down_keeps_it_until_it_is_ok() -> None:
    play = settled()
    busy = play.forwarder_of("subnet-b", "rtb-a")
    play.alarms.turn(busy, AlarmValue.ALARM)

    for _ in range(4):
        play.reconcile()
        play.agents_acknowledge()
    during = busy in play.alarms.standing
    play.clock.go_on(seconds=1)
    play.alarms.turn(busy, AlarmValue.OK)
    play.reconcile()

    assert busy not in forwarders(play.store.cards.values()), "reconcile sees an alarm whose event got lost"
    assert during
    assert busy not in play.alarms.standing


@pytest.mark.parametrize("name", ["ops-check", "podway-fleet/demo", "disk 80 % full"])
def test_evidence_of_an_alarm_that_is_no_more_ends(name: str) -> None:
    """Case v: an alarm was deleted while in ALARM, or does not count any more; no OK ever comes."""
    play = settled()
    busy = play.forwarder_of("subnet-b", "rtb-a")
    play.alarms.turn_other(name, AlarmValue.ALARM)
    alarmed = AlarmChanged("alarm", play.clock.now(), name, (busy,), AlarmValue.ALARM)
    (outcome,) = play.failover.react(alarmed)
    play.clock.go_on(hours=1)
    play.agents_acknowledge()
    play.reconcile()
    during = set(play.store.found_verdicts[busy].evidence)

    del play.alarms.others[name]
    play.reconcile()

    assert outcome.moved
    assert during == {f"alarm:{name}"}
    assert play.store.found_verdicts[busy].evidence == {}
    assert play.store.found_verdicts[busy].held_until is not None, "it is held down all the same"


def test_an_alarm_that_a_list_leaves_out_is_asked_for_by_name_before_its_evidence_ends() -> None:
    """Case v: an absence in a list is no end."""
    play = settled()
    busy = play.forwarder_of("subnet-b", "rtb-a")
    play.alarms.turn(busy, AlarmValue.ALARM)
    play.reconcile()
    accused = play.store.found_verdicts[busy]
    name = play.alarms.standing[busy].name
    play.alarms.unlisted = {name}

    play.reconcile()

    assert play.alarms.asked[-1] == name
    assert play.store.found_verdicts[busy] == accused


def test_an_operators_alarm_whose_event_got_lost_is_seen() -> None:
    play = settled()
    busy = play.forwarder_of("subnet-b", "rtb-a")
    play.alarms.turn_other("ops-check", AlarmValue.ALARM, busy, "i-stranger")

    play.reconcile()

    assert play.store.found_verdicts.keys() == {busy}
    assert busy not in play.targets()["rtb-a"]


def test_one_alarm_that_is_refused_with_an_odd_code_stops_no_other() -> None:
    """Case l: CloudWatch's quota of alarms answers ``LimitExceeded``; hooks are completed all the same."""
    play = settled()
    refused, *others = sorted(play.alarms.standing)
    play.alarms.standing.clear()
    play.alarms.refused = {refused: Unexpected("LimitExceeded")}
    idle = next(node for node, card in play.store.cards.items() if not card.routes)
    play.store.keep_hook(hook_of(idle), now=play.clock.now())

    outcome = play.reconcile()

    assert play.alarms.standing.keys() == set(others)
    assert any("LimitExceeded" in one for one in outcome.warnings)
    assert play.hooks.completed == [hook_of(idle)]


@pytest.mark.parametrize("error", [TryAgain("busy"), NeedsOperator("refused")], ids=repr)
def test_where_cloudwatch_does_not_say_no_alarm_is_made_or_removed_and_routes_are_kept(
    error: PodwayError,
) -> None:
    play = settled()
    standing, calls = dict(play.alarms.standing), play.alarms.calls
    play.alarms.trouble = error
    play.cloud.enter(play.forwarder_of("subnet-b", "rtb-a"), InstanceState.TERMINATED)

    outcome = play.reconcile()

    assert outcome.applied
    assert (play.alarms.standing, play.alarms.calls) == (standing, calls)
    assert any("alarms cannot be read" in one for one in outcome.warnings)


def test_many_new_forwarders_get_their_alarms_over_several_runs() -> None:
    play = Play()
    wanted = {f"i-{number}" for number in range(ALARMS_PER_RUN + 5)}

    keep_alarms(play.alarms, wanted=wanted, seen=())
    first = len(play.alarms.standing)
    keep_alarms(play.alarms, wanted=wanted, seen=play.alarms.standing)

    assert first == ALARMS_PER_RUN
    assert play.alarms.standing.keys() == wanted


# source/dest checks


def test_checks_are_cleared_only_where_they_are_on_and_so_many_at_a_time() -> None:
    play = Play()
    many = tuple(instance(f"a{number}") for number in range(1, CHECKS_PER_RUN + 3))
    off = instance("b1", source_dest_check=False)

    cleared, warnings = clear_checks(play.cloud, (off, *many))

    assert len(cleared) == len(play.cloud.checks_cleared) == CHECKS_PER_RUN
    assert "eni-b1" not in play.cloud.checks_cleared
    assert warnings == []


# hooks


def test_a_hook_waits_while_somebody_elses_routes_cannot_leave_and_is_completed_when_they_have() -> None:
    play = settled()
    busy = play.forwarder_of("subnet-b", "rtb-a")
    drain_all_of_b(play, busy)

    ask(play, busy)
    play.clock.go_on(seconds=60)
    play.reconcile()
    waiting = (list(play.hooks.completed), len(play.hooks.extended))
    for node in {"i-b1", "i-b2", "i-b3"} - {busy}:
        play.failover.withdraw(node, "handover:drain", as_of=play.clock.now())
    play.clock.go_on(seconds=120)
    for _ in range(2):
        play.reconcile()

    assert waiting == ([], 2), "begged for time at once, and by the run after it"
    assert busy not in forwarders(play.store.cards.values())
    assert play.hooks.completed == [hook_of(busy)]
    assert play.store.hooks == {}


def test_a_hook_does_not_wait_for_ever() -> None:
    play = settled()
    busy = play.forwarder_of("subnet-b", "rtb-a")
    drain_all_of_b(play, busy)
    ask(play, busy)

    play.clock.go_on(seconds=HOOK_PATIENCE.total_seconds() + 1)
    play.agents_acknowledge()
    outcome = play.reconcile()

    assert play.hooks.completed == [hook_of(busy)]
    assert any(busy in one and "nobody takes over" in one for one in outcome.warnings)


def test_a_hand_over_that_ec2_interrupts_is_retried_and_the_hook_waits() -> None:
    play = settled()
    busy = play.forwarder_of("subnet-b", "rtb-a")
    play.cloud.fail_after = {len(play.cloud.writes) + len(play.cloud.checks_cleared): TryAgain()}

    with pytest.raises(TryAgain):
        ask(play, busy)
    pending = dict(play.store.hooks)
    ask(play, busy)

    assert pending.keys() == {busy}
    assert play.hooks.completed == [hook_of(busy)]


def test_a_strangers_hook_is_neither_completed_nor_remembered() -> None:
    play = settled()

    ask(play, "i-stranger")

    assert (play.hooks.completed, play.hooks.extended, play.store.hooks) == ([], [], {})


# acknowledgements


def test_only_awaited_acknowledgements_wake_reconcile() -> None:
    play = settled()
    play.hints.reasons.clear()
    idle = [node for node, card in play.store.cards.items() if not card.is_awaited]
    awaited = [node for node, card in play.store.cards.items() if card.is_awaited]

    for node in (*idle, *awaited):
        play.lifecycle.react(AgentReported(f"ack {node}", play.clock.now(), node, causes=("acknowledged",)))
    acknowledged = list(play.hints.reasons)
    play.lifecycle.react(AgentReported("wish", play.clock.now(), idle[0], causes=("addresses",)))
    play.lifecycle.react(AgentReported("word", play.clock.now(), idle[0], causes=("suspicion",)))

    assert idle
    assert [reason.split()[0] for reason in acknowledged] == awaited
    assert play.hints.reasons[len(acknowledged) :] == [f"{idle[0]} reported: addresses"]


def test_an_acknowledgement_is_heard_also_when_a_suspicion_changes_with_it() -> None:
    play = settled()
    play.hints.reasons.clear()
    awaited = next(node for node, card in play.store.cards.items() if card.is_awaited)
    both = ("suspicion", "acknowledged")

    play.lifecycle.react(AgentReported("both", play.clock.now(), awaited, ("i-b1",), causes=both))

    assert play.hints.reasons == [f"{awaited} reported: acknowledged"]


def test_news_in_a_word_that_is_unknown_wakes_reconcile() -> None:
    play = settled()
    play.hints.reasons.clear()

    play.lifecycle.react(AgentReported("new", play.clock.now(), "i-a1", causes=("weather",)))

    assert play.hints.reasons == ["i-a1 reported: weather"]


# peers


def test_the_items_of_watchers_whose_clocks_were_hours_ahead_accuse_nobody() -> None:
    """Whoever wrote them may have died long ago."""
    play = settled()
    busy = play.forwarder_of("subnet-b", "rtb-a")
    for watcher in play.store.cards[busy].watchers:
        play.store.reports[watcher] = replace(
            play.store.reports[watcher], suspects=(busy,), heartbeat=play.clock.now() + timedelta(hours=6)
        )

    play.reconcile()

    assert play.forwarder_of("subnet-b", "rtb-a") == busy
    assert busy not in play.store.found_verdicts


def test_suspicions_that_the_stream_lost_are_found_in_the_agents_items() -> None:
    play = settled()
    busy = play.forwarder_of("subnet-b", "rtb-a")
    watchers = play.store.cards[busy].watchers
    for watcher in watchers:
        play.store.reports[watcher] = replace(
            play.store.reports[watcher], suspects=(busy,), heartbeat=play.clock.now()
        )

    play.reconcile()
    suspected = play.store.found_verdicts[busy]
    for watcher in watchers:
        play.store.reports[watcher] = replace(
            play.store.reports[watcher], suspects=(), heartbeat=play.clock.now() + timedelta(seconds=5)
        )
    play.clock.go_on(seconds=10)
    play.reconcile()

    assert len(watchers) == 2, "the subnet has no more"
    assert PEERS in suspected.evidence
    assert busy not in play.targets()["rtb-a"]
    assert play.store.found_verdicts[busy].evidence == {}
    assert play.store.found_verdicts[busy].held_until is not None


def test_one_nodes_lies_move_nothing() -> None:
    play = settled()
    everybody = tuple(play.store.cards)
    before = play.targets()
    play.store.reports["i-b1"] = replace(play.store.reports["i-b1"], suspects=everybody)

    play.reconcile()

    assert play.targets() == before
    assert not any(PEERS in one.evidence for one in play.store.found_verdicts.values())


# pace


def test_reconcile_keeps_to_ec2s_pace_and_leaves_a_reserve_for_failovers() -> None:
    play = Play(nodes=tuple(f"{letter}{number}" for letter in "ab" for number in range(1, 25)))
    play.reconcile()
    play.agents_acknowledge()
    began = play.clock.now()

    outcome = play.reconcile()

    creates = sum(isinstance(step, Create) for _, step in outcome.applied)
    assert creates > BURST_CALLS - RESERVED_CALLS
    assert play.clock.now() - began >= (creates - BURST_CALLS + RESERVED_CALLS) * REFILL


def test_calls_that_ec2_refused_for_being_too_many_are_counted() -> None:
    play = Play()
    play.reconcile()
    play.agents_acknowledge()
    play.cloud.fail_after = {len(play.cloud.writes) + len(play.cloud.checks_cleared): Throttled("too many")}

    outcome = play.reconcile()

    assert outcome.throttled == 1
    assert play.hints.reasons, "the next run goes on where the table stands"
