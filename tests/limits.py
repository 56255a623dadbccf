"""How long tests may take that are long by nature: they play whole labs, stories or builds.

All others have pytest's own limit (``pyproject.toml``). Both end what hangs and measure nothing: on a machine
with four times as many processes as CPUs a test takes some five times as long as alone.
"""

from __future__ import annotations

import pytest

LONG_SECONDS = 1800
"""Alone, the longest of them takes two minutes."""
APART_SECONDS = LONG_SECONDS - 60
"""For a process that such a test waits for: its output is worth more than pytest's word that time is up."""
PATIENCE_SECONDS = 120.0
"""Until a condition that must come true is given up. Whoever waits goes on as soon as it does."""

long = pytest.mark.timeout(LONG_SECONDS)
