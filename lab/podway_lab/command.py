"""The command ``podway-lab``: runs `__main__`, or says what is missing where the lab is not installed."""

from __future__ import annotations

import sys

_UNUSABLE = 2
_OURS = ("podway", "podway_agent", "podway_lab")


def podway_lab() -> int:
    """Run the lab. The wheel has the command without what it needs, which comes with an extra."""
    try:
        from podway_lab.__main__ import main as lab  # noqa: PLC0415  (what may be missing is loaded there)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in _OURS:
            raise
        sys.stderr.write(f"podway-lab needs {error.name}: install podway with its extra, podway[lab]\n")
        return _UNUSABLE
    lab()
    return 0
