"""An upgrade with packets: agents of a former release under this stack, then upgraded themselves."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from tarfile import open as open_archive
from tempfile import TemporaryDirectory

from podway_lab.machines import AGENTS_SOURCES

from tests.soak.job import Case, Job

FORMER = "cb26dc2"
"""The release, by commit, that `tests/integration/control_plane/recorded` has recorded too."""
SCENARIO = Path("tests/scenarios/upgrade.scenario")
WAYS = ((), ("--deployed",))
"""With the functions in the lab's process, and deployed."""
PATIENCE = 900
"""Seconds that one play may take."""


def one(seed: int) -> Case:
    """The scenario, with the agents of the former release taken out of the repository's history."""
    with TemporaryDirectory() as folder:
        packed = subprocess.run(
            ["git", "archive", FORMER, *AGENTS_SOURCES], capture_output=True, check=True, timeout=60
        )
        with open_archive(fileobj=BytesIO(packed.stdout)) as archive:
            archive.extractall(folder, filter="data")
        command = [sys.executable, "-m", "podway_lab", "run", *WAYS[seed % 2], "--agents", folder]
        played = subprocess.run(
            [*command, str(SCENARIO)], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    said = played.stdout
    sent = re.search(r"traffic: (\d+) packets in \d+ flows between zones, (\d+) lost", said)
    return {
        "way": " ".join(WAYS[seed % 2]) or "in the lab's process",
        "expectations": said.count("✓"),
        "left_out": said.count("left out"),
        "packets": int(sent[1]) if sent else 0,
        "lost": int(sent[2]) if sent else 0,
        "broken": "" if played.returncode == 0 else (said + played.stderr)[-3000:],
    }


def report(cases: Sequence[Case]) -> list[str]:
    """A line for each play."""
    columns = ("way", "expectations", "left_out", "packets", "lost")
    return [
        f"Agents of {FORMER} under this stack, with traffic between all pods; a node joins; then all agents",
        "are upgraded and another one joins (`tests/scenarios/upgrade.scenario`).",
        "",
        "| functions | came true | left out | packets sent | lost |",
        "|---|---|---|---|---|",
        *(f"| {' | '.join(str(case[name]) for name in columns)} |" for case in cases),
    ]


JOB = Job(
    name="upgrade",
    about="An upgrade with packets",
    cases=4,
    one=one,
    report=report,
)
