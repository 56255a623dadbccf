"""A store that is restored or lost gives nobody another's block."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from podway.app.errors import NeedsOperator, TryAgain
from podway.app.restore import Restore, Restored
from podway.domain.addressing import Prefix
from podway.domain.failover.decide import Card
from podway.domain.health.verdict import Evidence, Severity, Verdict, accuse
from podway.domain.inventory import Epoch
from podway.domain.model import Route
from podway.domain.routing import longest_match
from podway.domain.run.memory import AgentReport, acknowledged_by
from podway.domain.signals import InstanceState

from tests.fakes.ledger import FakeLedger
from tests.fakes.store import FakeStore
from tests.fakes.world import START
from tests.unit.app.cluster import QUARANTINE, TABLES, Play, instance

FULL = ("a1", "a2", "a3", "a4", "b1", "b2", "b3")
"""Seven of the eight blocks of a /23: the next node of subnet-a has to borrow."""
NINE = ("a1", "a2", "a3", "a4", "a5", "b1", "b2", "b3", "b4")


@dataclass
class Agents:
    """Agents that keep what they hold when the store goes back, as real ones do."""

    play: Play
    obeyed: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Epoch and generation of the map that each obeys."""
    held: dict[str, set[Prefix]] = field(default_factory=dict)

    def report(self, *silent: str) -> None:
        """Every running agent but the silent ones reads the store, obeys what is newer, and reports."""
        store = self.play.store
        for one in self.play.cloud.surveyed.instances:
            if one.id in silent or one.state is not InstanceState.RUNNING:
                continue
            known = store.maps.get(one.subnet)
            epoch, generation = self.obeyed.get(one.id, (1, 0))
            if known is not None and (known.epoch, known.generation) > (epoch, generation):
                epoch, generation = self.obeyed[one.id] = (known.epoch, known.generation)
                own = [member for member in known.members if member.id == one.id]
                self.held.setdefault(one.id, set()).update(
                    block.prefix for member in own for block in member.blocks if block.ready
                )
            heard = max(epoch, store.announced.get(one.subnet, 1))
            store.reports[one.id] = AgentReport(
                one.id,
                one.subnet,
                generation if heard == epoch else 0,
                self.play.clock.now(),
                epoch=heard,
                blocks=tuple(sorted(self.held.get(one.id, ()))),
            )

    def turns(self, count: int = 5, *silent: str) -> None:
        for _ in range(count):
            self.play.reconcile()
            self.report(*silent)

    def assert_nobody_has_anothers(self) -> None:
        """I4: no block of the store is held by another node, nor given twice."""
        given = {one.id: set(one.prefixes) for one in self.play.store.found_members.values()}
        running = {one.id for one in self.play.cloud.surveyed.instances if one.state is InstanceState.RUNNING}
        has = {node: given.get(node, set()) | self.held.get(node, set()) for node in running}
        for one, other in combinations(sorted(has), 2):
            shared = [(a, b) for a in has[one] for b in has[other] if a.overlaps(b)]
            assert not shared, f"{one} and {other} share {shared}"

    def assert_pods_are_reached(self) -> None:
        """Each table leads to every block that a running node holds, and no new map leaves one out."""
        play = self.play
        alive = {
            one.network_interface: one
            for one in play.cloud.surveyed.instances
            if one.state is InstanceState.RUNNING
        }
        for member in alive.values():
            for block in self.held.get(member.id, ()):
                for subnet, table in TABLES.items():
                    routes = [Route(*one) for one in play.cloud.table(table).items()]
                    hop = longest_match(routes, block)
                    led = hop is not None and hop.target in alive
                    assert led or subnet == member.subnet, f"{table} leads nowhere for {block}"
                known = play.store.maps.get(member.subnet)
                if (
                    known is not None
                    and play.store.epoch is not None
                    and known.epoch == play.store.epoch.number
                ):
                    named = {one.prefix for here in known.members for one in here.blocks}
                    assert block in named, f"the map of {member.subnet} does not name {block}"


