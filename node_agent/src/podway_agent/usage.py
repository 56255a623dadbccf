"""How full the node's blocks are, and how many blocks it therefore needs. A value, ground for all rooms.

Pods count it, store reports it, doctor and the pages show it.
"""

from __future__ import annotations

from dataclasses import dataclass

ALMOST_FULL = 0.8
"""Of a /26 that leaves room for twelve pods while the next block is covered and made known."""


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
