from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from podway_agent.host.disk import STATUS, StateDirectory
from podway_agent.host.metrics import exposition, gauge
from podway_agent.host.report import Report
from podway_agent.host.workqueue import WorkQueue

from tests.unit.agent.slow_disk import PATIENCE, SlowDisk, in_thread

METRICS = [gauge("routes", "Our routes.", desired=5, present=4)]


def report(
    state: StateDirectory,
    queue: WorkQueue,
    status: Callable[[], dict[str, Any]] = dict,
    alive: str = "",
    ready: str = "",
) -> Report:
    return Report(state, queue.add, status, lambda: alive, lambda: ready, lambda: METRICS)


@pytest.mark.parametrize(
    ("path", "faults", "status", "text"),
    [
        ("/healthz", {}, 200, "ok\n"),
        ("/healthz", {"alive": "hangs"}, 503, "hangs\n"),
        ("/healthz", {"ready": "no snapshot"}, 200, "ok\n"),
        ("/readyz", {"ready": "no snapshot"}, 503, "no snapshot\n"),
        ("/metrics", {}, 200, exposition(METRICS)),
        ("/else", {}, 404, "/healthz /readyz /metrics\n"),
    ],
)
def test_a_page_says_what_is_wrong(
    tmp_path: Path, path: str, faults: dict[str, str], status: int, text: str
) -> None:
    one = report(StateDirectory(tmp_path), WorkQueue(), **faults)  # type: ignore[arg-type]  # of strings only

    assert one.page(path) == (status, text)


def test_news_during_a_slow_writing_leads_to_one_more_with_the_newest_status(tmp_path: Path) -> None:
    disk, queue, numbers = SlowDisk(tmp_path), WorkQueue(), [0]
    one = report(disk, queue, lambda: {"number": numbers[-1]})
    thread = in_thread(queue.run)
    one.news()
    disk.wait_for_writing()
    for number in (1, 2, 3):
        numbers.append(number)
        one.news()

    disk.go.release()
    disk.wait_for_writing()
    queue.stop()
    disk.go.release()
    thread.join(PATIENCE)

    assert not thread.is_alive(), "a third writing began"
    assert disk.written == [{"number": 0}, {"number": 3}]
    assert disk.read(STATUS) == {"number": 3}


def test_a_disk_that_refuses_is_told_of_and_tried_again_with_the_next_news(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk, queue = SlowDisk(tmp_path), WorkQueue()
    disk.go.release(2)
    queue.stop()
    one = report(disk, queue)

    disk.fault = OSError("no space left on device")
    one.news()
    queue.run()
    disk.fault = None
    one.news()
    queue.run()

    assert [record.message for record in caplog.records] == ["status not written"]
    assert disk.read(STATUS) == {}