def settled(*nodes: str) -> tuple[Play, Agents]:
    play = Play(nodes=nodes or ("a1", "a2", "a3", "b1", "b2", "b3"))
    agents = Agents(play)
    agents.turns(6)
    assert play.is_ready(*(one.id for one in play.cloud.surveyed.instances))
    return play, agents


def restore(play: Play) -> Restored:
    return restoring(play).begin(patience=timedelta(seconds=5))


def restoring(play: Play) -> Restore:
    return Restore(
        cluster="demo",
        quarantine=QUARANTINE,
        cloud=play.cloud,
        store=play.store,
        ledger=FakeLedger(play.store, moment=play.clock.now()),
        hints=play.hints,
        clock=play.clock,
        pause=play.clock.sleep,
    )


def gone_back(play: Play, backup: FakeStore) -> None:
    """The table is another one, with what the backup held."""
    play.store = copy.deepcopy(backup)
    play.store.found_table_id = "table-2"


def contents(store: FakeStore) -> dict[str, object]:
    names = ("found_members", "found_supernets", "records", "cards", "maps", "epoch", "found_released")
    return {name: copy.deepcopy(getattr(store, name)) for name in names}


@pytest.fixture
def restored() -> tuple[Play, Agents]:
    """Three nodes have joined since the backup: their blocks are not in the restored table."""
    play, agents = settled()
    backup = copy.deepcopy(play.store)
    for name in ("a4", "a5", "b4"):
        play.join(name)
    agents.turns(6)
    assert play.is_ready("i-a4", "i-a5", "i-b4")
    gone_back(play, backup)
    return play, agents


def test_over_a_restored_table_nothing_is_written(restored: tuple[Play, Agents]) -> None:
    """Case e: today's code gives the next node a block that a running one uses."""
    play, agents = restored
    before, routes = contents(play.store), {one: play.cloud.table(one) for one in TABLES.values()}
    play.cloud.writes.clear()
    play.join("a6")

    for _ in range(30):
        outcome = play.reconcile()
        play.clock.go_on(minutes=1)

    assert "TableId table-2" in outcome.went_back
    assert any("podway restore" in one for one in outcome.warnings)
    assert contents(play.store) == before
    assert play.cloud.writes == []
    assert {one: play.cloud.table(one) for one in TABLES.values()} == routes
    agents.assert_nobody_has_anothers()


def test_after_a_restore_nobody_gets_a_block_that_a_running_node_uses(restored: tuple[Play, Agents]) -> None:
    """Case e: the newcomer waits until the agents of all have said what they hold."""
    play, agents = restored
    play.join("a6")
    play.cloud.change_instances(
        lambda one: replace(one, launched=play.clock.now() + timedelta(hours=1)) if one.id == "i-a6" else one
    )
    play.cloud.writes.clear()
    ready = {node: set(blocks) for node, blocks in agents.held.items()}

    begun = restore(play)
    outcome = play.reconcile()
    waiting = dict(play.store.found_members)
    untouched = list(play.cloud.writes)
    agents.turns(6)

    assert (begun.before.number, begun.after.number, begun.after.table_id) == (1, 2, "table-2")
    assert set(outcome.awaited) == {one.id for one in play.cloud.surveyed.instances} - {"i-a6"}
    assert waiting["i-a6"].blocks == ()
    assert untouched == []
    for node, blocks in ready.items():
        assert set(play.store.found_members[node].prefixes) == blocks
    assert play.is_ready("i-a4", "i-a5", "i-b4", "i-a6")
    agents.assert_nobody_has_anothers()
    assert play.uncovered() == []
    assert play.reconcile().awaited == []


