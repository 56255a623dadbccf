"""What an operator asks and orders, over a cluster in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from podway.app.errors import NeedsOperator, PodwayError, Superseded, TryAgain
from podway.app.ledger import AT_WORK
from podway.app.operator import NoSuchNode
from podway.domain.addressing import Prefix
from podway.domain.failover.decide import Claim
from podway.domain.failover.pacing import LONGEST_DEBT, REFILL
from podway.domain.health.reassess import DRAINED
from podway.domain.health.verdict import Evidence, Severity, accuse
from podway.domain.members.adoption import Adopted, NotAdopted
from podway.domain.members.trust import NodeIdentity
from podway.domain.model import Health, RouteKind
from podway.domain.operator.overview import Ownership
from podway.domain.signals import HandoverAsked, HandoverReason, InstanceState

from tests.unit.app.cluster import instance
from tests.unit.app.desk import Desk

PATIENCE = timedelta(seconds=5)
BY_HAND = Prefix.parse("100.64.200.0/24")


def test_a_settled_cluster_has_nothing_to_complain_of() -> None:
    desk = Desk()

    seen = desk.operator.overview()

    assert [node.id for node in seen.nodes] == sorted(f"i-{name}" for name in desk.play.nodes)
    assert {str(node.state) for node in seen.nodes} == {"ready"}
    assert seen.unhealthy() == ()
    assert [(table.id, table.steps, table.holes) for table in seen.tables] == [
        ("rtb-a", 0, ()),
        ("rtb-b", 0, ()),
    ]
    assert all(route.ownership is Ownership.MANAGED for route in seen.routes)
    assert all(route.next_hop == route.wanted for route in seen.routes)
    assert seen.warnings == ()


def test_looking_changes_nothing() -> None:
    desk = Desk()
    writes = (desk.play.store.writes, len(desk.play.cloud.writes), len(desk.play.hints.reasons))

    desk.operator.status()
    desk.operator.plan_release()

    assert (desk.play.store.writes, len(desk.play.cloud.writes), len(desk.play.hints.reasons)) == writes


def test_a_dead_forwarder_shows_as_holes_until_its_routes_have_moved() -> None:
    desk = Desk(quota=4)
    forwarder = desk.play.forwarder_of("subnet-b", "rtb-a")
    desk.play.cloud.enter(forwarder, InstanceState.STOPPED)

    seen = desk.operator.overview()

    (table_a, _) = seen.tables
    assert [node.id for node in seen.unhealthy()] == [forwarder]
    assert seen.unhealthy()[0].health is Health.FAILED
    assert table_a.steps > 0
    assert {hole.block for hole in table_a.holes} == {
        desk.play.block(f"i-b{n}") for n in (1, 2, 3) if f"i-b{n}" != forwarder
    }
    assert all(f"leads to {forwarder}, which is ready and failed" in hole.reason for hole in table_a.holes)


def test_forwarders_are_those_who_carry_blocks_of_others() -> None:
    desk = Desk(quota=4)

    seen = desk.operator.overview()

    carrying = {
        route.next_hop for route in seen.routes if route.kind is RouteKind.AGGREGATED and route.relays
    }
    assert set(seen.forwarders()) == carrying
    assert desk.play.forwarder_of("subnet-b", "rtb-a") in carrying


def test_whose_a_route_is_and_what_it_takes_away() -> None:
    desk = Desk()
    block = desk.play.block("i-b1")
    half = block.halves()[0]
    desk.add("rtb-a", half, "nat-1")
    desk.add("rtb-a", block.halves()[1], "nat-1")
    taken = next(iter(desk.play.store.records["rtb-b"]))
    desk.play.cloud.edit(
        "rtb-b",
        lambda one: replace(
            one,
            routes=tuple(replace(r, target="nat-1") if r.destination == taken else r for r in one.routes),
        ),
    )

    seen = desk.operator.overview()

    whose = {(route.table, route.destination): route.ownership for route in seen.routes}
    assert whose["rtb-a", half] is Ownership.FOREIGN
    assert whose["rtb-b", taken] is Ownership.TAKEN
    assert any(str(taken) in warning and "nat-1" in warning for warning in seen.warnings)


def test_the_status_knows_how_old_the_last_run_is_and_whether_anybody_manages() -> None:
    desk = Desk()
    desk.ledger.began = desk.play.clock.now()
    desk.play.clock.go_on(minutes=3)

    before = desk.operator.status()
    desk.operator.release(patience=PATIENCE)

    assert before.last_run is not None
    assert before.at - before.last_run == timedelta(minutes=3)
    assert not before.released
    assert desk.operator.status().released


def test_history_begins_where_it_is_asked_to() -> None:
    desk = Desk()
    desk.play.clock.go_on(hours=1)
    since = desk.play.clock.now()
    desk.add("rtb-a", BY_HAND, "eni-b1")
    desk.operator.adopt("rtb-a", BY_HAND, patience=PATIENCE)

    (entry,) = desk.operator.history(since)

    assert entry.actor == "adopt"
    assert len(desk.operator.history(since - timedelta(days=1))) > 1


# drain and undrain


def test_a_check_names_by_what_others_may_speak_as_a_node() -> None:
    desk = Desk()
    desk.identities.nodes = (NodeIdentity("i-a1", "nodes", {"Statement": []}, hops=2),)

    (doubt,) = desk.operator.check()

    assert doubt.subject == "i-a1"


def test_a_drain_is_an_event_and_is_over_when_nothing_is_relayed() -> None:
    desk = Desk(quota=4)
    forwarder = desk.play.forwarder_of("subnet-b", "rtb-a")

    desk.operator.drain(forwarder)
    waiting = desk.operator.is_drained(forwarder)
    asked = HandoverAsked("event", desk.play.clock.now(), (forwarder,), HandoverReason.DRAIN)
    desk.play.lifecycle.react(asked)

    assert desk.bus.asked == [forwarder]
    assert not waiting
    assert desk.operator.is_drained(forwarder)


def test_a_drain_can_do_without_the_function() -> None:
    desk = Desk(quota=4)
    forwarder = desk.play.forwarder_of("subnet-b", "rtb-a")

    desk.operator.drain(forwarder, here=True)

    assert desk.bus.asked == []
    assert desk.operator.is_drained(forwarder)
    assert forwarder not in desk.operator.overview().forwarders()


def test_an_undrained_node_may_relay_again_and_other_reasons_stay() -> None:
    desk = Desk()
    desk.operator.drain("i-a1", here=True)
    notice = Evidence("handover:rebalance", Severity.HANDOVER, desk.play.clock.now())
    desk.play.failover.fail_over("i-a1", notice, event="notice")

    once = desk.operator.undrain("i-a1")
    left = set(desk.play.store.found_verdicts["i-a1"].evidence)
    rest = desk.operator.undrain("i-a1", every=True)

    assert (once, left, rest) == ((DRAINED,), {"handover:rebalance"}, ("handover:rebalance",))
    assert desk.operator.undrain("i-a1") == ()


@pytest.mark.parametrize("killed", [False, True])
def test_a_clock_six_hours_ahead_stops_nobody_for_longer_than_a_minute_or_two(killed: bool) -> None:
    """Case x: an older command drained a node by a laptop's clock, and may have been killed in the midst."""
    desk = Desk(quota=5)
    play = desk.play
    busy = play.forwarder_of("subnet-b", "rtb-a")
    play.clock.go_on(hours=6)
    if killed:
        play.store.acquire_lease("laptop", now=play.clock.now(), until=play.clock.now() + AT_WORK)
        play.store.claim_card(
            busy, Claim("laptop", Severity.HANDOVER, play.clock.now()), now=play.clock.now()
        )
        play.store.change_verdict(
            busy,
            "subnet-b",
            lambda one: accuse(one, Evidence(DRAINED, Severity.HANDOVER, play.clock.now())),
        )
        play.store.take_tokens("ReplaceRoute", 5, now=play.clock.now())
    else:
        desk.operator.drain(busy, here=True)
    play.clock.go_on(hours=-6)

    outcomes = []
    for _ in range(8):
        play.agents_acknowledge()
        outcomes.append(play.reconcile())
        play.clock.go_on(seconds=30)
    drained = busy not in play.targets()["rtb-a"]
    withdrawn = desk.operator.undrain(busy)
    now = play.clock.now()

    assert [one.busy for one in outcomes[-2:]] == [False, False]
    assert drained
    assert play.store.take_tokens("ReplaceRoute", 1, now=now) - now <= LONGEST_DEBT + REFILL
    assert withdrawn == (DRAINED,)
    assert play.store.found_verdicts[busy].evidence == {}
    assert play.store.cards[busy].claim is None


