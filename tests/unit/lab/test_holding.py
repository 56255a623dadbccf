"""A lab that is held open is a cluster for the ``podway`` command of another shell."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests import limits

SCENARIO = """
cluster held  pods 100.64.0.0/16  blocks /26
quota 3  reserve 0
subnet a 10.0.0.0/20   zone us-west-2a  nodes a1
subnet b 10.0.16.0/20  zone us-west-2b  nodes b1 b2
start
stop b1
"""


@contextmanager
def held(scenario: Path) -> Iterator[subprocess.Popen[str]]:
    """As a shell starts it in the background, which has it ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    command = [sys.executable, "-m", "podway_lab", "hold", str(scenario)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as lab:
        signal.signal(signal.SIGINT, before)
        try:
            yield lab
        finally:
            lab.kill()


def printed_variables(out: IO[str] | None) -> Mapping[str, str]:
    assert out is not None
    found: dict[str, str] = {}
    for line in out:
        if line.startswith("export "):
            name, _, value = shlex.split(line)[1].partition("=")
            found[name] = value
        elif line.startswith("podway status"):
            break
    return found


def podway(surroundings: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PODWAY_"))
    }
    command = [
        sys.executable,
        "-c",
        "import sys; from podway.cli.main import run; sys.exit(run())",
        *arguments,
    ]
    return subprocess.run(
        command,
        env={**variables, **surroundings},
        capture_output=True,
        text=True,
        check=False,
        timeout=limits.APART_SECONDS,
    )


def test_the_command_reads_and_steers_a_cluster_that_is_held_until_it_is_interrupted(tmp_path: Path) -> None:
    scenario = tmp_path / "a.scenario"
    scenario.write_text(SCENARIO)

    with held(scenario) as lab:
        surroundings = printed_variables(lab.stdout)
        status = podway(surroundings, "status")
        nodes = podway(surroundings, "nodes", "--output", "json").stdout
        forwarder = next(one for one in nodes.split('"') if one.startswith("i-"))
        drained = podway(surroundings, "drain", forwarder, "--wait", "60")
        lab.send_signal(signal.SIGINT)
        code = lab.wait(timeout=limits.APART_SECONDS)

    assert "cluster held" in status.stdout, status.stderr
    assert "3 ready" in status.stdout, "what the scenario does to the cluster is not played"
    assert drained.returncode == 0, drained.stderr
    assert code == 0


def test_what_is_no_scenario_is_not_held(tmp_path: Path) -> None:
    scenario = tmp_path / "a.scenario"
    scenario.write_text("start\n")

    with held(scenario) as lab:
        out, _ = lab.communicate(timeout=limits.APART_SECONDS)

    assert lab.returncode == 2
    assert "no line describes a subnet" in out
