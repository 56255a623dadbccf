"""Where a report comes from: what the reports of ``make bench`` and ``make soak`` say about themselves."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent
DOCS = ROOT / "docs"
CHANGED = "-changed"
"""Marks a tree that differs from its commit."""


def commit() -> str:
    """The commit that was measured, marked if the tree differs from it."""
    command = ["git", "describe", "--always", f"--dirty={CHANGED}", "--exclude=*"]
    asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown commit"


def provenance() -> str:
    """Date, Python and commit in words."""
    today = datetime.now(UTC).date().isoformat()
    return f"on {today} (Python {platform.python_version()}, commit {commit()})"


def modules_in(folder: str) -> list[str]:
    """The names of the modules in a folder below ``tests``."""
    return sorted(path.stem for path in (TESTS / folder).glob("*.py") if not path.stem.startswith("_"))
