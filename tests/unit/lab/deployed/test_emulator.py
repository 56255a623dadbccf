"""An emulator that dies before it answered is started again; an answer that was given is never retried."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from podway_lab.deployed import emulator
from podway_lab.deployed.emulator import Emulated, Runtime, Unpacked
from podway_lab.stack.template import FunctionSpec

FAKE = """\
#!{python} -IS
import os, socket, sys, time
from pathlib import Path

folder = Path({folder!r})
mark = lambda name: os.close(os.open(folder / name, os.O_CREAT | os.O_EXCL))
life = len(list(folder.glob("life *")))
fate = (folder / "fates").read_text().split()[life]
mark(f"life {{life}}")
print(f"life {{life}} begins", flush=True)
if fate == "stillborn":
    sys.exit("no port for me")
host, port = sys.argv[2].split(":")
listening = socket.create_server((host, int(port)))
while True:
    asking, _ = listening.accept()
    if not asking.recv(65536):
        continue  # only a look whether somebody listens
    mark(f"event {{len(list(folder.glob('event *')))}}")
    if fate == "dies":
        sys.exit("a nil pointer")
    if fate == "silent":
        time.sleep(3600)
    body = {{"answers": '{{"done": true}}', "raises": '{{"errorType": "ValueError", "errorMessage": "no"}}'}}
    said = body.get(fate, "").encode()
    asking.sendall(f"HTTP/1.1 200 OK\\r\\nContent-Length: {{len(said) or 9}}\\r\\n\\r\\n".encode() + said)
    if fate == "cut":
        sys.exit("in the middle of its answer")
    asking.close()
"""
"""Stands for the emulator: each of its lives ends as the file ``fates`` says."""


@contextmanager
def environment(folder: Path, *fates: str) -> Iterator[Emulated]:
    program, log = folder / "emulator", folder / "log"
    program.write_text(FAKE.format(python=sys.executable, folder=str(folder)))
    program.chmod(0o755)
    (folder / "fates").write_text(" ".join(fates))
    log.touch()
    made = Emulated(
        FunctionSpec("Failover", "", "app.handler", 1, 128, {}, 0, ""),
        Runtime(program, Path(sys.executable)),
        Unpacked(folder, folder, folder),
        caller="failover",
        variables={},
        log=log,
        with_mounts=False,
    )
    try:
        yield made
    finally:
        made.stop()


def events(folder: Path) -> int:
    """How many an emulator has read."""
    return len(list(folder.glob("event *")))


def test_an_emulator_that_dies_before_it_answered_gets_the_event_again(tmp_path: Path) -> None:
    with environment(tmp_path, "dies", "stillborn", "answers") as one:
        ran = one.run({})

    assert (ran.error, ran.result) == ("", {"done": True})
    assert (one.starts, one.deaths) == (3, 2)
    assert events(tmp_path) == 2
    assert ran.printed.count("the environment died before it answered, 1 time:") == 2


def test_after_three_deaths_it_is_given_up_and_says_why_with_the_end_of_its_log(tmp_path: Path) -> None:
    with environment(tmp_path, "dies", "dies", "stillborn", "answers") as one:
        ran = one.run({})

    assert ran.error.startswith("the environment died before it answered, 3 times: ")
    assert "it does not listen" in ran.error
    assert "a nil pointer" in ran.error
    assert "no port for me" in ran.error
    assert one.starts == 3
    assert ran.result is None


def test_one_that_was_given_up_is_started_anew_by_the_next_event(tmp_path: Path) -> None:
    with environment(tmp_path, *["dies"] * 3, "answers") as one:
        first, second = one.run({}), one.run({})

    assert first.error
    assert (second.error, second.result) == ("", {"done": True})
    assert "a nil pointer" not in second.printed, "printed twice"


@pytest.mark.parametrize(
    ("fate", "error"),
    [
        ("raises", "ValueError: no"),
        ("cut", "the emulator failed: IncompleteRead("),
    ],
)
def test_an_answer_is_never_asked_for_twice_whatever_it_says(tmp_path: Path, fate: str, error: str) -> None:
    with environment(tmp_path, fate, "answers") as one:
        ran = one.run({})

    assert ran.error.startswith(error)
    assert ran.result is None
    assert events(tmp_path) == 1
    assert (one.starts, one.deaths) == (1, 0)


def test_silence_is_no_death_and_the_event_may_be_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulator, "_GRACE_SECONDS", 0.0)

    with environment(tmp_path, "silent", "answers") as one:
        ran = one.run({})

    assert ran.error.startswith("the emulator failed: TimeoutError")
    assert (events(tmp_path), one.starts, one.deaths) == (1, 1, 0)
