from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from podway_agent.host.disk import STATUS, StateDirectory
from podway_agent.host.metrics import exposition, gauge
from podway_agent.host.report import Report

from tests.unit.agent.slow_disk import PATIENCE, SlowDisk, in_thread

METRICS = [gauge("routes", "Our routes.", desired=5, present=4)]


def report(
    state: StateDirectory, status: Callable[[], dict[str, Any]] = dict, alive: str = "", ready: str = ""
) -> Report:
    return Report(state, status, lambda: alive, lambda: ready, lambda: METRICS)


@pytest.mark.parametrize(
    ("path", "alive", "ready", "status", "text"),
    [
        ("/healthz", "", "", 200, "ok\n"),
        ("/healthz", "hangs", "", 503, "hangs\n"),
        ("/healthz", "", "no snapshot", 200, "ok\n"),
        ("/readyz", "", "no snapshot", 503, "no snapshot\n"),
        ("/metrics", "", "", 200, exposition(METRICS)),
        ("/else", "", "", 404, "/healthz /readyz /metrics\n"),
    ],
)
def test_a_page_says_what_is_wrong(
    tmp_path: Path, path: str, alive: str, ready: str, status: int, text: str
) -> None:
    assert report(StateDirectory(tmp_path), alive=alive, ready=ready).page(path) == (status, text)


class Newest:
    """A status that grows with each change."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self) -> dict[str, Any]:
        return {"number": self.number}


def test_without_news_nothing_is_written(tmp_path: Path) -> None:
    disk = SlowDisk(tmp_path)
    one = report(disk)
    thread = in_thread(one.run)

    one.stop()
    thread.join(PATIENCE)

    assert not thread.is_alive()
    assert not (tmp_path / STATUS).exists()


def test_news_during_a_slow_writing_leads_to_one_more_with_the_newest_status(tmp_path: Path) -> None:
    disk, status = SlowDisk(tmp_path), Newest()
    one = report(disk, status)
    thread = in_thread(one.run)
    one.news()
    disk.wait_for_writing()
    for number in (1, 2, 3):
        status.number = number
        one.news()

    disk.go.release()
    disk.wait_for_writing()
    disk.go.release()
    one.stop()
    thread.join(PATIENCE)

    assert not thread.is_alive(), "a third writing began"
    assert [said["number"] for said in disk.written] == [0, 3]
    assert disk.read(STATUS) == {"number": 3}


def test_the_last_news_is_written_though_the_end_comes_first(tmp_path: Path) -> None:
    disk, status = SlowDisk(tmp_path), Newest()
    one = report(disk, status)
    thread = in_thread(one.run)
    one.news()
    disk.wait_for_writing()
    status.number = 7
    one.news()
    one.stop()

    disk.go.release(2)
    thread.join(PATIENCE)

    assert not thread.is_alive()
    assert disk.read(STATUS) == {"number": 7}


def test_a_disk_that_refuses_is_told_of_and_tried_again_with_the_next_news(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = SlowDisk(tmp_path)
    disk.fault = OSError("no space left on device")
    disk.go.release(2)
    one = report(disk)
    thread = in_thread(one.run)
    one.news()
    disk.wait_for_writing()
    one.stop()
    thread.join(PATIENCE)
    disk.fault = None
    one.news()
    one.run()

    assert [record.message for record in caplog.records] == ["status not written"]
    assert disk.read(STATUS) == {}
