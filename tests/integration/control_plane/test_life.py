"""A cluster's life with the real adapters: the strict EC2 on one side, a real table on the other."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from podway.domain.addressing import Prefix
from podway.domain.model import StayReason
from podway.domain.signals import (
    AlarmChanged,
    AlarmValue,
    HandoverAsked,
    HandoverReason,
    InstanceState,
    LifecycleHook,
    StateChanged,
)

from tests.integration.control_plane.plane import (
    HOLD_DOWN,
    POD_CIDR,
    QUARANTINE,
    US,
    KilledError,
    Plane,
    Trip,
)

TIGHT = 4
"""A quota that leaves no room for direct routes: nodes must relay."""


def mutations(plane: Plane, since: int) -> list[str]:
    """Our calls to EC2 that are no reads."""
    made = plane.region.calls.made(caller=US, since=since)
    return [call.action for call in made if ":Describe" not in call.action]


def test_a_node_joins_relays_dies_and_its_block_rests(dynamodb: Any) -> None:
    plane = Plane(quota=TIGHT, dynamodb=dynamodb)
    plane.settle()
    dead = plane.busiest("b")
    interface = plane.interface(dead)
    (block,) = (member.blocks[0].prefix for member in plane.members() if member.id == plane.ids[dead])

    (outcome,) = plane.failover.react(plane.dies(dead))
    plane.settle()
    plane.launch("b4")
    plane.settle()
    early = {prefix for member in plane.members() if member.gone_at is None for prefix in member.prefixes}
    plane.clock.go_on(seconds=QUARANTINE.total_seconds())
    plane.settle()
    plane.launch("b5")
    plane.settle()

    assert outcome.waves == 2
    assert outcome.moved
    assert interface not in set(plane.table("a").values())
    assert block not in early
    assert {member.id: member.prefixes for member in plane.members()}[plane.ids["b5"]] == (block,)
    assert plane.ids[dead] not in plane.store.recall().cards
    assert plane.uncovered() == []
    assert plane.breaches() == []


def test_a_steady_state_writes_nothing_and_reads_little_in_a_hundred_runs() -> None:
    plane = Plane(quota=7)
    plane.settle()
    plane.clock.go_on(seconds=7200)  # until what flapped is forgotten
    plane.settle()
    writes, generations = plane.store.writes, plane.store.recall().maps

    for _ in range(100):
        mark = plane.region.calls.mark()
        outcome = plane.reconcile()
        plane.agents_acknowledge()
        reads = Counter(call.action for call in plane.region.calls.made(caller=US, since=mark))
        assert (outcome.applied, outcome.failed, mutations(plane, mark)) == ([], [], [])
        assert reads.total() <= 6, reads

    assert plane.store.writes == writes
    assert plane.store.recall().maps == generations
    assert plane.hints.reasons == []


def test_a_steady_state_writes_nothing_to_the_table_but_its_lease(dynamodb: Any) -> None:
    plane = Plane(dynamodb=dynamodb)
    plane.settle()
    seen: Counter[str] = Counter()
    dynamodb.meta.events.register("before-call.dynamodb.*", lambda model, **_: seen.update([model.name]))

    for _ in range(3):
        plane.reconcile()

    assert seen.keys() <= {"Query", "GetItem", "UpdateItem", "DescribeTable"}
    assert seen["UpdateItem"] == 2 * 3, "the lease is taken and given back"


def test_from_running_to_ready_in_two_polls_and_two_reconciles_also_where_nobody_was_before() -> None:
    plane = Plane(nodes=("a1", "b1"))
    plane.settle()
    plane.terminate("b1")
    plane.settle()
    plane.launch("b2")

    for _ in range(2):
        plane.reconcile()
        plane.agents_acknowledge()

    assert plane.uncovered() == []
    assert plane.breaches() == []


def test_all_states_of_one_death_move_each_route_once() -> None:
    plane = Plane(quota=TIGHT)
    plane.settle()
    dead = plane.busiest("b")
    carried, mark = len(plane.store.cards[plane.ids[dead]].routes), plane.region.calls.mark()
    plane.terminate(dead)

    for number, state in enumerate((InstanceState.SHUTTING_DOWN, InstanceState.TERMINATED) * 2):
        plane.failover.react(StateChanged(f"event {number % 2}", plane.clock.now(), plane.ids[dead], state))

    assert mutations(plane, mark) == ["ec2:ReplaceRoute"] * carried


def test_until_the_last_route_has_moved_a_failover_makes_five_calls_and_one_per_route(dynamodb: Any) -> None:
    plane = Plane(quota=TIGHT, dynamodb=dynamodb)
    plane.settle()
    dead = plane.busiest("b")
    carried = len(plane.store.recall().cards[plane.ids[dead]].routes)
    event, plane.trip = plane.dies(dead), Trip()
    seen: list[str] = []
    dynamodb.meta.events.register("before-call.dynamodb.*", lambda model, **_: seen.append(model.name))
    before_last: list[int] = []

    class Watching(Trip):
        def make(self, name: str, call: Any) -> Any:
            answer = super().make(name, call)
            if name == "apply":
                before_last.append(len(seen))
            return answer

    plane.trip = Watching()
    plane.failover.react(event)

    assert plane.trip.calls.count("apply") == carried > 0
    look = plane.trip.calls.count("route_tables")
    assert look + before_last[-1] + carried <= carried + 5


def test_a_graver_reason_takes_over_from_a_handover_that_was_cut_short() -> None:
    plane = Plane(quota=TIGHT)
    plane.settle()
    node = plane.busiest("b")
    interface, now = plane.interface(node), plane.clock.now()
    asked = HandoverAsked("drain", now, (plane.ids[node],), HandoverReason.DRAIN)
    plane.trip = Trip(3)  # the card is claimed, and nothing has moved
    with pytest.raises(KilledError):
        plane.lifecycle.react(asked)
    assert plane.trip.fired
    plane.trip = Trip()

    (outcome,) = plane.failover.react(plane.stops(node))

    assert outcome.moved
    assert interface not in set(plane.table("a").values())


def test_a_drained_node_keeps_its_own_route_and_gets_its_hook_completed() -> None:
    plane = Plane(quota=12)
    plane.settle()
    node = plane.busiest("b")
    interface = plane.interface(node)
    hook = LifecycleHook("workers", "podway-terminate", "token", plane.ids[node])
    asked = HandoverAsked("hook", plane.clock.now(), (hook.instance,), HandoverReason.TERMINATE_HOOK, hook)

    plane.lifecycle.react(asked)
    plane.settle()

    (block,) = (member.blocks[0].prefix for member in plane.members() if member.id == hook.instance)
    leads_there = {one for one, target in plane.table("a").items() if target == interface}
    assert leads_there == {block}
    assert plane.hooks.completed == [hook]
    assert plane.breaches() == []


def test_a_broken_monitor_moves_nothing_and_one_ok_later_all_is_as_it_was() -> None:
    plane = Plane(quota=TIGHT)
    plane.settle()
    before, mark = plane.table("a"), plane.region.calls.mark()
    stayed = 0
    victims = sorted(("b1", "b2", "b3"), key=lambda name: name == plane.busiest("b"))
    for value in (AlarmValue.ALARM, AlarmValue.OK):
        for name in victims:
            plane.alarms.turn_other(f"check-{name}", value, plane.ids[name])
            event = AlarmChanged(
                f"{value} {name}", plane.clock.now(), f"check-{name}", (plane.ids[name],), value
            )
            stayed += sum(one.stayed[StayReason.FROZEN] for one in plane.failover.react(event))
        for _ in range(3):
            plane.reconcile()

    assert stayed, "nothing was frozen"
    assert plane.table("a") == before
    assert mutations(plane, mark) == []


def test_both_families_are_routed_and_fail_over_together() -> None:
    six = Prefix.parse("fd00:64::/48")
    plane = Plane(quota=TIGHT, pod_cidrs=(POD_CIDR, six))
    plane.settle()
    dead = plane.busiest("b")
    interface = plane.interface(dead)
    relayed = {one.version for one, target in plane.table("a").items() if target == interface}

    plane.failover.react(plane.dies(dead))
    plane.clock.go_on(seconds=timedelta(minutes=2).total_seconds())
    plane.settle()

    assert 6 in relayed
    assert interface not in set(plane.table("a").values())
    assert plane.uncovered() == []
    assert plane.breaches() == []


def test_a_node_that_was_started_again_is_believed_at_once() -> None:
    plane = Plane(quota=TIGHT)
    plane.settle()
    busy = plane.busiest("b")
    plane.failover.react(plane.stops(busy))
    plane.clock.go_on(seconds=HOLD_DOWN.total_seconds() / 3)
    plane.ec2.start_instances(InstanceIds=[plane.ids[busy]])

    plane.reconcile()

    verdict = plane.store.verdicts()[plane.ids[busy]]
    assert verdict.evidence == {}, "younger than a read may be stale, but older than the start"
    assert verdict.held_until is not None
