"""How full the node's blocks are, and how many blocks it therefore needs. A value, ground for all rooms.

`pods` counts it, `store` reports it, doctor and telemetry show it.
"""

from __future__ import annotations

from dataclasses import dataclass

ALMOST_FULL = 0.8
"""The share in use from which another block is asked for. A /26 then has room for twelve pods, until the next
block is covered and made known."""


@dataclass(frozen=True)
class Usage:
    """Addresses of one family that pods have and could have, in so many blocks."""

    used: int = 0
    room: int = 0
    blocks: int = 0

    @property
    def wanted(self) -> int:
        """How many blocks the node needs: as many as it has, or one more."""
        return self.blocks + (self.blocks > 0 and self.used >= ALMOST_FULL * self.room)


NO_USAGE = Usage()
