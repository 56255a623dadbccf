"""The agent's parts as they are connected: what the loop and the prober find goes on at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from podway_agent.agent import Agent
from podway_agent.dataplane import Outcome
from podway_agent.host.disk import STATUS
from podway_agent.host.identity import Identity
from podway_agent.settings import Settings

from tests.unit.agent.slow_disk import SlowDisk, in_thread
from tests.unit.agent.snapshots import CLUSTER, HERE, SUBNET, snapshot

SELF = Identity(HERE, SUBNET, "192.0.2.1", "", "us-west-2", f"AROAX:{HERE}")
SHORT = 2.0
"""Seconds in which what waits for nothing is done, on a machine under load; the disk takes longer."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SlowDisk]:
    made = SlowDisk(tmp_path)
    yield made
    made.go.release(100)


@pytest.fixture
def agent(disk: SlowDisk) -> Agent:
    """One whose report works; nothing of it looks at this machine's kernel."""
    made = Agent(Settings(cluster=CLUSTER, table="podway", listen=""), SELF, disk)
    in_thread(made.report.run)
    return made


def holds_up(work: Callable[[], None]) -> bool:
    """Whether *work* waits."""
    thread = in_thread(work)
    thread.join(SHORT)
    return thread.is_alive()


def test_a_disk_that_hangs_holds_up_neither_the_loop_nor_the_store(agent: Agent, disk: SlowDisk) -> None:
    outcome = Outcome(4, desired=5, present=5)

    assert not holds_up(lambda: agent.loop.tell(snapshot(generation=4), outcome))
    disk.wait_for_writing()
    assert not holds_up(lambda: agent.loop.tell(snapshot(generation=5), outcome))
    assert not holds_up(lambda: agent.prober.tell(frozenset({"i-0f"})))

    assert disk.written == [], "the disk never hung"
    assert agent.sync.held == 5
    assert agent.sync.suspects == {"i-0f"}


def test_a_new_process_suspects_whom_the_last_one_suspected(tmp_path: Path) -> None:
    disk = SlowDisk(tmp_path)
    disk.go.release(100)
    disk.write(STATUS, {"probing": {"suspects": ["i-0f"]}})
    told = Settings(cluster=CLUSTER, table="podway", listen="")
    last = Agent(told, SELF, disk)
    last.report.news()
    last.report.stop()
    last.report.run()

    new = Agent(told, SELF, disk)

    assert len(disk.written) == 2
    assert new.prober.suspects == new.sync.suspects == {"i-0f"}


@pytest.mark.parametrize("said", [{}, {"probing": "?"}, {"probing": {"suspects": "?"}}], ids=str)
def test_a_status_of_another_shape_suspects_nobody(tmp_path: Path, said: dict[str, object]) -> None:
    disk = SlowDisk(tmp_path)
    disk.go.release()
    disk.write(STATUS, said)

    agent = Agent(Settings(cluster=CLUSTER, table="podway", listen=""), SELF, disk)

    assert agent.prober.suspects == frozenset()
