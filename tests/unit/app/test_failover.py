"""Failover moves what relays through a dead node, and nothing else, and only if it still points there."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import pytest
from podway.app.errors import PodwayError, TargetIsGone, TryAgain, Unexpected
from podway.app.outcome import FailoverOutcome, Unfinished
from podway.app.ports import ClaimAnswer
from podway.domain.health.verdict import Evidence, Severity, Verdict, accuse
from podway.domain.model import Replace, Route, StayReason, Step
from podway.domain.signals import (
    AgentReported,
    AlarmChanged,
    AlarmValue,
    HandoverAsked,
    HandoverReason,
    InstanceState,
    LifecycleHook,
    Signal,
    StateChanged,
)

from tests.unit.app.cluster import HOLD_DOWN, Play

TIGHT = 5
"""A quota that leaves room for few routes, so that nodes must forward."""


def ready() -> tuple[Play, str]:
    """A settled cluster and the forwarder of subnet-b in rtb-a."""
    play = Play(quota=TIGHT)
    play.settle()
    play.hints.reasons.clear()
    return play, play.forwarder_of("subnet-b", "rtb-a")


def died(
    play: Play, node: str, *, state: InstanceState = InstanceState.TERMINATED
) -> tuple[FailoverOutcome, ...]:
    play.cloud.enter(node, state)
    return play.failover.react(StateChanged(f"event {node} {state}", play.clock.now(), node, state))


def alarm(
    play: Play, node: str, value: AlarmValue = AlarmValue.ALARM, name: str = "check"
) -> tuple[FailoverOutcome, ...]:
    event = f"{name} {node} {value} {play.clock.now()}"
    play.alarms.turn_other(name, value, node)
    return play.failover.react(AlarmChanged(event, play.clock.now(), name, (node,), value))


def test_the_routes_on_the_card_move_to_a_standby_of_the_subnet_in_two_waves() -> None:
    play, busy = ready()
    carried = len(play.store.cards[busy].routes)
    before = len(play.cloud.writes)

    (outcome,) = died(play, busy)

    assert outcome.waves == 2
    assert len(outcome.moved) == len(play.cloud.writes) - before == carried > 0
    assert busy != play.forwarder_of("subnet-b", "rtb-a")
    assert all(move.standby.node.startswith("i-b") for move in outcome.moved)
    assert play.hints.reasons, "reconcile was not woken"
    assert any(busy in entry.what for entry in play.store.history)


def test_a_table_that_the_list_leaves_out_is_asked_for_by_id() -> None:
    play, busy = ready()
    carried = len(play.store.cards[busy].routes)
    play.cloud.hidden_tables = {"rtb-a"}

    (outcome,) = died(play, busy)

    assert (len(outcome.moved), outcome.waves, outcome.stayed.total()) == (carried, 3, 0)
    assert busy != play.forwarder_of("subnet-b", "rtb-a")


@pytest.mark.parametrize("why", [None, TryAgain("busy"), Unexpected("odd")])
def test_a_route_in_a_table_that_is_not_shown_stays_on_its_card_until_it_is(why: PodwayError | None) -> None:
    """It must not be taken for moved: then nobody would move it any more."""
    play, busy = ready()
    carried = len(play.store.cards[busy].routes)
    play.cloud.hidden_tables, play.cloud.no_second_look = {"rtb-a"}, why
    play.cloud.mute_tables = {"rtb-a"}

    with pytest.raises(Unfinished) as unfinished:
        died(play, busy)

    (outcome,) = unfinished.value.outcomes
    claim = play.store.cards[busy].claim
    assert outcome.stayed[StayReason.UNSEEN] > 0
    assert outcome.stayed[StayReason.MOVED_ALREADY] == 0
    assert claim is None or not claim.done
    assert play.hints.reasons
    play.cloud.hidden_tables, play.cloud.no_second_look, play.cloud.mute_tables = set(), None, set()
    (again,) = died(play, busy)
    assert len(outcome.moved) + len(again.moved) == carried
    assert busy != play.forwarder_of("subnet-b", "rtb-a")


def test_a_table_that_ec2_calls_unknown_has_nothing_to_move() -> None:
    play, busy = ready()
    play.cloud.surveyed = replace(
        play.cloud.surveyed,
        route_tables=tuple(one for one in play.cloud.surveyed.route_tables if one.id != "rtb-a"),
    )

    (outcome,) = died(play, busy)

    assert outcome.stayed.keys() == {StayReason.MOVED_ALREADY}


def test_of_two_deliveries_of_one_event_at_once_one_moves_each_route_once() -> None:
    """Each call was made twice. The other delivery is tried again, and finds it done."""
    play, busy = ready()
    carried = len(play.store.cards[busy].routes)
    play.cloud.enter(busy, InstanceState.TERMINATED)
    event = StateChanged("event", play.clock.now(), busy, InstanceState.TERMINATED)
    before = len(play.cloud.writes)
    refused: list[str] = []

    def meanwhile(*_: object) -> None:
        play.cloud.before_write = None
        with pytest.raises(TryAgain, match="another delivery") as error:
            play.failover.react(event)
        refused.append(str(error.value))

    play.cloud.before_write = meanwhile
    (outcome,) = play.failover.react(event)
    (late,) = play.failover.react(event)

    assert len(outcome.moved) == carried == len(play.cloud.writes) - before
    assert len(refused) == 1
    assert late.answer is ClaimAnswer.DONE


def test_a_late_alarm_that_is_over_leaves_the_card_to_the_death_that_follows() -> None:
    """It closed the card as done, and nobody moved what led to the dead."""
    play, busy = ready()
    carried = len(play.store.cards[busy].routes)
    raised = play.clock.now()
    play.store.found_verdicts[busy] = Verdict(busy, "subnet-b", withdrawn={"alarm:check": raised})

    (late,) = play.failover.react(AlarmChanged("late", raised, "check", (busy,), AlarmValue.ALARM))
    (death,) = died(play, busy)

    assert (late.moved, late.stayed[StayReason.OUTDATED]) == ([], carried)
    assert len(death.moved) == carried


def test_nor_does_it_shut_out_an_alarm_that_counts() -> None:
    play, busy = ready()
    carried = len(play.store.cards[busy].routes)
    raised = play.clock.now()
    play.store.found_verdicts[busy] = Verdict(busy, "subnet-b", withdrawn={"alarm:check": raised})
    play.failover.react(AlarmChanged("late", raised, "check", (busy,), AlarmValue.ALARM))
    play.clock.go_on(seconds=1)

    (new,) = play.failover.react(AlarmChanged("new", play.clock.now(), "check", (busy,), AlarmValue.ALARM))

    assert len(new.moved) == carried


@pytest.mark.parametrize("order", list(permutations(("late", "over", "dead"))), ids="-".join)
def test_in_every_order_of_a_late_alarm_its_end_and_the_death_each_route_moves_once(
    order: tuple[str, ...],
) -> None:
    play, busy = ready()
    carried, raised = len(play.store.cards[busy].routes), play.clock.now()
    over = raised + timedelta(seconds=1)
    events: dict[str, Signal] = {
        "late": AlarmChanged("late", raised, "check", (busy,), AlarmValue.ALARM),
        "over": AlarmChanged("over", over, "check", (busy,), AlarmValue.OK),
        "dead": StateChanged("dead", over, busy, InstanceState.TERMINATED),
    }
    moved = 0

    for what in order:
        play.clock.go_on(seconds=1)
        if what == "dead":
            play.cloud.enter(busy, InstanceState.TERMINATED)
        moved += sum(len(one.moved) for one in play.failover.react(events[what]))

    assert moved == carried


def test_a_record_of_the_stream_goes_on_at_once_where_its_function_was_killed() -> None:
    """It is delivered again at once, and a few times only: it cannot wait for the claim to expire."""
    play, busy = ready()
    carried = len(play.store.cards[busy].routes)
    one, other = play.store.cards[busy].watchers[:2]
    play.failover.react(AgentReported("one", play.clock.now(), one, (busy,)))
    word = AgentReported("other", play.clock.now(), other, (busy,))

    def kill(*_: object) -> None:
        play.cloud.before_write = None
        raise KeyboardInterrupt

    play.cloud.before_write = kill
    with pytest.raises(KeyboardInterrupt):
        play.failover.react(word)
    (outcome,) = play.failover.react(word)

    assert len(outcome.moved) == carried


def test_a_graver_event_looks_again_at_what_was_moved() -> None:
    """A route that came back to the node since is on its card no more, or is: the tables tell."""
    play, busy = ready()
    (drained,) = play.lifecycle.react(HandoverAsked("drain", play.clock.now(), (busy,), HandoverReason.DRAIN))
    card = play.store.cards[busy]
    route = card.routes[0]
    play.cloud.apply(route.table, Replace(route.destination, card.network_interface, was="eni-other"))

    (death,) = died(play, busy)

    assert drained.moved
    assert [one.route.destination for one in death.moved] == [route.destination]


def test_a_standby_that_fell_while_it_took_over_is_relieved_by_the_events_retry() -> None:
    """The retry found that nothing led to the first node any more, and ended."""
    play, busy = ready()
    card = play.store.cards[busy]
    heir = card.routes[0].standbys[0]
    play.cloud.enter(busy, InstanceState.TERMINATED)
    event = StateChanged("event", play.clock.now(), busy, InstanceState.TERMINATED)
    evidence = Evidence("ec2-state", Severity.DEFINITIVE, play.clock.now(), "stopping")

    def falls(*_: object) -> None:
        play.cloud.before_write = None
        verdict = play.store.found_verdicts.get(heir.node) or Verdict(heir.node, "subnet-b")
        play.store.found_verdicts[heir.node] = accuse(verdict, evidence)
        writes = len(play.cloud.writes) + len(play.cloud.checks_cleared)
        play.cloud.fail_after[writes + len(card.routes)] = TryAgain("throttled")

    play.cloud.before_write = falls
    with pytest.raises(Unfinished):
        play.failover.react(event)
    play.failover.react(event)

    for route in card.routes:
        assert play.cloud.table(route.table)[route.destination] != heir.network_interface


def test_an_odd_answer_about_one_route_leaves_the_others_on_a_card_in_the_history_and_with_a_hint() -> None:
    """Case m: of two replacements one is answered with a code that nobody knows."""
    play = Play()
    play.settle()
    busy = play.forwarder_of("subnet-b", "rtb-a")
    (anchor,) = play.store.found_supernets["subnet-b"]
    there = Route(anchor, busy.replace("i-", "eni-"))
    play.cloud.edit(
        "rtb-b",
        lambda table: replace(
            table, routes=(*(one for one in table.routes if one.destination != anchor), there)
        ),
    )
    play.reconcile()
    assert len(play.store.cards[busy].routes) == 2
    play.hints.reasons.clear()
    play.cloud.fail_after = {len(play.cloud.writes) + len(play.cloud.checks_cleared): Unexpected("Odd")}
    before = len(play.cloud.writes)

    with pytest.raises(PodwayError):
        died(play, busy)

    assert play.cloud.fail_after == {}
    (moved,) = play.cloud.writes[before:]
    taker = moved[1].network_interface.replace("eni-", "i-")  # type: ignore[union-attr]  # a replacement
    assert (moved[0], moved[1].destination) in {
        (one.table, one.destination) for one in play.store.cards[taker].routes
    }
    assert play.hints.reasons
    assert any(busy in entry.what for entry in play.store.history)


def test_the_same_event_again_and_the_states_that_follow_move_nothing_more() -> None:
    play, busy = ready()

    first = died(play, busy, state=InstanceState.SHUTTING_DOWN)
    again = died(play, busy, state=InstanceState.SHUTTING_DOWN)
    later = died(play, busy)

    assert [bool(one.moved) for one in (*first, *again, *later)] == [True, False, False]
    assert {one.answer for one in (*again, *later)} == {ClaimAnswer.DONE}


def test_an_instance_that_is_no_member_costs_no_write_and_leaves_nothing_behind() -> None:
    play, _ = ready()
    writes, stored = len(play.cloud.writes), play.store.writes

    (outcome,) = died(play, "i-stranger")

    assert outcome.answer is ClaimAnswer.NOT_A_MEMBER
    assert (len(play.cloud.writes), play.store.writes, play.hints.reasons) == (writes, stored, [])


def test_a_node_that_relays_nothing_costs_no_route_call_but_its_evidence_is_kept() -> None:
    play, _ = ready()
    idle = next(node for node, card in play.store.cards.items() if not card.routes)
    writes = len(play.cloud.writes)

    (outcome,) = alarm(play, idle)

    assert (outcome.waves, len(play.cloud.writes)) == (1, writes)
    assert "alarm:check" in play.store.found_verdicts[idle].evidence


def test_a_route_that_no_longer_points_at_the_dead_node_is_left_alone() -> None:
    play, busy = ready()
    route = play.store.cards[busy].routes[0]
    play.cloud.edit(
        route.table,
        lambda table: replace(
            table,
            routes=tuple(
                Route(route.destination, "eni-else") if one.destination == route.destination else one
                for one in table.routes
            ),
        ),
    )

    (outcome,) = died(play, busy)

    assert play.cloud.table(route.table)[route.destination] == "eni-else"
    assert outcome.stayed[StayReason.MOVED_ALREADY] == 1


def test_a_standby_that_fails_drains_or_is_held_down_is_passed_over() -> None:
    play, busy = ready()
    others = [node for node in ("i-b1", "i-b2", "i-b3") if node != busy]
    evidence = Evidence("handover:drain", Severity.HANDOVER, play.clock.now())
    play.store.change_verdict(others[0], "subnet-b", lambda one: accuse(one, evidence))

    died(play, busy)

    assert play.forwarder_of("subnet-b", "rtb-a") == others[1]


def test_a_standby_whose_interface_is_gone_costs_one_more_wave() -> None:
    play, busy = ready()
    first = play.store.cards[busy].routes[0].standbys[0]
    play.cloud.enter(first.node, InstanceState.TERMINATED)

    (outcome,) = died(play, busy)

    assert outcome.waves == 3
    assert play.forwarder_of("subnet-b", "rtb-a") not in {busy, first.node}


def test_when_nobody_is_eligible_nothing_moves() -> None:
    play, busy = ready()
    evidence = Evidence("handover:drain", Severity.HANDOVER, play.clock.now())
    for node in ("i-b1", "i-b2", "i-b3"):
        play.store.change_verdict(node, "subnet-b", lambda one: accuse(one, evidence))

    (outcome,) = died(play, busy)

    assert not outcome.moved
    assert outcome.stayed[StayReason.NOBODY] > 0
    assert play.forwarder_of("subnet-b", "rtb-a") == busy


def test_more_than_half_of_a_subnet_failing_by_hearsay_freezes_it_but_ec2s_word_still_counts() -> None:
    play, busy = ready()
    other = next(node for node in ("i-b1", "i-b2", "i-b3") if node != busy)
    alarm(play, other)

    (frozen,) = alarm(play, busy)
    stayed = play.forwarder_of("subnet-b", "rtb-a")
    play.clock.go_on(seconds=61)
    (dead,) = died(play, busy)

    assert frozen.stayed[StayReason.FROZEN] > 0
    assert stayed == busy
    assert dead.moved


def test_an_ok_withdraws_its_own_alarms_evidence_and_the_hold_down_doubles_with_each_flap() -> None:
    play, busy = ready()
    pauses = []
    for _ in range(3):
        alarm(play, busy)
        alarm(play, busy, name="other")
        alarm(play, busy, AlarmValue.OK, name="other")
        assert set(play.store.found_verdicts[busy].evidence) == {"alarm:check"}
        alarm(play, busy, AlarmValue.OK)
        held_until = play.store.found_verdicts[busy].held_until
        assert held_until is not None
        pauses.append(held_until - play.clock.now())
        play.clock.go_on(hours=1)

    assert pauses == [HOLD_DOWN, 2 * HOLD_DOWN, 4 * HOLD_DOWN]


def test_evidence_older_than_what_its_source_said_since_moves_nothing() -> None:
    play, busy = ready()
    long_ago = play.clock.now()
    play.clock.go_on(seconds=60)
    alarm(play, busy, AlarmValue.ALARM)
    alarm(play, busy, AlarmValue.OK)
    play.clock.go_on(hours=1)
    play.settle()
    back = play.forwarder_of("subnet-b", "rtb-a")
    event = AlarmChanged("late", long_ago, "check", (back,), AlarmValue.ALARM)
    play.store.change_verdict(
        back,
        "subnet-b",
        lambda one: replace(one, withdrawn={"alarm:check": long_ago + timedelta(seconds=1)}),
    )

    (outcome,) = play.failover.react(event)

    assert outcome.stayed[StayReason.OUTDATED] > 0
    assert not outcome.moved


def test_insufficient_data_says_nothing() -> None:
    play, busy = ready()

    assert alarm(play, busy, AlarmValue.INSUFFICIENT_DATA) == ()
    assert play.store.found_verdicts == {}


def test_reconcile_gives_a_failed_node_nothing_back_until_the_evidence_is_withdrawn() -> None:
    play, busy = ready()
    alarm(play, busy)
    for _ in range(3):
        play.reconcile()
        play.agents_acknowledge()
    during = play.targets()["rtb-a"]

    alarm(play, busy, AlarmValue.OK)
    held = play.store.found_verdicts[busy].held_until
    play.clock.go_on(hours=2)
    play.reconcile()

    assert busy not in during
    assert held is not None
    assert busy not in play.store.found_verdicts, "a spent verdict is forgotten"


@pytest.mark.parametrize("error", [TryAgain()], ids=repr)
def test_a_route_that_could_not_be_moved_is_moved_by_the_events_retry(error: TryAgain) -> None:
    play, busy = ready()
    play.cloud.fail_after = {len(play.cloud.writes) + len(play.cloud.checks_cleared): error}

    with pytest.raises(TryAgain):
        died(play, busy)
    died(play, busy)

    assert play.cloud.fail_after == {}
    assert busy not in play.targets()["rtb-a"]


def test_a_new_next_hop_that_falls_while_it_takes_over_is_failed_over_too() -> None:
    play, busy = ready()
    fallen: list[str] = []

    def fall(_: str, step: Step) -> None:
        taker = getattr(step, "network_interface", "").replace("eni-", "i-")
        if not fallen and taker:
            fallen.append(taker)
            play.cloud.before_write = None
            died(play, taker, state=InstanceState.STOPPED)

    play.cloud.before_write = fall
    died(play, busy)

    assert fallen, "nobody fell"
    assert play.forwarder_of("subnet-b", "rtb-a") not in {busy, *fallen}


def test_a_drain_moves_what_is_relayed_and_completes_the_hook_of_members_only() -> None:
    play, busy = ready()
    hook = LifecycleHook("workers", "podway-terminate", "token", busy)
    foreign = LifecycleHook("others", "podway-terminate", "token", "i-stranger")
    now = play.clock.now()

    (outcome,) = play.lifecycle.react(
        HandoverAsked("drain", now, (busy,), HandoverReason.TERMINATE_HOOK, hook)
    )
    play.lifecycle.react(HandoverAsked("other", now, ("i-stranger",), HandoverReason.TERMINATE_HOOK, foreign))
    for _ in range(2):
        play.reconcile()

    assert outcome.moved
    assert play.hooks.completed == [hook]
    assert all(
        play.cloud.table(table).get(anchor) != busy.replace("i-", "eni-")
        for table in ("rtb-a", "rtb-b")
        for anchor in play.store.found_supernets["subnet-b"]
    )


def test_maintenance_that_is_over_lets_the_node_relay_again() -> None:
    play, busy = ready()
    asked = HandoverAsked("maintenance", play.clock.now(), (busy,), HandoverReason.MAINTENANCE)
    play.lifecycle.react(asked)
    play.clock.go_on(seconds=60)

    play.lifecycle.react(replace(asked, event_id="closed", at=play.clock.now(), is_over=True))
    again = play.lifecycle.react(asked)

    assert play.store.found_verdicts[busy].evidence == {}
    assert not any(one.moved for one in again), "the late notice is outdated"


def test_a_running_instance_is_let_in_only_if_it_is_a_member() -> None:
    play = Play(nodes=("a1",))
    now = play.clock.now()

    play.lifecycle.react(StateChanged("one", now, "i-a1", InstanceState.RUNNING))
    play.lifecycle.react(StateChanged("two", now, "i-stranger", InstanceState.RUNNING))
    play.lifecycle.react(StateChanged("three", now + timedelta(1), "i-a1", InstanceState.RUNNING))

    assert play.cloud.checks_cleared == ["eni-a1"], "no call where the check is clear already"
    assert len(play.hints.reasons) == 2


def test_the_target_is_gone_error_is_no_reason_to_stop() -> None:
    play, busy = ready()
    play.cloud.fail_after = {len(play.cloud.writes) + len(play.cloud.checks_cleared): TargetIsGone("eni")}

    (outcome,) = died(play, busy)

    assert play.cloud.fail_after == {}
    assert outcome.waves == 3
    assert outcome.moved


def test_a_report_about_two_forwarders_cannot_move_more_than_half_of_a_subnet() -> None:
    play = Play(quota=TIGHT, nodes=("a1", "b1", "b2", "b3"))
    play.settle()
    for voice, about in (("i-b3", "i-b1"), ("i-b1", "i-b3")):
        play.failover.react(AgentReported(f"{voice} alone", play.clock.now(), voice, (about,)))

    first, second = play.failover.react(AgentReported("both", play.clock.now(), "i-b2", ("i-b1", "i-b3")))

    assert (bool(first.moved), bool(second.moved)) == (True, False)
    assert second.stayed == {StayReason.FROZEN: len(play.store.cards["i-b3"].routes)}
