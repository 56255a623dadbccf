"""What people are shown is what the next run of reconcile does: both ask the same decision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from podway.app.observe import observe
from podway.app.report import ReconcileOutcome
from podway.domain.inventory import Epoch
from podway.domain.operator.overview import Overview
from podway.domain.run.decide import foresee
from podway.domain.signals import InstanceState, StateChanged

from tests.unit.app.cluster import TABLES, Play
from tests.unit.app.desk import Desk


def stop(desk: Desk, node: str) -> None:
    desk.play.cloud.enter(node, InstanceState.STOPPED)


def fail_over(desk: Desk, node: str) -> None:
    """It stops, and the event comes."""
    stop(desk, node)
    event = StateChanged(f"{node} stops", desk.play.clock.now(), node, InstanceState.STOPPED)
    desk.play.failover.react(event)


def start(desk: Desk, node: str) -> None:
    """It runs, and no event says so."""
    desk.play.cloud.enter(node, InstanceState.RUNNING)


def hide(desk: Desk, node: str) -> None:
    """EC2 says nothing of it."""
    desk.play.cloud.hidden = {*desk.play.cloud.hidden, node}
    desk.play.cloud.mute = {*desk.play.cloud.mute, node}


def untag(desk: Desk, node: str) -> None:
    desk.play.cloud.change_instances(lambda one: replace(one, tagged=one.tagged and one.id != node))


def untag_table(desk: Desk, node: str) -> None:
    """That of the node's subnet."""
    seen = desk.play.cloud.surveyed
    desk.play.cloud.surveyed = replace(seen, untagged_tables=(f"rtb-{node[2]}",))


def remove_a_route(desk: Desk, node: str) -> None:
    """From the table of the node's subnet."""
    own = [one for one in desk.play.cloud.table(f"rtb-{node[2]}") if str(one).startswith("100.")]
    gone = max(own, default=None)
    desk.play.cloud.edit(
        f"rtb-{node[2]}",
        lambda one: replace(one, routes=tuple(route for route in one.routes if route.destination != gone)),
    )


def join(desk: Desk, node: str) -> None:
    """A sibling comes."""
    name = f"{node[2]}{len(desk.play.cloud.surveyed.instances) + 1}"
    desk.play.join(name)


def fall_silent(desk: Desk, node: str) -> None:
    desk.play.silence(node)


def minutes_pass(desk: Desk, node: str) -> None:
    del node
    desk.play.clock.go_on(minutes=7)
    desk.play.agents_acknowledge()


def reconcile(desk: Desk, node: str) -> None:
    del node
    desk.play.reconcile()
    desk.play.agents_acknowledge()


def want_more(desk: Desk, node: str) -> None:
    """Its pods need another block."""
    report = desk.play.store.reports.get(node)
    if report is not None:
        desk.play.store.reports[node] = replace(report, blocks_wanted=2)


DEEDS = (
    stop,
    fail_over,
    start,
    hide,
    untag,
    untag_table,
    remove_a_route,
    join,
    fall_silent,
    minutes_pass,
    reconcile,
    want_more,
)


def assert_foreseen(seen: Overview, outcome: ReconcileOutcome) -> None:
    """The steps, the frozen subnets and the warnings are those of the run that followed."""
    assert sum(table.steps for table in seen.tables) == len(outcome.applied) + outcome.steps_left
    assert seen.frozen == outcome.frozen
    assert {*seen.warnings} <= {*outcome.warnings}


@settings(max_examples=40)
@given(
    st.sampled_from((4, 6, 500)),
    st.lists(st.tuples(st.sampled_from(DEEDS), st.sampled_from(Play().nodes)), max_size=8),
)
def test_whatever_happens_the_next_run_does_what_was_shown(
    quota: int, story: list[tuple[Callable[[Desk, str], None], str]]
) -> None:
    desk = Desk(quota=quota)
    for deed, name in story:
        deed(desk, f"i-{name}")

    seen = desk.operator.overview()

    assert_foreseen(seen, desk.play.reconcile())


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("shown", [0, 1, 2])
def test_one_thing_that_happens_to_all_but_a_few_is_foreseen(
    deed: Callable[[Desk, str], None], shown: int
) -> None:
    desk = Desk(quota=6)
    for name in desk.play.nodes[shown:]:
        deed(desk, f"i-{name}")

    seen = desk.operator.overview()

    assert_foreseen(seen, desk.play.reconcile())


def test_evidence_that_is_over_by_what_ec2_says_is_foreseen_to_be_over() -> None:
    """A node runs again, and nobody was told: the next run finds it out before it plans."""
    desk = Desk(quota=4)
    forwarder = desk.play.forwarder_of("subnet-b", "rtb-a")
    fail_over(desk, forwarder)
    start(desk, forwarder)
    desk.play.clock.go_on(minutes=7)

    seen = desk.operator.overview()
    desk.play.reconcile()

    (shown,) = [node for node in seen.nodes if node.id == forwarder]
    (after,) = [node for node in desk.operator.overview().nodes if node.id == forwarder]
    assert shown.health is after.health
    assert shown.verdict is not None, "what is recorded is shown as well"


def test_a_run_that_waits_for_the_agents_words_shows_no_steps() -> None:
    """A new epoch of the store has begun: no route moves before every member has said what it holds."""
    desk = Desk(quota=4)
    desk.play.store.epoch = Epoch(2, "table-1", desk.play.clock.now(), is_taken_up=False, is_inherited=True)
    stop(desk, desk.play.forwarder_of("subnet-b", "rtb-a"))

    seen = desk.operator.overview()
    outcome = desk.play.reconcile()

    assert outcome.awaited != []
    assert [table.steps for table in seen.tables] == [0, 0]
    assert_foreseen(seen, outcome)


def test_a_cluster_whose_tables_another_stack_has_shows_no_steps() -> None:
    desk = Desk(quota=4)
    marks = dict.fromkeys(TABLES.values(), "another")
    desk.play.cloud.surveyed = replace(desk.play.cloud.surveyed, marks=marks)
    stop(desk, desk.play.forwarder_of("subnet-b", "rtb-a"))
    desk.play.stack = "ours"
    rules = desk.play.rules()

    found = foresee(
        observe(desk.play.cloud, desk.play.store, desk.play.clock, quarantine=rules.quarantine), rules
    )
    outcome = desk.play.reconcile()

    assert outcome.other_stacks == ["another"]
    assert found.is_waiting
    assert not any(table.steps for table in found.next_steps.route_tables)
    assert {*outcome.warnings} <= {*found.warnings}


def test_a_decision_is_the_same_each_time_and_leaves_what_it_was_made_from() -> None:
    desk = Desk(quota=4)
    stop(desk, desk.play.forwarder_of("subnet-b", "rtb-a"))
    rules = desk.play.rules()
    seen = observe(desk.play.cloud, desk.play.store, desk.play.clock, quarantine=rules.quarantine)
    before = repr(seen)

    first, second = foresee(seen, rules), foresee(seen, rules)

    assert first == second
    assert repr(seen) == before
    assert any(table.steps for table in first.next_steps.route_tables)
