from __future__ import annotations

import threading

from podway_agent.host.workqueue import WorkQueue

from tests.unit.agent.slow_disk import PATIENCE, in_thread


def test_while_one_piece_is_done_the_newest_of_each_key_waits() -> None:
    queue, done = WorkQueue(), list[str]()
    begun, go = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        assert go.wait(PATIENCE)
        done.append("slow")

    thread = in_thread(queue.run)
    queue.add("status", slow)
    assert begun.wait(PATIENCE)
    for number in range(3):
        queue.add("status", lambda number=number: done.append(f"status {number}"))  # type: ignore[misc]
        queue.add("snapshot", lambda number=number: done.append(f"snapshot {number}"))  # type: ignore[misc]
    queue.stop()
    go.set()
    thread.join(PATIENCE)

    assert not thread.is_alive()
    assert done == ["slow", "status 2", "snapshot 2"]


def test_without_work_it_ends_when_it_is_stopped() -> None:
    queue = WorkQueue()
    thread = in_thread(queue.run)

    queue.stop()
    thread.join(PATIENCE)

    assert not thread.is_alive()
