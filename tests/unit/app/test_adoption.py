"""An operator takes over a route whose target is gone. What leads anywhere else is in ``test_operator``."""

from __future__ import annotations

from datetime import timedelta

import pytest
from podway.domain.addressing import Prefix
from podway.domain.members.adoption import Adopted, NotAdopted

from tests.unit.app.desk import Desk

LEFTOVER = Prefix.parse("100.64.240.0/20")
PATIENCE = timedelta(seconds=5)
DEAD = "eni-0dead"


@pytest.fixture
def desk() -> Desk:
    made = Desk()
    made.add("rtb-a", LEFTOVER, DEAD)
    made.play.reconcile()
    assert LEFTOVER in made.play.cloud.table("rtb-a"), "what is foreign is never touched"
    return made


def test_a_route_whose_target_is_gone_is_adopted_and_the_next_run_removes_it(desk: Desk) -> None:
    """Case t: a leftover of a former stack closed the space that it captures for ever."""
    desk.play.cloud.gone_interfaces = {DEAD}

    decided = desk.operator.adopt("rtb-a", LEFTOVER, patience=PATIENCE)
    outcome = desk.play.reconcile()

    assert isinstance(decided, Adopted)
    assert (decided.target, decided.is_dead) == (DEAD, True)
    assert outcome.failed == []
    assert LEFTOVER not in desk.play.cloud.table("rtb-a")
    assert desk.play.store.lease is None


def test_nothing_is_left_of_the_dead_target_when_no_route_leads_there(desk: Desk) -> None:
    desk.play.cloud.gone_interfaces = {DEAD}
    desk.operator.adopt("rtb-a", LEFTOVER, patience=PATIENCE)

    desk.play.settle()

    assert all(one.former_interfaces == () for one in desk.play.store.found_members.values())
    assert LEFTOVER not in desk.play.store.records["rtb-a"]


def test_a_black_hole_whose_interface_ec2_does_not_call_unknown_is_left_alone(desk: Desk) -> None:
    """It may be a stopped instance's, or an answer left it out: absence is not an end."""
    records = dict(desk.play.store.records)

    decided = desk.operator.adopt("rtb-a", LEFTOVER, patience=PATIENCE)

    assert isinstance(decided, NotAdopted)
    assert "no member's" in decided.reason
    assert desk.play.store.records == records


def test_a_recorded_route_whose_target_is_nobodys_is_taken_back(desk: Desk) -> None:
    """It "was ours, left alone until adopted", and adopt said that it was recorded as ours already."""
    records = desk.play.store.records
    records["rtb-a"] |= {LEFTOVER}
    warned = desk.play.reconcile().warnings
    refused = desk.operator.adopt("rtb-a", LEFTOVER, patience=PATIENCE)
    desk.play.cloud.gone_interfaces = {DEAD}

    decided = desk.operator.adopt("rtb-a", LEFTOVER, patience=PATIENCE)
    desk.play.reconcile()

    assert any(str(LEFTOVER) in one and "adopted" in one for one in warned)
    assert isinstance(refused, NotAdopted)
    assert isinstance(decided, Adopted)
    assert LEFTOVER not in desk.play.cloud.table("rtb-a")