def test_who_is_no_member_is_not_drained() -> None:
    desk = Desk()

    for steer in (desk.operator.drain, desk.operator.undrain):
        with pytest.raises(NoSuchNode):
            steer("i-z9")
    assert desk.bus.asked == []


# adopt


def test_an_adopted_route_is_ours_to_move() -> None:
    desk = Desk()
    half = desk.play.block("i-b1").halves()[0]
    desk.add("rtb-a", half, "eni-a1")
    desk.play.reconcile()
    left_alone = desk.play.cloud.table("rtb-a").get(half)

    adopted = desk.operator.adopt("rtb-a", half, patience=PATIENCE)
    desk.play.reconcile()

    assert left_alone == "eni-a1", "what is not ours is never touched"
    assert adopted == Adopted("rtb-a", half, "eni-a1", "i-a1")
    assert desk.play.cloud.table("rtb-a").get(half) != "eni-a1", "it led b's addresses astray"
    assert desk.play.store.lease is None


@pytest.mark.parametrize(
    ("table", "destination", "target", "why"),
    [
        ("rtb-z", BY_HAND, "eni-b1", "not a route table of this cluster"),
        ("rtb-a", Prefix.parse("192.168.0.0/24"), "eni-b1", "not inside the pod CIDR"),
        ("rtb-a", BY_HAND, None, "has no route for"),
        ("rtb-a", BY_HAND, "nat-1", "leads to nat-1, which is no member's"),
    ],
)
def test_what_cannot_be_ours_is_not_adopted(
    table: str, destination: Prefix, target: str | None, why: str
) -> None:
    desk = Desk()
    records = dict(desk.play.store.records)
    if target is not None:
        desk.add("rtb-a", destination, target)

    decided = desk.operator.adopt(table, destination, patience=PATIENCE)

    assert isinstance(decided, NotAdopted)
    assert why in decided.reason
    assert desk.play.store.records == records