def test_acknowledgements_of_the_lost_future_do_not_count(restored: tuple[Play, Agents]) -> None:
    """Case e: agents say that they hold generation 8 of the former epoch; a new map is at generation 5."""
    play, agents = restored
    for node in agents.obeyed:
        agents.obeyed[node] = (1, 1000)
    restore(play)
    agents.turns(2, "i-a1")

    behind = play.store.found_members["i-a1"]

    assert play.store.maps["subnet-a"].epoch == 1, "a map was published before i-a1 has said what it holds"
    agents.report()
    play.reconcile()
    assert play.store.maps["subnet-a"].epoch == 2
    assert play.store.maps["subnet-a"].generation < 1000
    assert play.store.found_members["i-a1"].blocks == behind.blocks
    agents.report()
    assert set(agents.obeyed.values()) == {(2, found.generation) for found in play.store.maps.values()}, (
        "an agent refused the new epoch"
    )


@pytest.mark.parametrize(
    ("epoch", "ahead", "counts"), [(2, 0, True), (1, 0, False), (3, 0, False), (2, 1, False)]
)
def test_an_acknowledgement_counts_in_its_own_epoch_only(epoch: int, ahead: int, counts: bool) -> None:
    """Case e: one of a generation that the store has not reached was of a life that is lost."""
    play, agents = settled()
    restore(play)
    agents.turns(5)
    newest = play.store.maps["subnet-a"].generation
    said = replace(play.store.reports["i-a1"], epoch=epoch, generation=newest + ahead)
    play.store.reports["i-a1"] = said
    memory = play.store.recall()

    held = acknowledged_by(memory, memory.members)

    assert held.get("i-a1") == (newest if counts else None)
    assert held["i-a2"] == newest


def test_a_silent_agent_loses_nothing_and_is_waited_for(restored: tuple[Play, Agents]) -> None:
    """Case e: nothing recorded is taken, and nobody gets anything, until it speaks or is given up."""
    play, agents = restored
    restore(play)
    before = {one.id: one.blocks for one in play.store.found_members.values()}
    play.join("b5")
    play.cloud.writes.clear()

    for _ in range(30):
        agents.turns(1, "i-a4")
        play.clock.go_on(minutes=1)

    outcome = play.reconcile()
    assert outcome.awaited == ["i-a4"]
    assert any("i-a4" in one for one in outcome.warnings)
    assert all(play.store.found_members[node].blocks == blocks for node, blocks in before.items())
    assert play.store.found_members["i-b5"].blocks == ()
    assert play.cloud.writes == []
    agents.assert_nobody_has_anothers()
    play.cloud.enter("i-a4", InstanceState.TERMINATED)
    agents.turns(4)
    assert play.is_ready("i-b5")
    agents.assert_nobody_has_anothers()


def test_the_first_run_drops_what_was_thought_and_claimed_in_the_former_life() -> None:
    play, agents = settled()
    play.store.found_verdicts["i-b1"] = accuse(
        Verdict("i-b1", "subnet-b"), Evidence("peers", Severity.INDIRECT, START)
    )
    play.store.buckets["ReplaceRoute"] = START + timedelta(days=1)
    hop = play.forwarder_of("subnet-a", "rtb-b")
    play.failover.fail_over(hop, Evidence("alarm", Severity.INDIRECT, play.clock.now()), event="old")
    assert play.store.cards[hop].claim is not None
    play.store.found_table_id = "table-2"

    restore(play)
    play.reconcile()

    assert play.store.found_verdicts == {}
    assert play.store.buckets == {}
    assert all(card.claim is None for card in play.store.cards.values())
    assert play.store.epoch is not None
    assert play.store.epoch.is_taken_up
    agents.turns(5)
    assert play.uncovered() == []


def test_a_run_that_waits_writes_no_card_for_steps_that_it_does_not_make() -> None:
    """Every minute it would write again what stays as it is, for as long as an agent is silent."""
    play, agents = settled()
    play.cloud.enter("i-b1", InstanceState.TERMINATED)
    restore(play)
    agents.turns(2, "i-a1")
    before = {node: card.version for node, card in play.store.cards.items()}

    outcome = play.reconcile()

    assert outcome.awaited == ["i-a1"]
    assert {node: card.version for node, card in play.store.cards.items()} == before


