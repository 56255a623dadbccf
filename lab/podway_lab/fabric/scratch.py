"""A folder for the lab's files that does not outlive it for long, even when the lab is killed.

The fabric keeps the hosts' files in one, and a deployed lab its functions' code.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "podway-lab-"


class Scratch:
    """A new temporary folder, locked while we live; folders of labs that are dead are removed first."""

    def __init__(self) -> None:
        parent = Path(tempfile.gettempdir())
        remove_dead(parent)
        fresh = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=parent))
        self._lock = os.open(fresh, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path = fresh.rename(parent / fresh.name.removeprefix("."))  # locked first

    def close(self) -> None:
        """Remove the folder; twice is fine."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def remove_dead(parent: Path) -> None:
    """Remove the folders of labs that ended without doing so: nobody holds their lock."""
    for path in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, or just removed by its owner
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
            finally:
                os.close(descriptor)
