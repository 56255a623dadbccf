"""What the lab does to a machine when many ask at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from podway_lab.machines import Machine


class SlowHost:
    """Counts the pods that it was asked for, and takes its time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started: list[str] = []

    def add_pod(self, name: str, _: Path) -> str:
        self.started.append(name)
        time.sleep(0.05)
        return name


def test_a_machine_starts_its_pod_once_however_many_ask_whether_it_is_ready(tmp_path: Path) -> None:
    nothing: Any = None
    host: Any = SlowHost(tmp_path)
    machine = Machine(host, nothing, nothing)
    assert not machine.starts_pods()
    machine.conflist.parent.mkdir()
    machine.conflist.write_text("{}")

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: machine.starts_pods(), range(8)))

    assert (answers, host.started) == ([True] * 8, ["pod"])