def test_a_propagated_route_and_one_that_is_ours_are_not_adopted() -> None:
    desk = Desk()
    desk.add("rtb-a", BY_HAND, "eni-b1", origin="EnableVgwRoutePropagation")
    ours = next(iter(desk.play.store.records["rtb-a"]))

    for destination in (BY_HAND, ours):
        assert isinstance(desk.operator.adopt("rtb-a", destination, patience=PATIENCE), NotAdopted)


def test_an_adoption_waits_for_a_run_of_reconcile_and_then_gives_up() -> None:
    desk = Desk()
    desk.add("rtb-a", BY_HAND, "eni-b1")
    now = desk.play.clock.now()
    desk.play.store.acquire_lease("a run", now=now, until=now + timedelta(seconds=3))
    soon = desk.operator.adopt("rtb-a", BY_HAND, patience=PATIENCE)
    now = desk.play.clock.now()
    desk.play.store.acquire_lease("a run", now=now, until=now + timedelta(minutes=3))

    with pytest.raises(TryAgain):
        desk.operator.adopt("rtb-a", BY_HAND, patience=PATIENCE)

    assert isinstance(soon, Adopted)
    assert desk.play.store.lease is not None
    assert desk.play.store.lease[0] == "a run"


# release


def test_a_node_that_was_taken_out_by_its_tag_ends_when_it_is_given_up() -> None:
    """Case z, first half; its block rests before anybody else may have it."""
    desk = Desk()
    play = desk.play
    play.cloud.change_instances(lambda one: replace(one, tagged=one.id != "i-a2"))
    play.settle_all_but("i-a2")

    would = desk.operator.plan_forget(["i-a2"])
    desk.operator.forget(["i-a2"], patience=PATIENCE)
    play.settle_all_but("i-a2")

    assert would.keys() == {"i-a2"}
    assert "tag" in would["i-a2"]
    assert play.store.found_members["i-a2"].gone_at is not None
    assert "i-a2" not in {one.id for one in play.store.maps["subnet-a"].members}
    assert play.uncovered() == []
    assert any("i-a2" in entry.what and entry.actor == "forget" for entry in play.store.history)


