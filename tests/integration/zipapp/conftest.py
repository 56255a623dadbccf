"""The agent's one file, built once for all tests that want it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import limits

BUILD = Path("node_agent/zipapp/build.py")


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file, for this machine's kind only: that halves the downloads."""
    target = tmp_path_factory.mktemp("zipapp") / "podway-agent.pyz"
    subprocess.run(
        [sys.executable, str(BUILD), str(target), os.uname().machine],
        check=True,
        timeout=limits.APART_SECONDS,
    )
    return target
