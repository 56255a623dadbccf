"""systemd hears that the agent is ready and lives, and nothing while it does not."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from podway_agent.host.systemd import give_signs_of_life, notify, watched_seconds


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


def test_a_word_reaches_systemd(systemd: socket.socket) -> None:
    notify("READY=1")

    assert systemd.recv(100) == b"READY=1"


def test_without_systemd_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)

    notify("READY=1")


def test_nobody_at_the_socket_is_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))

    notify("READY=1")


def test_it_gives_signs_while_it_is_well_and_none_while_it_is_not(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000")
    states = iter(["", "", "hangs", "hangs", ""])
    asked: list[str] = []

    def trouble() -> str:
        asked.append(next(states, "hangs"))
        return asked[-1]

    enough = give_signs_of_life(trouble)

    heard = [systemd.recv(100) for _ in range(3)]
    enough.set()
    assert heard == [b"WATCHDOG=1"] * 3
    assert asked[:5] == ["", "", "hangs", "hangs", ""]


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_how_long_it_may_be_silent(
    environ: dict[str, str], seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    assert watched_seconds() == seconds
