"""Plays a scenario as an operator does, in a process of its own, and says first what did not come true.

Called by the tests that play scenarios, in this process's functions or deployed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

from tests import limits

_UNMET = re.compile(r"^ *✗ (?P<sentence>.+\n(?: {6}.+\n)*)", re.MULTILINE)
"""The line of the sentence that did not come true, and the indented ones that say why."""


@cache
def play(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What ``podway-lab run`` made of the scenario at *path*."""
    command = [sys.executable, "-m", "podway_lab", "run", *options, str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=limits.APART_SECONDS, check=False)


def told(played: subprocess.CompletedProcess[str]) -> str:
    """For a failing test: the sentence that did not come true in the first line, then all that was said.

    By its sentence a known race ("each of its routes moved once") is told from every other failure.
    """
    unmet = _UNMET.search(played.stdout)
    first = " ".join(unmet["sentence"].split()) if unmet else f"no sentence failed, exit {played.returncode}"
    return f"{first}\n{played.stdout}{played.stderr}"