def test_an_epochs_first_run_is_over_when_its_cards_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off before that, it is done again: cards of the former life may hold claims of dead failovers."""
    play, agents = settled()
    restore(play)
    agents.report()

    def busy(card: Card) -> bool:
        raise TryAgain(card.node)

    with monkeypatch.context() as patched:
        patched.setattr(play.store, "put_card", busy)
        with pytest.raises(TryAgain):
            play.reconcile()
    assert play.store.epoch is not None
    assert not play.store.epoch.is_taken_up

    play.reconcile()

    assert play.store.epoch.is_taken_up


def test_routes_made_since_the_backup_are_ours_although_their_node_has_ended_since() -> None:
    """Nobody would ever replace them: a member's, which the backup knows, but no record names them."""
    play, agents = settled()
    backup = copy.deepcopy(play.store)
    backup.records = {table: frozenset() for table in backup.records}
    gone_back(play, backup)
    play.cloud.enter("i-b1", InstanceState.TERMINATED)
    assert "eni-b1" in play.cloud.table("rtb-a").values()

    restore(play)
    agents.turns(6)

    assert "eni-b1" not in (*play.cloud.table("rtb-a").values(), *play.cloud.table("rtb-b").values())
    assert play.uncovered() == []


@pytest.mark.parametrize("quota", [500, 6])
def test_a_lost_store_gives_nobody_anothers_block(quota: int) -> None:
    """Case f: made anew over nine nodes, four of them got another's block."""
    play = Play(nodes=NINE, quota=quota)
    agents = Agents(play)
    agents.turns(8)
    held = {node: set(blocks) for node, blocks in agents.held.items()}
    assert len(held) == len(NINE)
    play.store = FakeStore(epoch=None, found_table_id="table-9")
    play.cloud.writes.clear()
    play.join("a9")

    agents.turns(1)  # the agents still say what they obey, of an epoch that they take for this one
    stopped = play.reconcile()
    assert "hold generations that the store has not reached" in stopped.went_back
    restore(play)
    agents.turns(6)

    assert play.cloud.writes == [] or play.uncovered() == []
    for node, blocks in held.items():
        assert set(play.store.found_members[node].prefixes) == blocks
    agents.assert_nobody_has_anothers()
    assert play.is_ready("i-a9", *held)
    assert play.uncovered() == []


@pytest.mark.parametrize("quota", [500, 6])
@pytest.mark.parametrize("is_lost", [False, True], ids=["restored", "lost"])
def test_what_a_subnet_borrows_stays_its_own_when_the_store_goes_back(quota: int, *, is_lost: bool) -> None:
    """Its node's block lies in another subnet's supernet."""
    play = Play(nodes=FULL, quota=quota, pod_cidrs=(Prefix.parse("100.64.0.0/23"),))
    agents = Agents(play)
    agents.turns(8)
    backup = FakeStore(epoch=None) if is_lost else copy.deepcopy(play.store)
    play.join("a5")
    agents.turns(6)
    (borrowed,) = agents.held["i-a5"]
    lender = next(one for one in play.store.found_supernets["subnet-b"] if one.contains(borrowed))
    gone_back(play, backup)
    play.cloud.writes.clear()
    held = {node: set(blocks) for node, blocks in agents.held.items()}
    play.join("b4")

    agents.turns(1)
    restore(play)
    agents.turns(8)

    assert is_lost or lender in play.store.found_supernets["subnet-b"]
    assert {node: set(play.store.found_members[node].prefixes) for node in held} == held
    assert play.uncovered() == []
    agents.assert_nobody_has_anothers()
    agents.assert_pods_are_reached()


def test_a_new_cluster_gets_its_blocks_once_its_agents_have_spoken() -> None:
    """A new store over instances that run already: each waits for its agent, and a while for a sibling's."""
    play = Play()
    play.store = FakeStore(epoch=None, found_table_id="table-9")
    agents = Agents(play)

    agents.turns(1, "i-a1")
    agents.turns(4, "i-a1")

    assert play.store.epoch is not None
    assert (play.store.epoch.number, play.store.epoch.table_id) == (1, "table-9")
    waiting = play.reconcile().warnings
    early = play.is_ready("i-b1", "i-b2", "i-b3"), play.is_ready("i-a2"), play.is_ready("i-a3")
    play.clock.go_on(minutes=6)
    agents.turns(4, "i-a1")

    assert early == (True, False, False)
    assert any("subnet-a gives no block yet" in one for one in waiting)
    assert play.store.found_members["i-a1"].blocks == ()
    assert play.is_ready("i-a2", "i-a3")


