"""Two stacks of one cluster: the first marks the tables, and the second writes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from podway.app.errors import NeedsOperator
from podway.app.operator import Operator
from podway.domain.signals import InstanceState

from tests.fakes.ledger import FakeBus, FakeIdentities, FakeLedger
from tests.fakes.store import FakeStore
from tests.fakes.world import FakeAlarms
from tests.unit.app.cluster import TABLES, Play

FIRST, SECOND = (f"arn:aws:cloudformation:us-west-2:123456789012:stack/{name}/1" for name in ("one", "two"))
NOW = timedelta(0)


def operator(play: Play) -> Operator:
    return Operator(
        rules=play.rules(),
        cloud=play.cloud,
        store=play.store,
        alarms=play.alarms,
        identities=FakeIdentities(),
        ledger=FakeLedger(play.store),
        bus=FakeBus(),
        hints=play.hints,
        clock=play.clock,
        failover=play.failover,
        pause=play.clock.sleep,
    )


@pytest.fixture
def first() -> Play:
    play = Play(stack=FIRST)
    play.settle()
    return play


@pytest.fixture
def second(first: Play) -> Play:
    """Another stack over the same EC2 and CloudWatch, with a store of its own."""
    play = Play(stack=SECOND, store=FakeStore(epoch=None, found_table_id="table-2"), clock=first.clock)
    play.cloud, play.alarms = first.cloud, first.alarms
    return play


def test_the_first_stack_marks_its_tables_once(first: Play) -> None:
    assert first.cloud.surveyed.marks == dict.fromkeys(TABLES.values(), FIRST)
    marked = []
    first.cloud.mark_tables = lambda *given: marked.append(given)  # type: ignore[method-assign]  # counts

    first.reconcile()

    assert marked == []


def test_a_stack_that_finds_anothers_mark_writes_nothing_and_says_so(first: Play, second: Play) -> None:
    """Case w: they took each other's alarms away every minute."""
    first.reconcile()
    routes = {one: first.cloud.table(one) for one in TABLES.values()}
    calls, alarms = first.alarms.calls, dict(first.alarms.standing)
    first.cloud.writes.clear()

    for _ in range(5):
        outcome = second.reconcile()
        first.reconcile()

    assert outcome.other_stacks == [FIRST]
    assert any(FIRST in one and "podway release" in one for one in outcome.warnings)
    assert second.store.writes == 0
    assert first.cloud.writes == []
    assert {one: first.cloud.table(one) for one in TABLES.values()} == routes
    assert (first.alarms.calls, first.alarms.standing) == (calls, alarms)
    assert isinstance(first.alarms, FakeAlarms)


def test_once_the_other_is_released_the_tables_are_free(first: Play, second: Play) -> None:
    operator(first).release(patience=NOW)

    assert first.cloud.surveyed.marks == {}
    assert second.reconcile().other_stacks == []
    assert set(first.cloud.surveyed.marks.values()) == {SECOND}


def test_a_release_leaves_the_mark_of_another_stack(first: Play, second: Play) -> None:
    operator(second).release(patience=NOW)

    assert set(first.cloud.surveyed.marks.values()) == {FIRST}


def test_a_restore_takes_the_tables_over(first: Play, second: Play) -> None:
    restoring = operator(second).restoring()
    assert restoring.plan().takes_over == tuple(sorted(TABLES.values()))
    assert set(first.cloud.surveyed.marks.values()) == {FIRST}

    restoring.begin(patience=NOW)

    assert set(first.cloud.surveyed.marks.values()) == {SECOND}
    assert second.reconcile().other_stacks == []
    assert first.reconcile().other_stacks == [SECOND]


def test_a_restore_that_does_not_know_its_stack_takes_nothing_over(first: Play, second: Play) -> None:
    second.stack = ""

    with pytest.raises(NeedsOperator, match="--stack"):
        operator(second).restoring().begin(patience=NOW)

    assert set(first.cloud.surveyed.marks.values()) == {FIRST}
    assert second.store.epoch is None


def test_a_table_that_cannot_be_marked_is_told_and_all_else_goes_on() -> None:
    play = Play(stack=FIRST)
    play.cloud.fail_after = {0: NeedsOperator("UnauthorizedOperation")}

    outcome = play.reconcile()
    play.settle()

    assert any("cannot be marked" in one for one in outcome.warnings)
    assert play.cloud.fail_after == {}, "the refusal this test is about never happened"
    assert play.is_ready("i-a1")
    assert all(one.state is InstanceState.RUNNING for one in play.cloud.surveyed.instances)


def test_anothers_mark_counts_where_the_table_has_lost_the_clusters_tag(first: Play, second: Play) -> None:
    """Else the second stack would find nothing marked, and take the first one's alarms away."""
    first.cloud.surveyed = replace(first.cloud.surveyed, untagged_tables=tuple(TABLES.values()))
    before = dict(first.alarms.standing)

    outcome = second.reconcile()

    assert outcome.other_stacks == [FIRST]
    assert first.alarms.standing == before
