"""What EC2 merely fails to say takes nothing from anybody."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podway.app.errors import TryAgain
from podway.domain.health.verdict import EC2_STATE
from podway.domain.inventory import NotListed
from podway.domain.model import Delete, Replace, RouteTable
from podway.domain.signals import AlarmValue, InstanceState, StateChanged

from tests.unit.app.cluster import TABLES, Play


@pytest.fixture
def play() -> Play:
    made = Play()
    made.settle()
    return made


def routes(play: Play) -> dict[str, object]:
    return {table: play.cloud.table(table) for table in TABLES.values()}


def named(play: Play) -> dict[str, object]:
    """Whom the maps name, and with which blocks."""
    return {one.id: one.blocks for found in play.store.maps.values() for one in found.members}


def members_of(play: Play, subnet: str) -> set[str]:
    return {one.id for one in play.store.maps[subnet].members}


@pytest.mark.parametrize("shown", [0, 2])
def test_an_answer_without_members_deletes_nothing(play: Play, shown: int) -> None:
    """Case a: of six instances none, or two, are in the answer."""
    before, before_named = routes(play), named(play)
    play.cloud.hidden = {one.id for one in play.cloud.surveyed.instances[shown:]}
    play.cloud.mute = set(play.cloud.hidden)
    play.cloud.writes.clear()

    outcome = play.reconcile()

    assert play.cloud.writes == []
    assert routes(play) == before
    assert named(play) == before_named
    assert outcome.is_mass_missing
    assert set(outcome.missing) == play.cloud.hidden
    assert any("nothing is taken" in one for one in outcome.warnings)


def test_a_tag_that_nobody_has_any_more_takes_nothing(play: Play) -> None:
    """Case b: the tag was removed from all nodes, or another key was set."""
    before = routes(play)
    play.cloud.change_instances(lambda one: replace(one, tagged=False))
    play.cloud.writes.clear()

    for _ in range(40):
        outcome = play.reconcile()
        play.clock.go_on(minutes=1)

    assert play.cloud.writes == []
    assert routes(play) == before
    assert outcome.is_mass_missing
    play.cloud.change_instances(lambda one: replace(one, tagged=True))
    assert play.reconcile().missing == []
    assert play.cloud.writes == []


def test_a_node_whose_tag_is_gone_keeps_its_block_for_as_long_as_it_runs(play: Play) -> None:
    """Case c: nobody else gets it (I4), and packets for it arrive."""
    (lost,) = (one for one in play.store.found_members.values() if one.id == "i-a2")
    play.cloud.change_instances(lambda one: replace(one, tagged=one.id != "i-a2"))

    for _ in range(30):
        play.settle()
        play.clock.go_on(minutes=1)
    play.join("a4")
    play.settle()

    held = {prefix: one.id for one in play.store.found_members.values() for prefix in one.prefixes}
    assert {held[prefix] for prefix in lost.prefixes} == {"i-a2"}
    assert "i-a2" in members_of(play, "subnet-a")
    assert play.uncovered() == []


def test_what_a_stray_relays_moves_to_others_and_nothing_new_goes_to_it(play: Play) -> None:
    relays = play.forwarder_of("subnet-a", "rtb-a")
    play.cloud.change_instances(lambda one: replace(one, tagged=one.id != relays))

    play.settle()

    assert {owner for owner, hop in play.next_hops() if hop == relays} <= {relays}
    assert play.uncovered() == []


def test_while_a_zone_is_disrupted_members_are_asked_for_by_id(play: Play) -> None:
    """Case d."""
    before = routes(play)
    play.cloud.is_disrupted = True
    play.cloud.mute = {"i-b1", "i-b2", "i-b3"}
    play.cloud.writes.clear()

    outcome = play.reconcile()

    assert play.cloud.writes == []
    assert routes(play) == before
    assert outcome.missing == sorted(play.cloud.mute)
    assert outcome.is_mass_missing, "all of subnet-b"


def test_nothing_is_written_into_a_table_without_the_clusters_tag(play: Play) -> None:
    """Case a, of tables: with a subnet's own table left out, the VPC's main table seems to steer it."""
    main = RouteTable("rtb-main", (), ("subnet-b",), 50)
    shown = [one for one in play.cloud.surveyed.route_tables if one.id != "rtb-b"]
    play.cloud.surveyed = replace(
        play.cloud.surveyed, route_tables=(*shown, main), untagged_tables=("rtb-main",)
    )
    play.cloud.writes.clear()

    outcome = play.reconcile()

    assert play.cloud.writes == []
    assert any("rtb-main" in one for one in outcome.warnings)


def test_what_ec2_said_against_a_node_stands_while_it_says_nothing(play: Play) -> None:
    """Case d: it stopped, and then its zone was disrupted. That it runs again is not said."""
    stopped = play.forwarder_of("subnet-a", "rtb-b")
    play.cloud.enter(stopped, InstanceState.STOPPED)
    play.failover.react(StateChanged("event 1", play.clock.now(), stopped, InstanceState.STOPPED))
    play.cloud.mute = {stopped}

    for _ in range(8):
        play.reconcile()
        play.clock.go_on(minutes=1)

    assert EC2_STATE in play.store.found_verdicts[stopped].evidence
    assert stopped not in play.targets()["rtb-b"]


def test_while_a_mass_is_missing_nothing_moves_that_the_missing_relay(play: Play) -> None:
    """Case a: more than half of a subnet is asked for in vain."""
    relays = play.forwarder_of("subnet-a", "rtb-b")
    other = next(node for node in ("i-a1", "i-a2") if node != relays)
    play.cloud.mute = {relays, other}
    play.cloud.writes.clear()

    outcome = play.reconcile()

    assert outcome.is_mass_missing
    assert play.cloud.writes == []


def test_a_member_that_ec2_does_not_find_for_minutes_ends_if_its_agent_is_silent(play: Play) -> None:
    play.cloud.forgotten = {"i-a2"}
    play.silence("i-a2")
    for _ in range(20):
        play.settle()
        play.clock.go_on(minutes=1)

    assert "i-a2" not in members_of(play, "subnet-a")
    assert play.uncovered() == []


def test_a_state_that_nobody_knows_stops_nothing(play: Play) -> None:
    """Case h."""
    play.cloud.enter("i-a1", InstanceState.read("sleepwalking"))

    play.settle()

    assert "i-a1" in members_of(play, "subnet-a")
    assert play.uncovered() == []


@given(hidden=st.sets(st.sampled_from([f"i-{name}" for name in ("a1", "a2", "a3", "b1", "b2", "b3")])))
def test_whatever_subset_is_left_out_no_route_of_a_running_member_is_deleted(hidden: set[str]) -> None:
    """The kind of a to c: any subset, without a word about it; and it comes back."""
    play = Play()
    play.settle()
    play.cloud.hidden = play.cloud.mute = set(hidden)
    play.cloud.writes.clear()

    for _ in range(3):
        outcome = play.reconcile()
        play.clock.go_on(minutes=6)

    assert [step for _, step in play.cloud.writes if isinstance(step, Delete)] == []
    moved = {step.was for _, step in play.cloud.writes if isinstance(step, Replace)}
    assert moved <= {f"eni-{name[2:]}" for name in hidden}, "only what strays relay may move"
    assert set(outcome.missing) == hidden
    assert play.uncovered() == []


def test_the_check_of_a_member_that_the_list_leaves_out_is_cleared_too(play: Play) -> None:
    """Asked by its id, it shows: and it may be a next hop that receives nothing."""
    play.cloud.change_instances(lambda one: replace(one, source_dest_check=True) if one.id == "i-a1" else one)
    play.cloud.hidden = {"i-a1"}

    assert play.reconcile().checks == ["i-a1"]


def test_a_table_that_ec2_leaves_out_is_asked_for_by_id_and_keeps_its_place_on_the_cards(play: Play) -> None:
    """Believed absent, it was on no card any more, and a node could be ready that no route of it leads to."""
    table = next(iter(TABLES.values()))
    before, cards = routes(play), dict(play.store.cards)
    assert any(route.table == table for card in cards.values() for route in card.routes)
    play.cloud.hidden_tables = {table}
    play.cloud.writes.clear()

    with pytest.raises(TryAgain, match=table):
        play.reconcile()

    assert (routes(play), play.store.cards, play.cloud.writes) == (before, cards, [])
    assert play.store.lease is None, "the next run is let in"
    play.cloud.hidden_tables = set()
    assert play.reconcile().applied == []


def test_a_table_of_which_ec2_says_nothing_by_its_id_either_keeps_its_place_too(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = next(iter(TABLES.values()))
    before, cards = routes(play), dict(play.store.cards)
    play.cloud.hidden_tables = {table}
    monkeypatch.setattr(play.cloud, "find_tables", lambda *_: NotListed(unknown=(table,), why="(busy)"))
    play.cloud.writes.clear()

    with pytest.raises(TryAgain, match="busy"):
        play.reconcile()

    assert (routes(play), play.store.cards, play.cloud.writes) == (before, cards, [])


def test_a_table_that_ec2_does_not_know_any_more_ends_no_run(play: Play) -> None:
    """Deleted, it has its record still, and the other tables are managed."""
    gone, *others = TABLES.values()
    kept = tuple(one for one in play.cloud.surveyed.route_tables if one.id != gone)
    play.cloud.surveyed = replace(play.cloud.surveyed, route_tables=kept)

    outcome = play.reconcile()

    assert (outcome.failed, outcome.busy) == ([], False)
    assert all(route.table in others for card in play.store.cards.values() for route in card.routes)


def test_a_subnet_that_is_left_out_ends_the_run(play: Play) -> None:
    """Its supernets would be nobody's, and the routes to them too many."""
    before, whole = routes(play), play.cloud.surveyed
    play.cloud.hidden_subnets = {"subnet-a"}
    play.cloud.writes.clear()

    with pytest.raises(TryAgain, match="subnet-a"):
        play.reconcile()

    assert (routes(play), play.cloud.writes) == (before, [])
    play.cloud.hidden_subnets = set()
    play.reconcile()
    assert (play.cloud.surveyed, play.cloud.writes) == (whole, [])


def test_a_stray_of_whom_nothing_is_said_keeps_what_it_relays_until_something_speaks_against_it(
    play: Play,
) -> None:
    relays = play.forwarder_of("subnet-a", "rtb-a")
    before = routes(play)
    play.cloud.hidden, play.cloud.mute = {relays}, {relays}

    for _ in range(3):
        play.agents_acknowledge()
        outcome = play.reconcile()

    assert routes(play) == before
    assert outcome.missing == [relays]
    play.alarms.turn(relays, AlarmValue.ALARM)
    play.settle_all_but(relays)
    assert play.forwarder_of("subnet-a", "rtb-a") != relays


def test_a_node_that_is_not_shown_stays_a_standby(play: Play) -> None:
    """All but the forwarder are left out: if it dies now, its routes have somewhere to go."""
    relays = play.forwarder_of("subnet-a", "rtb-b")
    standbys = {one.node for route in play.store.cards[relays].routes for one in route.standbys}
    play.cloud.hidden = play.cloud.mute = {one.id for one in play.cloud.surveyed.instances} - {relays}

    play.reconcile()

    kept = {one.node for route in play.store.cards[relays].routes for one in route.standbys}
    assert standbys
    assert kept == standbys