def test_a_lost_store_without_routes_gives_a_newcomer_no_block_that_a_silent_node_holds() -> None:
    """Nothing tells the first run that there was a life before, and one node alone is no witness."""
    play = Play(nodes=("a1",))
    agents = Agents(play)
    agents.turns(6)
    (held,) = agents.held["i-a1"]
    for table in TABLES.values():
        play.cloud.edit(table, lambda one: replace(one, routes=one.routes[:1]))
    play.store = FakeStore(epoch=None, found_table_id="table-9")
    play.reconcile()
    play.join("a2")
    play.cloud.change_instances(
        lambda one: replace(one, launched=play.clock.now()) if one.id == "i-a2" else one
    )

    agents.turns(3, "i-a1")
    agents.turns(6)

    assert play.store.found_members["i-a2"].prefixes != (held,)
    agents.assert_nobody_has_anothers()


def test_a_store_from_before_epochs_records_its_table_and_goes_on() -> None:
    """An upgrade: no mismatch, and nobody waits."""
    play = Play()
    play.settle()
    play.store.epoch = None
    play.cloud.writes.clear()
    before = dict(play.store.found_members)

    outcome = play.reconcile()

    assert play.store.epoch == Epoch(1, "table-1")
    assert (outcome.went_back, outcome.awaited) == ("", [])
    assert play.store.found_members == before
    assert play.cloud.writes == []
    writes = play.store.writes
    play.reconcile()
    assert play.store.writes == writes


def test_two_nodes_of_a_subnet_convict_the_store_and_one_alone_is_named() -> None:
    """A restored table under its old TableId cannot be, but one from before epochs has none."""
    play = Play()
    play.settle()
    ahead = play.store.maps["subnet-a"].generation + 4

    play.store.reports["i-a1"] = replace(play.store.reports["i-a1"], generation=ahead)
    one = play.reconcile()
    play.store.reports["i-a2"] = replace(play.store.reports["i-a2"], generation=ahead)
    two = play.reconcile()

    assert one.went_back == ""
    assert any("i-a1 says generation" in text and "not believed" in text for text in one.warnings)
    assert "i-a1, i-a2 hold generations" in two.went_back


def test_a_table_whose_id_nobody_ever_told_is_not_compared() -> None:
    play = Play(store=FakeStore(epoch=None, found_table_id=""))
    play.settle()

    assert play.reconcile().went_back == ""


def test_a_table_whose_id_was_recorded_and_is_told_no_more_may_be_another_one(
    restored: tuple[Play, Agents],
) -> None:
    """With packets in the lab, over a restored table that could not be described: the routes made since the
    backup counted as foreign, an anchor was deleted, two nodes lost their cover and a third its block.
    """
    play, agents = restored
    before = contents(play.store)
    play.store.found_table_id = ""
    play.cloud.writes.clear()
    play.join("a6")

    for _ in range(30):
        outcome = play.reconcile()
        play.clock.go_on(minutes=1)

    assert "TableId table-1 is not known" in outcome.went_back
    assert any("until it is told" in one for one in outcome.warnings)
    assert not any("podway restore" in one for one in outcome.warnings)
    assert contents(play.store) == before
    assert play.cloud.writes == []
    agents.assert_nobody_has_anothers()

    play.store.found_table_id = "table-1"

    assert play.reconcile().went_back == ""


