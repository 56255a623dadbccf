"""Where tables for people are printed."""

from __future__ import annotations

import os

from rich.console import Console

WIDE = 200
"""Columns when nobody's terminal says how many: a file or a pipe needs no narrow cells."""


def console() -> Console:
    """Standard output; colours and width are a terminal's, NO_COLOR and COLUMNS are obeyed."""
    screen = Console()
    if screen.is_terminal or "COLUMNS" in os.environ:
        return screen
    return Console(width=WIDE)