def test_all_that_are_missing_can_be_given_up_at_once() -> None:
    """Case z, second half: EC2 has forgotten the whole cluster while nobody looked, and a new one stands."""
    desk = Desk()
    play = desk.play
    old = {one.id for one in play.cloud.surveyed.instances}
    play.cloud.forgotten = set(old)
    for name in ("a7", "a8", "b7", "b8"):
        play.join(name)
    for _ in range(30):
        play.reconcile()
        play.clock.go_on(minutes=1)
    assert play.reconcile().missing == sorted(old), "so many are missing that EC2 is not believed"

    desk.operator.forget(desk.operator.plan_forget().keys(), patience=PATIENCE)
    play.settle_all_but(*old)

    assert play.reconcile().missing == []
    assert {hop for _, hop in play.next_hops()} <= {"i-a7", "i-a8", "i-b7", "i-b8"}


@pytest.mark.parametrize(("node", "why"), [("i-a1", "shows as a member"), ("i-stranger", "no member")])
def test_nobody_who_shows_as_a_member_or_never_was_one_is_given_up(node: str, why: str) -> None:
    desk = Desk()
    desk.play.cloud.change_instances(lambda one: replace(one, tagged=one.id != "i-a2"))

    with pytest.raises(NoSuchNode, match=why):
        desk.operator.forget(["i-a2", node], patience=PATIENCE)

    assert not any(one.is_given_up for one in desk.play.store.found_members.values())
    assert desk.ledger.lease().owner is None


def test_one_that_was_given_up_and_shows_again_stays() -> None:
    desk = Desk()
    desk.play.cloud.change_instances(lambda one: replace(one, tagged=one.id != "i-a2"))
    desk.operator.forget(["i-a2"], patience=PATIENCE)
    desk.play.cloud.change_instances(lambda one: replace(one, tagged=True))

    desk.play.settle()

    member = desk.play.store.found_members["i-a2"]
    assert (member.gone_at, member.is_given_up) == (None, False)


def test_a_release_removes_every_managed_route_and_nothing_else_for_good() -> None:
    desk = Desk()
    desk.add("rtb-a", BY_HAND, "nat-1")
    expected = {(table, one) for table, ours in desk.play.store.records.items() for one in ours}

    planned = desk.operator.plan_release()
    released = desk.operator.release(patience=PATIENCE)
    again = desk.play.reconcile()

    assert {(table, step.destination) for table, step in planned.found.deletes} == expected
    assert {(table, step.destination) for table, step in released.deleted} == expected
    assert released.is_complete
    assert again.busy, "reconcile must not make the routes anew"
    assert desk.play.cloud.table("rtb-a") == {BY_HAND: "nat-1"}
    assert desk.play.cloud.table("rtb-b") == {}
    assert not any(desk.play.store.records.values())


