"""Reconcile makes what is there what should be there, from wherever it starts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from podway.app.errors import NeedsOperator, PodwayError, QuotaReached, TryAgain, Unexpected
from podway.app.ports import ClaimAnswer
from podway.domain.addressing import Prefix
from podway.domain.failover.decide import CLAIM_LASTS, DONE_WITHIN, Card, Claim
from podway.domain.health.verdict import Severity
from podway.domain.model import Delete, Replace, Route, Step
from podway.domain.routing import longest_match
from podway.domain.run.memory import Memory
from podway.domain.signals import InstanceState

from tests.unit.app.cluster import QUARANTINE, TABLES, Play, instance


def covered(play: Play, node: str, table: str) -> bool:
    """Whether a packet for the node's block reaches its subnet by the table."""
    routes = [Route(destination, target) for destination, target in play.cloud.table(table).items()]
    route = longest_match(routes, play.block(node))
    subnet = play.store.found_members[node].subnet
    return route is not None and route.target.startswith(f"eni-{subnet[-1]}")


def test_each_write_comes_after_those_that_it_hangs_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents must not hear of an address that is not written, nor a route come before its card and map."""
    play = Play()
    done: list[str] = []

    def note(port: object, name: str) -> None:
        whole = getattr(port, name)

        def noted(*given: Any, **named: Any) -> Any:
            done.append(name)
            return whole(*given, **named)

        monkeypatch.setattr(port, name, noted)

    for name in ("save_inventory", "publish_map", "put_card", "record_routes"):
        note(play.store, name)
    note(play.cloud, "apply")

    for _ in range(6):
        done.clear()
        play.reconcile()
        first = [name for number, name in enumerate(done) if name not in done[:number]]
        order = [one for one in ORDER if one in first]
        assert [one for one in first if one in ORDER] == order
        play.agents_acknowledge()
    assert play.is_ready(*play.store.found_members)


ORDER = ("save_inventory", "publish_map", "put_card", "record_routes", "apply")
"""Where each kind of write comes first in a run."""


def test_a_new_cluster_gets_supernets_blocks_routes_and_readiness() -> None:
    play = Play()

    play.settle()

    blocks = [play.block(node) for node in play.store.found_members]
    assert len(set(blocks)) == 6
    assert all(
        any(net.contains(play.block(member.id)) for net in play.store.found_supernets[member.subnet])
        for member in play.store.found_members.values()
    )
    assert all(covered(play, f"i-b{number}", "rtb-a") for number in (1, 2, 3))
    assert all(covered(play, f"i-a{number}", "rtb-b") for number in (1, 2, 3))
    assert sorted(play.cloud.checks_cleared) == sorted(f"eni-{name}" for name in play.nodes)


def test_from_running_to_ready_takes_two_reconciles_also_for_the_first_node_of_a_subnet() -> None:
    play = Play(nodes=("a1",))
    play.settle()
    play.cloud.add(instance("b1"))

    play.reconcile()
    play.agents_acknowledge()
    before = play.is_ready("i-b1")
    play.reconcile()

    assert not before
    assert play.is_ready("i-b1")
    assert covered(play, "i-b1", "rtb-a")


def test_a_block_is_not_handed_out_before_its_forwarders_have_acknowledged_it() -> None:
    play = Play(quota=5)
    play.settle()
    play.cloud.add(instance("b4"))
    play.reconcile()
    newcomer = next(one for one in play.cloud.surveyed.instances if one.id == "i-b4")
    forwarders = {play.forwarder_of("subnet-b", "rtb-a"), "i-b1", "i-b2", "i-b3"}
    old = {node: play.store.reports[node] for node in forwarders}
    play.agents_acknowledge()
    play.store.reports |= old

    for _ in range(3):
        play.reconcile()
    waiting = play.is_ready(newcomer.id)
    play.agents_acknowledge()
    play.reconcile()

    assert not waiting
    assert play.is_ready(newcomer.id)


def test_a_node_that_needs_more_addresses_gets_a_block_more_ready_once_its_forwarders_know_it() -> None:
    play = Play()
    play.settle()
    asking = play.store.reports["i-a2"]
    play.store.reports["i-a2"] = replace(asking, blocks_wanted=2)

    play.reconcile()
    first, second = play.store.found_members["i-a2"].blocks
    assert (first.ready, second.ready) == (True, False)
    assert second in next(one for one in play.store.maps["subnet-a"].members if one.id == "i-a2").blocks, (
        "agents must hear of it before it is ready"
    )
    play.agents_acknowledge()
    play.reconcile()
    play.reconcile()

    assert [block.ready for block in play.store.found_members["i-a2"].blocks] == [True, True]
    assert len(play.store.found_members["i-a1"].blocks) == 1


def test_a_wish_that_was_made_in_another_subnet_is_not_heard() -> None:
    play = Play()
    play.settle()
    play.store.reports["i-a2"] = replace(play.store.reports["i-a2"], blocks_wanted=2, subnet="subnet-b")

    play.reconcile()

    assert len(play.store.found_members["i-a2"].blocks) == 1


def test_a_steady_state_changes_nothing_anywhere() -> None:
    play = Play(quota=6)
    play.settle()
    calls, writes = len(play.cloud.writes), play.store.writes
    generations = {subnet: one.generation for subnet, one in play.store.maps.items()}

    for _ in range(20):
        outcome = play.reconcile()
        assert (outcome.applied, outcome.failed) == ([], [])

    assert len(play.cloud.writes) == calls
    assert play.store.writes == writes
    assert {subnet: one.generation for subnet, one in play.store.maps.items()} == generations


@pytest.mark.parametrize("error", [TryAgain(), QuotaReached(), NeedsOperator(), Unexpected()], ids=repr)
@pytest.mark.parametrize("after", range(8))
def test_any_one_failure_is_healed_by_the_next_runs(error: PodwayError, after: int) -> None:
    play = Play(nodes=("a1", "a2", "b1"))
    play.cloud.fail_after = {after: error}

    play.settle()

    assert play.cloud.fail_after == {}, "the failure this test is about never happened"
    assert covered(play, "i-b1", "rtb-a")
    assert covered(play, "i-a2", "rtb-b")


def test_a_table_that_refuses_with_an_odd_code_keeps_no_other_from_its_routes() -> None:
    """Case k: ``IncorrectState`` for one table."""
    play = Play(nodes=("a1", "a2", "b1", "b2"))
    play.cloud.refusing = {"rtb-a": Unexpected("IncorrectState")}

    for _ in range(4):
        outcome = play.reconcile()
        play.agents_acknowledge()

    assert covered(play, "i-a1", "rtb-b")
    assert covered(play, "i-a2", "rtb-b")
    assert {table for table, *_ in outcome.failed} == {"rtb-a"}
    play.cloud.refusing = {}
    play.settle()
    assert covered(play, "i-b1", "rtb-a")


def test_foreign_routes_are_never_touched_and_a_taken_route_is_reported() -> None:
    play = Play()
    play.settle()
    foreign = Route(Prefix.parse("100.64.255.0/24"), "tgw-1")
    play.cloud.edit("rtb-a", lambda table: replace(table, routes=(*table.routes, foreign)))
    (anchor,) = play.store.found_supernets["subnet-b"]
    play.cloud.edit(
        "rtb-a",
        lambda table: replace(
            table,
            routes=tuple(
                Route(anchor, "eni-somebody") if one.destination == anchor else one for one in table.routes
            ),
        ),
    )

    outcome = play.reconcile()
    play.reconcile()

    assert play.cloud.table("rtb-a")[Prefix.parse("100.64.255.0/24")] == "tgw-1"
    assert play.cloud.table("rtb-a")[anchor] == "eni-somebody"
    (warning,) = (one for one in outcome.warnings if "was ours" in one)
    assert warning.startswith(f"rtb-a: {anchor}, for i-b1 and 2 more, was ours and now targets eni-somebody")
    assert outcome.drifted == [("rtb-a", anchor)]


def test_a_route_deleted_by_hand_comes_back() -> None:
    play = Play()
    play.settle()
    (anchor,) = play.store.found_supernets["subnet-b"]
    play.cloud.edit(
        "rtb-a",
        lambda table: replace(table, routes=tuple(one for one in table.routes if one.destination != anchor)),
    )

    play.reconcile()

    assert anchor in play.cloud.table("rtb-a")


def test_no_table_ever_holds_more_than_its_quota_nor_loses_a_block_on_the_way() -> None:
    play = Play(quota=6)
    play.settle()
    ready = [one.id for one in play.cloud.surveyed.instances]
    seen = []

    def check(table: str, step: Step) -> None:
        seen.append(step)
        assert all(len(play.cloud.table(one)) + 1 <= play.quota for one in TABLES.values())
        assert all(covered(play, node, "rtb-b" if "-a" in node else "rtb-a") for node in ready), table

    play.cloud.before_write = check
    for name in ("a4", "b4", "b5", "a5"):
        play.cloud.add(instance(name))
        for _ in range(4):
            play.reconcile()
            play.agents_acknowledge()
    play.cloud.edit(
        "rtb-a",
        lambda table: replace(table, routes=(*table.routes, Route(Prefix.parse("172.16.0.0/16"), "igw-1"))),
    )
    for _ in range(3):
        play.reconcile()

    assert seen, "nothing was written"


def test_a_terminated_nodes_block_rests_before_another_node_gets_it() -> None:
    play = Play()
    play.settle()
    block = play.block("i-b2")
    play.cloud.enter("i-b2", InstanceState.TERMINATED)
    play.reconcile()
    play.cloud.add(instance("b4"))
    play.settle_all_but("i-b2")
    early = play.block("i-b4")
    play.clock.go_on(seconds=QUARANTINE.total_seconds())
    play.reconcile()
    play.cloud.add(instance("b5"))
    play.reconcile()

    assert early != block
    assert play.block("i-b5") == block
    assert "i-b2" not in play.store.found_members


def test_a_stopped_node_keeps_its_block_and_is_no_next_hop() -> None:
    play = Play()
    play.settle()
    block = play.block("i-b2")

    play.cloud.enter("i-b2", InstanceState.STOPPED)
    play.reconcile()
    stopped = play.targets()["rtb-a"]
    play.clock.go_on(seconds=10 * QUARANTINE.total_seconds())
    play.cloud.enter("i-b2", InstanceState.RUNNING)
    play.settle()

    assert "i-b2" not in stopped
    assert play.block("i-b2") == block


def test_the_same_address_on_another_interface_moves_the_routes_there() -> None:
    play = Play(nodes=("a1", "b1"))
    play.settle()
    (anchor,) = play.store.found_supernets["subnet-b"]

    play.cloud.change_instances(
        lambda one: replace(one, network_interface="eni-new") if one.id == "i-b1" else one
    )
    for _ in range(3):
        play.agents_acknowledge()
        play.reconcile()

    assert play.cloud.table("rtb-a")[anchor] == "eni-new"


def test_two_runs_at_once_are_one_run_and_a_killed_one_stalls_nobody_for_longer_than_its_lease() -> None:
    play = Play()
    now = play.clock.now()
    play.store.acquire_lease("killed", now=now, until=now.replace(minute=3))

    first = play.reconcile()
    play.clock.go_on(minutes=4)
    second = play.reconcile()

    assert first.busy
    assert not second.busy
    assert play.store.found_members


def test_a_node_whose_card_is_claimed_gets_no_new_route_in_that_run() -> None:
    play = Play(nodes=("a1", "b1"))
    play.settle()
    play.cloud.add(instance("b2"))
    play.reconcile()
    play.agents_acknowledge()
    claim = Claim("event", Severity.INDIRECT, play.clock.now() + CLAIM_LASTS)
    play.store.claim_card("i-b2", claim, now=play.clock.now())

    for _ in range(3):
        play.reconcile()

    assert "i-b2" not in play.targets()["rtb-a"]


@pytest.mark.parametrize("moment", ["before", "after the tables", "at its card"])
def test_routes_that_a_failover_moves_just_now_are_left_to_it(
    monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Both would move each, and to different nodes."""
    play = Play(quota=5)
    play.settle()
    hop = next(node for node, card in play.store.cards.items() if card.routes and node.startswith("i-b"))
    recall, put_card = play.store.recall, play.store.put_card
    claims: list[Claim] = []

    def claim(at: str) -> None:
        if at == moment and not claims:
            now = play.clock.now()
            claims.append(Claim("event", Severity.INDIRECT, now + CLAIM_LASTS))
            assert play.store.claim_card(hop, claims[0], now=now)[0] is ClaimAnswer.CLAIMED

    def recalled() -> Memory:
        claim("after the tables")
        return recall()

    def put(card: Card) -> bool:
        if card.node == hop:
            claim("at its card")
        return put_card(card)

    monkeypatch.setattr(play.store, "recall", recalled)
    monkeypatch.setattr(play.store, "put_card", put)
    play.cloud.enter(hop, InstanceState.STOPPING)
    claim("before")
    play.hints.reasons.clear()
    play.reconcile()
    meanwhile, hints = play.targets()["rtb-a"], list(play.hints.reasons)
    play.clock.go_on(seconds=DONE_WITHIN.total_seconds())
    play.reconcile()

    assert hop in meanwhile, "who began must end it"
    assert hints, "or somebody must look whether it did"
    assert hop not in play.targets()["rtb-a"], "or reconcile does, where that takes too long"