def test_what_an_agent_claims_is_bounded_by_its_subnet_and_by_what_others_have(
    restored: tuple[Play, Agents],
) -> None:
    play, agents = restored
    (home,), (theirs,) = (play.store.found_supernets[one] for one in ("subnet-a", "subnet-b"))
    others = play.block("i-a1")
    agents.held["i-a2"] |= {others, theirs.at(26), Prefix.parse("0.0.0.0/1")}
    restore(play)

    play.reconcile()
    agents.report()
    outcome = play.reconcile()

    assert set(play.store.found_members["i-a2"].prefixes) <= agents.held["i-a2"] - {others}
    assert all(home.contains(one) for one in play.store.found_members["i-a2"].prefixes)
    assert any(f"i-a2 says that it holds {others}" in one and "i-a1" in one for one in outcome.warnings)


def test_a_later_restore_begins_an_epoch_after_any_that_agents_are_in(restored: tuple[Play, Agents]) -> None:
    play, agents = restored
    backup = copy.deepcopy(play.store)
    restore(play)
    agents.turns(6)
    gone_back(play, backup)
    agents.report()

    assert restoring(play).plan().after.number == 3


def test_a_dry_run_changes_nothing_and_names_whom_it_would_wait_for(restored: tuple[Play, Agents]) -> None:
    play, _ = restored
    before = contents(play.store)

    plan = restoring(play).plan()

    assert contents(play.store) == before
    assert set(plan.waits_for) == {one.id for one in play.cloud.surveyed.instances}
    assert "TableId table-2" in plan.why


def test_a_restore_waits_for_a_run_of_reconcile(restored: tuple[Play, Agents]) -> None:
    play, _ = restored
    ledger = FakeLedger(play.store)
    until = play.clock.now() + timedelta(seconds=3)
    assert ledger.hold("run", now=play.clock.now(), until=until)

    assert restore(play).after.number == 2
    assert play.clock.now() > until
    assert instance("a1").id in play.store.found_members


@settings(max_examples=20, deadline=None)
@given(story=st.data())
def test_whatever_happened_since_the_backup_nobody_gets_anothers_block(story: st.DataObject) -> None:
    """Cases e and f by generation: joins and ends after the backup, agents that stay silent for a while."""

    def some(names: Sequence[str], least: int = 0) -> list[str]:
        return sorted(story.draw(st.sets(st.sampled_from(names), min_size=least)))

    first = some([*NINE, "b5"], least=2)
    play, agents = settled(*first)
    backup = copy.deepcopy(play.store)
    ended = some([f"i-{name}" for name in first])
    for node in ended:
        play.cloud.enter(node, InstanceState.TERMINATED)
    agents.turns(2)
    play.clock.go_on(minutes=story.draw(st.sampled_from([0, 11])))
    agents.turns(2)
    for name in some(["a6", "a7", "b6", "b7"]):
        play.join(name)
    agents.turns(5)
    held = {node: set(blocks) for node, blocks in agents.held.items() if node not in ended}

    if story.draw(st.booleans()):
        gone_back(play, backup)
    else:
        play.store = FakeStore(epoch=None, found_table_id="table-2")
    agents.turns(story.draw(st.integers(0, 3)))
    agents.assert_nobody_has_anothers()
    restore(play)
    silent = some(sorted(held)) if held else []
    play.join("a8")
    for _ in range(3):
        agents.turns(1, *silent)
        agents.assert_nobody_has_anothers()
        agents.assert_pods_are_reached()
    for _ in range(8):
        agents.turns(1)
        agents.assert_nobody_has_anothers()
        agents.assert_pods_are_reached()
    play.clock.go_on(minutes=11)
    agents.turns(4)

    agents.assert_nobody_has_anothers()
    for node, blocks in held.items():
        assert set(play.store.found_members[node].prefixes) >= blocks
    assert play.is_ready("i-a8", *held)
    assert play.uncovered() == []


def test_a_restore_that_cannot_read_the_tables_id_begins_nothing() -> None:
    """The functions could not tell this table from another one by what it would record."""
    play, _ = settled()
    gone_back(play, copy.deepcopy(play.store))
    play.store.found_table_id = ""
    before = play.store.epoch

    with pytest.raises(NeedsOperator, match="DescribeTable"):
        restoring(play).plan()
    with pytest.raises(NeedsOperator, match="DescribeTable"):
        restore(play)

    assert play.store.epoch == before
