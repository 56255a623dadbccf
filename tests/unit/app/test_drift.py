"""Routes of ours that somebody gives to another node of ours are found, told, and put right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from podway.app.errors import TryAgain
from podway.domain.addressing import Prefix
from podway.domain.model import Route, RouteTable
from podway.domain.signals import HandoverAsked, HandoverReason, InstanceState, StateChanged

from tests.unit.app.cluster import Play


def moved(play: Play, table: str, destination: Prefix, node: str) -> None:
    """Somebody gives the route to *node*."""
    target = node.replace("i-", "eni-")

    def edit(before: RouteTable) -> RouteTable:
        routes = tuple(
            Route(destination, target) if one.destination == destination else one for one in before.routes
        )
        assert routes != before.routes
        return replace(before, routes=routes)

    play.cloud.edit(table, edit)


def settled(quota: int = 5) -> tuple[Play, Prefix, str]:
    """A cluster at rest, subnet-b's anchor, and who forwards it in rtb-a."""
    play = Play(quota=quota)
    play.settle()
    (anchor,) = play.store.found_supernets["subnet-b"]
    assert play.reconcile().drifted == []
    return play, anchor, play.forwarder_of("subnet-b", "rtb-a")


def test_an_anchor_that_was_given_to_a_node_of_another_subnet_comes_back_and_is_told() -> None:
    play, anchor, busy = settled()
    moved(play, "rtb-a", anchor, "i-a2")

    outcome, after = play.reconcile(), play.reconcile()

    assert outcome.drifted == [("rtb-a", anchor)]
    assert outcome.repaired == 1
    hop = play.forwarder_of("subnet-b", "rtb-a")
    assert hop.startswith("i-b")
    (told,) = (one for one in play.store.history if one.what.startswith("somebody"))
    assert told.what == f"somebody moved {anchor} in rtb-a from {busy} to i-a2"
    assert told.why == f"the plan wants it at {hop}"
    assert after.drifted == []


def test_a_neighbour_that_may_relay_as_well_keeps_what_it_was_given_and_it_is_told_once() -> None:
    play, anchor, busy = settled()
    other = next(f"i-b{number}" for number in (1, 2, 3) if f"i-b{number}" != busy)
    moved(play, "rtb-a", anchor, other)

    outcome, after = play.reconcile(), play.reconcile()

    assert (outcome.drifted, outcome.repaired) == ([("rtb-a", anchor)], 1)
    assert play.forwarder_of("subnet-b", "rtb-a") == other
    assert after.drifted == []


def test_a_direct_route_that_was_given_to_a_neighbour_is_found_and_put_right() -> None:
    play, anchor, busy = settled(quota=50)
    direct, target = next(
        (destination, target.replace("eni-", "i-"))
        for destination, target in play.cloud.table("rtb-a").items()
        if anchor.contains(destination) and destination != anchor
    )
    other = next(f"i-b{number}" for number in (1, 2, 3) if f"i-b{number}" not in (busy, target))
    moved(play, "rtb-a", direct, other)

    outcome = play.reconcile()

    assert (outcome.drifted, outcome.repaired) == ([("rtb-a", direct)], 1)
    assert [one.expected for one, _ in outcome.diverted] == [(target,)]


def test_what_could_not_be_put_right_yet_is_found_and_not_repaired() -> None:
    play, anchor, _ = settled()
    moved(play, "rtb-a", anchor, "i-a2")
    play.cloud.fail_after = {len(play.cloud.writes) + len(play.cloud.checks_cleared): TryAgain("500")}

    outcome, after = play.reconcile(), play.reconcile()

    assert play.cloud.fail_after == {}, "the failure this test is about never happened"
    assert (outcome.drifted, outcome.repaired) == ([("rtb-a", anchor)], 0)
    assert after.applied


@pytest.mark.parametrize("interrupted", [False, True])
def test_what_a_failover_moved_is_nobodys_drift(interrupted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor when it ended before the new next hop's card knew of the route."""
    play, anchor, busy = settled()
    play.cloud.enter(busy, InstanceState.TERMINATED)

    def fail(*_: Any) -> None:
        raise TryAgain("the store is busy")

    with monkeypatch.context() as trouble:
        event = StateChanged("event", play.clock.now(), busy, InstanceState.TERMINATED)
        if interrupted:
            trouble.setattr(play.store, "extend_card", fail)
            with pytest.raises(TryAgain):
                play.failover.react(event)
        else:
            play.failover.react(event)
    assert play.forwarder_of("subnet-b", "rtb-a") != busy

    outcomes = [play.reconcile() for _ in range(3)]

    assert [one.diverted for one in outcomes] == [[], [], []]
    assert anchor in play.cloud.table("rtb-a")


def test_a_handover_and_its_end_are_nobodys_drift() -> None:
    play, _, busy = settled(quota=6)
    for over in (False, True):
        asked = HandoverAsked(f"drain {over}", play.clock.now(), (busy,), HandoverReason.DRAIN, is_over=over)
        play.clock.go_on(seconds=1)
        play.lifecycle.react(asked)
        assert [play.reconcile().diverted for _ in range(3)] == [[], [], []]
