"""The console on which the commands print tables for people."""

from __future__ import annotations

import os

from rich.console import Console

WIDE_COLUMNS = 200
"""The width where no terminal says one: a file or a pipe needs no narrow cells."""


def console() -> Console:
    """Standard output. Colours and width are the terminal's. NO_COLOR and COLUMNS are obeyed."""
    screen = Console()
    if screen.is_terminal or "COLUMNS" in os.environ:
        return screen
    return Console(width=WIDE_COLUMNS)