def test_a_route_that_a_failover_has_moved_since_the_tables_were_read_is_not_moved_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    play = Play(quota=5)
    play.settle()
    hop = next(node for node, card in play.store.cards.items() if card.routes and node.startswith("i-b"))
    recall, hops = play.store.recall, (f"eni-b{number}" for number in (1, 2, 3))
    taker = next(one for one in hops if one != hop.replace("i-", "eni-"))
    moved: list[Step] = []

    def failed_over() -> Memory:
        if not moved:
            now, card = play.clock.now(), play.store.cards[hop]
            _, claimed = play.store.claim_card(
                hop, Claim("event", Severity.INDIRECT, now + CLAIM_LASTS), now=now
            )
            for route in card.routes:
                moved.append(Replace(route.destination, taker, card.network_interface))
                play.cloud.apply(route.table, moved[-1])
            assert claimed is not None
            assert play.store.finish_card(claimed)
        return recall()

    written: list[Step] = []
    play.cloud.before_write = lambda _, step: written.append(step)
    monkeypatch.setattr(play.store, "recall", failed_over)
    play.cloud.enter(hop, InstanceState.STOPPING)
    play.reconcile()

    taken = [step for step in written if isinstance(step, Replace) and step.was == hop.replace("i-", "eni-")]
    assert taken == moved != []


def test_deletions_come_after_what_takes_over() -> None:
    play = Play(quota=9)
    play.settle()
    written: list[Step] = []
    play.cloud.before_write = lambda _, step: written.append(step)
    play.cloud.edit(
        "rtb-a",
        lambda table: replace(
            table,
            routes=(
                *table.routes,
                *(Route(Prefix.parse(f"172.{number}.0.0/16"), "igw-1") for number in (16, 17, 18)),
            ),
        ),
    )

    for _ in range(3):
        play.reconcile()

    assert any(isinstance(step, Delete) for step in written), "nothing had to go"
    assert all(covered(play, f"i-b{number}", "rtb-a") for number in (1, 2, 3))