def test_a_release_removes_the_alarms_on_nodes_and_says_when_it_cannot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk(quota=5)
    alarms = desk.play.alarms
    watched = tuple(sorted(alarms.standing))

    def refuse(_: object) -> None:
        raise NeedsOperator("not allowed")

    with monkeypatch.context() as for_once:
        for_once.setattr(alarms, "forget", refuse)
        refused = desk.operator.release(patience=PATIENCE)
    done = desk.operator.release(patience=PATIENCE)

    assert watched
    assert (refused.alarms, refused.alarms_left, refused.is_complete) == (watched, "not allowed", False)
    assert done.is_complete
    assert alarms.standing == {}


def test_a_released_cluster_can_be_taken_back() -> None:
    desk = Desk()
    before = {table: desk.play.cloud.table(table) for table in ("rtb-a", "rtb-b")}
    desk.operator.release(patience=PATIENCE)

    resumed = desk.operator.resume()
    desk.play.reconcile()
    desk.play.reconcile()

    assert resumed
    assert {table: desk.play.cloud.table(table).keys() for table in before} == {
        table: routes.keys() for table, routes in before.items()
    }
    assert not desk.operator.resume()


@pytest.mark.parametrize("error", [NeedsOperator("refused"), TryAgain("busy")], ids=repr)
def test_a_release_that_was_cut_short_is_finished_by_the_next(error: PodwayError) -> None:
    desk = Desk()
    done = len(desk.play.cloud.writes) + len(desk.play.cloud.checks_cleared)
    desk.play.cloud.fail_after = {done + 1: error}

    first = desk.operator.release(patience=PATIENCE)
    second = desk.operator.release(patience=PATIENCE)

    assert desk.play.cloud.fail_after == {}, "the failure this test is about never happened"
    assert not first.failed, "the next pass tried it again"
    assert second.found.deletes == ()
    assert desk.play.cloud.table("rtb-a") == desk.play.cloud.table("rtb-b") == {}


def test_what_fails_again_and_again_stays_recorded() -> None:
    desk = Desk()
    stubborn = next(iter(desk.play.store.records["rtb-a"]))

    def refuse(table: str, step: object) -> None:
        if table == "rtb-a" and getattr(step, "destination", None) == stubborn:
            raise NeedsOperator("no permission")

    desk.play.cloud.before_write = refuse

    released = desk.operator.release(patience=PATIENCE)

    assert [(table, step.destination) for table, step, _ in released.failed] == [("rtb-a", stubborn)]
    assert not released.is_complete
    assert desk.play.store.records["rtb-a"] == {stubborn}
    assert desk.play.cloud.table("rtb-b") == {}


def test_a_recorded_route_that_somebody_took_is_left_and_told() -> None:
    desk = Desk()
    taken = next(iter(desk.play.store.records["rtb-b"]))
    desk.play.cloud.edit(
        "rtb-b",
        lambda one: replace(
            one,
            routes=tuple(replace(r, target="nat-1") if r.destination == taken else r for r in one.routes),
        ),
    )

    released = desk.operator.release(patience=PATIENCE)

    assert released.found.left == (("rtb-b", taken, "nat-1"),)
    assert desk.play.cloud.table("rtb-b") == {taken: "nat-1"}


def test_routes_to_a_node_that_is_gone_are_released_too() -> None:
    desk = Desk(quota=4)
    forwarder = desk.play.forwarder_of("subnet-b", "rtb-a")
    desk.play.cloud.enter(forwarder, InstanceState.TERMINATED)

    desk.operator.release(patience=PATIENCE)

    assert desk.play.cloud.table("rtb-a") == {}


def test_a_released_cluster_adopts_nothing() -> None:
    desk = Desk()
    desk.add("rtb-a", BY_HAND, "eni-b1")
    desk.operator.release(patience=PATIENCE)

    with pytest.raises(Superseded, match="released"):
        desk.operator.adopt("rtb-a", BY_HAND, patience=PATIENCE)


def test_a_node_that_has_just_come_joins() -> None:
    desk = Desk()
    desk.play.cloud.add(instance("b9"))

    (joining,) = [node for node in desk.operator.overview().nodes if node.id == "i-b9"]

    assert (str(joining.state), joining.blocks, joining.heard) == ("joining", (), None)
