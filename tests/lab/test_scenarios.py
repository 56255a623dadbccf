"""Scenarios are played as an operator plays them: by the command, each in a process of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import limits
from tests.lab.playing import play, told

pytestmark = limits.long

SCENARIOS = sorted(Path("tests/scenarios").glob("*.scenario"))
HEAD = """
cluster short  pods 100.64.0.0/16  blocks /26
quota 50  reserve 2
subnet a 10.0.0.0/20   zone us-west-2a  nodes a1 a2
subnet b 10.0.16.0/20  zone us-west-2b  nodes b1
start
within 120s all nodes are ready
"""


@pytest.mark.fabric
@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_everything_that_a_scenario_expects_comes_true(path: Path) -> None:
    played = play(path)

    assert played.returncode == 0, told(played)
    assert "no breach of I1 to I4" in played.stdout
    assert "left out" not in played.stdout


@pytest.mark.fabric
def test_the_demo_shows_ways_through_forwarders_and_direct_ones_and_two_failovers_in_two_waves() -> None:
    played = play(Path("tests/scenarios/demo.scenario"))

    assert re.search(r"pod a\d +pod c\d +through forwarder c\d", played.stdout), played.stdout
    assert re.search(r"pod b\d +pod c\d +direct", played.stdout), played.stdout
    failovers = re.findall(r"(?:terminated|alarm) +\d+ +\d+ ms +\d+ +(\d+) +\d+", played.stdout)
    assert failovers == ["2", "2"], played.stdout


def test_without_packets_the_control_plane_plays_alone_and_says_so() -> None:
    played = play(Path("tests/scenarios/demo.scenario"), "--no-packets")

    assert played.returncode == 0, told(played)
    assert "pods reach pods  left out: it needs packets" in played.stdout
    assert re.search(r"not played for want of packets: \d+ sentences", played.stdout), played.stdout
    assert "namespaces" not in played.stdout, "nobody asked whether the kernel has any"
    assert "no breach of I1 to I4" in played.stdout


def test_what_does_not_come_true_ends_the_scenario_and_names_the_line(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.scenario"
    wrong.write_text(HEAD + "expect no route leads through b1\nsay never said\n")

    played = play(wrong, "--no-packets")

    assert played.returncode == 1
    assert told(played).startswith("line 8: no route leads through b1 ")
    assert "never said" not in played.stdout


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (HEAD + "dance\n", "line 8: nobody knows how to 'dance'"),
        ("start\n" + HEAD, "line 3: .* must come before the first deed"),
        ("subnet a\nstart\n", "line 1: 'subnet a' describes nothing"),
        (HEAD.replace("nodes b1", "nodes a1"), "line 5: the name 'a1' is taken"),
        ("start\n", "no line describes a subnet"),
    ],
)
def test_what_is_no_scenario_is_refused_before_anything_starts(
    text: str, complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.scenario"
    path.write_text(text)

    played = play(path, "--no-packets")

    assert played.returncode == 2
    assert re.search(complaint, " ".join(played.stdout.split())), played.stdout
