"""Space that a subnet gave back; apart from the allocator, which a failover does not load."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from podway.domain.addressing import Prefix


@dataclass(frozen=True, slots=True, order=True)
class Leaving:
    """A prefix that *subnet* gave back. Nobody else may have it while anything may still lead there.

    ``gone_at`` is when no route led there any more and the subnet's map did not name it: its
    *generation*, which the kernels of the subnet must hold.
    """

    prefix: Prefix
    subnet: str
    gone_at: datetime | None = None
    generation: int = 0
