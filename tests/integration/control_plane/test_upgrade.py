"""An upgrade of the stack: this release's control plane over a store and a cluster that a former one left.

`record` made the files. Agents of the former release go on writing what they wrote.
"""

from __future__ import annotations

from typing import Any

import pytest
from podway.adapters.items import read_report
from podway.domain.inventory import Member
from podway.wire.attributes import plain_item

from tests.integration.control_plane.plane import Plane
from tests.integration.control_plane.recorded import recorded, upgraded
from tests.integration.control_plane.test_life import mutations

BEFORE = ("cb26dc2",)
"""The releases that are recorded, by commit: before there were epochs, and agents said what they hold."""
ROLE = "AROAEXAMPLE"


@pytest.fixture(params=BEFORE)
def release(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def old_agent_says(plane: Plane, node: str, subnet: str, generation: int) -> None:
    """As the former release's agent writes it: no epoch, no blocks, no boot id."""
    said = {
        "pk": f"{ROLE}:{node}",
        "sk": "agent",
        "reports": "agents",
        "instance": node,
        "subnet": subnet,
        "heartbeat": plane.clock.now().isoformat(),
        "cause": "acknowledged",
        "version": "0.1.0",
    }
    plane.dynamodb.put_item(
        TableName="podway",
        Item={name: {"S": value} for name, value in said.items()}
        | {
            "generation": {"N": str(generation)},
            "blocks_wanted": {"N": "1"},
            "suspecting": {"BOOL": False},
            "suspects": {"L": []},
        },
    )


def old_agents_acknowledge(plane: Plane) -> None:
    maps = plane.store.recall().maps
    for one in plane.region.state.instances.values():
        if one.state == "running":
            old_agent_says(plane, one.id, one.subnet, maps[one.subnet].generation)


def run_for(plane: Plane, runs: int) -> None:
    """Runs of this release, with former agents that obey what it publishes."""
    for _ in range(runs):
        old_agents_acknowledge(plane)
        outcome = plane.reconcile()
        assert (outcome.busy, outcome.failed) == (False, [])


def blocks(members: tuple[Member, ...]) -> dict[str, tuple[tuple[Any, bool], ...]]:
    return {one.id: tuple((block.prefix, block.ready) for block in one.blocks) for one in members}


def test_the_record_has_what_an_upgrade_must_not_lose(release: str, dynamodb: Any) -> None:
    """Nodes of two subnets, one dead and resting, one drained, one once suspected, one that still joins."""
    memory = upgraded(release, dynamodb).store.recall()

    assert len(memory.supernets) == len(memory.records) == len(memory.maps) == 2
    assert all(memory.records.values())
    assert [one.gone_at is None for one in memory.members].count(False) == 1
    assert any(card.routes and card.watchers for card in memory.cards.values())
    assert len(memory.verdicts) == 3
    assert memory.given_back is not None
    assert memory.epoch is None, "it is from before there were epochs"
    assert all(report.blocks is None for report in memory.reports.values())
    assert memory.doubts == ()


def test_the_first_run_changes_no_route_takes_no_block_and_waits_for_nobody(
    release: str, dynamodb: Any
) -> None:
    plane = upgraded(release, dynamodb)
    before, members = {letter: plane.table(letter) for letter in plane.tables}, blocks(plane.members())
    mark, alarms = plane.region.calls.mark(), plane.alarms.calls

    outcome = plane.reconcile()

    assert (outcome.applied, outcome.failed, outcome.busy) == ([], [], False)
    assert {letter: plane.table(letter) for letter in plane.tables} == before
    assert blocks(plane.members()) == members
    assert mutations(plane, mark) == []
    assert plane.alarms.calls == alarms
    assert (outcome.awaited, outcome.went_back) == ([], "")
    assert plane.breaches() == []


def test_the_next_runs_lose_nothing_either(release: str, dynamodb: Any) -> None:
    """What this release publishes may be new to the agents, and its lists differ; the routes stay."""
    plane = upgraded(release, dynamodb)
    before, members = {letter: plane.table(letter) for letter in plane.tables}, blocks(plane.members())
    late = plane.ids[recorded(release)["joining"]]

    run_for(plane, 6)

    after = blocks(plane.members())
    assert {node: held for node, held in after.items() if node != late} == {
        node: held for node, held in members.items() if node != late
    }
    assert all(before[letter].items() <= plane.table(letter).items() for letter in plane.tables)
    assert plane.uncovered() == []
    assert plane.breaches() == []


def test_a_node_that_was_joining_gets_ready_with_its_block(release: str, dynamodb: Any) -> None:
    plane = upgraded(release, dynamodb)
    late = plane.ids[recorded(release)["joining"]]
    ((promised, was_ready),) = blocks(plane.members())[late]

    run_for(plane, 3)

    assert not was_ready
    assert blocks(plane.members())[late] == ((promised, True),)


def test_a_node_with_a_former_agent_joins_after_the_upgrade(release: str, dynamodb: Any) -> None:
    plane = upgraded(release, dynamodb)
    plane.reconcile()
    plane.launch("a9")

    run_for(plane, 4)

    ((_, is_ready),) = blocks(plane.members())[plane.ids["a9"]]
    assert is_ready
    assert plane.uncovered() == []
    assert plane.breaches() == []


def test_a_failover_between_the_upgrade_and_the_first_run_moves_by_the_former_cards(
    release: str, dynamodb: Any
) -> None:
    plane = upgraded(release, dynamodb)
    cards = plane.store.recall().cards
    names = [name for name in plane.ids if name[0] == "a" and cards[plane.ids[name]].routes]
    on_card = {(one.table, one.destination) for one in cards[plane.ids[names[0]]].routes}

    (outcome,) = plane.failover.react(plane.dies(names[0]))
    run_for(plane, 4)

    assert {(move.route.table, move.route.destination) for move in outcome.moved} == on_card != set()
    assert plane.uncovered() == []
    assert plane.breaches() == []


def test_the_dead_nodes_block_goes_on_resting(release: str, dynamodb: Any) -> None:
    """I4: the quarantine that a former release began is kept."""
    plane = upgraded(release, dynamodb)
    (dead,) = (one for one in plane.members() if one.gone_at is not None)
    plane.launch("b8")

    run_for(plane, 4)

    held = {prefix for one in plane.members() if one.gone_at is None for prefix in one.prefixes}
    assert not held.intersection(dead.prefixes)
    assert plane.breaches() == []


def test_what_a_former_agent_wrote_is_read_whole(release: str) -> None:
    """Also what this release's agents do not write any more."""
    said = [one for one in recorded(release)["items"] if one["sk"]["S"] == "agent"]

    reports = [read_report(plain_item(one)) for one in said]

    assert len(reports) == 11
    assert [(one.epoch, one.blocks, one.boot) for one in reports] == [(1, None, "")] * len(reports)
    assert {one.generation for one in reports} > {0}
