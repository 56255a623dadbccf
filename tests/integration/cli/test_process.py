"""The command as a process: exit codes, both outputs, pipes that close, terminals and NO_COLOR."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.unit.wire.documents import GOOD, changed

PODWAY = Path(sys.executable).with_name("podway")


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps(GOOD))
    return path


def podway(
    *arguments: str, stdin: str | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    surroundings = {"PATH": os.environ["PATH"], **(env or {})}
    return subprocess.run(
        [PODWAY, *arguments], input=stdin, capture_output=True, text=True, env=surroundings, check=False
    )


def test_the_version_is_the_package_s() -> None:
    assert podway("--version").stdout == f"podway, version {version('podway')}\n"


def test_a_plan_has_its_exit_codes(cluster: Path) -> None:
    steps = podway("plan", "-f", str(cluster))
    refused = podway("plan", "-f", "-", stdin=json.dumps(changed(("nodes", 0, "subnet"), "c")))
    idle = podway("plan", "-f", "-", stdin=json.dumps({**GOOD, "nodes": [], "route_tables": []}))
    full = {**GOOD, "route_tables": [{"id": "rtb", "routes": [], "quota": 1, "reserve": 1}]}
    hole = podway("plan", "-f", "-", "--output", "json", stdin=json.dumps(full))

    assert (steps.returncode, steps.stderr) == (1, "")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "nodes[0].subnet: c is not among the subnets\n"
    assert idle.returncode == 0
    assert hole.returncode == 3
    assert json.loads(hole.stdout)["route_tables"][0]["holes"]


def test_nobody_reads_the_output_and_nothing_is_said_about_it(cluster: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)

    ended = subprocess.run(
        [PODWAY, "plan", "-f", cluster, "-o", "json"], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)

    assert (ended.returncode, ended.stderr) == (141, b"")


def test_colours_are_for_terminals_that_want_them(cluster: Path) -> None:
    piped = podway("plan", "-f", str(cluster))

    assert "\x1b[" not in piped.stdout
    assert "\x1b[" in _on_a_terminal(cluster, {"TERM": "xterm-256color"})
    plain = _on_a_terminal(cluster, {"TERM": "xterm-256color", "NO_COLOR": "1"})
    assert not any(f"\x1b[{code}m" in plain for code in range(30, 48))


def _on_a_terminal(cluster: Path, env: dict[str, str]) -> str:
    ours, its = pty.openpty()
    subprocess.run(
        [PODWAY, "plan", "-f", cluster], stdout=its, env={"PATH": os.environ["PATH"], **env}, check=False
    )
    os.close(its)
    found = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        found += part
    os.close(ours)
    return found.decode()


def test_the_command_starts_without_aws_s_libraries() -> None:
    """Offline commands should not pay for clients that they do not make."""
    code = "import sys; from podway.cli import main; sys.exit('botocore' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
