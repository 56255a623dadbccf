"""The agent's parts as they are connected: what one finds goes on to the others at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from podway.wire.agent_item import AgentItem
from podway.wire.snapshot import PackedSnapshot, pack
from podway_agent.agent import Agent
from podway_agent.dataplane import Outcome
from podway_agent.host.disk import STATUS
from podway_agent.host.identity import Identity
from podway_agent.settings import Settings
from podway_agent.store.client import Version

from tests.unit.agent.slow_disk import PATIENCE, SlowDisk, in_thread
from tests.unit.agent.snapshots import CLUSTER, HERE, SUBNET, snapshot

SELF = Identity(HERE, SUBNET, "192.0.2.1", "", "us-west-2", f"AROAX:{HERE}")
SETTINGS = Settings(cluster=CLUSTER, table="podway", listen="")
SHORT = 20.0
"""Seconds in which what waits for nothing is done, on a machine under load; the disk takes longer."""


class FakeStore:
    """Has one snapshot, and takes reports."""

    def __init__(self, packed: PackedSnapshot) -> None:
        self.packed = packed
        self.reports: list[AgentItem] = []

    def version(self, subnet: str) -> Version:
        return Version(self.packed.generation, self.packed.checksum)

    def body(self, subnet: str) -> PackedSnapshot:
        return self.packed

    def report(self, item: AgentItem) -> None:
        self.reports.append(item)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SlowDisk]:
    made = SlowDisk(tmp_path)
    yield made
    made.go.release(100)


@pytest.fixture
def store() -> FakeStore:
    return FakeStore(pack(snapshot(generation=4)))


@pytest.fixture
def agent(disk: SlowDisk, store: FakeStore) -> Agent:
    """One of which nothing runs: it must not look at this machine's kernel."""
    return Agent(SETTINGS, SELF, disk, store)


def holds_up(work: Callable[[], object]) -> bool:
    """Whether *work* waits."""
    thread = in_thread(work)
    thread.join(SHORT)
    return thread.is_alive()


def test_a_disk_that_is_slow_to_take_the_status_holds_up_neither_the_loop_nor_the_store(
    agent: Agent, disk: SlowDisk, store: FakeStore
) -> None:
    in_thread(agent.disk.run)
    disk.go.release()  # for the snapshot, which is saved before it is obeyed
    agent.sync.step()

    assert not holds_up(lambda: agent.loop.tell(snapshot(generation=4), Outcome(4)))
    disk.wait_for_writing()
    disk.wait_for_writing()
    assert not holds_up(agent.sync.step)
    assert not holds_up(lambda: agent.prober.tell(frozenset({"i-0f"})))
    assert not holds_up(agent.sync.step)

    assert len(disk.written) == 1, "the disk never hung"
    assert [item.cause for item in store.reports] == ["joined", "acknowledged", "suspicion"]


def test_a_snapshot_is_on_the_disk_before_it_is_obeyed(agent: Agent, disk: SlowDisk) -> None:
    """Else a process that ends in between would take routes away that it had acknowledged."""
    stepping = in_thread(agent.sync.step)
    disk.wait_for_writing()

    assert agent.loop._delivered is None
    disk.go.release()
    stepping.join(PATIENCE)
    assert disk.load_snapshot(cluster=CLUSTER, subnet=SUBNET) == agent.loop._delivered


def test_what_waits_for_the_disk_is_written_when_the_agent_ends(agent: Agent, disk: SlowDisk) -> None:
    thread = in_thread(agent.disk.run)
    agent.prober.tell(frozenset({"i-0f"}))
    disk.wait_for_writing()
    agent.prober.tell(frozenset({"i-0e"}))
    agent.disk.stop()

    disk.go.release(2)
    thread.join(PATIENCE)

    assert not thread.is_alive()
    assert len(disk.written) == 2
    assert (disk.read(STATUS) or {})["instance"] == HERE


def test_a_new_process_suspects_whom_the_last_one_suspected(disk: SlowDisk) -> None:
    disk.go.release(2)
    disk.write(STATUS, {"probing": {"suspects": ["i-0f"]}})
    last = Agent(SETTINGS, SELF, disk)
    last.report.news()
    last.disk.stop()
    last.disk.run()

    new = Agent(SETTINGS, SELF, disk)

    assert len(disk.written) == 2
    assert new.prober.suspects == new.sync.suspects == {"i-0f"}


@pytest.mark.parametrize("said", [{}, {"probing": "?"}, {"probing": {"suspects": "?"}}], ids=str)
def test_a_status_of_another_shape_suspects_nobody(disk: SlowDisk, said: dict[str, object]) -> None:
    disk.go.release()
    disk.write(STATUS, said)

    assert Agent(SETTINGS, SELF, disk).prober.suspects == frozenset()
